//! The port below the rules of accounts: bytes, and the right to change them. A backend
//! knows nothing of secrets, phases or verdicts. Files with locks (`super::files`) are
//! one; a store that compares and swaps can be another: a claim is a lock there and the
//! revision that was read here.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::StoreError;
pub use super::retired::{Fingerprint, Remains};
pub use super::slots::{SLOT_BYTES, Slot};
use crate::account::UserName;

/// A whole snapshot of a state.
pub type SlotBytes = [u8; SLOT_BYTES];

/// What is kept of an account. It holds the secret: there is no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredAccount {
    /// The record's text.
    pub record: Zeroizing<String>,
    /// The two latest snapshots of the state, valid or not.
    pub snapshots: [SlotBytes; 2],
}

/// Where a new snapshot goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// In the place of this one. The other is what is left if the write is torn.
    Over(Slot),
    /// In the place of this one, then also of the other: neither may be read again.
    OverBoth(Slot),
    /// What was there is damaged, and may be overwritten.
    Anew,
}

/// What is written under a claim, in this order: at any point the old account is whole or
/// the new one is, and what is counted is counted.
#[derive(Default)]
pub struct Change<'a> {
    /// What services' accounts have failed with the user, as text.
    pub services: Option<&'a str>,
    /// The next snapshot.
    pub state: Option<(&'a SlotBytes, Target)>,
    /// The record's next text.
    pub record: Option<&'a str>,
}

/// Makes of what is remembered of a key what is to be; `None`: the same.
pub type Successor<'a> = dyn FnMut(Option<&str>) -> Result<Option<String>, StoreError> + 'a;

/// Why nothing was written.
#[derive(Debug)]
pub enum CommitError {
    /// The account is no longer as it was when it was claimed: claim it again.
    Conflict,
    /// The backend's error.
    Error(StoreError),
}

impl From<StoreError> for CommitError {
    fn from(error: StoreError) -> Self {
        Self::Error(error)
    }
}

/// What [`Backend::remove`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoveOutcome {
    /// A record, which is gone.
    Record,
    /// There was no record.
    Nothing,
}

/// Which half of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// What was issued: the secret and its parameters.
    Record,
    /// What logins have done.
    State,
}

/// Where the bytes of accounts are.
pub trait Backend {
    /// The right to change one account.
    type Claim;

    /// Reads an account without waiting for a change in progress; `None` if there is no
    /// state. It may be found between two states, and then is mostly unsound.
    ///
    /// # Errors
    /// [`StoreError`].
    fn peek(&self, user: &UserName) -> Result<Option<StoredAccount>, StoreError>;

    /// Reads an account that nobody changes; `None` if there is no record.
    ///
    /// # Errors
    /// [`StoreError`], also if there is a record without a state.
    fn read(&self, user: &UserName) -> Result<Option<StoredAccount>, StoreError>;

    /// Reads an account to change it; `None` if there is no record.
    ///
    /// # Errors
    /// As for [`Backend::read`].
    fn claim(&self, user: &UserName) -> Result<Option<(StoredAccount, Self::Claim)>, StoreError>;

    /// Claims a user's account, whether there is one, and whatever it is like.
    ///
    /// # Errors
    /// [`StoreError`].
    fn claim_any(&self, user: &UserName) -> Result<Self::Claim, StoreError>;

    /// The record of an account; `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    fn record(&self, user: &UserName) -> Result<Option<Zeroizing<String>>, StoreError>;

    /// The snapshots of a claimed account.
    ///
    /// # Errors
    /// [`StoreError`].
    fn snapshots(&self, user: &UserName, claim: &Self::Claim)
    -> Result<[SlotBytes; 2], StoreError>;

    /// What services' accounts have failed with the user of a claimed account; `None`:
    /// nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    fn services(&self, user: &UserName) -> Result<Option<Zeroizing<String>>, StoreError>;

    /// Writes, and returns once it is durable. An empty change writes nothing, and still
    /// fails where the account is no longer as it was claimed.
    ///
    /// # Errors
    /// [`CommitError`].
    fn commit(
        &self,
        user: &UserName,
        claim: &Self::Claim,
        change: Change<'_>,
    ) -> Result<(), CommitError>;

    /// Ends a claim, once what was changed under it is committed.
    ///
    /// # Errors
    /// [`StoreError`]: nobody is told of what was committed.
    fn release(&self, claim: Self::Claim) -> Result<(), StoreError>;

    /// Releases a claim on a user who has no record, and what was made for it.
    ///
    /// # Errors
    /// [`StoreError`].
    fn abandon(&self, user: &UserName, claim: Self::Claim) -> Result<(), StoreError>;

    /// Removes record, state and what is counted at services, sound or not, and what the
    /// index has of them. The record,
    /// and with it the secret, goes first. `before` sees what there is when nobody can
    /// change it any more, and says which uid the record has.
    ///
    /// # Errors
    /// [`StoreError`].
    fn remove(
        &self,
        user: &UserName,
        before: &mut dyn FnMut(Remains) -> Option<u32>,
    ) -> Result<RemoveOutcome, StoreError>;

    /// Makes the account of `old`, which is claimed, that of `new`, whose record is `text`.
    /// There is one state at any time: whoever has it has the account.
    ///
    /// # Errors
    /// [`CommitError`].
    fn hand_over(
        &self,
        old: &UserName,
        claim: &Self::Claim,
        new: &UserName,
        text: &str,
    ) -> Result<(), CommitError>;

    /// Whose records the index has for a uid: nobody's, mostly, or one. A name may be
    /// stale. Nobody's too as long as there is no index.
    ///
    /// # Errors
    /// [`StoreError`]: what cannot be read is not "nobody".
    fn indexed(&self, uid: u32) -> Result<Vec<UserName>, StoreError>;

    /// Has the index name these for a uid, durably, or nobody. `user` is one whose account
    /// the caller has claimed, or is about to make. Nothing where there is no index.
    ///
    /// # Errors
    /// [`StoreError`].
    fn index(&self, uid: u32, names: &[UserName], user: &UserName) -> Result<(), StoreError>;

    /// What is remembered of a key that is not in force; `None`: nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    fn remembered(&self, key: &Fingerprint) -> Result<Option<Zeroizing<String>>, StoreError>;

    /// Puts what `text` makes of what is remembered of a key in its place, durably, and
    /// nobody else does so at the same time. `None` from it leaves things as they are.
    ///
    /// # Errors
    /// [`StoreError`]; those of `text`.
    fn remember(&self, key: &Fingerprint, text: &mut Successor<'_>) -> Result<(), StoreError>;

    /// Forgets what is remembered of keys where `over` says so of its text. Returns how
    /// many those were.
    ///
    /// # Errors
    /// [`StoreError`].
    fn forget(&self, over: &mut dyn FnMut(&str) -> bool) -> Result<usize, StoreError>;

    /// Where what is remembered of a key is, for messages.
    fn memory(&self, key: &Fingerprint) -> PathBuf;

    /// Everybody who has a record, in no particular order.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be listed.
    fn users(&self) -> Result<impl Iterator<Item = Result<UserName, StoreError>>, StoreError>;

    /// Where what services' accounts have failed with the user is, for messages.
    fn services_path(&self, user: &UserName) -> PathBuf;

    /// Where an account is, for messages.
    fn location(&self, user: &UserName, half: Half) -> PathBuf;
}
