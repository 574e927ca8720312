//! What only an admin's order does to a whole account: it is issued, replaced, removed,
//! repaired. The rules are those of [`super::accounts`], whose door they go through.

use super::accounts::{Store, unless_damaged};
use super::backend::{Backend, Change, RemoveOutcome, Target};
use super::slots::{self, LatestState};
use super::{StoreError, record};
use crate::account::{Account, Record, State, Timestamp, TokenState, Uid, UserName};
use crate::code::{MovingFactor, Step};

/// Whether [`Store::issue`] may put a new record in the place of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// It may: the old secret is lost.
    Yes,
    /// It may not: a user who has a record keeps it.
    No,
}

/// What [`Store::issue`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssueOutcome {
    /// The record is in force.
    New,
    /// There was one already, and it still is.
    AlreadyThere,
}

/// What [`Store::repair`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepairOutcome {
    /// Nothing: the account is sound.
    Sound,
    /// There is no account.
    NoRecord,
    /// Its state was lost; it is now active, and no code shown up to now is
    /// accepted.
    StateRebuilt,
}

impl<B: Backend> Store<B> {
    /// Puts `account` in force: with a fresh state, or with that which its
    /// tokens had elsewhere.
    ///
    /// The state goes into the place that the record in force does not use: at any
    /// point, the old account is whole or the new one is.
    ///
    /// # Errors
    /// [`StoreError`]: then a sound account that was in force still is.
    pub fn issue(
        &self,
        account: &Account,
        replace_old: Replace,
    ) -> Result<IssueOutcome, StoreError> {
        let Account { record, state } = account;
        let user = &record.user;
        // A broken account is reported as such, and nothing is made beside it.
        if replace_old == Replace::No && self.inspect(user)?.is_some() {
            return Ok(IssueOutcome::AlreadyThere);
        }
        let text = self.text_of(record)?;
        if let Uid::Is(uid) = record.uid {
            self.must_be_nobody_elses(user, uid)?;
        }
        self.claimed_again(user, || {
            let claim = self.backend.claim_any(user)?;
            let old = match replace_old {
                Replace::No if self.record(user)?.is_some() => {
                    return Ok(IssueOutcome::AlreadyThere);
                }
                Replace::No => None,
                // Damaged: it is what is to be replaced.
                Replace::Yes => unless_damaged(self.record(user))?.flatten(),
            };
            self.reserve(user, record.uid)?;
            let old_uid = old.as_ref().map_or(record.uid, |old| old.uid);
            let old = old.map(|old| unless_damaged(self.latest(user, &claim, &old))).transpose()?;
            let (sequence, target) = match old.flatten() {
                Some(LatestState { spare, sequence, .. }) => (sequence, Target::Over(spare)),
                None => (slots::FIRST_SEQUENCE, Target::Anew),
            };
            let snapshot = slots::encode(sequence, state);
            let change = Change { state: Some((&snapshot, target)), record: Some(&text) };
            self.backend.commit(user, &claim, change)?;
            self.confirm(user, record.uid)?;
            self.release(user, old_uid, record.uid)?;
            Ok(IssueOutcome::New)
        })
    }

    /// Removes the record, and with it the secret, then the state. Works on
    /// damaged accounts too.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remove(&self, user: &UserName) -> Result<RemoveOutcome, StoreError> {
        self.backend.remove(user, &|text| match record::from_text(text).ok()?.uid {
            Uid::Is(uid) => Some(uid),
            Uid::Any => None,
        })
    }

    /// Repairs what a login refuses and can be repaired without guessing.
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
    ) -> Result<RepairOutcome, StoreError> {
        if let Some(record) = self.record(user)? {
            self.must_not_be_renamed(&record)?;
        }
        self.claimed_again(user, || {
            // Looked at under the claim: it may be about to be issued.
            let claim = self.backend.claim_any(user)?;
            let Some(record) = self.record(user)? else {
                self.backend.abandon(user, claim)?;
                return Ok(RepairOutcome::NoRecord);
            };
            if unless_damaged(self.latest(user, &claim, &record))?.is_some() {
                return Ok(RepairOutcome::Sound);
            }
            let state = rebuilt(&record, now, window)?;
            let snapshot = slots::encode(slots::FIRST_SEQUENCE, &state);
            let change = Change { state: Some((&snapshot, Target::Anew)), record: None };
            self.backend.commit(user, &claim, change)?;
            Ok(RepairOutcome::StateRebuilt)
        })
    }
}

/// The state of an account whose state was lost.
fn rebuilt(record: &Record, now: Timestamp, window: u64) -> Result<State, StoreError> {
    let mut state = State { activated_at: Some(now), ..State::fresh(record.generation) };
    for (id, token) in &record.tokens {
        let MovingFactor::Totp { period } = token.kind else {
            return Err(StoreError::CounterLost(record.user.clone()));
        };
        let present = now.0.checked_div(u64::from(period.get())).unwrap_or(0);
        let next = Step(present).plus(window).plus(1);
        state = state.with_token(*id, TokenState { next, ..TokenState::default() });
    }
    Ok(state)
}
