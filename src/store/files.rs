//! The store of files: `users/NAME.toml` holds what was issued, `state/NAME`
//! what logins did; the lock on the latter is the account's lock. Bytes, locks and
//! syncs only: what they mean is the business of [`super::accounts`].

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Stat, renameat};
use rustix::io::pread;
use zeroize::Zeroizing;

use super::backend::{
    Backend, Change, CommitError, Fingerprint, Half, Remains, RemoveOutcome, SlotBytes,
    StoredAccount, Successor,
};
use super::checked::{Dir, io_error, open_top};
use super::deferral::Deferral;
use super::durable::{
    Durability, TEMPORARY, is_at, make_dir, replace, set_nocow, temporary, unlink,
};
use super::lock::{Access, LockedFile, PATIENCE, StateFile, lock_dir};
use super::seen::Seen;
use super::slots::{self, BOTH_BYTES, Beginning, FILE_BYTES};
use super::succession::{displaced_of, same_twice};
use super::uids::{Indexing, UIDS};
use super::{Store, StoreError, TakeOver, TakeOvers, memory, names, services};
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
    pub(super) users: Dir,
    pub(super) state: Dir,
    pub(super) indexing: Indexing,
    pub(super) owner: u32,
    /// How long the lock of an account is waited for, in all.
    pub(super) patience: Duration,
    /// Of many accounts at once (`super::batch`), by whom no lock is waited for.
    pub(super) deferral: Option<Deferral>,
    /// Locks that were taken over, which somebody is to be told of.
    pub(super) take_overs: TakeOvers,
    /// What a login has seen of its account.
    pub(super) seen: Seen,
}

/// A locked state file. The lock ends when it is dropped.
pub struct Lock {
    pub(super) file: LockedFile,
    /// Whether the file's name may be new, and is to be made durable too.
    pub(super) made: bool,
}

/// How often an account that is being issued or removed meanwhile is tried.
pub(super) const LOCK_TRIES: u32 = 100;

impl Store<Files> {
    /// Who owns the store outside of tests.
    pub const ROOT: u32 = 0;

    /// Opens the store in `dir`, which `owner` owns.
    ///
    /// # Errors
    /// [`StoreError`], also when there is no store: a login cannot distinguish
    /// "nobody is enrolled" from "not mounted" otherwise.
    pub fn open(dir: &Path, owner: u32) -> Result<Self, StoreError> {
        Self::open_by(dir, owner, Dir::dir, Seen::default())
    }

    /// The same for one login: what its first look at the account has opened and read
    /// serves the change too, where it is still what is there.
    ///
    /// # Errors
    /// As there.
    pub fn open_for_a_login(dir: &Path, owner: u32) -> Result<Self, StoreError> {
        Self::open_by(dir, owner, Dir::below, Seen::of_a_login())
    }

    fn open_by(
        dir: &Path,
        owner: u32,
        half: impl Fn(&Dir, &'static str, u32) -> Result<Dir, StoreError>,
        seen: Seen,
    ) -> Result<Self, StoreError> {
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
        let [users, state] = [half(&top, USERS, owner)?, half(&top, STATE, owner)?];
        let indexing = Indexing::of_marker(&marker);
        let take_overs = TakeOvers::default();
        let (patience, deferral) = (PATIENCE, None);
        let backend =
            Files { top, users, state, indexing, owner, patience, deferral, take_overs, seen };
        Ok(Self { backend })
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
        match lock_dir(&top) {
            Err(StoreError::Io { .. }) => {}
            locked => locked?,
        }
        for name in [USERS, STATE, UIDS] {
            make_dir(top.at(), Path::new(name), &dir.join(name))?;
        }
        set_nocow(&top.dir(STATE, owner)?);
        if top.text(MARKER, owner)?.is_none() {
            replace(&top, MARKER, MARKER_TEXT, || Ok(()))?;
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
        replace(&store.backend.top, MARKER, MARKER_TEXT, || Ok(()))?;
        Self::open(dir, owner)
    }

    /// The locks that are taken over from now on, by this store and for whoever keeps this.
    #[must_use]
    pub fn take_overs(&self) -> TakeOvers {
        self.backend.take_overs.clone()
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
        Ok(self.look_at_state(user, |file| self.kept(user, file))?.flatten())
    }

    fn read(&self, user: &UserName) -> Result<Option<StoredAccount>, StoreError> {
        Ok(self.lock_account(user, Access::Shared)?.map(|(kept, _unlocked)| kept))
    }

    fn claim(&self, user: &UserName) -> Result<Option<(StoredAccount, Lock)>, StoreError> {
        let locked = self.lock_account(user, Access::Exclusive)?;
        Ok(locked.map(|(kept, file)| (kept, Lock { file, made: false })))
    }

    fn claim_any(&self, user: &UserName) -> Result<Lock, StoreError> {
        let file = self.create_state(user)?;
        match self.settled(user, &file) {
            // It is no state: it may be about to be made one.
            Ok(_) | Err(StoreError::State { .. }) => Ok(Lock { file, made: true }),
            Err(error) => Err(error),
        }
    }

    fn record(&self, user: &UserName) -> Result<Option<Zeroizing<String>>, StoreError> {
        match self.users.text_and_stat(&self.record_name(user)?, self.owner) {
            Err(error) if is_not_text(&error) => {
                let path = self.location(user, Half::Record);
                Err(StoreError::Record { path, what: "it is not text" })
            }
            Err(error) => Err(error),
            Ok(None) => Ok(None),
            Ok(Some((text, stat))) => {
                self.seen.keep_record(user, stat, &text);
                Ok(Some(text))
            }
        }
    }

    fn snapshots(&self, user: &UserName, lock: &Lock) -> Result<[SlotBytes; 2], StoreError> {
        self.settled(user, &lock.file)
    }

    fn services(&self, user: &UserName) -> Result<Option<Zeroizing<String>>, StoreError> {
        services::read(&self.top, self.owner, &self.record_name(user)?)
    }

    fn services_path(&self, user: &UserName) -> PathBuf {
        let name = self.record_name(user).unwrap_or_default();
        self.top.path.join(services::SERVICES).join(name)
    }

    fn commit(&self, user: &UserName, lock: &Lock, change: Change<'_>) -> Result<(), CommitError> {
        let staged = self.stage(user, lock, change)?;
        self.put_in_force(user, lock, &staged)?;
        if staged.has_record() {
            self.users.sync()?;
        }
        // Written or not: whoever took over may not have seen it.
        Ok(self.must_be_in_place(user, lock.file.state())?)
    }

    fn release(&self, lock: Lock) -> Result<(), StoreError> {
        lock.file.release()
    }

    fn abandon(&self, user: &UserName, lock: Lock) -> Result<(), StoreError> {
        if self.is_in_place(user, &lock.file.state().stat)? {
            unlink(&self.state, &self.file_name(user)?)?;
        }
        lock.file.release()
    }

    fn remove(
        &self,
        user: &UserName,
        before: &mut dyn FnMut(Remains) -> Option<u32>,
    ) -> Result<RemoveOutcome, StoreError> {
        for _ in 0..LOCK_TRIES {
            let mut removal = self.begin_removal(user, before)?;
            if !removal.is_mine(self, user)? {
                continue;
            }
            self.remove_record(&mut removal)?;
            self.users.sync()?;
            self.remove_rest(user, &mut removal)?;
            self.state.sync()?;
            return self.end_removal(removal);
        }
        Err(StoreError::Busy(user.clone()))
    }

    fn hand_over(
        &self,
        old: &UserName,
        locked: &Lock,
        new: &UserName,
        text: &str,
    ) -> Result<(), CommitError> {
        let lock = self.create_state(new)?;
        let still = || self.must_be_in_place(new, lock.state());
        replace(&self.users, &self.record_name(new)?, text, still)?;
        self.must_be_in_place(old, locked.file.state())?;
        // From here on the new name has the account: the old one has no state.
        let (from, to) = (self.file_name(old)?, self.file_name(new)?);
        let dir = &self.state;
        renameat(dir.at(), &*dir.name(&from), dir.at(), &*dir.name(&to))
            .map_err(io_error(&self.state.path.join(&*to), "replace"))?;
        self.state.sync()?;
        // That of whoever took over meanwhile is as good. But then the old name may have
        // another record by now, and doing it again finds out what is left to do.
        self.must_be_in_place(new, locked.file.state())?;
        let name = self.record_name(old)?;
        services::rename(&self.top, self.owner, &name, &self.record_name(new)?)?;
        unlink(&self.users, &name)?;
        unlink(&self.users, &temporary(&name))?;
        self.users.sync()?;
        Ok(self.must_be_in_place(new, locked.file.state())?)
    }

    fn indexed(&self, uid: u32) -> Result<Vec<UserName>, StoreError> {
        self.names_of(uid)
    }

    fn index(&self, uid: u32, names: &[UserName], user: &UserName) -> Result<(), StoreError> {
        match &self.deferral {
            None => self.put_entry(uid, names, user, Durability::Now),
            Some(deferral) => self.defer_entry(uid, names, user, deferral),
        }
    }

    fn remembered(&self, key: &Fingerprint) -> Result<Option<Zeroizing<String>>, StoreError> {
        memory::read(&self.top, self.owner, key, self.deferral.as_ref())
    }

    fn remember(&self, key: &Fingerprint, text: &mut Successor<'_>) -> Result<(), StoreError> {
        memory::write(&self.top, self.owner, key, text, self.deferral.as_ref())
    }

    fn forget(&self, over: &mut dyn FnMut(&str) -> bool) -> Result<usize, StoreError> {
        memory::sweep(&self.top, self.owner, over)
    }

    fn memory(&self, key: &Fingerprint) -> PathBuf {
        memory::location(&self.top, key)
    }

    fn users(&self) -> Result<impl Iterator<Item = Result<UserName, StoreError>>, StoreError> {
        let entries = self.users.entries()?;
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
    /// When what is written has to last.
    pub(super) const fn durability(&self) -> Durability {
        match self.deferral {
            None => Durability::Now,
            Some(_) => Durability::Later,
        }
    }

    /// Whether the state in place is this file.
    pub(super) fn is_in_place(&self, user: &UserName, file: &Stat) -> Result<bool, StoreError> {
        is_at(&self.state, &self.file_name(user)?, file)
            .map_err(|error| io_error(&self.state_path(user), "examine")(error))
    }

    /// Nobody may be told of a success that whoever took over has not seen.
    pub(super) fn must_be_in_place(
        &self,
        user: &UserName,
        file: &StateFile,
    ) -> Result<(), StoreError> {
        if self.is_in_place(user, &file.stat)? {
            Ok(())
        } else {
            Err(StoreError::PassedOver(user.clone()))
        }
    }

    pub(super) fn note(&self, take_over: TakeOver) {
        self.take_overs.add(take_over);
    }

    pub(super) fn open_state(
        &self,
        user: &UserName,
        access: Access,
    ) -> Result<Option<StateFile>, StoreError> {
        let opened = self.state.file(&self.file_name(user)?, access.flags(), self.owner)?;
        Ok(opened.map(|(file, stat)| StateFile { file, stat }))
    }

    /// What is on disk of an account, without its lock; `None` if there is no record.
    ///
    /// Each slot has a page of its own, and whoever writes may do so between the reading of
    /// one and of the other: the newest of what was read would be older than one before.
    /// So it is read until it is the same twice.
    pub(super) fn kept(
        &self,
        user: &UserName,
        file: &StateFile,
    ) -> Result<Option<StoredAccount>, StoreError> {
        let Some(record) = self.record(user)? else { return Ok(None) };
        match same_twice(|| self.follow(user, file))? {
            Some(snapshots) => Ok(Some(StoredAccount { record, snapshots })),
            None => Err(self.state_error(user, "it is being changed all the time")),
        }
    }

    /// What is in a state file, valid or not.
    pub(super) fn beginning(
        &self,
        user: &UserName,
        StateFile { file, stat }: &StateFile,
    ) -> Result<Beginning, StoreError> {
        if u64::try_from(stat.st_size) != Ok(FILE_BYTES as u64) {
            return Err(self.state_error(user, "the state does not have 8192 bytes"));
        }
        let mut bytes = [const { MaybeUninit::uninit() }; BOTH_BYTES];
        if let Ok((read, _)) = pread(file, &mut bytes, 0)
            && let Ok(whole) = (&*read).try_into()
        {
            return Ok(slots::beginning(whole));
        }
        // In pieces, or why not.
        read_beginning(file).map_err(io_error(&self.state.path, "read a state in"))
    }

    /// Removes files that are not in force of who was killed: they may hold secrets.
    fn sweep(&self) -> Result<(), StoreError> {
        let users = self.users.names(|name| {
            let record = name.strip_prefix(TEMPORARY)?;
            Some(record.strip_suffix(RECORD_ENDING).and_then(names::decode))
        });
        for (name, user) in users? {
            // Whoever is writing it holds the lock.
            let _lock = user.map(|user| self.lock_state(&user, Access::Exclusive)).transpose()?;
            unlink(&self.users, &name)?;
        }
        services::sweep(&self.top, self.owner, |name| {
            let record = name.strip_prefix(TEMPORARY).unwrap_or(name);
            let Some(user) = record.strip_suffix(RECORD_ENDING).and_then(names::decode) else {
                return Ok(None);
            };
            if name == record && !matches!(self.record(&user), Ok(None)) {
                return Ok(None);
            }
            // Whoever is writing it holds the lock.
            Ok(Some(self.lock_state(&user, Access::Exclusive)?))
        })?;
        for (name, user) in self.state.names(displaced_of)? {
            // Then the state in place stands in for none. Who is about to put this file in
            // its place will make another.
            let lock = self.lock_state(&user, Access::Exclusive)?;
            match lock.as_ref().map(|lock| self.settled(&user, lock)).transpose() {
                Ok(_) | Err(StoreError::State { .. }) => unlink(&self.state, &name)?,
                Err(error) => return Err(error),
            };
        }
        Ok(())
    }

    pub(super) fn file_name<'n>(&self, user: &'n UserName) -> Result<Cow<'n, str>, StoreError> {
        names::encode(user).ok_or_else(|| StoreError::Name(user.clone()))
    }

    pub(super) fn record_name(&self, user: &UserName) -> Result<String, StoreError> {
        self.file_name(user).map(|name| [&name, RECORD_ENDING].concat())
    }

    pub(super) fn state_error(&self, user: &UserName, what: &'static str) -> StoreError {
        StoreError::State { path: self.state_path(user), what }
    }

    pub(super) fn state_path(&self, user: &UserName) -> PathBuf {
        self.location(user, Half::State)
    }
}

#[cold]
#[inline(never)]
fn read_beginning(file: &File) -> io::Result<Beginning> {
    let mut bytes = [0; BOTH_BYTES];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(slots::beginning(&bytes))
}

pub(super) fn is_not_text(error: &StoreError) -> bool {
    matches!(error, StoreError::Io { error, .. } if error.kind() == ErrorKind::InvalidData)
}
