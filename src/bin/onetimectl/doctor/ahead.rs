//! Judges the times of an account that are later than now: the clock was wrong once, or
//! is now.

use pam_onetime::account::{Account, Timestamp};
use pam_onetime::config::Config;
use pam_onetime::login::{TimeAhead, time_ahead};

use super::finding::FindingId;
use super::store::Fault;

/// What is wrong with the times of an account, and what is said with its name.
pub(super) fn judge(account: &Account, now: Timestamp, config: &Config) -> Option<(Fault, String)> {
    let user = account.record.user.as_str();
    let fault = match time_ahead(account, now, config)? {
        TimeAhead::Codes { until } => {
            let fault = Fault::new(
                FindingId::AccountCodesAhead,
                "a code of a later time has been used, and right codes are refused until then",
                "set the clock; if it was wrong when the code was used: \
                 onetimectl enable --new-secret",
            );
            return Some((fault, format!("{user} ({until})")));
        }
        TimeAhead::Deadline => Fault::new(
            FindingId::AccountDeadlineUnknown,
            "issued later than now, so the deadline cannot be judged, and the login is refused",
            "set the clock; if it was wrong at the issue: onetimectl enable --new-secret",
        ),
        TimeAhead::Lock => Fault::new(
            FindingId::AccountLockAhead,
            "locked for longer than limits.max_lockout allows from now on; the next login with \
             the right password shortens it to that",
            "set the clock; if it was wrong when the lock began: onetimectl unlock",
        ),
        TimeAhead::Other => Fault::new(
            FindingId::AccountTimesAhead,
            "issued, activated or used later than now: the clock was wrong then, or is now",
            "set the clock; where it is right, nothing is left to do",
        ),
    };
    Some((fault, user.to_owned()))
}

#[cfg(test)]
mod tests {
    use pam_onetime::account::{Failures, Uid, UserName};
    use pam_onetime::enrollment::new_record;

    use super::*;

    /// A pending account that was issued at `issued`, with `deadline`.
    fn account(issued: u64, config: &Config) -> Account {
        let mut rng = rand::rngs::SysRng;
        let user = UserName::new("alice").unwrap();
        let issuer = "host".to_owned();
        let time = Timestamp(issued);
        Account::fresh(new_record(&mut rng, config, user, Uid::Is(1), issuer, time).unwrap())
    }

    #[test]
    fn each_time_that_is_ahead_has_its_finding() {
        use FindingId::*;
        let now = 1_800_000_000;
        let mut config = Config::default();
        let id = |account: &Account, config: &Config| {
            judge(account, Timestamp(now), config).map(|(fault, name)| (fault.id(), name))
        };
        let alice = || "alice".to_owned();
        assert_eq!(id(&account(now, &config), &config), None);
        assert_eq!(id(&account(now + 1_000, &config), &config), Some((AccountTimesAhead, alice())));
        let mut locked = account(now, &config);
        let locked_until = Timestamp(now + config.limits.max_lockout + 1);
        locked.state.failures = Failures { locked_until, ..Failures::default() };
        assert_eq!(id(&locked, &config), Some((AccountLockAhead, alice())));
        config.enrollment.deadline = "14d".parse().unwrap();
        let unknown = account(now + 1_000, &config);
        assert_eq!(id(&unknown, &config), Some((AccountDeadlineUnknown, alice())));
    }
}
