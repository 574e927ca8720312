//! One person, one record. A person is a uid: whoever the system knows by another name
//! than their record is not without one. Here are the rules that keep it so, and what
//! an admin does when a name or a uid has changed: [`Store::rename`], [`Store::rebind`].

use std::collections::BTreeMap;

use super::accounts::unless_damaged;
use super::backend::{Backend, Change, CommitError};
use super::durable::Durability;
use super::files::Files;
use super::uids::Indexing;
use super::{Store, StoreError};
use crate::account::{Account, Record, Uid, UserName};

/// What [`Store::rename`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenameOutcome {
    /// The account has the new name.
    Renamed,
    /// It had been given it before, by a run that was stopped; what that left is gone.
    Finished,
}

impl<B: Backend> Store<B> {
    /// Whoever has no record of their own must not have one by another name.
    pub(super) fn must_be_nobody_elses(&self, user: &UserName, uid: u32) -> Result<(), StoreError> {
        let names = self.backend.indexed(uid)?;
        self.must_not_be_in_force(&names, user, uid)
    }

    fn must_not_be_in_force(
        &self,
        names: &[UserName],
        user: &UserName,
        uid: u32,
    ) -> Result<(), StoreError> {
        for other in names.iter().filter(|other| *other != user) {
            if self.has_record_for(other, uid)? {
                let (user, recorded) = (user.clone(), other.clone());
                return Err(StoreError::OtherName { user, uid, recorded });
            }
        }
        Ok(())
    }

    /// Whether an entry of the index is in force, or was left behind.
    fn has_record_for(&self, user: &UserName, uid: u32) -> Result<bool, StoreError> {
        Ok(self.record(user)?.is_some_and(|record| record.uid.admits(uid)))
    }

    /// Puts a user into the index whose record is about to be written.
    pub(super) fn reserve(&self, user: &UserName, uid: Uid) -> Result<(), StoreError> {
        let Uid::Is(uid) = uid else { return Ok(()) };
        let names = self.backend.indexed(uid)?;
        self.must_not_be_in_force(&names, user, uid)?;
        match names.as_slice() {
            [only] if only == user => Ok(()),
            // The others were left behind.
            _ => self.backend.index(uid, std::slice::from_ref(user), user),
        }
    }

    /// Puts a user into the index again whom somebody else took for left behind, because
    /// the record was not there yet.
    pub(super) fn confirm(&self, user: &UserName, uid: Uid) -> Result<(), StoreError> {
        let Uid::Is(uid) = uid else { return Ok(()) };
        let mut names = self.backend.indexed(uid)?;
        if names.contains(user) {
            return Ok(());
        }
        names.push(user.clone());
        self.backend.index(uid, &names, user)
    }

    /// Takes a user out of the index for the uid that their record had before.
    pub(super) fn release(&self, user: &UserName, old: Uid, new: Uid) -> Result<(), StoreError> {
        match old {
            Uid::Is(uid) if old != new => {
                let mut names = self.backend.indexed(uid)?;
                if names.contains(user) {
                    names.retain(|name| name != user);
                    self.backend.index(uid, &names, user)?;
                }
                Ok(())
            }
            Uid::Is(_) | Uid::Any => Ok(()),
        }
    }

    /// Binds a record that is for whoever has its name to the uid of who first succeeds,
    /// before they are told.
    pub(super) fn bind(
        &self,
        user: &UserName,
        uid: u32,
        claim: &B::Claim,
        record: &Record,
    ) -> Result<(), CommitError> {
        let uid = Uid::Is(uid);
        self.reserve(user, uid)?;
        let text = self.text_of(&Record { uid, ..record.clone() })?;
        self.backend.commit(user, claim, Change { record: Some(&text), ..Change::default() })?;
        self.confirm(user, uid)?;
        Ok(self.release(user, record.uid, uid)?)
    }

    /// The uid that the record of `user` is for, whatever state it is in.
    ///
    /// # Errors
    /// [`StoreError`], also when there is no record.
    pub fn recorded_uid(&self, user: &UserName) -> Result<Uid, StoreError> {
        let record = self.record(user)?;
        record.map(|record| record.uid).ok_or_else(|| StoreError::NotEnabled(user.clone()))
    }

    /// Binds the account of `user` to another uid: theirs has changed. Secret and state
    /// stay.
    ///
    /// # Errors
    /// [`StoreError`], also when there is no record, or another one for that uid.
    pub fn rebind(&self, user: &UserName, uid: u32) -> Result<(), StoreError> {
        self.claimed_again(user, || {
            let claimed = self.record_first(user, self.backend.claim(user))?;
            let (kept, claim) = claimed.ok_or_else(|| StoreError::NotEnabled(user.clone()))?;
            let record = self.record_in(user, &kept.record)?;
            self.bind(user, uid, &claim, &record)
        })
    }

    /// Gives the account of `old` the name `new`, for the user with this uid. Secret,
    /// recovery codes and state stay: a code that was used by the old name is used.
    /// Where it is stopped, one of the two names has the account, and doing it again
    /// finishes it.
    ///
    /// # Errors
    /// [`StoreError`]: if `old` has no sound account, if `new` has one, or if the uid has
    /// another record.
    pub fn rename(
        &self,
        old: &UserName,
        new: &UserName,
        uid: Uid,
    ) -> Result<RenameOutcome, StoreError> {
        let record = self.record(old)?.ok_or_else(|| StoreError::NotEnabled(old.clone()))?;
        if old != new
            && let Some(there) = self.record(new)?
        {
            let is_sound = |user| Ok(unless_damaged(self.look(user))?.flatten().is_some());
            match (is_sound(old)?, is_sound(new)?) {
                // The state went over: what is left of the old name goes.
                (false, true) if there.generation == record.generation => {
                    self.discard(old)?;
                    if let Uid::Is(uid) = there.uid {
                        self.backend.index(uid, std::slice::from_ref(new), new)?;
                    }
                    return Ok(RenameOutcome::Finished);
                }
                (true, false) if there.generation == record.generation => {}
                (true | false, true | false) => {
                    return Err(StoreError::AlreadyEnabled(new.clone()));
                }
            }
        }
        if let Uid::Is(uid) = uid {
            let names = self.backend.indexed(uid)?;
            let others: Vec<_> = names.into_iter().filter(|name| name != old).collect();
            self.must_not_be_in_force(&others, new, uid)?;
        }
        self.claimed_again(old, || {
            let claimed = self.record_first(old, self.backend.claim(old))?;
            let (kept, claim) = claimed.ok_or_else(|| StoreError::NotEnabled(old.clone()))?;
            let Account { record, .. } = self.understand(old, kept)?.account;
            if old == new {
                let Uid::Is(uid) = uid else { return Ok(RenameOutcome::Finished) };
                return self.bind(old, uid, &claim, &record).map(|()| RenameOutcome::Renamed);
            }
            let text = self.text_of(&Record { user: new.clone(), uid, ..record.clone() })?;
            if let Uid::Is(uid) = uid {
                self.backend.index(uid, &[old.clone(), new.clone()], old)?;
            }
            self.backend.hand_over(old, &claim, new, &text)?;
            if let Uid::Is(uid) = uid {
                self.backend.index(uid, std::slice::from_ref(new), old)?;
            }
            self.release(old, record.uid, uid)?;
            Ok(RenameOutcome::Renamed)
        })
    }

    /// A state must not be rebuilt that has gone over to another name: a code would serve
    /// twice.
    pub(super) fn must_not_be_renamed(&self, record: &Record) -> Result<(), StoreError> {
        let names = match record.uid {
            Uid::Is(uid) => self.backend.indexed(uid)?,
            // In no index, and rare.
            Uid::Any => self.users()?.collect::<Result<_, _>>()?,
        };
        for other in names.into_iter().filter(|name| *name != record.user) {
            let twin = unless_damaged(self.look(&other))?.flatten();
            if twin.is_some_and(|twin| twin.account.record.generation == record.generation) {
                return Err(StoreError::RenameUnfinished { user: record.user.clone(), other });
            }
        }
        Ok(())
    }
}

impl Store<Files> {
    /// Whether the store has an index by uid.
    #[must_use]
    pub const fn indexing(&self) -> Indexing {
        self.backend.indexing
    }

    /// Whose records the index has for a uid. A name may be left behind.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn indexed(&self, uid: u32) -> Result<Vec<UserName>, StoreError> {
        self.backend.names_of(uid)
    }

    /// Makes the index what the records say. Where a record cannot be read, its entry
    /// stays.
    pub(super) fn rebuild_index(&self) -> Result<(), StoreError> {
        let mut wanted: BTreeMap<u32, Vec<UserName>> = BTreeMap::new();
        for user in self.users()? {
            let user = user?;
            if let Some(Record { uid: Uid::Is(uid), .. }) =
                unless_damaged(self.record(&user))?.flatten()
            {
                wanted.entry(uid).or_default().push(user);
            }
        }
        wanted.values_mut().for_each(|names| names.sort());
        let there = self.backend.entries()?;
        for (uid, names) in &there {
            let kept = wanted.entry(*uid).or_default();
            for name in names {
                // Looked at now: it may have been issued meanwhile. What is damaged may
                // be for this uid.
                let record = unless_damaged(self.record(name))?;
                let counts = record.is_none_or(|it| it.is_some_and(|it| it.uid.admits(*uid)));
                if counts && !kept.contains(name) {
                    kept.push(name.clone());
                }
            }
        }
        for (uid, names) in &wanted {
            match names.first() {
                None => self.backend.remove_entry(*uid)?,
                Some(_) if there.get(uid) == Some(names) => {}
                Some(user) => self.backend.put_entry(*uid, names, user, Durability::Later)?,
            }
        }
        self.backend.sync_index()
    }
}
