//! The lock of an account: flock(2) on its state file, waited for with a bound. Whoever
//! holds it may be stopped by others for as long as they like.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, Stat, flock, fstat};
use rustix::io::{Errno, retry_on_intr};
use rustix::thread::{NanosleepRelativeResult, Timespec, nanosleep};

use super::backend::{Backend, StoredAccount};
use super::checked::{Dir, io_error, judge_file};
use super::durable::{Durability, create};
use super::files::{Files, LOCK_TRIES};
use super::holder::Holder;
use super::shield::Shield;
use super::{StoreError, names};
use crate::account::UserName;

/// How long anybody waits for a lock, in all.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// How long the pause before the next attempt is, for whoever has waited so long already.
/// Nobody queues here: a lock that many take in turn is met free by who tries often. So
/// whoever has waited longer tries more often than who has just come, and nobody starves.
const fn pause_after(waited: Duration) -> Duration {
    Duration::from_micros(match waited.as_millis() {
        // Mostly there is one login before this one.
        0 => 1_000,
        1..16 => 4_000,
        16..50 => 2_000,
        50..100 => 1_000,
        _ => 500,
    })
}

/// How long whoever came into a lock meanwhile is waited for, once our patience has ended:
/// most need much less; and how often.
const GRACE: Duration = Duration::from_millis(200);
const GRACES: u32 = 5;

/// For reading, or for changing.
#[derive(Debug, Clone, Copy)]
pub(super) enum Access {
    Shared,
    Exclusive,
}

impl Access {
    pub(super) const fn flags(self) -> OFlags {
        match self {
            Self::Shared => OFlags::RDONLY,
            Self::Exclusive => OFlags::RDWR,
        }
    }

    const fn attempt(self) -> FlockOperation {
        match self {
            Self::Shared => FlockOperation::NonBlockingLockShared,
            Self::Exclusive => FlockOperation::NonBlockingLockExclusive,
        }
    }
}

/// A state file, as it was when it was opened or locked.
pub(super) struct StateFile {
    pub(super) file: File,
    pub(super) stat: Stat,
}

/// What is left of a wait. Pauses are counted, and not the time: who was stopped meanwhile
/// does not give up on others after one attempt.
pub(super) struct Wait {
    left: Duration,
    waited: Duration,
    graces: u32,
}

impl Wait {
    /// A wait that lasts `patience` in all, and a grace each for whoever comes meanwhile.
    pub(super) const fn lasting(patience: Duration) -> Self {
        Self { left: patience, waited: Duration::ZERO, graces: GRACES }
    }

    /// Waits a little; `false` if there was enough of it.
    pub(super) fn pause(&mut self) -> bool {
        let pause = pause_after(self.waited).min(self.left);
        if pause.is_zero() {
            return false;
        }
        sleep(pause);
        self.left = self.left.saturating_sub(pause);
        self.waited = self.waited.saturating_add(pause);
        true
    }

    /// Another file is waited for from now on. `false` if that was so too often.
    pub(super) const fn begin_again(&mut self) -> bool {
        self.waited = Duration::ZERO;
        if self.left.is_zero() {
            let Some(left) = self.graces.checked_sub(1) else { return false };
            (self.graces, self.left) = (left, GRACE);
        }
        true
    }
}

/// Tries to lock a file.
///
/// # Errors
/// The kernel's.
pub(super) fn try_lock(file: impl AsFd, access: Access) -> Result<Attempt, Errno> {
    match retry_on_intr(|| flock(&file, access.attempt())) {
        Ok(()) => Ok(Attempt::Locked),
        Err(Errno::WOULDBLOCK) => Ok(Attempt::Held),
        Err(error) => Err(error),
    }
}

/// What came of an attempt to lock a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    Locked,
    Held,
}

/// A locked state file. The lock ends when it is dropped, also for whoever was forked
/// meanwhile and has the descriptor too.
pub(super) struct LockedFile {
    state: StateFile,
    // Lowered once the lock has ended.
    shield: Option<Shield>,
}

impl LockedFile {
    pub(super) const fn new(state: StateFile, shield: Shield) -> Self {
        Self { state, shield: Some(shield) }
    }

    pub(super) const fn state(&self) -> &StateFile {
        &self.state
    }

    /// Ends the lock.
    ///
    /// # Errors
    /// The process did not get back what it had before.
    pub(super) fn release(mut self) -> Result<(), StoreError> {
        self.unlock();
        let lowered = self.shield.take().map_or(Ok(()), Shield::lower);
        lowered.map_err(io_error("this process".as_ref(), "give back the real uid of"))
    }

    fn unlock(&self) {
        // Closed next, which ends it as well unless others have it open.
        let _ended = flock(&self.state.file, FlockOperation::Unlock).is_err();
    }
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        if self.shield.is_some() {
            self.unlock();
        }
    }
}

impl Files {
    /// Opens and locks a state and reads it with its record; `None` if there
    /// is no record.
    pub(super) fn lock_account(
        &self,
        user: &UserName,
        access: Access,
    ) -> Result<Option<(StoredAccount, LockedFile)>, StoreError> {
        // None was ever issued to a name too long to be a file's.
        if names::encode(user).is_none() {
            return Ok(None);
        }
        // The second time round, an account that was just issued or removed
        // has both files or none.
        for _ in 0..LOCK_TRIES {
            let Some(file) = self.lock_state(user, access)? else {
                if self.record(user)?.is_none() {
                    return Ok(None);
                }
                continue;
            };
            let Some(record) = self.record_again(user)? else { return Ok(None) };
            let snapshots = match access {
                Access::Shared => self.follow(user, file.state())?,
                Access::Exclusive => self.settled(user, &file)?,
            };
            return Ok(Some((StoredAccount { record, snapshots }, file)));
        }
        Err(self.state_error(user, "the state is missing"))
    }

    /// The locked state file, which is the one in place; `None` if there is none.
    pub(super) fn lock_state(
        &self,
        user: &UserName,
        access: Access,
    ) -> Result<Option<LockedFile>, StoreError> {
        let mut wait = Wait::lasting(self.patience);
        for _ in 0..LOCK_TRIES {
            // Before there is a lock to hold.
            let shield = Shield::raise();
            let Some(file) = self.open_again(user, access)? else { return Ok(None) };
            match self.lock(user, file, access, &mut wait)? {
                Waited::Locked(file) => return Ok(Some(LockedFile::new(file, shield))),
                Waited::Moved => {}
                Waited::Held(file) => match access {
                    Access::Shared => return Err(self.held(user, &file)),
                    // Others wait for the locks that are held already.
                    Access::Exclusive if self.durability() == Durability::Later => break,
                    Access::Exclusive => {
                        if let Some(new) = self.take_over(user, &file)? {
                            return Ok(Some(LockedFile::new(new, shield)));
                        }
                    }
                },
            }
            if !wait.begin_again() {
                break;
            }
        }
        Err(StoreError::Busy(user.clone()))
    }

    /// Locks a state file, unless it is no longer the one in place, or is held for longer
    /// than we wait.
    pub(super) fn lock(
        &self,
        user: &UserName,
        StateFile { file, stat }: StateFile,
        access: Access,
        wait: &mut Wait,
    ) -> Result<Waited, StoreError> {
        loop {
            let attempt =
                try_lock(&file, access).map_err(io_error(&self.state.path, "lock a state in"))?;
            let name = self.file_name(user)?;
            let in_place = match self.state.stat(&name) {
                Ok(found) if (found.st_dev, found.st_ino) == (stat.st_dev, stat.st_ino) => found,
                // It ends with the descriptor.
                Ok(_) | Err(Errno::NOENT) => return Ok(Waited::Moved),
                Err(error) => return Err(io_error(&self.state.path, "examine a state in")(error)),
            };
            match attempt {
                Attempt::Locked => {
                    judge_file(&in_place, || self.state_path(user), self.owner)?;
                    return Ok(Waited::Locked(StateFile { file, stat: in_place }));
                }
                Attempt::Held if wait.pause() => {}
                Attempt::Held => return Ok(Waited::Held(StateFile { file, stat })),
            }
        }
    }

    /// The error that the lock of a file does not end, and is not taken over.
    fn held(&self, user: &UserName, file: &StateFile) -> StoreError {
        let holder = Box::new(Holder::find(&file.stat, None));
        StoreError::Held { path: self.state_path(user), holder, obstacle: None }
    }

    /// The locked state file, made if it is not there.
    pub(super) fn create_state(&self, user: &UserName) -> Result<LockedFile, StoreError> {
        let name = self.file_name(user)?;
        let path = self.state.path.join(&*name);
        for _ in 0..LOCK_TRIES {
            match create(&self.state, &name) {
                Ok(_) | Err(Errno::EXIST) => {}
                Err(error) => return Err(io_error(&path, "make")(error)),
            }
            if let Some(file) = self.lock_state(user, Access::Exclusive)? {
                return Ok(file);
            }
        }
        Err(StoreError::Busy(user.clone()))
    }
}

/// What came of waiting for a state's lock.
pub(super) enum Waited {
    /// It is ours, and the file is the one in place.
    Locked(StateFile),
    /// Another file is in place now, or none.
    Moved,
    /// Another process holds it all the time.
    Held(StateFile),
}

/// Locks a directory, for an order of the tool's. The lock is the descriptor's, and ends
/// with it.
///
/// # Errors
/// [`StoreError::Io`] where directories cannot be locked; [`StoreError::Held`].
pub(super) fn lock_dir(dir: &Dir) -> Result<(), StoreError> {
    let mut wait = Wait::lasting(PATIENCE);
    let fd = dir.own().map_err(io_error(&dir.path, "lock"))?;
    loop {
        match try_lock(fd, Access::Exclusive) {
            Ok(Attempt::Locked) => return Ok(()),
            Err(error) => return Err(io_error(&dir.path, "lock")(error)),
            Ok(Attempt::Held) if wait.pause() => {}
            Ok(Attempt::Held) => {
                let holder = fstat(fd).map(|stat| Holder::find(&stat, None));
                let holder = Box::new(holder.unwrap_or(Holder::Unknown));
                return Err(StoreError::Held { path: dir.path.clone(), holder, obstacle: None });
            }
        }
    }
}

fn sleep(pause: Duration) {
    let mut left = Timespec::try_from(pause).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 1_000_000 });
    while let NanosleepRelativeResult::Interrupted(rest) = nanosleep(&left) {
        left = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_waited_longer_tries_more_often_than_who_has_just_come() {
        let pauses: Vec<Duration> =
            (1..2_000).map(|waited| pause_after(Duration::from_millis(waited))).collect();
        assert!(pauses.is_sorted_by(|longer, shorter| longer >= shorter));
        assert_eq!(pauses.first().unwrap().as_millis(), 4);
        assert_eq!(pauses.last().unwrap().as_micros(), 500);
        // Who comes when one login is under way is quick all the same.
        assert_eq!(pause_after(Duration::ZERO).as_millis(), 1);
    }

    #[test]
    fn a_wait_has_many_attempts_and_ends_after_two_seconds_and_then_a_grace_each() {
        let mut wait = Wait::lasting(PATIENCE);
        let mut pauses = 0;
        let began = std::time::Instant::now();
        while wait.pause() {
            pauses += 1;
        }
        assert!(began.elapsed() >= PATIENCE);
        assert!((3_600..4_000).contains(&pauses), "{pauses}");
        for _ in 0..GRACES {
            assert!(wait.begin_again());
            assert!(wait.pause());
            wait.left = Duration::ZERO;
        }
        assert!(!wait.begin_again());
    }
}
