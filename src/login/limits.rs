//! How many wrong codes are tolerated. SECURITY.md has the arithmetic.

use crate::account::{Failures, Timestamp};
use crate::config::Limits;

/// In seconds. Each week without a lock halves the next one.
const WEEK: u64 = 7 * 86_400;

/// The failures as they count at `now`. None of their times is later than a right clock
/// can have left: a lock lasts at most `max_lockout` from the first attempt on that meets
/// it, whatever the clock said when it began.
#[must_use]
pub fn in_force(failures: Failures, now: Timestamp, limits: &Limits) -> Failures {
    Failures {
        since: failures.since.min(now),
        locked_until: failures.locked_until.min(now.plus(limits.max_lockout)),
        ..failures
    }
}

/// One more wrong code; the last of too many locks.
///
/// A success does not clear the count: otherwise the user's own logins would
/// give whoever has their password new guesses all day.
pub(super) fn count_failure(failures: Failures, now: Timestamp, limits: &Limits) -> Failures {
    let recent = failures.recent(now, limits.period);
    let counted = Failures {
        count: recent.saturating_add(1),
        since: if recent == 0 { now } else { failures.since },
        ..failures
    };
    if limits.failures == 0 || counted.count < limits.failures {
        return counted;
    }
    let quiet_weeks = now.since(failures.locked_until).checked_div(WEEK).unwrap_or(0);
    let level = u64::from(failures.lockouts).saturating_sub(quiet_weeks);
    let doubled =
        u32::try_from(level).ok().and_then(|level| 2_u64.checked_pow(level)).unwrap_or(u64::MAX);
    let seconds = limits.lockout.saturating_mul(doubled).min(limits.max_lockout);
    Failures {
        count: 0,
        since: now,
        lockouts: u32::try_from(level.saturating_add(1)).unwrap_or(u32::MAX),
        locked_until: now.plus(seconds),
    }
}
