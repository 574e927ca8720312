//! How a claimed account changes: first what is not in force yet is written, then it is put in
//! force. Between the two, and before anybody is told, it has to be durable: of one account by
//! itself, of many by one sync of all (`super::batch`).

use std::fs::File;
use std::os::unix::fs::FileExt;

use rustix::fs::{fdatasync, ftruncate};
use rustix::io::retry_on_intr;

use super::StoreError;
use super::backend::{Backend, Change, CommitError, Half, SlotBytes, Target};
use super::checked::io_error;
use super::durable::{self, Durability, temporary, within_limit, write_new};
use super::files::{Files, Lock};
use super::lock::StateFile;
#[cfg(any(test, feature = "daemon", feature = "tool"))]
use super::services;
use super::slots::{self, FILE_BYTES, Slot};
use crate::account::UserName;

/// What was written of a change and is to be put in force.
pub(super) struct Staged {
    /// The record's next text, by the name of its temporary file.
    record: Option<File>,
    /// The snapshot that goes over the other slot too.
    second: Option<(Slot, SlotBytes)>,
}

impl Staged {
    pub(super) const fn has_record(&self) -> bool {
        self.record.is_some()
    }
}

impl Files {
    /// Writes what counts only once a record leads to it, or where it is torn the snapshot
    /// before it. It is durable when this returns, unless that is left for later.
    pub(super) fn stage(
        &self,
        user: &UserName,
        lock: &Lock,
        change: Change<'_>,
    ) -> Result<Staged, CommitError> {
        let state = lock.file.state();
        // The module has none to write, and is to be small.
        #[cfg(any(test, feature = "daemon", feature = "tool"))]
        if let Some(text) = change.services {
            let still = || self.must_be_in_place(user, state);
            services::write(&self.top, self.owner, &self.record_name(user)?, text, still)?;
        }
        let mut second = None;
        if let Some((snapshot, target)) = change.state {
            self.write_snapshot(user, state, snapshot, target)?;
            if let Target::OverBoth(slot) = target {
                second = Some((slot.other(), *snapshot));
            }
            if lock.made && self.durability() == Durability::Now {
                self.state.sync()?;
            }
        }
        let record = change.record.map(|text| {
            let still = || self.must_be_in_place(user, state);
            let name = self.record_name(user)?;
            write_new(&self.users, &temporary(&name), &name, text, self.durability(), still)
        });
        Ok(Staged { record: record.transpose()?, second })
    }

    /// Puts in force what was staged. The directory of the records is still to be synced.
    pub(super) fn put_in_force(
        &self,
        user: &UserName,
        lock: &Lock,
        staged: &Staged,
    ) -> Result<(), StoreError> {
        let state = lock.file.state();
        if let Some((slot, snapshot)) = &staged.second {
            self.write_state(user, state, slot.offset(), snapshot)?;
        }
        if let Some(file) = &staged.record {
            let still = || self.must_be_in_place(user, state);
            let name = self.record_name(user)?;
            durable::put_in_force(&self.users, &temporary(&name), &name, file, still)?;
        }
        Ok(())
    }

    /// Removes what was staged.
    #[cfg(any(test, feature = "tool"))]
    pub(super) fn withdraw(&self, user: &UserName, staged: &Staged) {
        if let (Some(file), Ok(name)) = (&staged.record, self.record_name(user)) {
            durable::withdraw(&self.users, &temporary(&name), file);
        }
    }

    fn write_snapshot(
        &self,
        user: &UserName,
        file: &StateFile,
        snapshot: &SlotBytes,
        target: Target,
    ) -> Result<(), StoreError> {
        match target {
            Target::Over(slot) | Target::OverBoth(slot) => {
                self.write_state(user, file, slot.offset(), snapshot)
            }
            Target::Anew => {
                within_limit(0, FILE_BYTES)
                    .and_then(|()| Ok(ftruncate(&file.file, FILE_BYTES as u64)?))
                    .map_err(|error| {
                        io_error(&self.location(user, Half::State), "resize")(error)
                    })?;
                self.write_state(user, file, 0, &slots::new_file(snapshot))
            }
        }
    }

    /// Writes in place. It is durable when this returns, unless that is left for later.
    fn write_state(
        &self,
        user: &UserName,
        StateFile { file, .. }: &StateFile,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let synced = || match self.durability() {
            Durability::Now => Ok(retry_on_intr(|| fdatasync(file))?),
            Durability::Later => Ok(()),
        };
        within_limit(offset, bytes.len())
            .and_then(|()| file.write_all_at(bytes, offset))
            .and_then(|()| synced())
            .map_err(|error| io_error(&self.location(user, Half::State), "write")(error))
    }
}
