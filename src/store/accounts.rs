//! The rules of accounts, whatever keeps their bytes ([`Backend`]): whose account it is,
//! what of it is sound, what goes before what, what happens to a state that was lost.
//! The one door through which accounts change.

use zeroize::Zeroizing;

use super::backend::{Backend, Change, CommitError, Half, StoredAccount, Target};
use super::files::Files;
use super::issue::{IssueOutcome, Replace};
use super::slots::{self, LatestState, Slot};
use super::{LogError, StoreError, record};
use crate::account::{Account, Record, Recovery, State, Timestamp, Uid, UserName};
use crate::login::ports::{Accounts, Addition};
use crate::login::{Judgement, Verdict};

/// The store of accounts.
#[derive(Debug)]
pub struct Store<B = Files> {
    pub(super) backend: B,
}

/// How often an account is claimed again that others change at the same time.
const CLAIM_TRIES: u32 = 100;

/// An account as it was read, and what it was read from: where that is still so when it
/// is claimed, it need not be parsed again.
#[derive(Clone)]
pub struct AccountSnapshot {
    /// The record, and the state that was valid when it was read.
    pub account: Account,
    kept: StoredAccount,
    /// Where its next snapshot goes, and with which sequence number.
    spare: Slot,
    sequence: u64,
}

impl AsRef<Account> for AccountSnapshot {
    fn as_ref(&self) -> &Account {
        &self.account
    }
}

/// What is written of an account.
struct Parts<'a> {
    state: Option<&'a State>,
    record: Option<&'a str>,
    services: Option<&'a str>,
}

impl<B: Backend> Store<B> {
    /// The account of `user`, whose uid is `uid`; `None` if they have no record.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn load(&self, user: &UserName, uid: u32) -> Result<Option<AccountSnapshot>, StoreError> {
        let loaded = self.look(user)?;
        if let Some(loaded) = &loaded {
            self.must_be_of(user, uid, &loaded.account)?;
        }
        match loaded.as_ref().map(|loaded| loaded.account.record.uid) {
            Some(Uid::Is(_)) => {}
            Some(Uid::Any) | None => self.must_be_nobody_elses(user, uid)?,
        }
        Ok(loaded)
    }

    /// A user who was re-created does not inherit the record.
    fn must_be_of(&self, user: &UserName, uid: u32, account: &Account) -> Result<(), StoreError> {
        let recorded = account.record.uid;
        if recorded.admits(uid) {
            return Ok(());
        }
        let path = self.backend.location(user, Half::Record);
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

    /// Reads an account, and holds no claim on it when done.
    ///
    /// Whoever writes at the same time leaves it as it was or as it will be, and mostly
    /// sound: then there is nothing to wait for. If it is not, it is read once nobody
    /// writes; and where that is never, once more as at first.
    pub(super) fn look(&self, user: &UserName) -> Result<Option<AccountSnapshot>, StoreError> {
        if let Some(sound) = self.look_beside_others(user)? {
            return Ok(Some(sound));
        }
        match self.record_first(user, self.backend.read(user)) {
            Err(held @ StoreError::Held { .. }) => {
                self.look_beside_others(user)?.map(Some).ok_or(held)
            }
            kept => self.understand_any(user, kept?),
        }
    }

    /// Reads an account while others may write; `None` if what was read is not sound.
    fn look_beside_others(&self, user: &UserName) -> Result<Option<AccountSnapshot>, StoreError> {
        let read = self.backend.peek(user).and_then(|kept| self.understand_any(user, kept));
        Ok(unless_damaged(read)?.flatten())
    }

    /// Where the state is missing or unsound and the record is damaged too, that is the
    /// error: its remedy is the one that helps.
    pub(super) fn record_first<T>(
        &self,
        user: &UserName,
        read: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Err(StoreError::State { .. }) = read {
            self.record(user)?;
        }
        read
    }

    /// Judges the account under a claim on it, commits the next state durably, and only
    /// then returns the verdict. What was loaded before is read again.
    ///
    /// # Errors
    /// [`StoreError`]: then nothing was decided, and the login is refused.
    pub fn update(
        &self,
        user: &UserName,
        uid: u32,
        known: Option<&AccountSnapshot>,
        judge: impl FnMut(Option<&Account>) -> Judgement,
    ) -> Result<Verdict, StoreError> {
        self.update_through(None, user, uid, known, judge)
    }

    /// As [`Store::update`], where the account `through` asks (`may_ask`) and wrong codes
    /// count against it.
    ///
    /// # Errors
    /// As there.
    pub fn update_at_service(
        &self,
        through: &str,
        user: &UserName,
        uid: u32,
        known: Option<&AccountSnapshot>,
        judge: impl FnMut(Option<&Account>) -> Judgement,
    ) -> Result<Verdict, StoreError> {
        self.update_through(Some(through), user, uid, known, judge)
    }

    fn update_through(
        &self,
        through: Option<&str>,
        user: &UserName,
        uid: u32,
        known: Option<&AccountSnapshot>,
        mut judge: impl FnMut(Option<&Account>) -> Judgement,
    ) -> Result<Verdict, StoreError> {
        self.claimed_again(user, || {
            let claimed = self.record_first(user, self.backend.claim(user))?;
            let Some((kept, claim)) = claimed else {
                let nowhere = |_: &State| Err(StoreError::NotEnabled(user.clone()));
                return Ok(judge(None).settle(nowhere)?);
            };
            let fresh;
            let current = match known {
                Some(known) if known.account.record.user == *user && known.kept == kept => known,
                Some(_) | None => {
                    fresh = self.understand(user, kept)?;
                    &fresh
                }
            };
            self.must_be_of(user, uid, &current.account)?;
            let mut written = false;
            let (judgement, services) = match through {
                None => (judge(Some(&current.account)), None),
                Some(through) => self.judge_through(through, &current.account, &mut judge)?,
            };
            let verdict = judgement.settle(|next| {
                written = true;
                let services = services.as_deref();
                self.commit(
                    user,
                    &claim,
                    current,
                    Parts { state: Some(next), record: None, services },
                )
            })?;
            let record = &current.account.record;
            if let (Verdict::Admitted(_), Uid::Any) = (verdict, record.uid) {
                self.bind(user, uid, &claim, record)?;
                return Ok(verdict);
            }
            // A verdict that changes nothing is about this account all the same.
            if !written {
                self.backend.commit(user, &claim, Change::default())?;
            }
            self.backend.release(claim)?;
            Ok(verdict)
        })
    }

    /// Changes a state otherwise than by a login's verdict.
    ///
    /// # Errors
    /// [`StoreError`], also when there is no record; those of `change`.
    pub fn amend<E: From<StoreError>>(
        &self,
        user: &UserName,
        mut change: impl FnMut(&Account) -> Result<State, E>,
    ) -> Result<(), E> {
        self.change(user, |account| Ok((Some(change(account)?), None)))
    }

    /// Changes what was issued without issuing a new account: the generation and with
    /// it the state stay. Keys that go are remembered, keys that come begin where they
    /// were (`store/retired.rs`).
    ///
    /// # Errors
    /// [`StoreError`], also when there is no record; those of `change`.
    pub fn amend_record<E: From<StoreError>>(
        &self,
        user: &UserName,
        now: Timestamp,
        mut change: impl FnMut(&Account) -> Result<Account, E>,
    ) -> Result<(), E> {
        self.change(user, |account| {
            let mut next = change(account)?;
            self.exchange_keys(Some(&account.record), Some(&account.state), &mut next, now)?;
            let Account { record, state } = next;
            Ok(((state != account.state).then_some(state), Some(record)))
        })
    }

    /// Writes those halves of an account that `change` gives.
    fn change<E: From<StoreError>>(
        &self,
        user: &UserName,
        mut change: impl FnMut(&Account) -> Result<(Option<State>, Option<Record>), E>,
    ) -> Result<(), E> {
        self.claimed_again(user, || {
            let claimed = self.record_first(user, self.backend.claim(user))?;
            let (kept, claim) = claimed.ok_or_else(|| StoreError::NotEnabled(user.clone()))?;
            let current = self.understand(user, kept)?;
            let (state, record) = match change(&current.account) {
                Ok(next) => next,
                Err(error) => return Ok(Err(error)),
            };
            let text = record.map(|record| self.text_of(&record)).transpose()?;
            let text = text.as_ref().map(|text| text.as_str());
            let parts = Parts { state: state.as_ref(), record: text, services: None };
            self.commit(user, &claim, &current, parts)?;
            self.backend.release(claim)?;
            Ok(Ok(()))
        })?
    }

    /// Everybody who has a record, in no particular order.
    ///
    /// # Errors
    /// [`StoreError`] if the directory cannot be read.
    pub fn users(&self) -> Result<impl Iterator<Item = Result<UserName, StoreError>>, StoreError> {
        self.backend.users()
    }

    /// Does `work` with a claim that it makes, again where somebody else was quicker.
    pub(super) fn claimed_again<T>(
        &self,
        user: &UserName,
        mut work: impl FnMut() -> Result<T, CommitError>,
    ) -> Result<T, StoreError> {
        for _ in 0..CLAIM_TRIES {
            match work() {
                Ok(done) => return Ok(done),
                Err(CommitError::Conflict) => {}
                Err(CommitError::Error(error)) => return Err(error),
            }
        }
        Err(StoreError::Busy(user.clone()))
    }

    /// Writes what follows.
    fn commit(
        &self,
        user: &UserName,
        claim: &B::Claim,
        current: &AccountSnapshot,
        Parts { state, record, services }: Parts<'_>,
    ) -> Result<(), CommitError> {
        let bytes = state.map(|state| slots::encode(current.sequence, state));
        let target = match state {
            // Also over the snapshot that still says "pending": if the newer
            // one went bad, it would show the secret again.
            Some(next) if next.activated_at != current.account.state.activated_at => {
                Target::OverBoth(current.spare)
            }
            Some(_) | None => Target::Over(current.spare),
        };
        let state = bytes.as_ref().map(|bytes| (bytes, target));
        self.backend.commit(user, claim, Change { services, state, record })
    }

    fn understand_any(
        &self,
        user: &UserName,
        kept: Option<StoredAccount>,
    ) -> Result<Option<AccountSnapshot>, StoreError> {
        kept.map(|kept| self.understand(user, kept)).transpose()
    }

    /// Makes an account of what was read.
    pub(super) fn understand(
        &self,
        user: &UserName,
        kept: StoredAccount,
    ) -> Result<AccountSnapshot, StoreError> {
        let record = self.record_in(user, &kept.record)?;
        let LatestState { state, spare, sequence } =
            slots::latest(&kept.snapshots, record.generation)
                .map_err(|what| self.state_error(user, what))?;
        Ok(AccountSnapshot { account: Account { record, state }, kept, spare, sequence })
    }

    pub(super) fn latest(
        &self,
        user: &UserName,
        claim: &B::Claim,
        record: &Record,
    ) -> Result<LatestState, StoreError> {
        let snapshots = self.backend.snapshots(user, claim)?;
        slots::latest(&snapshots, record.generation).map_err(|what| self.state_error(user, what))
    }

    pub(super) fn record(&self, user: &UserName) -> Result<Option<Record>, StoreError> {
        let text = self.backend.record(user)?;
        text.map(|text| self.record_in(user, &text)).transpose()
    }

    pub(super) fn record_in(&self, user: &UserName, text: &str) -> Result<Record, StoreError> {
        let record = record::from_text(text).map_err(|what| self.record_error(user, what))?;
        if record.user != *user {
            return Err(self.record_error(user, "it is another user's"));
        }
        Ok(record)
    }

    pub(super) fn text_of(&self, record: &Record) -> Result<Zeroizing<String>, StoreError> {
        record::to_text(record)
            .map_err(|_| self.record_error(&record.user, "it cannot be written as TOML"))
    }

    fn state_error(&self, user: &UserName, what: &'static str) -> StoreError {
        StoreError::State { path: self.backend.location(user, Half::State), what }
    }

    fn record_error(&self, user: &UserName, what: &'static str) -> StoreError {
        StoreError::Record { path: self.backend.location(user, Half::Record), what }
    }
}

impl Accounts for Store<Files> {
    type Error = LogError;
    type Snapshot = AccountSnapshot;

    fn load(&self, user: &UserName, uid: u32) -> Result<Option<AccountSnapshot>, LogError> {
        Ok(self.load(user, uid)?)
    }

    fn update(
        &self,
        user: &UserName,
        uid: u32,
        known: Option<&AccountSnapshot>,
        judge: impl FnMut(Option<&Account>) -> Judgement,
    ) -> Result<Verdict, LogError> {
        Ok(self.update(user, uid, known, judge)?)
    }

    fn enroll(&self, account: &Account) -> Result<(), LogError> {
        let (IssueOutcome::New | IssueOutcome::NewMovedOn | IssueOutcome::AlreadyThere) =
            self.issue(account, Replace::No)?;
        Ok(())
    }

    fn add_recovery(&self, user: &UserName, recovery: Recovery) -> Result<Addition, LogError> {
        let mut addition = Addition::Added;
        // Of keys alone the time is asked, and none goes or comes.
        self.amend_record(user, Timestamp::default(), |account| {
            let mut next = account.clone();
            if next.record.recovery.is_some() {
                addition = Addition::AlreadyThere;
            } else {
                next.record.recovery = Some(recovery.clone());
            }
            Ok::<_, StoreError>(next)
        })?;
        Ok(addition)
    }

    fn take_overs(&self) -> Vec<String> {
        self.take_overs().take().iter().map(ToString::to_string).collect()
    }
}

/// `None` if it is damaged. What could not be read may be sound: that stays an error,
/// and nothing is put in its place.
pub(super) fn unless_damaged<T>(read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Ok(sound) => Ok(Some(sound)),
        Err(
            error @ (StoreError::Io { .. }
            | StoreError::Busy(_)
            | StoreError::Held { .. }
            | StoreError::PassedOver(_)),
        ) => Err(error),
        Err(_) => Ok(None),
    }
}
