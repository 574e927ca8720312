//! The store of files: `users/NAME.toml` holds what was issued, `state/NAME`
//! what logins did; the lock on the latter is the account's lock.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FlockOperation, IFlags, Mode, OFlags, Stat, chmodat, fchmod, fdatasync, fstat, fsync,
    ftruncate, mkdirat, openat, renameat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Resource, getrlimit};
use zeroize::Zeroizing;

use super::checked::{Dir, beyond_stdio, io_error, open_top};
use super::slots::{self, BOTH_BYTES, FILE_BYTES, Holding, SLOT_BYTES};
use super::{StoreError, names, record};
use crate::account::{Account, Record, State, Timestamp, TokenState, UserName};
use crate::code::{Kind, Step};
use crate::login::{Judgement, Verdict};

pub(super) const MARKER: &str = "store.toml";
const MARKER_TEXT: &str = "# The store of pam_onetime.so. Without this file no login that could need a\n\
                           # code is admitted: it tells \"nobody is enrolled\" from \"not mounted\".\n\
                           format = 1\n";
pub(super) const USERS: &str = "users";
pub(super) const STATE: &str = "state";
/// What a record's file name ends in.
pub(super) const RECORD_ENDING: &str = ".toml";
/// What the name of a file begins with that is not in force yet.
pub(super) const TEMPORARY: &str = ".new-";

/// A store directory that was checked when it was opened.
#[derive(Debug)]
pub struct Store {
    top: Dir,
    users: Dir,
    state: Dir,
    owner: u32,
}

/// Whether [`Store::issue`] may put a new record in the place of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// It may: the old secret is lost.
    Yes,
    /// It may not.
    No,
}

/// What [`Store::issue`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issued {
    /// The record is in force.
    New,
    /// There was one already, and it still is.
    AlreadyThere,
}

/// What [`Store::remove`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// A record, which is gone.
    Record,
    /// None.
    Nothing,
}

/// What [`Store::repair`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repaired {
    /// Nothing: the account is sound.
    Sound,
    /// There is no account.
    NoRecord,
    /// Its state was lost; it is now active, and no code shown up to now is
    /// accepted.
    StateRebuilt,
}

/// How often an account that is being issued or removed meanwhile is tried.
const LOCK_TRIES: u32 = 100;

/// For reading, or for changing.
#[derive(Debug, Clone, Copy)]
enum Lock {
    Shared,
    Exclusive,
}

impl Lock {
    const fn access(self) -> OFlags {
        match self {
            Self::Shared => OFlags::RDONLY,
            Self::Exclusive => OFlags::RDWR,
        }
    }
}

/// An account as it was read, and what it was read from: where that is still so under
/// the lock, it need not be made sense of again.
#[derive(Clone)]
pub struct Loaded {
    /// The account.
    pub account: Account,
    holding: Holding,
    read: Read,
}

impl Loaded {
    fn is_of(&self, user: &UserName) -> bool {
        self.account.record.user == *user
    }
}

/// What is on disk of an account. It holds the secret: there is no `Debug`.
#[derive(Clone, PartialEq, Eq)]
struct Read {
    record: Zeroizing<String>,
    slots: [[u8; SLOT_BYTES]; 2],
}

/// What has been read of an account under its lock.
struct Locked<'k> {
    file: StateFile,
    loaded: Cow<'k, Loaded>,
}

/// A state file. If it is locked, that is so until it is dropped.
struct StateFile {
    file: File,
    bytes: u64,
}

impl StateFile {
    fn new(file: File, stat: &Stat) -> Self {
        Self { file, bytes: u64::try_from(stat.st_size).unwrap_or(u64::MAX) }
    }
}

impl Store {
    /// Who owns the store outside of tests.
    pub const ROOT: u32 = 0;

    /// Opens the store in `dir`, which `owner` owns.
    ///
    /// # Errors
    /// [`StoreError`], also when there is no store: a login cannot tell
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
        Ok(Self { top, users, state, owner })
    }

    /// Makes a store in `dir`, and the directories above it. Harmless to
    /// repeat; mends nothing that is wrong, but removes what an issue that was
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
        for name in [USERS, STATE] {
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
        store.sweep()?;
        Ok(store)
    }

    /// The account of `user`, whose uid is `uid`; `None` if they have no record.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn load(&self, user: &UserName, uid: u32) -> Result<Option<Loaded>, StoreError> {
        let loaded = self.look(user)?;
        if let Some(loaded) = &loaded {
            self.must_be_of(user, uid, &loaded.account)?;
        }
        Ok(loaded)
    }

    /// A user who was re-created does not inherit the record.
    fn must_be_of(&self, user: &UserName, uid: u32, account: &Account) -> Result<(), StoreError> {
        let recorded = account.record.uid;
        if recorded.admits(uid) {
            return Ok(());
        }
        let path = self.record_path(user);
        Err(StoreError::Uid { path, user: user.clone(), recorded, actual: uid })
    }

    /// As [`Store::load`], whatever the uid: for admins, not for logins.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn inspect(&self, user: &UserName) -> Result<Option<Account>, StoreError> {
        Ok(self.look(user)?.map(|loaded| loaded.account))
    }

    /// The account of a user whom the system perhaps does not know: only if it does, the
    /// uid must be the record's.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn inspect_as(
        &self,
        user: &UserName,
        uid: Option<u32>,
    ) -> Result<Option<Account>, StoreError> {
        match uid {
            Some(uid) => Ok(self.load(user, uid)?.map(|loaded| loaded.account)),
            None => self.inspect(user),
        }
    }

    /// Reads an account, and holds no lock on it when done.
    ///
    /// Whoever writes at the same time leaves it as it was or as it will be, and mostly
    /// sound: then there is nothing to wait for. If it is not, it is read under the lock.
    fn look(&self, user: &UserName) -> Result<Option<Loaded>, StoreError> {
        let read = self.open_state(user, OFlags::RDONLY).and_then(|file| match file {
            Some(file) => self.read_account(user, &file),
            None => Ok(None),
        });
        if let Some(sound) = unless_damaged(read)?.flatten() {
            return Ok(Some(sound));
        }
        let locked = self.lock_account(user, Lock::Shared, None)?;
        Ok(locked.map(|locked| locked.loaded.into_owned()))
    }

    fn read_account(
        &self,
        user: &UserName,
        file: &StateFile,
    ) -> Result<Option<Loaded>, StoreError> {
        let read = self.read(user, file)?;
        read.map(|read| self.understand(user, read)).transpose()
    }

    /// `None` if there is no record.
    fn read(&self, user: &UserName, file: &StateFile) -> Result<Option<Read>, StoreError> {
        let Some(record) = self.record_text(user)? else { return Ok(None) };
        Ok(Some(Read { record, slots: self.slots(user, file)? }))
    }

    /// Judges under the account's lock, commits the next state durably, and
    /// only then tells the verdict. What was loaded before is read again.
    ///
    /// # Errors
    /// [`StoreError`]: then nothing was decided, and the login is refused.
    pub fn update(
        &self,
        user: &UserName,
        uid: u32,
        loaded: Option<&Loaded>,
        judge: impl FnOnce(Option<&Account>) -> Judgement,
    ) -> Result<Verdict, StoreError> {
        let Some(locked) = self.lock_account(user, Lock::Exclusive, loaded)? else {
            return judge(None).settle(|_| Err(StoreError::NotEnabled(user.clone())));
        };
        let account = &locked.loaded.account;
        self.must_be_of(user, uid, account)?;
        judge(Some(account)).settle(|next| self.commit(user, &locked, next))
    }

    /// Changes a state otherwise than by a login's verdict.
    ///
    /// # Errors
    /// [`StoreError`], also when there is no record; those of `change`.
    pub fn amend<E: From<StoreError>>(
        &self,
        user: &UserName,
        change: impl FnOnce(&Account) -> Result<State, E>,
    ) -> Result<(), E> {
        let locked = self.lock_enabled(user)?;
        let next = change(&locked.loaded.account)?;
        Ok(self.commit(user, &locked, &next)?)
    }

    /// Changes what was issued without issuing anew: the generation and with
    /// it the state stay. The state goes first.
    ///
    /// # Errors
    /// [`StoreError`], also when there is no record; those of `change`.
    pub fn amend_record<E: From<StoreError>>(
        &self,
        user: &UserName,
        change: impl FnOnce(&Account) -> Result<Account, E>,
    ) -> Result<(), E> {
        let locked = self.lock_enabled(user)?;
        let next = change(&locked.loaded.account)?;
        if next.state != locked.loaded.account.state {
            self.commit(user, &locked, &next.state)?;
        }
        Ok(self.write_record(&next.record)?)
    }

    /// Puts `account` in force: with a fresh state, or with that which its
    /// tokens had elsewhere.
    ///
    /// The state goes first, into the slot that the record in force does not
    /// use: at any point, the old account is whole or the new one is.
    ///
    /// # Errors
    /// [`StoreError`]: then a sound account that was in force still is.
    pub fn issue(&self, account: &Account, replace_old: Replace) -> Result<Issued, StoreError> {
        let Account { record, state } = account;
        let user = &record.user;
        // A broken account is told as such, and nothing is made beside it.
        if replace_old == Replace::No && self.inspect(user)?.is_some() {
            return Ok(Issued::AlreadyThere);
        }
        let file = self.create_state(user)?;
        let old = match replace_old {
            Replace::No if self.record(user)?.is_some() => return Ok(Issued::AlreadyThere),
            Replace::No => None,
            // Damaged: it is what is to be replaced.
            Replace::Yes => unless_damaged(self.record(user))?.flatten(),
        };
        let old = old.map(|old| unless_damaged(self.holding(user, &file, &old))).transpose()?;
        match old.flatten() {
            Some(Holding { spare, sequence, .. }) => {
                self.write_state(user, &file, spare.offset(), &slots::encode(sequence, state))?;
            }
            None => self.rewrite_state(user, &file, state)?,
        }
        self.state.sync()?;
        self.write_record(record)?;
        Ok(Issued::New)
    }

    /// Removes the record, and with it the secret, then the state. Works on
    /// damaged accounts too.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remove(&self, user: &UserName) -> Result<Removed, StoreError> {
        // Held until the end, and made for it if there is no state: somebody
        // may be about to issue one. What keeps it from being made or opened
        // (a full disk, a link) does not keep a record alive.
        let _lock = match self.create_state(user) {
            Err(StoreError::Unsafe { .. } | StoreError::Io { .. }) => None,
            lock => Some(lock?),
        };
        let name = self.record_name(user)?;
        let removed = unlink(&self.users, &name)?;
        unlink(&self.users, &temporary(&name))?;
        self.users.sync()?;
        unlink(&self.state, &self.file_name(user)?)?;
        self.state.sync()?;
        Ok(removed)
    }

    /// Mends what a login refuses and can be mended without guessing.
    ///
    /// A lost state becomes that of an active account whose codes up to and
    /// including those of `now` and `window` steps later are spent. Never a
    /// fresh one: that would show the secret and let codes be used twice.
    ///
    /// # Errors
    /// [`StoreError`] if the record is damaged, or if a hotp token's counter
    /// was lost with the state.
    pub fn repair(
        &self,
        user: &UserName,
        now: Timestamp,
        window: u64,
    ) -> Result<Repaired, StoreError> {
        // Judged under the lock: it may be about to be issued.
        let file = self.create_state(user)?;
        let Some(record) = self.record(user)? else {
            unlink(&self.state, &self.file_name(user)?)?;
            return Ok(Repaired::NoRecord);
        };
        if unless_damaged(self.holding(user, &file, &record))?.is_some() {
            return Ok(Repaired::Sound);
        }
        let mut state = State { activated_at: Some(now), ..State::fresh(record.generation) };
        for (id, token) in &record.tokens {
            let Kind::Totp { period } = token.kind else {
                return Err(StoreError::CounterLost(user.clone()));
            };
            let present = now.0.checked_div(u64::from(period.get())).unwrap_or(0);
            let next = Step(present).plus(window).plus(1);
            state = state.with_token(*id, TokenState { next, ..TokenState::default() });
        }
        self.rewrite_state(user, &file, &state)?;
        self.state.sync()?;
        Ok(Repaired::StateRebuilt)
    }

    /// Everybody who has a record, in no particular order.
    ///
    /// # Errors
    /// [`StoreError`] if the directory cannot be read.
    pub fn users(&self) -> Result<impl Iterator<Item = Result<UserName, StoreError>>, StoreError> {
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

    /// As [`Store::lock_account`] for changing an account that must be there.
    fn lock_enabled(&self, user: &UserName) -> Result<Locked<'static>, StoreError> {
        let locked = self.lock_account(user, Lock::Exclusive, None)?;
        locked.ok_or_else(|| StoreError::NotEnabled(user.clone()))
    }

    /// Opens and locks a state and reads it with its record; `None` if there
    /// is no record. The lock ends when the result is dropped.
    fn lock_account<'k>(
        &self,
        user: &UserName,
        mode: Lock,
        known: Option<&'k Loaded>,
    ) -> Result<Option<Locked<'k>>, StoreError> {
        // None was ever issued to a name too long to be a file's.
        if names::encode(user).is_none() {
            return Ok(None);
        }
        // The second time round, an account that was just issued or removed
        // has both files or none.
        for _ in 0..LOCK_TRIES {
            let Some(file) = self.open_state(user, mode.access())? else {
                if self.record(user)?.is_none() {
                    return Ok(None);
                }
                continue;
            };
            let Some(file) = self.lock(file, mode)? else { continue };
            let Some(read) = self.read(user, &file)? else { return Ok(None) };
            let loaded = match known {
                Some(known) if known.is_of(user) && known.read == read => Cow::Borrowed(known),
                Some(_) | None => Cow::Owned(self.understand(user, read)?),
            };
            return Ok(Some(Locked { file, loaded }));
        }
        Err(self.state_error(user, "the state is missing"))
    }

    /// Makes sense of what was read.
    fn understand(&self, user: &UserName, read: Read) -> Result<Loaded, StoreError> {
        let record = self.record_in(user, &read.record)?;
        let holding = self.holding_in(user, &read.slots, &record)?;
        Ok(Loaded { account: Account { record, state: holding.state }, holding, read })
    }

    /// Locks a state file. `None` if it was removed while we waited: then the
    /// lock is on nothing.
    fn lock(&self, file: StateFile, mode: Lock) -> Result<Option<StateFile>, StoreError> {
        let StateFile { file, .. } = file;
        let operation = match mode {
            Lock::Shared => FlockOperation::LockShared,
            Lock::Exclusive => FlockOperation::LockExclusive,
        };
        let stat = retry_on_intr(|| rustix::fs::flock(&file, operation))
            .and_then(|()| fstat(&file))
            .map_err(io_error(&self.state.path, "lock a state in"))?;
        Ok((stat.st_nlink > 0).then_some(StateFile::new(file, &stat)))
    }

    /// The locked state file; `None` if there is none.
    fn lock_state(&self, user: &UserName) -> Result<Option<StateFile>, StoreError> {
        for _ in 0..LOCK_TRIES {
            let Some(file) = self.open_state(user, OFlags::RDWR)? else {
                return Ok(None);
            };
            if let Some(file) = self.lock(file, Lock::Exclusive)? {
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

    fn open_state(&self, user: &UserName, access: OFlags) -> Result<Option<StateFile>, StoreError> {
        let opened = self.state.file(&self.file_name(user)?, access, self.owner)?;
        Ok(opened.map(|(file, stat)| StateFile::new(file, &stat)))
    }

    /// What is in a state file, valid or not.
    fn slots(
        &self,
        user: &UserName,
        StateFile { file, bytes }: &StateFile,
    ) -> Result<[[u8; SLOT_BYTES]; 2], StoreError> {
        if *bytes != FILE_BYTES as u64 {
            return Err(self.state_error(user, "the state does not have 8192 bytes"));
        }
        let mut beginning = [0; BOTH_BYTES];
        file.read_exact_at(&mut beginning, 0)
            .map_err(io_error(&self.state.path, "read a state in"))?;
        Ok(slots::both(&beginning))
    }

    fn holding(
        &self,
        user: &UserName,
        file: &StateFile,
        record: &Record,
    ) -> Result<Holding, StoreError> {
        self.holding_in(user, &self.slots(user, file)?, record)
    }

    fn holding_in(
        &self,
        user: &UserName,
        slots: &[[u8; SLOT_BYTES]; 2],
        record: &Record,
    ) -> Result<Holding, StoreError> {
        slots::read(slots, record.generation).map_err(|what| self.state_error(user, what))
    }

    fn commit(&self, user: &UserName, locked: &Locked<'_>, next: &State) -> Result<(), StoreError> {
        let Locked { file, loaded } = locked;
        let Holding { spare, sequence, .. } = loaded.holding;
        let bytes = slots::encode(sequence, next);
        self.write_state(user, file, spare.offset(), &bytes)?;
        if next.activated_at != loaded.account.state.activated_at {
            // Also over the snapshot that still says "pending": if the newer
            // one went bad, it would show the secret again.
            self.write_state(user, file, spare.other().offset(), &bytes)?;
        }
        Ok(())
    }

    /// Makes the file one that holds `state` and nothing else.
    fn rewrite_state(
        &self,
        user: &UserName,
        file: &StateFile,
        state: &State,
    ) -> Result<(), StoreError> {
        within_limit(0, FILE_BYTES)
            .and_then(|()| Ok(ftruncate(&file.file, FILE_BYTES as u64)?))
            .map_err(|error| io_error(&self.state_path(user), "resize")(error))?;
        self.write_state(user, file, 0, &slots::new_file(state))
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
            .map_err(|error| io_error(&self.state_path(user), "write")(error))
    }

    fn write_record(&self, record: &Record) -> Result<(), StoreError> {
        let user = &record.user;
        let text = record::to_text(record)
            .map_err(|_| self.record_error(user, "it cannot be written as TOML"))?;
        replace(&self.users, &self.record_name(user)?, &text)
    }

    fn record(&self, user: &UserName) -> Result<Option<Record>, StoreError> {
        let text = self.record_text(user)?;
        text.map(|text| self.record_in(user, &text)).transpose()
    }

    fn record_text(&self, user: &UserName) -> Result<Option<Zeroizing<String>>, StoreError> {
        match self.users.text(&self.record_name(user)?, self.owner) {
            Err(error) if is_not_text(&error) => Err(self.record_error(user, "it is not text")),
            text => text,
        }
    }

    fn record_in(&self, user: &UserName, text: &str) -> Result<Record, StoreError> {
        let record = record::from_text(text).map_err(|what| self.record_error(user, what))?;
        if record.user != *user {
            return Err(self.record_error(user, "it is another user's"));
        }
        Ok(record)
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

    /// For messages.
    fn state_path(&self, user: &UserName) -> PathBuf {
        self.state.path.join(&*names::encode(user).unwrap_or_default())
    }

    /// For messages.
    fn record_path(&self, user: &UserName) -> PathBuf {
        self.users.path.join(self.record_name(user).unwrap_or_default())
    }

    fn state_error(&self, user: &UserName, what: &'static str) -> StoreError {
        StoreError::State { path: self.state_path(user), what }
    }

    fn record_error(&self, user: &UserName, what: &'static str) -> StoreError {
        StoreError::Record { path: self.record_path(user), what }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.top.path
    }
}

fn is_not_text(error: &StoreError) -> bool {
    matches!(error, StoreError::Io { error, .. } if error.kind() == ErrorKind::InvalidData)
}

/// `None` if it is damaged. What could not be read may be sound: that stays an error,
/// and nothing is put in its place.
fn unless_damaged<T>(read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Ok(sound) => Ok(Some(sound)),
        Err(error @ StoreError::Io { .. }) => Err(error),
        Err(_) => Ok(None),
    }
}

fn make_dir(at: impl std::os::fd::AsFd, name: &Path, path: &Path) -> Result<(), StoreError> {
    match mkdirat(&at, name, Mode::RWXU) {
        // Whatever the umask.
        Ok(()) => chmodat(at, name, Mode::RWXU, AtFlags::empty()).map_err(io_error(path, "make")),
        Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(io_error(path, "make")(error)),
    }
}

/// On btrfs, writing in place allocates unless the directory says otherwise;
/// elsewhere there is no such attribute and nothing to do.
fn set_nocow(dir: &Dir) {
    if let Ok(flags) = rustix::fs::ioctl_getflags(&dir.fd) {
        // Not supported here: nothing to set, and `doctor` reports it on btrfs.
        let _unsupported = rustix::fs::ioctl_setflags(&dir.fd, flags | IFlags::NOCOW).is_err();
    }
}

fn unlink(dir: &Dir, name: &str) -> Result<Removed, StoreError> {
    match unlinkat(&dir.fd, name, AtFlags::empty()) {
        Ok(()) => Ok(Removed::Record),
        Err(Errno::NOENT) => Ok(Removed::Nothing),
        Err(error) => Err(io_error(&dir.path.join(name), "remove")(error)),
    }
}

/// What a file is called before it is in force.
fn temporary(name: &str) -> String {
    format!("{TEMPORARY}{name}")
}

/// Beyond its limit on the size of files the kernel does not let a process write,
/// but ends it (SIGXFSZ). The process is the application's: an error instead.
fn within_limit(offset: u64, length: usize) -> io::Result<()> {
    let end = offset.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
    match getrlimit(Resource::Fsize).current {
        Some(limit) if end > limit => Err(Errno::FBIG.into()),
        Some(_) | None => Ok(()),
    }
}

/// Replaces a file whole: a temporary file in the same directory, fsync,
/// rename, fsync of the directory. The caller holds a lock, so a temporary
/// file that is there was left behind by who was killed.
fn replace(dir: &Dir, name: &str, text: &str) -> Result<(), StoreError> {
    let temporary = temporary(name);
    unlink(dir, &temporary)?;
    let replaced = write_and_rename(dir, &temporary, name, text);
    if replaced.is_err() {
        // What it is told of is the first error.
        let _left = unlink(dir, &temporary).is_err();
    }
    replaced?;
    dir.sync()
}

fn write_and_rename(dir: &Dir, temporary: &str, name: &str, text: &str) -> Result<(), StoreError> {
    let path = dir.path.join(name);
    within_limit(0, text.len()).map_err(io_error(&path, "write"))?;
    let mut file = create(dir, temporary).map_err(io_error(&path, "write"))?;
    file.write_all(text.as_bytes()).map_err(io_error(&path, "write"))?;
    retry_on_intr(|| fsync(&file)).map_err(io_error(&path, "sync"))?;
    renameat(&dir.fd, temporary, &dir.fd, name).map_err(io_error(&path, "replace"))
}

/// Makes a private file that was not there, and thus never through a link.
fn create(dir: &Dir, name: &str) -> Result<File, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = beyond_stdio(openat(&dir.fd, name, flags, mode)?)?;
    // Whatever the umask, which is the host process's.
    fchmod(&file, mode)?;
    Ok(File::from(file))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::super::Wrong;
    use super::*;
    use crate::account::tests::record;
    use crate::account::{Generation, Phase};
    use crate::code::Period;
    use crate::config::Config;
    use crate::login::{self, Grant, Refusal};

    /// A store of our own, whoever runs the tests.
    fn store() -> (tempfile::TempDir, Store) {
        let owner = rustix::process::geteuid().as_raw();
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(&dir.path().join("store"), owner).unwrap();
        (dir, store)
    }

    fn totp() -> Record {
        record(Kind::Totp { period: Period::default() })
    }

    fn fresh() -> Account {
        Account::fresh(totp())
    }

    fn state_path(store: &Store) -> PathBuf {
        store.path().join("state/alice")
    }

    fn activate(store: &Store) {
        store
            .amend(&totp().user, |account| {
                let activated_at = Some(Timestamp(5));
                Ok::<_, StoreError>(State { activated_at, ..account.state })
            })
            .unwrap();
    }

    fn phase(store: &Store) -> Result<Phase, StoreError> {
        Ok(store.inspect(&totp().user)?.unwrap().phase())
    }

    #[test]
    fn an_active_account_never_goes_back_to_pending_by_a_damaged_slot() {
        let (_dir, store) = store();
        store.issue(&fresh(), Replace::No).unwrap();
        activate(&store);
        let good = std::fs::read(state_path(&store)).unwrap();
        for offset in [0, 4096] {
            for at in offset..offset + 512 {
                let mut damaged = good.clone();
                damaged[at] ^= 0x10;
                std::fs::write(state_path(&store), &damaged).unwrap();
                assert_eq!(phase(&store).unwrap(), Phase::Active { since: Timestamp(5) }, "{at}");
            }
        }
    }

    #[test]
    fn a_state_of_any_other_size_is_refused_and_repaired_as_active() {
        for size in [0, 1, 512, 4096, 8191, 8193, 100_000] {
            let (_dir, store) = store();
            store.issue(&fresh(), Replace::No).unwrap();
            File::options().write(true).open(state_path(&store)).unwrap().set_len(size).unwrap();
            assert!(phase(&store).is_err(), "{size}");
            let now = Timestamp(3_000);
            assert_eq!(store.repair(&totp().user, now, 1).unwrap(), Repaired::StateRebuilt);
            let account = store.inspect(&totp().user).unwrap().unwrap();
            assert_eq!(account.phase(), Phase::Active { since: now }, "{size}");
            assert_eq!(account.state.token(crate::account::TokenId::FIRST).next, Step(102));
            assert_eq!(store.repair(&totp().user, now, 1).unwrap(), Repaired::Sound);
        }
    }

    #[test]
    fn an_account_issued_anew_is_pending_with_the_new_secret_and_the_old_one_whole_until_then() {
        let (_dir, store) = store();
        store.issue(&fresh(), Replace::No).unwrap();
        activate(&store);
        assert_eq!(store.issue(&fresh(), Replace::No).unwrap(), Issued::AlreadyThere);
        assert!(matches!(phase(&store), Ok(Phase::Active { .. })));
        let old = std::fs::read(store.path().join("users/alice.toml")).unwrap();
        let new = Record { generation: Generation([9; 16]), ..totp() };
        assert_eq!(store.issue(&Account::fresh(new), Replace::Yes).unwrap(), Issued::New);
        assert!(matches!(phase(&store), Ok(Phase::Pending)));
        // As if the rename had never happened.
        std::fs::write(store.path().join("users/alice.toml"), old).unwrap();
        assert!(matches!(phase(&store), Ok(Phase::Active { .. })));
    }

    #[test]
    fn an_account_is_issued_with_the_state_that_it_had_elsewhere_whatever_was_there_before() {
        let (_dir, store) = store();
        let token = crate::account::TokenState { next: Step(57), drift: -3, resync: Step(0) };
        for generation in [Generation([8; 16]), Generation([9; 16])] {
            let record = Record { generation, ..totp() };
            let state = State { activated_at: Some(Timestamp(5)), ..State::fresh(generation) };
            let state = state.with_token(crate::account::TokenId::FIRST, token);
            let account = Account { record, state };
            assert_eq!(store.issue(&account, Replace::Yes).unwrap(), Issued::New);
            assert_eq!(store.inspect(&totp().user).unwrap(), Some(account));
        }
    }

    #[test]
    fn a_broken_account_is_not_taken_for_one_that_is_enabled() {
        let (_dir, store) = store();
        store.issue(&fresh(), Replace::No).unwrap();
        std::fs::remove_file(state_path(&store)).unwrap();
        assert!(matches!(store.issue(&fresh(), Replace::No), Err(StoreError::State { .. })));
        assert!(!state_path(&store).exists(), "nothing was made beside it");
        assert_eq!(store.issue(&fresh(), Replace::Yes).unwrap(), Issued::New);
    }

    #[test]
    fn a_name_too_long_for_a_file_has_no_record_and_cannot_get_one() {
        let (_dir, store) = store();
        let long = UserName::new("Ü".repeat(100)).unwrap();
        assert!(store.load(&long, 0).unwrap().is_none());
        let record = Record { user: long, ..totp() };
        assert!(matches!(
            store.issue(&Account::fresh(record), Replace::No),
            Err(StoreError::Name(_))
        ));
    }

    #[test]
    fn init_is_harmless_to_repeat_and_mends_no_mode() {
        let (_dir, store) = store();
        store.issue(&fresh(), Replace::No).unwrap();
        let path = store.path().to_owned();
        Store::init(&path, store.owner).unwrap();
        assert!(matches!(phase(&store), Ok(Phase::Pending)));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(Store::init(&path, store.owner), Err(StoreError::Unsafe { .. })));
    }

    #[test]
    fn what_is_made_is_for_the_owner_alone() {
        let (_dir, store) = store();
        store.issue(&fresh(), Replace::No).unwrap();
        for (name, expected) in [
            ("", 0o700),
            ("users", 0o700),
            ("state", 0o700),
            ("users/alice.toml", 0o600),
            ("state/alice", 0o600),
        ] {
            let metadata = std::fs::metadata(store.path().join(name)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o7777, expected, "{name}");
        }
    }

    #[test]
    fn what_an_issue_that_was_killed_left_behind_is_removed_by_init_and_with_its_record() {
        let (_dir, store) = store();
        store.issue(&fresh(), Replace::No).unwrap();
        let users = store.path().join("users");
        let leave = |name: &&str| std::fs::write(users.join(name), "a secret").unwrap();
        let left = |name| users.join(name).exists();
        let names = [".new-alice.toml", ".new-bob.toml", ".new-", "carol"];
        names.iter().for_each(leave);
        store.remove(&totp().user).unwrap();
        assert_eq!(names.map(left), [false, true, true, true]);
        names.iter().for_each(leave);
        Store::init(store.path(), store.owner).unwrap();
        assert_eq!(names.map(left), [false, false, false, true]);
    }

    #[test]
    fn everybody_who_has_a_record_is_listed_and_nobody_else() {
        let (_dir, store) = store();
        for name in ["alice", "Bob"] {
            let record = Record { user: UserName::new(name).unwrap(), ..totp() };
            store.issue(&Account::fresh(record), Replace::No).unwrap();
        }
        for name in [".new-carol", "carol", "Dave.toml"] {
            std::fs::write(store.path().join("users").join(name), "").unwrap();
        }
        let mut users: Vec<_> = store.users().unwrap().map(|user| user.unwrap()).collect();
        users.sort();
        assert_eq!(users, ["Bob", "alice"].map(|name| UserName::new(name).unwrap()));
    }

    /// A login's attempt with this answer.
    fn attempt_with(answer: &login::Answer) -> login::Attempt<'_> {
        let circumstances = login::Circumstances {
            password: &login::PasswordCheck::InStack,
            rhost: None,
            service: "sshd",
            groups: &[],
            now: Timestamp(5),
        };
        login::Attempt { circumstances, answer, tries_left: 0 }
    }

    /// Judges what `typed` is worth for alice's account, as a login would.
    fn login(store: &Store, uid: u32, typed: &[u8]) -> Result<Verdict, StoreError> {
        let answer = login::Answer::read(typed);
        let attempt = attempt_with(&answer);
        store.update(&totp().user, uid, None, |account| {
            login::judge(account, &attempt, &Config::default())
        })
    }

    #[test]
    fn a_code_that_has_admitted_is_spent_on_disk() {
        let (_dir, store) = store();
        let disabled = Verdict::Refused(Refusal::Disabled);
        assert_eq!(login(&store, 2001, b"755224").unwrap(), disabled);
        store.issue(&Account::fresh(record(Kind::Hotp)), Replace::No).unwrap();
        let activated = Verdict::Admitted(Grant::Activated);
        assert_eq!(login(&store, 2001, b"755224").unwrap(), activated);
        assert_eq!(phase(&store).unwrap(), Phase::Active { since: Timestamp(5) });
        let spent = Verdict::Refused(Refusal::SpentCode);
        assert_eq!(login(&store, 2001, b"755224").unwrap(), spent);
    }

    #[test]
    fn a_record_of_another_uid_is_neither_read_nor_judged() {
        let (_dir, store) = store();
        let user = &totp().user;
        assert!(store.load(user, 2001).unwrap().is_none());
        store.issue(&Account::fresh(record(Kind::Hotp)), Replace::No).unwrap();
        let account = Account::fresh(record(Kind::Hotp));
        let loaded = store.load(user, 2001).unwrap().map(|loaded| loaded.account);
        assert_eq!(loaded, Some(account.clone()));
        assert!(matches!(store.load(user, 2002), Err(StoreError::Uid { actual: 2002, .. })));
        for uid in [Some(2001), None] {
            assert_eq!(store.inspect_as(user, uid).unwrap(), Some(account.clone()));
        }
        let inspected = store.inspect_as(user, Some(2002));
        assert!(matches!(inspected, Err(StoreError::Uid { actual: 2002, .. })));
        let judged = login(&store, 2002, b"755224");
        assert!(matches!(judged, Err(StoreError::Uid { actual: 2002, .. })));
        assert_eq!(store.inspect(user).unwrap(), Some(account), "nothing was spent");
    }

    #[test]
    fn what_has_changed_since_it_was_loaded_is_judged_as_it_is_now() {
        let (_dir, store) = store();
        store.issue(&fresh(), Replace::No).unwrap();
        let user = &totp().user;
        let sees = |loaded: &Loaded, expected: &Account| {
            let judge = |account: Option<&Account>| {
                assert_eq!(account, Some(expected));
                login::judge(None, &attempt_with(&login::Answer::Empty), &Config::default())
            };
            store.update(user, 2001, Some(loaded), judge).unwrap();
        };
        let loaded = store.load(user, 2001).unwrap().unwrap();
        sees(&loaded, &fresh());
        activate(&store);
        let active = store.inspect(user).unwrap().unwrap();
        assert_ne!(active, fresh());
        sees(&loaded, &active);
        let issuer = "elsewhere.example.org".to_owned();
        let changed = Account { record: Record { issuer, ..totp() }, ..active };
        store.amend_record(user, |_| Ok::<_, StoreError>(changed.clone())).unwrap();
        sees(&loaded, &changed);
    }

    #[test]
    fn what_was_loaded_for_one_user_is_not_taken_for_anothers_account() {
        let (_dir, store) = store();
        store.issue(&Account::fresh(record(Kind::Hotp)), Replace::No).unwrap();
        let alice = store.load(&totp().user, 2001).unwrap().unwrap();
        for (from, to) in [("users/alice.toml", "users/bob.toml"), ("state/alice", "state/bob")] {
            std::fs::copy(store.path().join(from), store.path().join(to)).unwrap();
        }
        let bob = UserName::new("bob").unwrap();
        let judge = |_: Option<&Account>| panic!("alice's account was judged as bob's");
        let judged = store.update(&bob, 2001, Some(&alice), judge);
        assert!(matches!(judged, Err(StoreError::Record { .. })));
    }

    #[test]
    fn an_account_can_be_changed_in_both_its_halves_without_being_issued_anew() {
        let (_dir, store) = store();
        store.issue(&fresh(), Replace::No).unwrap();
        let issuer = "elsewhere.example.org".to_owned();
        let changed = Account {
            record: Record { issuer, ..totp() },
            state: State { last_login: Some(Timestamp(6)), ..fresh().state },
        };
        let change = |_: &Account| Ok::<_, StoreError>(changed.clone());
        store.amend_record(&totp().user, change).unwrap();
        assert_eq!(store.inspect(&totp().user).unwrap(), Some(changed));
    }

    #[test]
    fn a_sound_account_is_read_without_waiting_for_its_lock() {
        let (_dir, store) = store();
        store.issue(&fresh(), Replace::No).unwrap();
        let _lock = store.lock_enabled(&totp().user).unwrap();
        assert_eq!(store.inspect(&totp().user).unwrap(), Some(fresh()));
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the reader is to meet what is not sound")]
    fn what_is_not_sound_while_it_is_changed_is_read_when_that_is_done() {
        let (_dir, store) = store();
        store.issue(&fresh(), Replace::No).unwrap();
        let sound = std::fs::read(state_path(&store)).unwrap();
        let lock = store.lock_enabled(&totp().user).unwrap();
        lock.file.file.write_all_at(&[0; FILE_BYTES], 0).unwrap();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| store.inspect(&totp().user));
            std::thread::sleep(Duration::from_millis(100));
            lock.file.file.write_all_at(&sound, 0).unwrap();
            drop(lock);
            assert_eq!(reader.join().unwrap().unwrap(), Some(fresh()));
        });
    }

    #[test]
    fn whoever_reads_while_others_write_finds_a_sound_account_and_never_an_older_one() {
        let (_dir, store) = store();
        let user = totp().user;
        let issue = |generation: u8| {
            let generation = Generation([generation; 16]);
            let record = Record { generation, ..totp() };
            store.issue(&Account { record, state: State::fresh(generation) }, Replace::Yes)
        };
        issue(0).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for generation in 1..=u8::MAX {
                    issue(generation).unwrap();
                    for login in 1..=4 {
                        let last_login = Some(Timestamp(login));
                        let change = |account: &Account| {
                            Ok::<_, StoreError>(State { last_login, ..account.state })
                        };
                        store.amend(&user, change).unwrap();
                    }
                }
            });
            let mut before = None;
            while !writer.is_finished() {
                let account = store.inspect(&user).unwrap().unwrap();
                let now = Some((account.record.generation.0, account.state.last_login));
                assert!(before <= now, "{before:?}, then {now:?}");
                before = now;
            }
            writer.join().unwrap();
        });
    }

    #[test]
    fn no_state_is_made_through_a_link() {
        let (dir, store) = store();
        let elsewhere = dir.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, state_path(&store)).unwrap();
        let issued = store.issue(&fresh(), Replace::Yes);
        assert!(matches!(issued, Err(StoreError::Unsafe { what: Wrong::Link, .. })));
        assert!(!elsewhere.exists());
    }

    #[test]
    fn a_lock_on_a_state_that_was_removed_meanwhile_is_none() {
        let (_dir, store) = store();
        store.issue(&fresh(), Replace::No).unwrap();
        let open = || store.open_state(&totp().user, OFlags::RDWR).unwrap().unwrap();
        let (file, again) = (open(), open());
        assert!(store.lock(file, Lock::Exclusive).unwrap().is_some());
        std::fs::remove_file(state_path(&store)).unwrap();
        assert!(store.lock(again, Lock::Exclusive).unwrap().is_none());
    }

    #[test]
    fn a_store_of_another_format_and_one_that_cannot_be_examined_are_not_taken_for_none() {
        let (dir, store) = store();
        let open = |name: &str| Store::open(&dir.path().join(name), store.owner).unwrap_err();
        assert!(matches!(open("nothing"), StoreError::NoStore(_)));
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(matches!(open("file/in/it"), StoreError::Io { .. }));
        let marker = MARKER_TEXT.replace("format = 1", "format = 2");
        for marker in [marker.as_bytes(), b"format = \xFF"] {
            std::fs::write(store.path().join(MARKER), marker).unwrap();
            assert!(matches!(open("store"), StoreError::Format(_)));
        }
        let for_all = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(store.path().join(MARKER), for_all).unwrap();
        assert!(matches!(open("store"), StoreError::Unsafe { what: Wrong::Mode(0o644), .. }));
    }

    #[test]
    fn a_directory_above_the_store_that_is_a_link_is_refused() {
        let (dir, store) = store();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        let error = Store::open(&link.join("store"), store.owner).unwrap_err();
        assert!(error.to_string().contains("link: is a symbolic link"), "{error}");
        std::fs::DirBuilder::new().mode(0o700).create(dir.path().join("empty")).unwrap();
        let error = Store::open(&dir.path().join("empty"), store.owner).unwrap_err();
        assert!(matches!(error, StoreError::NoStore(_)), "{error}");
    }
}
