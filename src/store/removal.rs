//! How an account is removed: the record, and with it the secret, goes first, then what the
//! index has of it, the state and what services have counted. Between these steps what is gone
//! has to be durable: by itself, or with that of others (`super::batch`).

use super::StoreError;
use super::backend::{Backend, Remains, RemoveOutcome, SlotBytes};
use super::durable::{Durability, temporary, unlink};
use super::files::Files;
use super::lock::{Access, LockedFile};
use super::{services, slots};
use crate::account::UserName;

/// A removal that has begun.
pub(super) struct Removal {
    /// Held until the end, and made for it if there is no state: somebody may be about to
    /// issue one. `None` where what keeps it from being made, opened or taken over (a full
    /// disk, a link) does not keep a record alive.
    lock: Option<LockedFile>,
    /// The record's file name.
    name: String,
    /// For whom the index has the record.
    uid: Option<u32>,
    outcome: RemoveOutcome,
    indexed: Result<(), StoreError>,
}

impl Removal {
    /// Whether nobody has taken over the account meanwhile.
    pub(super) fn is_mine(&self, files: &Files, user: &UserName) -> Result<bool, StoreError> {
        match &self.lock {
            Some(lock) => files.is_in_place(user, &lock.state().stat),
            None => Ok(true),
        }
    }
}

impl Files {
    /// Locks the account, and shows `before` what there is of it.
    pub(super) fn begin_removal(
        &self,
        user: &UserName,
        before: &mut dyn FnMut(Remains) -> Option<u32>,
    ) -> Result<Removal, StoreError> {
        let lock = match (self.create_state(user), self.durability()) {
            (
                Err(StoreError::Unsafe { .. } | StoreError::Io { .. } | StoreError::Held { .. }),
                Durability::Now,
            ) => None,
            // Among others it is not done without: it is done alone then.
            (lock, _) => Some(lock?),
        };
        let name = self.record_name(user)?;
        // What cannot be read leaves its name in the index, where it harms nobody.
        let record = self.record(user);
        let snapshots = match &lock {
            Some(lock) => self.follow(user, lock.state()).ok(),
            None => self.remaining_snapshots(user),
        };
        let uid = before(Remains { record, snapshots });
        Ok(Removal { lock, name, uid, outcome: RemoveOutcome::Nothing, indexed: Ok(()) })
    }

    /// Removes the record. The directory of the records is then to be synced.
    pub(super) fn remove_record(&self, removal: &mut Removal) -> Result<(), StoreError> {
        removal.outcome = unlink(&self.users, &removal.name)?;
        unlink(&self.users, &temporary(&removal.name)).map(drop)
    }

    /// Removes the rest, except for what others have put in its place meanwhile. The directory
    /// of the states is then to be synced.
    pub(super) fn remove_rest(
        &self,
        user: &UserName,
        removal: &mut Removal,
    ) -> Result<(), StoreError> {
        // What keeps the index from being changed does not keep a state.
        removal.indexed = self.take_out(user, removal.uid);
        // The state is that of whoever took over meanwhile, and may have issued it again.
        if !removal.is_mine(self, user)? {
            return Ok(());
        }
        let link = match &removal.lock {
            Some(lock) => self.beginning(user, lock.state()).ok().and_then(|it| it.link),
            None => self.link_in_place(user),
        };
        unlink(&self.state, &self.file_name(user)?)?;
        if let Some(link) = link {
            self.drop_displaced(user, link)?;
        }
        // Of another generation it counts nothing.
        services::remove(&self.top, self.owner, &removal.name, self.durability())
    }

    /// Ends it, and says what came of it.
    pub(super) fn end_removal(&self, removal: Removal) -> Result<RemoveOutcome, StoreError> {
        let Removal { lock, outcome, indexed, .. } = removal;
        lock.map_or(Ok(()), LockedFile::release)?;
        match (outcome, indexed) {
            (RemoveOutcome::Record, Err(error)) => Err(StoreError::StillIndexed(Box::new(error))),
            (RemoveOutcome::Record | RemoveOutcome::Nothing, _) => Ok(outcome),
        }
    }

    /// What can be read of a state that is about to be removed.
    fn remaining_snapshots(&self, user: &UserName) -> Option<[SlotBytes; 2]> {
        let file = self.open_state(user, Access::Shared).ok()??;
        self.follow(user, &file).ok()
    }

    /// What the file in place stands in for, if it can be found out.
    fn link_in_place(&self, user: &UserName) -> Option<slots::Link> {
        let file = self.open_state(user, Access::Shared).ok()??;
        self.beginning(user, &file).ok()?.link
    }
}
