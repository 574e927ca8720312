//! The store of files: `users/NAME.toml` holds what was issued, `state/NAME`
//! what logins did; the lock on the latter is the account's lock. Bytes, locks and
//! syncs only: what they mean is the business of [`super::accounts`].

use std::borrow::Cow;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FlockOperation, OFlags, Stat, fdatasync, fstat, ftruncate, renameat, statat,
};
use rustix::io::{Errno, retry_on_intr};
use zeroize::Zeroizing;

use super::backend::{
    Backend, Change, CommitError, Fingerprint, Half, Remains, RemoveOutcome, SlotBytes,
    StoredAccount, Successor, Target,
};
use super::checked::{Dir, io_error, open_top};
use super::durable::{
    Durability, TEMPORARY, create, make_dir, replace, set_nocow, temporary, unlink, within_limit,
};
use super::slots::{self, BOTH_BYTES, FILE_BYTES, Slot};
use super::uids::{Indexing, UIDS};
use super::{Store, StoreError, memory, names};
use crate::account::UserName;

pub(super) const MARKER: &str = "store.toml";
pub(super) const MARKER_TEXT: &str = "# The store of pam_onetime.so. Without this file no login that could need a\n\
                           # code is admitted: a store that is not mounted must not read as \"nobody is enrolled\".\n\
                           format = 1\n\
                           index = \"uids\"\n";
pub(super) const USERS: &str = "users";
pub(super) const STATE: &str = "state";
/// What a record's file name ends in.
pub(super) const RECORD_ENDING: &str = ".toml";

/// A store directory that was checked when it was opened.
#[derive(Debug)]
pub struct Files {
    pub(super) top: Dir,
    users: Dir,
    state: Dir,
    pub(super) indexing: Indexing,
    pub(super) owner: u32,
}

/// A locked state file. The lock ends when it is dropped.
pub struct Lock {
    file: StateFile,
    /// Whether the file's name may be new, and is to be made durable too.
    made: bool,
}

/// How often an account that is being issued or removed meanwhile is tried.
const LOCK_TRIES: u32 = 100;

/// For reading, or for changing.
#[derive(Debug, Clone, Copy)]
pub(super) enum Access {
    Shared,
    Exclusive,
}

impl Access {
    const fn flags(self) -> OFlags {
        match self {
            Self::Shared => OFlags::RDONLY,
            Self::Exclusive => OFlags::RDWR,
        }
    }
}

/// A state file. If it is locked, that is so until it is dropped.
pub(super) struct StateFile {
    file: File,
    bytes: u64,
}

impl StateFile {
    fn new(file: File, stat: &Stat) -> Self {
        Self { file, bytes: u64::try_from(stat.st_size).unwrap_or(u64::MAX) }
    }
}

impl Store<Files> {
    /// Who owns the store outside of tests.
    pub const ROOT: u32 = 0;

    /// Opens the store in `dir`, which `owner` owns.
    ///
    /// # Errors
    /// [`StoreError`], also when there is no store: a login cannot distinguish
    /// "nobody is enrolled" from "not mounted" otherwise.
    pub fn open(dir: &Path, owner: u32) -> Result<Self, StoreError> {
        let no_store = || StoreError::NoStore(dir.to_owned());
        let top = match open_top(dir, owner) {
            Err(StoreError::Io { error, .. }) if error.kind() == ErrorKind::NotFound => {
                return Err(no_store());
            }
            top => top?,
        };
        let marker = match top.text(MARKER, owner) {
            Err(error) if is_not_text(&error) => Zeroizing::default(),
            marker => marker?.ok_or_else(no_store)?,
        };
        if !marker.lines().any(|line| line == "format = 1") {
            return Err(StoreError::Format(dir.join(MARKER)));
        }
        let users = top.dir(USERS, owner)?;
        let state = top.dir(STATE, owner)?;
        let indexing = Indexing::of_marker(&marker);
        Ok(Self { backend: Files { top, users, state, indexing, owner } })
    }

    /// Makes a store in `dir`, and the directories above it. Harmless to
    /// repeat; repairs nothing that is wrong, but removes what an issue that was
    /// killed has left behind.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn init(dir: &Path, owner: u32) -> Result<Self, StoreError> {
        if let Some(above) = dir.parent() {
            // Whatever the umask: others must not be able to write there.
            let mut builder = std::fs::DirBuilder::new();
            builder.recursive(true).mode(0o755).create(above).map_err(io_error(above, "make"))?;
        }
        make_dir(rustix::fs::CWD, dir, dir)?;
        let top = open_top(dir, owner)?;
        // One at a time, where directories can be locked (not on NFS).
        let _unlocked = rustix::fs::flock(&top.fd, FlockOperation::LockExclusive).is_err();
        for name in [USERS, STATE, UIDS] {
            make_dir(&top.fd, Path::new(name), &dir.join(name))?;
        }
        set_nocow(&top.dir(STATE, owner)?);
        if top.text(MARKER, owner)?.is_none() {
            replace(&top, MARKER, MARKER_TEXT)?;
        }
        top.sync()?;
        if let Some(above) = dir.parent() {
            File::open(above)
                .and_then(|above| above.sync_all())
                .map_err(io_error(above, "sync"))?;
        }
        let store = Self::open(dir, owner)?;
        store.backend.sweep()?;
        store.rebuild_index()?;
        if store.indexing() == Indexing::Complete {
            return Ok(store);
        }
        replace(&store.backend.top, MARKER, MARKER_TEXT)?;
        Self::open(dir, owner)
    }

    /// The directory of the store, as it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.backend.top.path
    }
}

impl Backend for Files {
    type Claim = Lock;

    fn peek(&self, user: &UserName) -> Result<Option<StoredAccount>, StoreError> {
        match self.open_state(user, Access::Shared)? {
            Some(file) => self.kept(user, &file),
            None => Ok(None),
        }
    }

    fn read(&self, user: &UserName) -> Result<Option<StoredAccount>, StoreError> {
        Ok(self.lock_account(user, Access::Shared)?.map(|(kept, _unlocked)| kept))
    }

    fn claim(&self, user: &UserName) -> Result<Option<(StoredAccount, Lock)>, StoreError> {
        let locked = self.lock_account(user, Access::Exclusive)?;
        Ok(locked.map(|(kept, file)| (kept, Lock { file, made: false })))
    }

    fn claim_any(&self, user: &UserName) -> Result<Lock, StoreError> {
        Ok(Lock { file: self.create_state(user)?, made: true })
    }

    fn record(&self, user: &UserName) -> Result<Option<Zeroizing<String>>, StoreError> {
        match self.users.text(&self.record_name(user)?, self.owner) {
            Err(error) if is_not_text(&error) => {
                let path = self.location(user, Half::Record);
                Err(StoreError::Record { path, what: "it is not text" })
            }
            text => text,
        }
    }

    fn snapshots(&self, user: &UserName, lock: &Lock) -> Result<[SlotBytes; 2], StoreError> {
        self.snapshots_in(user, &lock.file)
    }

    fn commit(&self, user: &UserName, lock: &Lock, change: Change<'_>) -> Result<(), CommitError> {
        if let Some((snapshot, target)) = change.state {
            self.write_snapshot(user, &lock.file, snapshot, target)?;
            if lock.made {
                self.state.sync()?;
            }
        }
        if let Some(text) = change.record {
            replace(&self.users, &self.record_name(user)?, text)?;
        }
        Ok(())
    }

    fn abandon(&self, user: &UserName, _locked: Lock) -> Result<(), StoreError> {
        unlink(&self.state, &self.file_name(user)?).map(drop)
    }

    fn remove(
        &self,
        user: &UserName,
        before: &mut dyn FnMut(Remains) -> Option<u32>,
    ) -> Result<RemoveOutcome, StoreError> {
        // Held until the end, and made for it if there is no state: somebody
        // may be about to issue one. What keeps it from being made or opened
        // (a full disk, a link) does not keep a record alive.
        let lock = match self.create_state(user) {
            Err(StoreError::Unsafe { .. } | StoreError::Io { .. }) => None,
            lock => Some(lock?),
        };
        // What cannot be read leaves its name in the index, where it harms nobody.
        let uid = before(Remains {
            record: self.record(user).ok().flatten(),
            snapshots: lock.as_ref().and_then(|file| self.snapshots_in(user, file).ok()),
        });
        let name = self.record_name(user)?;
        let removed = unlink(&self.users, &name)?;
        unlink(&self.users, &temporary(&name))?;
        self.users.sync()?;
        self.take_out(user, uid)?;
        unlink(&self.state, &self.file_name(user)?)?;
        self.state.sync()?;
        Ok(removed)
    }

    fn hand_over(
        &self,
        old: &UserName,
        _locked: &Lock,
        new: &UserName,
        text: &str,
    ) -> Result<(), CommitError> {
        let _lock = self.create_state(new)?;
        replace(&self.users, &self.record_name(new)?, text)?;
        // From here on the new name has the account: the old one has no state.
        let (from, to) = (self.file_name(old)?, self.file_name(new)?);
        renameat(&self.state.fd, &*from, &self.state.fd, &*to)
            .map_err(io_error(&self.state.path.join(&*to), "replace"))?;
        self.state.sync()?;
        let name = self.record_name(old)?;
        unlink(&self.users, &name)?;
        unlink(&self.users, &temporary(&name))?;
        Ok(self.users.sync()?)
    }

    fn indexed(&self, uid: u32) -> Result<Vec<UserName>, StoreError> {
        self.names_of(uid)
    }

    fn index(&self, uid: u32, names: &[UserName], user: &UserName) -> Result<(), StoreError> {
        self.put_entry(uid, names, user, Durability::Now)
    }

    fn remembered(&self, key: &Fingerprint) -> Result<Option<Zeroizing<String>>, StoreError> {
        memory::read(&self.top, self.owner, key)
    }

    fn remember(&self, key: &Fingerprint, text: &mut Successor<'_>) -> Result<(), StoreError> {
        memory::write(&self.top, self.owner, key, text)
    }

    fn forget(&self, over: &mut dyn FnMut(&str) -> bool) -> Result<usize, StoreError> {
        memory::sweep(&self.top, self.owner, over)
    }

    fn memory(&self, key: &Fingerprint) -> PathBuf {
        memory::location(&self.top, key)
    }

    fn users(&self) -> Result<impl Iterator<Item = Result<UserName, StoreError>>, StoreError> {
        let entries = rustix::fs::Dir::read_from(&self.users.fd)
            .map_err(io_error(&self.users.path, "list"))?;
        let path = self.users.path.clone();
        Ok(entries.filter_map(move |entry| match entry {
            Ok(entry) => {
                let name = entry.file_name().to_str().ok()?;
                names::decode(name.strip_suffix(RECORD_ENDING)?).map(Ok)
            }
            Err(error) => Some(Err(io_error(&path, "list")(error))),
        }))
    }

    fn location(&self, user: &UserName, half: Half) -> PathBuf {
        match half {
            Half::Record => self.users.path.join(self.record_name(user).unwrap_or_default()),
            Half::State => self.state.path.join(&*names::encode(user).unwrap_or_default()),
        }
    }
}

impl Files {
    /// Opens and locks a state and reads it with its record; `None` if there
    /// is no record.
    fn lock_account(
        &self,
        user: &UserName,
        access: Access,
    ) -> Result<Option<(StoredAccount, StateFile)>, StoreError> {
        // None was ever issued to a name too long to be a file's.
        if names::encode(user).is_none() {
            return Ok(None);
        }
        // The second time round, an account that was just issued or removed
        // has both files or none.
        for _ in 0..LOCK_TRIES {
            let Some(file) = self.open_state(user, access)? else {
                if self.record(user)?.is_none() {
                    return Ok(None);
                }
                continue;
            };
            let Some(file) = self.lock(user, file, access)? else { continue };
            return Ok(self.kept(user, &file)?.map(|kept| (kept, file)));
        }
        Err(self.state_error(user, "the state is missing"))
    }

    /// Locks a state file. `None` if it was removed or has another name since we opened
    /// it: then the lock is on nothing of this user's.
    pub(super) fn lock(
        &self,
        user: &UserName,
        file: StateFile,
        access: Access,
    ) -> Result<Option<StateFile>, StoreError> {
        let StateFile { file, .. } = file;
        let operation = match access {
            Access::Shared => FlockOperation::LockShared,
            Access::Exclusive => FlockOperation::LockExclusive,
        };
        let stat = retry_on_intr(|| rustix::fs::flock(&file, operation))
            .and_then(|()| fstat(&file))
            .map_err(io_error(&self.state.path, "lock a state in"))?;
        let is_it = |named: Stat| (named.st_dev, named.st_ino) == (stat.st_dev, stat.st_ino);
        match statat(&self.state.fd, &*self.file_name(user)?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) if is_it(named) => Ok(Some(StateFile::new(file, &stat))),
            Ok(_) | Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(io_error(&self.state.path, "examine a state in")(error)),
        }
    }

    /// The locked state file; `None` if it does not exist.
    fn lock_state(&self, user: &UserName) -> Result<Option<StateFile>, StoreError> {
        for _ in 0..LOCK_TRIES {
            let Some(file) = self.open_state(user, Access::Exclusive)? else {
                return Ok(None);
            };
            if let Some(file) = self.lock(user, file, Access::Exclusive)? {
                return Ok(Some(file));
            }
        }
        Err(StoreError::Busy(user.clone()))
    }

    /// The locked state file, made if it is not there.
    fn create_state(&self, user: &UserName) -> Result<StateFile, StoreError> {
        let name = self.file_name(user)?;
        let path = self.state.path.join(&*name);
        for _ in 0..LOCK_TRIES {
            match create(&self.state, &name) {
                Ok(_) | Err(Errno::EXIST) => {}
                Err(error) => return Err(io_error(&path, "make")(error)),
            }
            if let Some(file) = self.lock_state(user)? {
                return Ok(file);
            }
        }
        Err(StoreError::Busy(user.clone()))
    }

    pub(super) fn open_state(
        &self,
        user: &UserName,
        access: Access,
    ) -> Result<Option<StateFile>, StoreError> {
        let opened = self.state.file(&self.file_name(user)?, access.flags(), self.owner)?;
        Ok(opened.map(|(file, stat)| StateFile::new(file, &stat)))
    }

    /// What is on disk of an account; `None` if there is no record.
    fn kept(&self, user: &UserName, file: &StateFile) -> Result<Option<StoredAccount>, StoreError> {
        let Some(record) = self.record(user)? else { return Ok(None) };
        Ok(Some(StoredAccount { record, snapshots: self.snapshots_in(user, file)? }))
    }

    /// What is in a state file, valid or not.
    fn snapshots_in(
        &self,
        user: &UserName,
        StateFile { file, bytes }: &StateFile,
    ) -> Result<[SlotBytes; 2], StoreError> {
        if *bytes != FILE_BYTES as u64 {
            return Err(self.state_error(user, "the state does not have 8192 bytes"));
        }
        let mut beginning = [0; BOTH_BYTES];
        file.read_exact_at(&mut beginning, 0)
            .map_err(io_error(&self.state.path, "read a state in"))?;
        Ok(slots::both(&beginning))
    }

    fn write_snapshot(
        &self,
        user: &UserName,
        file: &StateFile,
        snapshot: &SlotBytes,
        target: Target,
    ) -> Result<(), StoreError> {
        let write = |slot: Slot| self.write_state(user, file, slot.offset(), snapshot);
        match target {
            Target::Over(slot) => write(slot),
            Target::OverBoth(slot) => write(slot).and_then(|()| write(slot.other())),
            Target::Anew => {
                within_limit(0, FILE_BYTES)
                    .and_then(|()| Ok(ftruncate(&file.file, FILE_BYTES as u64)?))
                    .map_err(io_error(&self.location(user, Half::State), "resize"))?;
                self.write_state(user, file, 0, &slots::new_file(snapshot))
            }
        }
    }

    /// Writes in place, and returns once it is durable.
    fn write_state(
        &self,
        user: &UserName,
        StateFile { file, .. }: &StateFile,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        within_limit(offset, bytes.len())
            .and_then(|()| file.write_all_at(bytes, offset))
            .and_then(|()| Ok(retry_on_intr(|| fdatasync(file))?))
            .map_err(|error| io_error(&self.location(user, Half::State), "write")(error))
    }

    /// Removes files that are not in force of who was killed: they hold secrets.
    fn sweep(&self) -> Result<(), StoreError> {
        let dir = &self.users;
        let entries = rustix::fs::Dir::read_from(&dir.fd).map_err(io_error(&dir.path, "list"))?;
        for entry in entries {
            let entry = entry.map_err(io_error(&dir.path, "list"))?;
            let name = entry.file_name().to_str().unwrap_or_default();
            let Some(record) = name.strip_prefix(TEMPORARY) else { continue };
            // Whoever is writing it holds the lock.
            let user = record.strip_suffix(RECORD_ENDING).and_then(names::decode);
            let _lock = user.map(|user| self.lock_state(&user)).transpose()?;
            unlink(dir, name)?;
        }
        Ok(())
    }

    fn file_name<'n>(&self, user: &'n UserName) -> Result<Cow<'n, str>, StoreError> {
        names::encode(user).ok_or_else(|| StoreError::Name(user.clone()))
    }

    fn record_name(&self, user: &UserName) -> Result<String, StoreError> {
        self.file_name(user).map(|name| [&name, RECORD_ENDING].concat())
    }

    fn state_error(&self, user: &UserName, what: &'static str) -> StoreError {
        StoreError::State { path: self.location(user, Half::State), what }
    }
}

fn is_not_text(error: &StoreError) -> bool {
    matches!(error, StoreError::Io { error, .. } if error.kind() == ErrorKind::InvalidData)
}
