//! What a login keeps of an account between its first look and the change: the state, open,
//! and the record's text with what identified its file. Neither is believed again unless
//! its name still leads to it. Who holds the name's file looks at it under the lock, as
//! without this; who does not, opens and reads what is there now.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::Stat;
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::StoreError;
use super::backend::Backend;
use super::checked::io_error;
use super::files::Files;
use super::lock::{Access, StateFile};
use crate::account::UserName;

/// Keeps nothing unless it is told to.
#[derive(Default)]
pub(super) struct Seen(Option<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    state: Option<(UserName, StateFile)>,
    record: Option<(UserName, SeenRecord)>,
}

/// A record as it was read.
struct SeenRecord {
    stat: Stat,
    text: Zeroizing<String>,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Seen" } else { "Unseen" })
    }
}

impl Seen {
    /// For the one account of a login.
    pub(super) fn of_a_login() -> Self {
        Self(Some(Mutex::default()))
    }

    fn kept(&self) -> Option<MutexGuard<'_, Kept>> {
        self.0.as_ref().map(|kept| kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn keep_record(&self, user: &UserName, stat: Stat, text: &Zeroizing<String>) {
        if let Some(mut kept) = self.kept() {
            kept.record = Some((user.clone(), SeenRecord { stat, text: text.clone() }));
        }
    }

    /// The text of the file that the name of the record leads to now, if it was read before.
    fn record(&self, user: &UserName, now: &Stat) -> Option<Zeroizing<String>> {
        let kept = self.kept()?;
        let (of, seen) = kept.record.as_ref()?;
        (of == user && is_same(&seen.stat, now)).then(|| seen.text.clone())
    }
}

/// Whether these are of one file, which nobody has changed. A record is replaced by another
/// file; whoever writes into it changes its times.
fn is_same(seen: &Stat, now: &Stat) -> bool {
    let file = |stat: &Stat| (stat.st_dev, stat.st_ino, stat.st_nlink);
    let access = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid);
    let times =
        |stat: &Stat| (stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec);
    file(seen) == file(now)
        && access(seen) == access(now)
        && seen.st_size == now.st_size
        && times(seen) == times(now)
}

impl Files {
    /// Looks at a state for the first time, in a login by a descriptor that can change it
    /// later. Where it cannot be written, it is looked at all the same, and not kept.
    pub(super) fn look_at_state<T>(
        &self,
        user: &UserName,
        look: impl Fn(&StateFile) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        if self.seen.0.is_some()
            && let Ok(Some(state)) = self.open_state(user, Access::Exclusive)
        {
            let seen = look(&state)?;
            if let Some(mut kept) = self.seen.kept() {
                kept.state = Some((user.clone(), state));
            }
            return Ok(Some(seen));
        }
        self.open_state(user, Access::Shared)?.map(|state| look(&state)).transpose()
    }

    /// The state that was looked at, to be locked, or else the one in place.
    pub(super) fn open_again(
        &self,
        user: &UserName,
        access: Access,
    ) -> Result<Option<StateFile>, StoreError> {
        let seen = self.seen.kept().and_then(|mut kept| kept.state.take());
        match seen {
            Some((of, state)) if of == *user => Ok(Some(state)),
            Some(_) | None => self.open_state(user, access),
        }
    }

    /// The record's text, read again unless it is surely the same.
    pub(super) fn record_again(
        &self,
        user: &UserName,
    ) -> Result<Option<Zeroizing<String>>, StoreError> {
        if self.seen.0.is_some() {
            let name = self.record_name(user)?;
            match self.users.stat(&name) {
                Ok(now) => {
                    if let Some(text) = self.seen.record(user, &now) {
                        return Ok(Some(text));
                    }
                }
                Err(Errno::NOENT) => return Ok(None),
                Err(error) => return Err(io_error(&self.users.path, "examine a record in")(error)),
            }
        }
        self.record(user)
    }
}
