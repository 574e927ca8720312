//! What only an admin's order does to a whole account: it is issued, replaced, removed,
//! repaired. The rules are those of [`super::accounts`], whose door they go through.

use zeroize::Zeroizing;

use super::accounts::{Store, unless_damaged};
use super::backend::{Backend, Change, CommitError, Remains, RemoveOutcome, SlotBytes, Target};
use super::retired::first_unspent;
use super::slots::{self, LatestState};
use super::{Removal, StoreError, record};
use crate::account::{
    Account, Record, SpentRecovery, State, Timestamp, TokenId, TokenState, Uid, UserName,
};
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
    /// The same; a key of it was in use here before, and its used codes stay spent.
    NewMovedOn,
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
    StateRebuilt {
        /// When the first code that is accepted is shown by a clock that is right.
        until: Timestamp,
    },
    /// It was sound; it is now active, and no code shown up to now is accepted.
    Spent {
        /// As above.
        until: Timestamp,
    },
    /// The same, but of a hotp token only those before the counter on record are spent.
    SpentButCounters {
        /// As above.
        until: Timestamp,
    },
}

/// What has been begun of a change.
pub(super) enum Begun<R, O> {
    /// All of it: there is nothing to write.
    Done(O),
    /// What is to be written is known.
    Ready(R),
}

/// A claimed account that is about to be written, and what to write.
pub(super) struct ReadyAccount<C> {
    pub(super) claim: C,
    snapshot: SlotBytes,
    target: Target,
    text: Zeroizing<String>,
    /// For whom the record in force is.
    old_uid: Uid,
    outcome: IssueOutcome,
}

impl<C> ReadyAccount<C> {
    pub(super) fn change(&self) -> Change<'_> {
        Change {
            state: Some((&self.snapshot, self.target)),
            record: Some(&self.text),
            ..Change::default()
        }
    }
}

/// A claimed account whose next state is about to be written, and which it is.
pub(super) struct ReadyState<C> {
    pub(super) claim: C,
    snapshot: SlotBytes,
    target: Target,
    pub(super) outcome: RepairOutcome,
}

impl<C> ReadyState<C> {
    pub(super) fn change(&self) -> Change<'_> {
        Change { state: Some((&self.snapshot, self.target)), ..Change::default() }
    }
}

/// What [`Store::repair`] is to repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// States that were lost.
    Lost,
    /// Also sound ones: they are from a backup, and what was spent since is not in them.
    Restored,
}

impl<B: Backend> Store<B> {
    /// Puts `account` in force: with a fresh state, or with that which its
    /// tokens had elsewhere. A key whose codes were spent here goes on after them.
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
        let user = &account.record.user;
        if self.has_account(account, replace_old)? {
            return Ok(IssueOutcome::AlreadyThere);
        }
        self.claimed_again(user, || {
            let Some(ready) = self.ready(account, replace_old)? else {
                return Ok(IssueOutcome::AlreadyThere);
            };
            self.backend.commit(user, &ready.claim, ready.change())?;
            Ok(self.conclude(account, ready)?)
        })
    }

    /// Whether an account is there that is to stay.
    ///
    /// # Errors
    /// [`StoreError`], also where there is a broken one: it is reported as such, and nothing
    /// is made beside it.
    pub(super) fn has_account(
        &self,
        account: &Account,
        replace_old: Replace,
    ) -> Result<bool, StoreError> {
        let Record { user, uid, .. } = &account.record;
        if replace_old == Replace::No && self.inspect(user)?.is_some() {
            return Ok(true);
        }
        if let Uid::Is(uid) = *uid {
            self.must_be_nobody_elses(user, uid)?;
        }
        Ok(false)
    }

    /// Claims the user's account, and does all that comes before the new one is written.
    /// `None`: there is an account that is to stay.
    pub(super) fn ready(
        &self,
        account: &Account,
        replace_old: Replace,
    ) -> Result<Option<ReadyAccount<B::Claim>>, CommitError> {
        let record = &account.record;
        let user = &record.user;
        let text = self.text_of(record)?;
        let claim = self.backend.claim_any(user)?;
        let old = match replace_old {
            Replace::No if self.record(user)?.is_some() => return Ok(None),
            Replace::No => None,
            // Damaged: it is what is to be replaced.
            Replace::Yes => unless_damaged(self.record(user))?.flatten(),
        };
        let latest = old.as_ref().map(|old| unless_damaged(self.latest(user, &claim, old)));
        let latest = latest.transpose()?.flatten();
        let mut next = account.clone();
        let old_state = latest.as_ref().map(|latest| &latest.state);
        self.exchange_keys(old.as_ref(), old_state, &mut next, record.issued_at)?;
        self.reserve(user, record.uid)?;
        let (sequence, target) = match latest {
            Some(LatestState { spare, sequence, .. }) => (sequence, Target::Over(spare)),
            None => (slots::FIRST_SEQUENCE, Target::Anew),
        };
        let moved_on =
            TokenId::all().any(|id| next.state.token(id).next > account.state.token(id).next);
        Ok(Some(ReadyAccount {
            claim,
            snapshot: slots::encode(sequence, &next.state),
            target,
            text,
            old_uid: old.map_or(record.uid, |old| old.uid),
            outcome: if moved_on { IssueOutcome::NewMovedOn } else { IssueOutcome::New },
        }))
    }

    /// Does what comes after the new account is in force.
    pub(super) fn conclude(
        &self,
        account: &Account,
        ready: ReadyAccount<B::Claim>,
    ) -> Result<IssueOutcome, StoreError> {
        let Record { user, uid, .. } = &account.record;
        self.confirm(user, *uid)?;
        self.release(user, ready.old_uid, *uid)?;
        self.backend.release(ready.claim)?;
        Ok(ready.outcome)
    }

    /// Removes the record, and with it the secret, then the state. Works on
    /// damaged accounts too. Up to where codes were spent is remembered.
    ///
    /// # Errors
    /// [`StoreError`]. Where [`StoreError::NotRemembered`] says so, the account is gone all
    /// the same: a full disk must not keep a secret in force.
    pub fn remove(&self, user: &UserName, now: Timestamp) -> Result<RemoveOutcome, StoreError> {
        let mut memory = KeyMemory::default();
        let outcome = self.backend.remove(user, &mut |remains| memory.keep(self, remains, now));
        memory.conclude(outcome)
    }

    /// Removes what is left of an account that has another name now: its keys are in force.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn discard(&self, user: &UserName) -> Result<RemoveOutcome, StoreError> {
        self.backend.remove(user, &mut |remains| {
            let text = remains.record.ok()??;
            uid_of(&record::from_text(&text).ok()?)
        })
    }

    /// Repairs what a login refuses and can be repaired without guessing.
    ///
    /// A lost state becomes that of an active account whose codes are spent up to and
    /// including those of `ahead` steps after `now`: the window, and by how much a token
    /// may be fast. Its recovery codes are spent too, since which of them were is lost.
    /// Never a fresh one: that would show the secret and let codes be used twice.
    ///
    /// # Errors
    /// [`StoreError`] if the record is damaged, or if a hotp token's counter
    /// was lost with the state.
    pub fn repair(
        &self,
        user: &UserName,
        now: Timestamp,
        ahead: u64,
        scope: Scope,
    ) -> Result<RepairOutcome, StoreError> {
        self.claimed_again(user, || match self.ready_to_repair(user, now, ahead, scope)? {
            Begun::Done(outcome) => Ok(outcome),
            Begun::Ready(ready) => {
                self.backend.commit(user, &ready.claim, ready.change())?;
                self.backend.release(ready.claim)?;
                Ok(ready.outcome)
            }
        })
    }

    /// Claims an account, and finds out what is to be written.
    pub(super) fn ready_to_repair(
        &self,
        user: &UserName,
        now: Timestamp,
        ahead: u64,
        scope: Scope,
    ) -> Result<Begun<ReadyState<B::Claim>, RepairOutcome>, CommitError> {
        if let Some(record) = self.record(user)? {
            self.must_not_be_renamed(&record)?;
        }
        // Looked at under the claim: it may be about to be issued.
        let claim = self.backend.claim_any(user)?;
        let Some(record) = self.record(user)? else {
            self.backend.abandon(user, claim)?;
            return Ok(Begun::Done(RepairOutcome::NoRecord));
        };
        let latest = unless_damaged(self.latest(user, &claim, &record))?;
        let until = spent_until(&record, now, ahead);
        let outcome = foreseen(user, &record, latest.is_some(), scope, until)?;
        if outcome == RepairOutcome::Sound {
            return Ok(Begun::Done(outcome));
        }
        let (state, sequence, target) = match latest {
            Some(LatestState { state, sequence, spare }) => {
                (self.raised(&record, state)?, sequence, Target::OverBoth(spare))
            }
            None => (State::fresh(record.generation), slots::FIRST_SEQUENCE, Target::Anew),
        };
        let snapshot = slots::encode(sequence, &spent(&record, state, now, ahead));
        Ok(Begun::Ready(ReadyState { claim, snapshot, target, outcome }))
    }
}

/// Whether the keys of an account that is removed could be remembered.
#[derive(Default)]
pub(super) struct KeyMemory {
    error: Option<StoreError>,
}

impl KeyMemory {
    /// Remembers the keys of what is about to be removed. Returns for which uid the index has
    /// it.
    pub(super) fn keep<B: Backend>(
        &mut self,
        store: &Store<B>,
        remains: Remains,
        now: Timestamp,
    ) -> Option<u32> {
        let text = match remains.record {
            Ok(text) => text?,
            Err(error @ StoreError::Io { .. }) => {
                self.note(error);
                return None;
            }
            // Of a damaged record there is no key to remember.
            Err(_) => return None,
        };
        let record = record::from_text(&text).ok()?;
        let state = remains.snapshots.and_then(|snapshots| {
            slots::latest(&snapshots, record.generation).ok().map(|latest| latest.state)
        });
        let kept = if state.is_some() { Ok(()) } else { store.must_not_be_renamed(&record) };
        let kept = kept.and_then(|()| store.remember_keys(&record, state.as_ref(), now));
        match kept {
            // A state that has gone over to another name is not lost.
            Ok(()) | Err(StoreError::RenameUnfinished { .. }) => {}
            Err(error) => self.note(error),
        }
        uid_of(&record)
    }

    #[cfg(any(test, feature = "tool"))]
    pub(super) const fn is_incomplete(&self) -> bool {
        self.error.is_some()
    }

    /// It looks again where somebody else was quicker: the first error is the one.
    fn note(&mut self, error: StoreError) {
        self.error.get_or_insert(error);
    }

    /// What is told of the removal.
    ///
    /// # Errors
    /// As [`Store::remove`].
    pub(super) fn conclude(
        self,
        outcome: Result<RemoveOutcome, StoreError>,
    ) -> Result<RemoveOutcome, StoreError> {
        let Some(error) = self.error else { return outcome };
        let (removal, error) = match outcome {
            Ok(_) | Err(StoreError::StillIndexed(_)) => (Removal::Complete, error),
            Err(error) => (Removal::Incomplete, error),
        };
        Err(StoreError::NotRemembered { removal, error: Box::new(error) })
    }
}

impl Store {
    /// Whether there is a record, be it damaged.
    ///
    /// # Errors
    /// [`StoreError`] where that cannot be found out.
    pub fn is_there(&self, user: &UserName) -> Result<bool, StoreError> {
        Ok(unless_damaged(self.record(user))?.is_none_or(|record| record.is_some()))
    }

    /// What [`Store::repair`] would do; nothing is written and no lock is taken.
    ///
    /// # Errors
    /// As there.
    pub fn foresee_repair(
        &self,
        user: &UserName,
        now: Timestamp,
        ahead: u64,
        scope: Scope,
    ) -> Result<RepairOutcome, StoreError> {
        let Some(record) = self.record(user)? else { return Ok(RepairOutcome::NoRecord) };
        self.must_not_be_renamed(&record)?;
        let is_sound = unless_damaged(self.inspect(user))?.is_some();
        foreseen(user, &record, is_sound, scope, spent_until(&record, now, ahead))
    }
}

/// What a repair does for whom there is a record, by whether the state is sound. Codes up to
/// `until` are spent then.
fn foreseen(
    user: &UserName,
    record: &Record,
    is_sound: bool,
    scope: Scope,
    until: Timestamp,
) -> Result<RepairOutcome, StoreError> {
    let counters = record.tokens.iter().any(|(_, it)| it.kind == MovingFactor::Hotp);
    match (is_sound, scope) {
        (true, Scope::Lost) => Ok(RepairOutcome::Sound),
        (true, Scope::Restored) if counters => Ok(RepairOutcome::SpentButCounters { until }),
        (true, Scope::Restored) => Ok(RepairOutcome::Spent { until }),
        (false, Scope::Lost | Scope::Restored) if counters => {
            Err(StoreError::CounterLost(user.clone()))
        }
        (false, Scope::Lost | Scope::Restored) => Ok(RepairOutcome::StateRebuilt { until }),
    }
}

/// The uid for which the index has a record.
const fn uid_of(record: &Record) -> Option<u32> {
    match record.uid {
        Uid::Is(uid) => Some(uid),
        Uid::Any => None,
    }
}

/// When the first code that is not spent by a repair is shown: the latest such time of the
/// time tokens.
fn spent_until(record: &Record, now: Timestamp, ahead: u64) -> Timestamp {
    let times = record.tokens.iter().filter_map(|(_, token)| match token.kind {
        MovingFactor::Totp { period } => {
            let next = first_unspent(token, now, ahead)?;
            Some(Timestamp(next.0.saturating_mul(u64::from(period.get()))))
        }
        MovingFactor::Hotp => None,
    });
    times.max().unwrap_or(now)
}

/// The state of an active account all of whose codes up to now are spent, as far as that
/// can be known, and which remembers no host.
fn spent(record: &Record, state: State, now: Timestamp, ahead: u64) -> State {
    let recovery = record
        .recovery
        .as_ref()
        .map_or(state.recovery, |recovery| SpentRecovery { set: recovery.set, bits: u16::MAX });
    let state = State {
        activated_at: state.activated_at.or(Some(now)),
        recovery,
        hosts: State::fresh(record.generation).hosts,
        ..state
    };
    record.tokens.iter().fold(state, |state, (id, token)| {
        let at = state.token(*id);
        let next = first_unspent(token, now, ahead).map_or(at.next, |next| next.max(at.next));
        state.with_token(*id, TokenState { next, resync: Step(0), ..at })
    })
}
