//! The pace of a login under `uniform`: what is shown to a user comes a whole number of
//! beats after their last answer, so that the time which the machine took does not tell
//! who they are.

use std::cell::Cell;
use std::time::Duration;

use super::Host;
use crate::config::Config;

/// Longer than a password service takes, as a rule: a local hash, a directory. Where it
/// takes longer, one more beat is all that shows.
pub(super) const BEAT: Duration = Duration::from_millis(200);

/// Waits before each prompt, and before the end of a login that is not admitted.
pub(super) struct Pace<'h, H> {
    host: &'h H,
    /// When the last answer came; `None` where nobody waits.
    heard: Option<Cell<Duration>>,
}

impl<'h, H: Host> Pace<'h, H> {
    /// From now on.
    pub(super) fn start(host: &'h H, config: &Config) -> Self {
        let heard = config.login.uniform.then(|| Cell::new(host.uptime()));
        Self { host, heard }
    }

    /// The user has answered.
    pub(super) fn hear(&self) {
        if let Some(heard) = &self.heard {
            heard.set(self.host.uptime());
        }
    }

    /// Waits for the next beat.
    pub(super) fn wait(&self) {
        if let Some(heard) = &self.heard {
            self.host.wait_until(next_beat(heard.get(), self.host.uptime()));
        }
    }
}

/// The first beat after `heard` that is not before `now`.
fn next_beat(heard: Duration, now: Duration) -> Duration {
    let taken = now.saturating_sub(heard).as_nanos();
    let beats = taken.div_ceil(BEAT.as_nanos()).max(1);
    let beats = u32::try_from(beats).unwrap_or(u32::MAX);
    heard.saturating_add(BEAT.saturating_mul(beats))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_beat_is_the_first_that_is_not_over() {
        let at = Duration::from_millis;
        for (taken, beat) in [(0, 200), (1, 200), (199, 200), (200, 200), (201, 400), (1999, 2000)]
        {
            let heard = at(5_000);
            assert_eq!(next_beat(heard, heard + at(taken)), heard + at(beat), "{taken}");
        }
        // A clock that goes back, and one at its end.
        assert_eq!(next_beat(at(5_000), at(1)), at(5_200));
        assert!(next_beat(Duration::ZERO, Duration::MAX) > at(1));
    }
}
