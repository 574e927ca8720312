//! Keeps strangers from stopping a process while it holds an account's lock.
//!
//! `su alice` runs with the real uid of whoever started it. Who may send a signal is
//! decided by the kernel thus (kill(2), `kill_ok_by_cred`): the sender's real or effective
//! uid must be the real or the saved uid of the process that it names, or of the thread,
//! with tgkill(2); its effective uid does not matter. So the real uid is root's meanwhile,
//! of this thread alone: in a host with other threads, these can still be named. A
//! terminal's signals come from the kernel itself, and are blocked. What remains (a
//! frozen cgroup, a host of threads) is what taking over the lock is for.

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::unistd::{ROOT, getresuid};
use rustix::io::Errno;
use rustix::process::Uid;
use rustix::thread::set_thread_res_uid;

/// The signals of a terminal that stop a process, and can be blocked.
const STOPPING: [Signal; 3] = [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];

/// Strangers cannot stop this thread by a signal until it is dropped.
pub(super) struct Shield(Option<Before>);

/// What is given back.
#[derive(Clone, Copy)]
struct Before {
    uid: Uid,
    mask: SigSet,
}

impl Shield {
    /// Does nothing where the real uid is root's already, or where this process is not
    /// root's. Where it is not permitted, the lock is held without.
    pub(super) fn raise() -> Self {
        let Ok(ids) = getresuid() else { return Self(None) };
        if ids.real == ROOT || ids.effective != ROOT {
            return Self(None);
        }
        let mut mask = SigSet::empty();
        let stopping = STOPPING.into_iter().collect::<SigSet>();
        if pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&stopping), Some(&mut mask)).is_err() {
            return Self(None);
        }
        let before = Before { uid: Uid::from_raw(ids.real.as_raw()), mask };
        if set_thread_res_uid(Uid::ROOT, None, None).is_err() {
            let _still_blocked = give_back_mask(&before).is_err();
            return Self(None);
        }
        Self(Some(before))
    }

    /// Gives back what was there before.
    ///
    /// # Errors
    /// The kernel's: then the thread has root's real uid, or a signal is blocked.
    pub(super) fn lower(mut self) -> Result<(), Errno> {
        self.0.take().map_or(Ok(()), |before| give_back(&before))
    }
}

impl Drop for Shield {
    fn drop(&mut self) {
        if let Some(before) = self.0.take() {
            // On the way of another error, which refuses the login already.
            let _kept = give_back(&before).is_err();
        }
    }
}

fn give_back(before: &Before) -> Result<(), Errno> {
    let uid = set_thread_res_uid(before.uid, None, None);
    // In any case: a blocked signal is inherited by what is started next.
    give_back_mask(before).and(uid)
}

fn give_back_mask(before: &Before) -> Result<(), Errno> {
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before.mask), None)
        .map_err(|error| Errno::from_raw_os_error(error as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> (u32, u32, u32) {
        let ids = getresuid().unwrap();
        (ids.real.as_raw(), ids.effective.as_raw(), ids.saved.as_raw())
    }

    /// Does `work` on a thread of its own, whose uids are these: they are a thread's.
    fn with_uids<T: Send>(real: u32, effective: u32, work: impl FnOnce() -> T + Send) -> Option<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let [real, effective] = [real, effective].map(Uid::from_raw);
                set_thread_res_uid(real, effective, effective).ok()?;
                Some(work())
            });
            thread.join().unwrap()
        })
    }

    fn blocked() -> Vec<Signal> {
        SigSet::thread_get_mask().unwrap().iter().collect()
    }

    #[test]
    fn the_real_uid_is_roots_while_it_is_up_and_the_users_again_afterwards() {
        let seen = with_uids(4711, 0, || {
            let before = (ids(), blocked());
            let shield = Shield::raise();
            let up = (ids(), STOPPING.iter().all(|signal| blocked().contains(signal)));
            assert!(shield.lower().is_ok());
            let lowered = (ids(), blocked());
            drop(Shield::raise());
            (before.clone(), up, lowered == before, (ids(), blocked()) == before)
        });
        // Who is not root cannot try.
        assert_eq!(seen.is_some(), ids().1 == 0);
        let Some(((before, _), up, lowered, dropped)) = seen else { return };
        assert_eq!(before, (4711, 0, 0));
        assert_eq!(up, ((0, 0, 0), true));
        assert!(lowered && dropped);
    }

    #[test]
    fn a_process_that_is_not_roots_and_one_that_is_altogether_stay_as_they_are() {
        for uids in [(0, 0), (4711, 4711), (0, 4711)] {
            let unchanged = with_uids(uids.0, uids.1, || {
                let before = (ids(), blocked());
                let shield = Shield::raise();
                let up = (ids(), blocked()) == before;
                drop(shield);
                up && (ids(), blocked()) == before
            });
            // Who is not root cannot try.
            assert_ne!(unchanged, Some(false), "{uids:?}");
        }
    }
}
