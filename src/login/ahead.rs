//! Times in an account that are later than now: traces of a clock that was wrong. What
//! they still mean, and what they no longer mean once the clock is right again. Nothing
//! that is stored outlasts what the configuration allows from now on, but for one thing: a
//! code that was spent stays spent.

use super::limits;
use crate::account::{Account, Phase, Record, Timestamp};
use crate::code::{MovingFactor, Step, Token};
use crate::config::{CodePolicy, Config};

/// Seconds by which a clock may be set back in everyday life.
const TOLERANCE: u64 = 300;

/// What of an account is later than it can be, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeAhead {
    /// The last accepted code of a totp token was that of a later time. Until then its
    /// codes are refused; only a new secret ends that earlier.
    Codes {
        /// When its codes are accepted again.
        until: Timestamp,
    },
    /// A pending record was issued later than now: its deadline cannot be judged, and the
    /// user is refused.
    Deadline,
    /// The lock lasts longer than the configuration allows from now on. The next attempt
    /// shortens it.
    Lock,
    /// A time that decides nothing: of the issue, the activation, a login or a wrong
    /// code, or until when a host is remembered.
    Other,
}

/// The worst of the times in `account` that a right clock cannot have left by `now`.
#[must_use]
pub fn time_ahead(account: &Account, now: Timestamp, config: &Config) -> Option<TimeAhead> {
    let Account { record, state } = account;
    let until = record
        .tokens
        .iter()
        .filter_map(|(id, token)| codes_ahead(token, state.token(*id).next, now, &config.code));
    if let Some(until) = until.max() {
        return Some(TimeAhead::Codes { until });
    }
    if account.phase() == Phase::Pending && is_deadline_unknown(record, now) {
        return Some(TimeAhead::Deadline);
    }
    let in_force = limits::in_force(state.failures, now, &config.limits);
    if in_force.locked_until != state.failures.locked_until {
        return Some(TimeAhead::Lock);
    }
    let latest = now.plus(TOLERANCE);
    // Where no host is remembered, none counts.
    let hosts =
        config.login.remember.seconds().is_some_and(|seconds| {
            state.hosts.iter().any(|host| host.until > latest.plus(seconds))
        });
    let others = [state.activated_at, state.last_login].into_iter().flatten();
    let mut others = others.chain([record.issued_at, state.failures.since]);
    (hosts || others.any(|time| time > latest)).then_some(TimeAhead::Other)
}

/// When the codes of a token are accepted again whose last one was that of a later time
/// than any that is accepted now: the first that is not spent is `next`.
pub(super) fn codes_ahead(
    token: &Token,
    next: Step,
    now: Timestamp,
    policy: &CodePolicy,
) -> Option<Timestamp> {
    let MovingFactor::Totp { period } = token.kind else { return None };
    let latest = now.step(period).plus(policy.max_drift.get()).plus(policy.window.get()).plus(1);
    (next > latest).then(|| Timestamp::of_step(next, period))
}

/// Whether a deadline counts from a time that has not come: how much of it has passed
/// cannot be known.
pub(super) fn is_deadline_unknown(record: &Record, now: Timestamp) -> bool {
    record.deadline.is_some() && record.issued_at > now.plus(TOLERANCE)
}
