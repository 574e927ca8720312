//! Takes over the lock of an account from a process that does not let go of it.
//!
//! The successor makes a new state file, locked, that stands in for the one in place, and
//! exchanges both. From then on nobody is told of a success who holds the old one: whoever
//! has committed looks whether the file in place is still theirs. So the old one may be
//! copied in peace. When the copy is durable, the new file no longer stands in for it, and
//! it is removed. Each file stands in for what it displaced itself, by a random number, so
//! any number of successors may be under way, and each may be killed anywhere:
//! tests/it/succession.rs explores all of it. docs/FILEFORMAT.md has the bytes.

use std::fs::File;
use std::io::ErrorKind::NotFound;
use std::os::unix::fs::FileExt;

use rand::TryRng;
use rand::rngs::SysRng;
use rustix::fs::{OFlags, RenameFlags, fdatasync, fstat, fsync, renameat_with};
use rustix::io::{Errno, retry_on_intr};

use super::backend::SlotBytes;
use super::checked::io_error;
use super::durable::{create, is_at, temporary, unlink, within_limit};
use super::files::{Files, LOCK_TRIES};
use super::holder::Holder;
use super::lock::{Access, Attempt, LockedFile, StateFile, try_lock};
use super::names;
use super::slots::{self, Beginning, FILE_BYTES, LINK_AT, LINK_BYTES, Link, Slot};
use super::{StoreError, TakeOver, services};
use crate::account::UserName;

/// More files than ever stood in for each other.
const MAX_CHAIN: u32 = 100;

/// Letters of a number in a file name: of 8 bytes in base 32.
const NUMBER_LETTERS: usize = 13;

/// What is read while others may write to it, once it is the same twice; `None` if that is
/// never.
pub(super) fn same_twice<T: PartialEq>(
    mut read: impl FnMut() -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut before = read()?;
    for _ in 0..LOCK_TRIES {
        let now = read()?;
        if now == before {
            return Ok(Some(now));
        }
        before = now;
    }
    Ok(None)
}

impl Files {
    /// Puts a new file in the place of the locked file `held`, which it stands in for;
    /// `None` if there was none any more.
    pub(super) fn take_over(
        &self,
        user: &UserName,
        held: &StateFile,
    ) -> Result<Option<StateFile>, StoreError> {
        let refuse = |error: StoreError, holder: Holder| StoreError::Held {
            path: self.state_path(user),
            holder: Box::new(holder),
            obstacle: Some(Box::new(error)),
        };
        let unseen = || Holder::find(&held.stat, None);
        let mut number = [0; 8];
        if SysRng.try_fill_bytes(&mut number).is_err() {
            let error = io_error(&self.state.path, "find a name in")(Errno::AGAIN);
            return Err(refuse(error, unseen()));
        }
        let link = Link(number);
        let name = displaced_name(&self.file_name(user)?, link);
        let file = create(&self.state, &name)
            .map_err(io_error(&self.state.path, "make a file in"))
            .map_err(|error| refuse(error, unseen()))?;
        let stat = fstat(&file).map_err(io_error(&self.state.path, "examine a file in"))?;
        let new = StateFile { file, stat };
        // Before the exchange: who holds what is in place then is not seen any more.
        let prepared =
            prepare(&new.file, link).map_err(io_error(&self.state.path, "make a file in"));
        let holder = Holder::find(&held.stat, Some(&new.stat));
        // Whoever was quicker needs no successor.
        let exchanged = prepared.and_then(|()| match self.is_in_place(user, &held.stat)? {
            true => self.exchange(user, &name),
            false => Err(io_error(&self.state.path, "find a state in")(Errno::NOENT)),
        });
        if let Err(error) = exchanged {
            // Whatever came of it: only what is surely not the account's state.
            if is_at(&self.state, &name, &new.stat) == Ok(true) {
                let _left = unlink(&self.state, &name).is_err();
            }
            let gone = matches!(&error, StoreError::Io { error, .. } if error.kind() == NotFound);
            return if gone { Ok(None) } else { Err(refuse(error, holder)) };
        }
        // A record that the predecessor is about to put in force no longer can be: ours is
        // read, and changed, after this.
        let name = self.record_name(user)?;
        unlink(&self.users, &temporary(&name))?;
        services::withdraw(&self.top, self.owner, &name)?;
        self.note(TakeOver { user: user.clone(), holder });
        // As large as it is now.
        let stat = fstat(&new.file).map_err(io_error(&self.state.path, "examine a file in"))?;
        Ok(self.is_in_place(user, &stat)?.then_some(StateFile { stat, ..new }))
    }

    fn exchange(&self, user: &UserName, name: &str) -> Result<(), StoreError> {
        let place = self.file_name(user)?;
        let dir = &self.state;
        let (ours, theirs) = (dir.name(name), dir.name(&place));
        renameat_with(dir.at(), &*ours, dir.at(), &*theirs, RenameFlags::EXCHANGE)
            .map_err(io_error(&self.state_path(user), "exchange (renameat2)"))
    }

    /// The slots of a locked file. If it stands in for another, it gets that one's first,
    /// and then no longer does.
    pub(super) fn settled(
        &self,
        user: &UserName,
        locked: &LockedFile,
    ) -> Result<[SlotBytes; 2], StoreError> {
        let state = locked.state();
        let Beginning { slots, link } = self.beginning(user, state)?;
        let Some(link) = link else { return Ok(slots) };
        // Who exchanged them may have been killed before this.
        self.state.sync()?;
        let slots = self.follow(user, state)?;
        let [first, second] = &slots;
        let write = |bytes: &[u8], offset| state.file.write_all_at(bytes, offset);
        within_limit(0, FILE_BYTES)
            .and_then(|()| write(first, Slot::First.offset()))
            .and_then(|()| write(second, Slot::Second.offset()))
            .and_then(|()| Ok(retry_on_intr(|| fdatasync(&state.file))?))
            .and_then(|()| write(&[0; LINK_BYTES], LINK_AT))
            .and_then(|()| Ok(retry_on_intr(|| fdatasync(&state.file))?))
            .map_err(io_error(&self.state_path(user), "write"))?;
        self.drop_displaced(user, link)?;
        Ok(slots)
    }

    /// The slots of the file that `state` stands in for, or of the one that this one
    /// does; its own if it has them.
    pub(super) fn follow(
        &self,
        user: &UserName,
        state: &StateFile,
    ) -> Result<[SlotBytes; 2], StoreError> {
        let mut at = None;
        for _ in 0..MAX_CHAIN {
            let Beginning { slots, link } = match &at {
                None => self.beginning(user, state)?,
                Some(displaced) => self.beginning_at_rest(user, displaced)?,
            };
            let Some(link) = link else { return Ok(slots) };
            // Gone: who holds the file that names it has got its state meanwhile.
            at = self.displaced(user, link, OFlags::RDONLY)?;
        }
        Err(self.state_error(user, "the state that it stands in for is missing"))
    }

    /// As [`Files::beginning`], of a file that one process may be writing to, which has
    /// been passed over: until it is the same twice.
    fn beginning_at_rest(
        &self,
        user: &UserName,
        state: &StateFile,
    ) -> Result<Beginning, StoreError> {
        same_twice(|| self.beginning_of_any_size(user, state))?
            .ok_or_else(|| StoreError::Busy(user.clone()))
    }

    /// A state that is no state has no valid slot in its successor either.
    fn beginning_of_any_size(
        &self,
        user: &UserName,
        state: &StateFile,
    ) -> Result<Beginning, StoreError> {
        match self.beginning(user, state) {
            Err(StoreError::State { .. }) => {
                Ok(Beginning { slots: [[0; slots::SLOT_BYTES]; 2], link: None })
            }
            beginning => beginning,
        }
    }

    /// Removes what `link` names, and what that stands in for.
    pub(super) fn drop_displaced(&self, user: &UserName, link: Link) -> Result<(), StoreError> {
        let mut next = Some(link);
        for _ in 0..MAX_CHAIN {
            let Some(link) = next else { break };
            next = match self.displaced(user, link, OFlags::RDONLY)? {
                Some(displaced) => self.beginning_of_any_size(user, &displaced)?.link,
                None => None,
            };
            unlink(&self.state, &displaced_name(&self.file_name(user)?, link))?;
        }
        Ok(())
    }

    fn displaced(
        &self,
        user: &UserName,
        link: Link,
        access: OFlags,
    ) -> Result<Option<StateFile>, StoreError> {
        let name = displaced_name(&self.file_name(user)?, link);
        let opened = self.state.file(&name, access, self.owner)?;
        Ok(opened.map(|(file, stat)| StateFile { file, stat }))
    }
}

/// Locks a new file, which nobody else has, and makes it stand in.
fn prepare(file: &File, link: Link) -> Result<(), Errno> {
    if try_lock(file, Access::Exclusive)? == Attempt::Held {
        return Err(Errno::WOULDBLOCK);
    }
    within_limit(0, FILE_BYTES)
        .and_then(|()| file.write_all_at(&slots::stand_in(link), 0))
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    retry_on_intr(|| fsync(file))
}

/// Where a file is that was displaced: never the name of a state, which has no dot.
fn displaced_name(state: &str, link: Link) -> String {
    let number = base32::encode(base32::Alphabet::Rfc4648Lower { padding: false }, &link.0);
    format!(".{number}-{state}")
}

/// Whose displaced state a file in `state/` is; `None` if it is none.
pub(super) fn displaced_of(name: &str) -> Option<UserName> {
    let (number, state) = name.strip_prefix('.')?.split_at_checked(NUMBER_LETTERS)?;
    let is_digit = |c: char| c.is_ascii_lowercase() || ('2'..='7').contains(&c);
    number.chars().all(is_digit).then(|| names::decode(state.strip_prefix('-')?)).flatten()
}
