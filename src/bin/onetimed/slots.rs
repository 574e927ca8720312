//! How many connections whom is given, so that no user keeps others out. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use pam_onetime::callers::Asker;

/// Logins at once, of all.
pub(crate) const ALL: usize = 256;
/// Of those, the ones that only root's programs get.
const ROOTS: usize = 64;
/// Of one account that may ask for anybody.
pub(crate) const SERVICE: usize = 64;
/// Of one user.
pub(crate) const USER: usize = 8;
/// A connection counts for so long, however soon it ends: nobody has processes made without
/// end.
pub(crate) const LEAST: Duration = Duration::from_millis(100);

/// Connections by their processes' numbers. Times are those of a clock that nobody sets.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    taken: BTreeMap<u32, Slot>,
    /// Those that have ended, and still count: whose, and until when.
    ended: Vec<(u32, Duration)>,
}

#[derive(Debug)]
struct Slot {
    uid: u32,
    since: Duration,
}

impl Slots {
    /// Whether nobody is served.
    pub(crate) fn are_free(&self) -> bool {
        self.taken.is_empty()
    }

    /// How many connections of `uid` count at `now`.
    pub(crate) fn of(&mut self, uid: u32, now: Duration) -> usize {
        self.ended.retain(|(_, until)| now < *until);
        let ended = self.ended.iter().filter(|(whose, _)| *whose == uid).count();
        self.taken.values().filter(|slot| slot.uid == uid).count().saturating_add(ended)
    }

    /// Whether one more of `uid` is served.
    pub(crate) fn have_room(&mut self, uid: u32, asker: Asker, now: Duration) -> bool {
        let own = self.of(uid, now);
        // Those that have ended keep nobody else out.
        let all = self.taken.len();
        match asker {
            Asker::Root => all < ALL,
            Asker::Service => own < SERVICE && all < ALL.saturating_sub(ROOTS),
            Asker::User => own < USER && all < ALL.saturating_sub(ROOTS),
        }
    }

    /// A process serves a connection of `uid`.
    pub(crate) fn take(&mut self, process: u32, uid: u32, now: Duration) {
        self.taken.insert(process, Slot { uid, since: now });
    }

    /// A process has ended.
    pub(crate) fn give_back(&mut self, process: u32, now: Duration) {
        if let Some(Slot { uid, since }) = self.taken.remove(&process) {
            let until = since.saturating_add(LEAST);
            if uid != 0 && now < until {
                self.ended.push((uid, until));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Duration = Duration::from_secs(5);

    #[test]
    fn no_user_gets_more_than_their_share_and_none_keeps_others_out() {
        let mut slots = Slots::default();
        for process in 0..1_000 {
            if slots.have_room(1000, Asker::User, AT) {
                slots.take(process, 1000, AT);
            }
        }
        assert_eq!(slots.of(1000, AT), USER);
        for asker in [Asker::User, Asker::Service, Asker::Root] {
            assert!(slots.have_room(1001, asker, AT), "{asker:?}");
        }
        for process in 1_000..2_000 {
            if slots.have_room(70, Asker::Service, AT) {
                slots.take(process, 70, AT);
            }
        }
        assert_eq!(slots.of(70, AT), SERVICE);
        assert!(slots.have_room(1001, Asker::User, AT));
    }

    #[test]
    fn all_users_together_leave_room_for_root() {
        let mut slots = Slots::default();
        for uid in 1..1_000 {
            for again in 0..USER {
                if slots.have_room(uid, Asker::User, AT) {
                    slots.take(uid * 100 + u32::try_from(again).unwrap(), uid, AT);
                }
            }
        }
        assert!(!slots.have_room(5_000, Asker::User, AT));
        assert!(!slots.have_room(5_000, Asker::Service, AT));
        let mut roots = 0;
        while slots.have_room(0, Asker::Root, AT) {
            roots += 1;
            slots.take(1_000_000 + roots, 0, AT);
        }
        assert_eq!(roots, 64);
    }

    #[test]
    fn a_connection_that_ends_at_once_counts_for_a_while() {
        let mut slots = Slots::default();
        let mut served = 0;
        // A second of connecting as fast as one can, a millisecond each.
        for at in 0..1_000 {
            let now = AT + Duration::from_millis(at);
            if slots.have_room(1000, Asker::User, now) {
                served += 1;
                slots.take(1, 1000, now);
                slots.give_back(1, now);
            }
        }
        assert_eq!(served, 80, "eight in each tenth of a second");
        assert!(slots.are_free());
        assert_eq!(slots.of(1000, AT + Duration::from_secs(2)), 0);
    }
}
