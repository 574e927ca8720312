//! How many connections whom is given, so that no user keeps others out. Pure.

use std::cmp::Reverse;
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

/// Whether one more is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// There is a place.
    Free,
    /// There is, once this process has ended.
    InPlaceOf(u32),
    /// There is none.
    Full,
}

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

    /// Whether so many are served that others than root have to share.
    pub(crate) fn are_short(&self) -> bool {
        // Those that have ended keep nobody else out.
        self.taken.len() >= ALL.saturating_sub(ROOTS)
    }

    /// Whether one more of `uid` is served. Where others have taken all there is, whoever has
    /// taken most of their own share gives back the oldest, unless that is no more than `uid`
    /// would have then. `services` are the accounts that may ask for anybody.
    pub(crate) fn room(&mut self, uid: u32, asker: Asker, services: &[u32], now: Duration) -> Room {
        let own = self.of(uid, now);
        let limit = match asker {
            Asker::Root if self.taken.len() < ALL => return Room::Free,
            Asker::Root => return Room::Full,
            Asker::Service => SERVICE,
            Asker::User => USER,
        };
        match own < limit {
            true if !self.are_short() => Room::Free,
            true => self.whoever_has_more(of_share(own.saturating_add(1), limit), services),
            false => Room::Full,
        }
    }

    /// The oldest connection of whoever has most of their share, if that is more than `share`.
    fn whoever_has_more(&self, share: usize, services: &[u32]) -> Room {
        let mut all = BTreeMap::new();
        for (process, Slot { uid, since }) in self.taken.iter().filter(|(_, it)| it.uid != 0) {
            let (count, oldest) = all.entry(*uid).or_insert((0_usize, (*since, *process)));
            *count = count.saturating_add(1);
            *oldest = (*oldest).min((*since, *process));
        }
        let limit = |uid| if services.contains(&uid) { SERVICE } else { USER };
        let shares = all.into_iter().map(|(uid, (count, oldest))| {
            // Of equals, the oldest.
            (of_share(count, limit(uid)), Reverse(oldest))
        });
        match shares.max() {
            Some((most, Reverse((_, process)))) if most > share => Room::InPlaceOf(process),
            Some(_) | None => Room::Full,
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

/// How much `count` of `limit` is, where everything is [`ALL`].
const fn of_share(count: usize, limit: usize) -> usize {
    match count.saturating_mul(ALL).checked_div(limit) {
        Some(share) => share,
        None => ALL,
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
            if has_room(&mut slots, 1000, Asker::User) {
                slots.take(process, 1000, AT);
            }
        }
        assert_eq!(slots.of(1000, AT), USER);
        for asker in [Asker::User, Asker::Service, Asker::Root] {
            assert!(has_room(&mut slots, 1001, asker), "{asker:?}");
        }
        for process in 1_000..2_000 {
            if has_room(&mut slots, 70, Asker::Service) {
                slots.take(process, 70, AT);
            }
        }
        assert_eq!(slots.of(70, AT), SERVICE);
        assert!(has_room(&mut slots, 1001, Asker::User));
    }

    /// Whether there is a place that nobody else has.
    fn has_room(slots: &mut Slots, uid: u32, asker: Asker) -> bool {
        slots.room(uid, asker, &[70], AT) == Room::Free
    }

    /// What the listener does; whether one more of `uid` is served. Each is a bit younger.
    fn comes(slots: &mut Slots, process: u32, uid: u32) -> bool {
        let now = AT + Duration::from_millis(process.into());
        let asker = if uid == 70 { Asker::Service } else { Asker::User };
        match slots.room(uid, asker, &[70], now) {
            Room::Free => {}
            Room::InPlaceOf(other) => slots.give_back(other, now),
            Room::Full => return false,
        }
        slots.take(process, uid, now);
        true
    }

    /// Taken by 24 users, eight each.
    fn full() -> Slots {
        let mut slots = Slots::default();
        for process in 0..192 {
            assert!(comes(&mut slots, process, 1_000 + process % 24));
        }
        slots
    }

    fn running(slots: &Slots, uid: u32) -> Vec<u32> {
        slots.taken.iter().filter(|(_, it)| it.uid == uid).map(|(process, _)| *process).collect()
    }

    #[test]
    fn all_users_together_leave_room_for_root() {
        let mut slots = full();
        let mut roots = 0;
        while slots.room(0, Asker::Root, &[], AT) == Room::Free {
            roots += 1;
            slots.take(1_000_000 + roots, 0, AT);
        }
        assert_eq!(roots, 64);
        assert!(comes(&mut slots, 192, 5_000), "root's are nobody's to give back");
    }

    #[test]
    fn whoever_has_fewest_gets_the_oldest_place_of_whoever_has_most() {
        let mut slots = full();
        assert!(comes(&mut slots, 192, 5_000));
        assert_eq!(running(&slots, 5_000), [192]);
        assert_eq!(running(&slots, 1_000).len(), 7);
        assert!(!running(&slots, 1_000).contains(&0), "the oldest of all");
        assert!(!comes(&mut slots, 193, 1_000), "who gave it back does not get it again");
        assert_eq!(running(&slots, 5_000), [192]);
        // As long as anybody has two, everybody has one.
        for uid in 5_001..5_168 {
            assert!(comes(&mut slots, uid, uid), "{uid}");
        }
        assert_eq!(slots.taken.len(), 192);
        assert!((1_000..1_024).chain(5_000..5_168).all(|uid| running(&slots, uid).len() == 1));
        assert!(!comes(&mut slots, 9_999, 9_999));
    }

    #[test]
    fn a_service_keeps_what_is_its_share_beside_users_who_take_all_of_theirs() {
        let mut slots = Slots::default();
        assert!((0..40).all(|process| comes(&mut slots, process, 70)));
        for process in 40..1_000 {
            comes(&mut slots, process, 1_000 + process % 100);
        }
        // 16 of 64 are as much as 2 of 8.
        assert_eq!(running(&slots, 70).len(), 16);
        assert!((1_000..1_100).all(|uid| running(&slots, uid).len() <= 2));
        assert_eq!(slots.taken.len(), 192);
    }

    #[test]
    fn a_connection_that_ends_at_once_counts_for_a_while() {
        let mut slots = Slots::default();
        let mut served = 0;
        // A second of connecting as fast as one can, a millisecond each.
        for at in 0..1_000 {
            let now = AT + Duration::from_millis(at);
            if slots.room(1000, Asker::User, &[], now) == Room::Free {
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
