//! Many accounts changed at once. What takes the time of one is waiting for the disk, and the
//! disk makes many durable in the time of one: each step is taken for all of them, then the
//! file system is synced, then comes the next step. The steps, their order and what is durable
//! before which of them are those of one account; nobody is told before the last sync. So
//! whoever is killed, or loses power, leaves of each account the old one or the new one.
//!
//! The locks of all are held meanwhile, and no lock is waited for: who cannot be changed among
//! the others, for whatever reason, ends the batch, and is changed alone as if there were none;
//! those after it are the next batch. So what comes of each is what would come of it alone.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::{fdatasync, fstat, fstatfs, syncfs};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Resource, getrlimit};

use super::backend::{Backend, CommitError, RemoveOutcome};
use super::checked::{Dir, io_error};
use super::deferral::{Deferral, Unnamed};
use super::files::{Files, Lock, STATE, USERS};
use super::issue::{
    Begun, IssueOutcome, KeyMemory, ReadyAccount, ReadyState, RepairOutcome, Replace, Scope,
};
use super::memory::RETIRED;
use super::removal::Removal;
use super::seen::Seen;
use super::services::SERVICES;
use super::stage::Staged;
use super::uids::UIDS;
use super::{Store, StoreError};
use crate::account::{Account, Timestamp, Uid, UserName};

/// So many accounts at once: more would make it hardly quicker, and a login of one of them
/// waits until all are done.
const MOST: usize = 256;

/// Descriptors that an account of a batch has open, and those that everything else needs.
const DESCRIPTORS: u64 = 4;
const OTHER_DESCRIPTORS: u64 = 64;

/// File systems of which syncfs(2) makes everything durable: `f_type` of statfs(2). Others are
/// synced file by file. A file system of FUSE, for one, is not told of it.
const SYNCED_AS_A_WHOLE: [u64; 4] = [
    0xef53,      // ext4
    0x5846_5342, // xfs
    0x9123_683e, // btrfs
    0x0102_1994, // tmpfs
];

/// From this Linux on syncfs(2) says whether something could not be written.
const TELLS_ERRORS: (u32, u32) = (5, 8);

/// A store of which many accounts are changed.
#[derive(Debug)]
pub struct Batch {
    store: Store,
    /// The same, which leaves it to us to make durable what is written, and waits for no lock.
    /// `None` where each file has to be synced by itself.
    together: Option<Store>,
}

impl Store {
    /// For changing many accounts.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be found out what file system that is.
    pub fn into_batch(self) -> Result<Batch, StoreError> {
        let together = match self.backend.is_synced_as_a_whole()? {
            true => Some(Self { backend: self.backend.leaving_durability() }),
            false => None,
        };
        Ok(Batch { store: self, together })
    }

    /// What was written for the account that is being begun, and is to get its names.
    fn unnamed(&self) -> Vec<Unnamed> {
        self.backend.deferral.as_ref().map(Deferral::take).unwrap_or_default()
    }
}

impl Files {
    /// The same store, by the same descriptors.
    fn leaving_durability(&self) -> Self {
        Self {
            top: self.top.clone(),
            users: self.users.clone(),
            state: self.state.clone(),
            indexing: self.indexing,
            owner: self.owner,
            patience: Duration::ZERO,
            deferral: Some(Deferral::default()),
            take_overs: self.take_overs.clone(),
            seen: Seen::default(),
        }
    }

    /// By a descriptor that is as old as the store: what failed since then is told.
    fn sync_all(&self) -> Result<(), StoreError> {
        let synced = self.top.own().and_then(syncfs);
        synced.map_err(io_error(&self.top.path, "sync the file system of"))
    }

    /// Whether one syncfs(2) makes all of the store durable, and says if it could not: another
    /// file system may be mounted on a directory of it.
    fn is_synced_as_a_whole(&self) -> Result<bool, StoreError> {
        let Dir { path, .. } = &self.top;
        let found = fstatfs(self.top.at()).map_err(io_error(path, "examine"))?;
        #[expect(clippy::cast_sign_loss, reason = "a magic number")]
        let kind = found.f_type as u64;
        let device = fstat(self.top.at()).map_err(io_error(path, "examine"))?.st_dev;
        let is_on_it = |name: &&str| match self.top.stat(name) {
            Ok(stat) => stat.st_dev == device,
            Err(error) => error == Errno::NOENT,
        };
        let all_on_it = [USERS, STATE, UIDS, RETIRED, SERVICES].iter().all(is_on_it);
        Ok(all_on_it && SYNCED_AS_A_WHOLE.contains(&kind) && tells_errors())
    }
}

fn tells_errors() -> bool {
    static TELLS: OnceLock<bool> = OnceLock::new();
    *TELLS.get_or_init(|| {
        let system = rustix::system::uname();
        is_since(&system.release().to_string_lossy(), TELLS_ERRORS)
    })
}

/// Whether a release of Linux is this one or a later one.
fn is_since(release: &str, (major, minor): (u32, u32)) -> bool {
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    found >= (major, minor)
}

/// One kind of change, by its steps.
trait Change {
    type Item;
    /// What has been begun of it.
    type Ready;
    type Outcome;
    /// How many steps there are after it has begun.
    const STEPS: usize;

    fn alone(&self, store: &Store, item: &Self::Item) -> Result<Self::Outcome, StoreError>;

    /// Does what changes no account yet.
    fn begin(
        &self,
        together: &Store,
        item: &Self::Item,
    ) -> Result<Begun<Self::Ready, Self::Outcome>, CommitError>;

    /// Gives up what has begun, and leaves nothing behind.
    fn give_up(&self, together: &Store, item: &Self::Item, ready: Self::Ready);

    /// Takes the step with this number.
    fn step(
        &self,
        together: &Store,
        item: &Self::Item,
        ready: &mut Self::Ready,
        number: usize,
    ) -> Result<(), StoreError>;

    /// Makes the step durable by itself, where syncing the file system has failed.
    fn sync(&self, together: &Store, ready: &Self::Ready) -> Result<(), StoreError>;

    /// Ends it, when all of it is durable.
    fn end(
        &self,
        store: &Store,
        item: &Self::Item,
        ready: Self::Ready,
    ) -> Result<Self::Outcome, StoreError>;
}

/// How far one account is.
enum Progress<R, O> {
    Ended(Result<O, StoreError>),
    Ready(R),
    /// Nothing of it is in force, and it is to be done alone.
    Left,
}

impl Batch {
    /// The store itself.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// So many accounts are best given at once.
    #[must_use]
    pub fn size(&self) -> usize {
        if self.together.is_none() {
            return 1;
        }
        let room = getrlimit(Resource::Nofile).current.map_or(MOST, |most| {
            let most = most.saturating_sub(OTHER_DESCRIPTORS) / DESCRIPTORS;
            usize::try_from(most).unwrap_or(MOST)
        });
        room.clamp(1, MOST)
    }

    /// [`Store::issue`], of each of these.
    pub fn issue(
        &self,
        accounts: &[Account],
        replace_old: Replace,
    ) -> Vec<Result<IssueOutcome, StoreError>> {
        self.run(accounts, &Issue { replace_old, uids: RefCell::default() })
    }

    /// [`Store::repair`], of each of these.
    pub fn repair(
        &self,
        users: &[UserName],
        now: Timestamp,
        ahead: u64,
        scope: Scope,
    ) -> Vec<Result<RepairOutcome, StoreError>> {
        self.run(users, &Repair { now, ahead, scope })
    }

    /// [`Store::remove`], of each of these.
    pub fn remove(
        &self,
        users: &[UserName],
        now: Timestamp,
    ) -> Vec<Result<RemoveOutcome, StoreError>> {
        self.run(users, &Remove { now })
    }

    fn run<C: Change>(&self, items: &[C::Item], change: &C) -> Vec<Result<C::Outcome, StoreError>> {
        let alone = |item| change.alone(&self.store, item);
        let together = match &self.together {
            Some(together) if items.len() > 1 => together,
            Some(_) | None => return items.iter().map(alone).collect(),
        };
        let mut results = Vec::with_capacity(items.len());
        while let Some(rest) = items.get(results.len()..).filter(|rest| !rest.is_empty()) {
            // What cannot be done among others is done before those that come after it: one
            // may depend on another.
            let begun = begin_all(change, together, rest);
            let cut = begun.len();
            if cut > 0 {
                results.extend(self.carry_out(together, rest, begun, change));
            }
            together.backend.deferral.iter().for_each(Deferral::end);
            results.extend(rest.get(cut).map(alone));
        }
        results
    }

    /// Takes the steps of those that have begun.
    fn carry_out<C: Change>(
        &self,
        together: &Store,
        items: &[C::Item],
        mut all: Vec<Progress<C::Ready, C::Outcome>>,
        change: &C,
    ) -> Vec<Result<C::Outcome, StoreError>> {
        let alone = |item| change.alone(&self.store, item);
        for number in 0..C::STEPS {
            let synced = together.backend.sync_all().is_ok();
            let step = |(item, progress)| match progress {
                Progress::Ready(ready) => step(change, together, item, ready, (number, synced)),
                ended @ (Progress::Ended(_) | Progress::Left) => ended,
            };
            all = items.iter().zip(all).map(step).collect();
        }
        let synced = together.backend.sync_all();
        let end = |(item, progress)| match progress {
            Progress::Ready(ready) => {
                let durable = if synced.is_ok() { Ok(()) } else { change.sync(together, &ready) };
                Some(durable.and_then(|()| change.end(&self.store, item, ready)))
            }
            Progress::Ended(result) => Some(result),
            Progress::Left => None,
        };
        // All locks have ended before somebody is waited for.
        let ended: Vec<_> = items.iter().zip(all).map(end).collect();
        together.backend.deferral.iter().for_each(Deferral::end);
        items.iter().zip(ended).map(|(item, it)| it.unwrap_or_else(|| alone(item))).collect()
    }
}

/// Begins one after the other, up to the first that cannot be done among the others.
fn begin_all<C: Change>(
    change: &C,
    together: &Store,
    items: &[C::Item],
) -> Vec<Progress<C::Ready, C::Outcome>> {
    let begun = items.iter().map_while(|item| match change.begin(together, item) {
        Ok(Begun::Done(outcome)) => Some(Progress::Ended(Ok(outcome))),
        Ok(Begun::Ready(ready)) => Some(Progress::Ready(ready)),
        Err(_) => {
            together.unnamed().iter().for_each(Unnamed::give_up);
            None
        }
    });
    begun.collect()
}

/// Takes one step, if what is before it is durable, together or by itself.
fn step<C: Change>(
    change: &C,
    together: &Store,
    item: &C::Item,
    mut ready: C::Ready,
    (number, synced): (usize, bool),
) -> Progress<C::Ready, C::Outcome> {
    let is_first = number == 0;
    if is_first && !synced {
        change.give_up(together, item, ready);
        return Progress::Left;
    }
    let durable = if synced { Ok(()) } else { change.sync(together, &ready) };
    match durable.and_then(|()| change.step(together, item, &mut ready, number)) {
        Ok(()) => Progress::Ready(ready),
        // Nothing of it is in force.
        Err(StoreError::PassedOver(_)) if is_first => Progress::Left,
        Err(error) => Progress::Ended(Err(error)),
    }
}

fn sync_state(files: &Files, lock: &Lock) -> Result<(), StoreError> {
    retry_on_intr(|| fdatasync(&lock.file.state().file))
        .map_err(io_error(&files.state.path, "sync a state in"))
}

struct Issue {
    replace_old: Replace,
    /// Whose accounts are being issued: one person has one.
    uids: RefCell<HashSet<u32>>,
}

impl Change for Issue {
    type Item = Account;
    type Ready = (ReadyAccount<Lock>, Staged, Vec<Unnamed>);
    type Outcome = IssueOutcome;
    const STEPS: usize = 2;

    fn alone(&self, store: &Store, account: &Account) -> Result<IssueOutcome, StoreError> {
        store.issue(account, self.replace_old)
    }

    fn begin(
        &self,
        together: &Store,
        account: &Account,
    ) -> Result<Begun<Self::Ready, IssueOutcome>, CommitError> {
        let user = &account.record.user;
        // The other one is in force before this one is looked at.
        if let Uid::Is(uid) = account.record.uid
            && !self.uids.borrow_mut().insert(uid)
        {
            self.uids.borrow_mut().clear();
            return Err(CommitError::Conflict);
        }
        let there = || Ok(Begun::Done(IssueOutcome::AlreadyThere));
        if together.has_account(account, self.replace_old)? {
            return there();
        }
        let Some(ready) = together.ready(account, self.replace_old)? else { return there() };
        let staged = together.backend.stage(user, &ready.claim, ready.change())?;
        Ok(Begun::Ready((ready, staged, together.unnamed())))
    }

    fn give_up(&self, together: &Store, account: &Account, (_, staged, names): Self::Ready) {
        together.backend.withdraw(&account.record.user, &staged);
        names.iter().for_each(Unnamed::give_up);
    }

    fn step(
        &self,
        together: &Store,
        account: &Account,
        (ready, staged, names): &mut Self::Ready,
        number: usize,
    ) -> Result<(), StoreError> {
        match number {
            // What the index and the memory of keys say comes before the record.
            0 => names.iter().try_for_each(Unnamed::put_in_force),
            _ => together.backend.put_in_force(&account.record.user, &ready.claim, staged),
        }
    }

    fn sync(&self, together: &Store, (ready, _, names): &Self::Ready) -> Result<(), StoreError> {
        sync_state(&together.backend, &ready.claim)?;
        names.iter().try_for_each(Unnamed::sync)?;
        together.backend.users.sync()
    }

    fn end(
        &self,
        store: &Store,
        account: &Account,
        (ready, ..): Self::Ready,
    ) -> Result<IssueOutcome, StoreError> {
        store.backend.must_be_in_place(&account.record.user, ready.claim.file.state())?;
        store.conclude(account, ready)
    }
}

struct Repair {
    now: Timestamp,
    ahead: u64,
    scope: Scope,
}

impl Change for Repair {
    type Item = UserName;
    type Ready = (ReadyState<Lock>, Staged);
    type Outcome = RepairOutcome;
    const STEPS: usize = 1;

    fn alone(&self, store: &Store, user: &UserName) -> Result<RepairOutcome, StoreError> {
        store.repair(user, self.now, self.ahead, self.scope)
    }

    fn begin(
        &self,
        together: &Store,
        user: &UserName,
    ) -> Result<Begun<Self::Ready, RepairOutcome>, CommitError> {
        match together.ready_to_repair(user, self.now, self.ahead, self.scope)? {
            Begun::Done(outcome) => Ok(Begun::Done(outcome)),
            Begun::Ready(ready) => {
                let staged = together.backend.stage(user, &ready.claim, ready.change())?;
                Ok(Begun::Ready((ready, staged)))
            }
        }
    }

    fn give_up(&self, _together: &Store, _user: &UserName, _ready: Self::Ready) {}

    fn step(
        &self,
        together: &Store,
        user: &UserName,
        (ready, staged): &mut Self::Ready,
        _number: usize,
    ) -> Result<(), StoreError> {
        together.backend.put_in_force(user, &ready.claim, staged)
    }

    fn sync(&self, together: &Store, (ready, _): &Self::Ready) -> Result<(), StoreError> {
        sync_state(&together.backend, &ready.claim)?;
        // It may have been made.
        together.backend.state.sync()
    }

    fn end(
        &self,
        store: &Store,
        user: &UserName,
        (ready, _): Self::Ready,
    ) -> Result<RepairOutcome, StoreError> {
        store.backend.must_be_in_place(user, ready.claim.file.state())?;
        store.backend.release(ready.claim)?;
        Ok(ready.outcome)
    }
}

struct Remove {
    now: Timestamp,
}

impl Change for Remove {
    type Item = UserName;
    type Ready = (Removal, KeyMemory, Vec<Unnamed>);
    type Outcome = RemoveOutcome;
    const STEPS: usize = 3;

    fn alone(&self, store: &Store, user: &UserName) -> Result<RemoveOutcome, StoreError> {
        store.remove(user, self.now)
    }

    fn begin(
        &self,
        together: &Store,
        user: &UserName,
    ) -> Result<Begun<Self::Ready, RemoveOutcome>, CommitError> {
        let mut memory = KeyMemory::default();
        let mut keep = |remains| memory.keep(together, remains, self.now);
        let removal = together.backend.begin_removal(user, &mut keep)?;
        // A key that could not be remembered may be alone.
        if memory.is_incomplete() || !removal.is_mine(&together.backend, user)? {
            return Err(CommitError::Conflict);
        }
        Ok(Begun::Ready((removal, memory, together.unnamed())))
    }

    fn give_up(&self, _together: &Store, _user: &UserName, (_, _, names): Self::Ready) {
        names.iter().for_each(Unnamed::give_up);
    }

    fn step(
        &self,
        together: &Store,
        user: &UserName,
        (removal, _, names): &mut Self::Ready,
        number: usize,
    ) -> Result<(), StoreError> {
        match number {
            // The keys that go are remembered first.
            0 => names.iter().try_for_each(Unnamed::put_in_force),
            1 => together.backend.remove_record(removal),
            _ => together.backend.remove_rest(user, removal),
        }
    }

    fn sync(&self, together: &Store, (_, _, names): &Self::Ready) -> Result<(), StoreError> {
        names.iter().try_for_each(Unnamed::sync)?;
        together.backend.users.sync()?;
        together.backend.state.sync()
    }

    fn end(
        &self,
        store: &Store,
        _user: &UserName,
        (removal, memory, _): Self::Ready,
    ) -> Result<RemoveOutcome, StoreError> {
        memory.conclude(store.backend.end_removal(removal))
    }
}

#[cfg(test)]
impl Batch {
    /// Of many at once whatever the file system is, which a test does not lose.
    pub(super) fn forced(store: Store) -> Self {
        let together = Store { backend: store.backend.leaving_durability() };
        Self { store, together: Some(together) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_of_linux_is_compared_by_its_numbers() {
        for (release, expected) in [
            ("5.8.0", true),
            ("5.10.0-28-amd64", true),
            ("6.1", true),
            ("10.0-rc1", true),
            ("5.7.19", false),
            ("4.18.0-553.el8_10.x86_64", false),
            ("", false),
            ("unknown", false),
        ] {
            assert_eq!(is_since(release, TELLS_ERRORS), expected, "{release}");
        }
    }
}
