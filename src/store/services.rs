//! What services' accounts (`may_ask`) have failed with a user: `services/NAME.toml`, beside
//! the user's state, whose lock is its lock too. It counts for one generation of the account,
//! so that a new secret begins without. The directory is made when there is something to
//! count.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;

use rustix::fs::renameat;
use rustix::io::Errno;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::StoreError;
use super::accounts::Store;
use super::backend::{Backend, Change, CommitError};
use super::checked::{Dir, io_error};
use super::durable::{Durability, temporary, unlink};
use super::record::{body_of, line, with_checksum};
use crate::account::{Account, Failures, Generation, Timestamp, UserName};
use crate::fields::Word;
use crate::login::{Judgement, ServiceJudgement, judge_at_service};

/// The directory's name in the store.
pub(super) const SERVICES: &str = "services";

/// What is said of a text that is none of ours.
const FIELD: &str = "it does not say what was failed through a service's account";

/// What accounts of services have failed with one user, by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ServiceFailures {
    generation: Generation,
    accounts: BTreeMap<String, Failures>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    generation: Word<Generation>,
    #[serde(default)]
    account: Vec<RawAccount>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAccount {
    name: String,
    count: u32,
    since: u64,
    lockouts: u32,
    locked_until: u64,
}

impl ServiceFailures {
    const fn none(generation: Generation) -> Self {
        Self { generation, accounts: BTreeMap::new() }
    }

    /// Those of this generation in `text`.
    fn read(text: &str, generation: Generation) -> Result<Self, &'static str> {
        let raw: RawFile = toml::from_str(body_of(text)?).map_err(|_| FIELD)?;
        if raw.generation.0 != generation {
            return Ok(Self::none(generation));
        }
        let accounts = raw.account.into_iter().map(|account| {
            let RawAccount { name, count, since, lockouts, locked_until } = account;
            let (since, locked_until) = (Timestamp(since), Timestamp(locked_until));
            (name, Failures { count, since, lockouts, locked_until })
        });
        Ok(Self { generation, accounts: accounts.collect() })
    }

    fn of(&self, account: &str) -> Failures {
        self.accounts.get(account).copied().unwrap_or_default()
    }

    fn text(&self) -> Result<String, fmt::Error> {
        // TOML's integers have a sign.
        let time = |time: Timestamp| i64::try_from(time.0).unwrap_or(i64::MAX);
        let mut body = String::new();
        line(&mut body, "generation", self.generation.to_string())?;
        let counted = self.accounts.iter().filter(|(_, it)| **it != Failures::default());
        for (name, failures) in counted {
            body.push_str("\n[[account]]\n");
            line(&mut body, "name", name.as_str())?;
            line(&mut body, "count", failures.count)?;
            line(&mut body, "since", time(failures.since))?;
            line(&mut body, "lockouts", failures.lockouts)?;
            line(&mut body, "locked_until", time(failures.locked_until))?;
        }
        Ok(with_checksum(&body))
    }
}

impl<B: Backend> Store<B> {
    /// Judges a claimed account by what the account `through` has failed with it. What that
    /// has failed then is to be written with the state.
    pub(super) fn judge_through(
        &self,
        through: &str,
        account: &Account,
        judge: impl FnMut(Option<&Account>) -> Judgement,
    ) -> Result<(Judgement, Option<String>), CommitError> {
        let user = &account.record.user;
        let mut counted = self.counted(account)?;
        let ServiceJudgement { judgement, failures } =
            judge_at_service(account, counted.of(through), judge);
        let Some(failures) = failures else { return Ok((judgement, None)) };
        counted.accounts.insert(through.to_owned(), failures);
        Ok((judgement, Some(self.services_text(user, &counted)?)))
    }

    /// What services' accounts have failed with a user, by their names.
    ///
    /// # Errors
    /// [`StoreError`], also where there is no record.
    pub fn service_failures(
        &self,
        account: &Account,
    ) -> Result<impl Iterator<Item = (String, Failures)> + use<B>, StoreError> {
        Ok(self.counted(account)?.accounts.into_iter())
    }

    /// Forgets what services' accounts have failed with a user, also where that cannot be
    /// understood.
    ///
    /// # Errors
    /// [`StoreError`], also where there is no record.
    pub fn forget_at_services(&self, user: &UserName) -> Result<(), StoreError> {
        self.claimed_again(user, || {
            let claimed = self.record_first(user, self.backend.claim(user))?;
            let (kept, claim) = claimed.ok_or_else(|| StoreError::NotEnabled(user.clone()))?;
            if !matches!(self.backend.services(user), Ok(None)) {
                let generation = self.record_in(user, &kept.record)?.generation;
                let text = self.services_text(user, &ServiceFailures::none(generation))?;
                let change = Change { services: Some(&text), ..Change::default() };
                self.backend.commit(user, &claim, change)?;
            }
            Ok(self.backend.release(claim)?)
        })
    }

    fn counted(&self, account: &Account) -> Result<ServiceFailures, StoreError> {
        let (user, generation) = (&account.record.user, account.record.generation);
        match self.backend.services(user)? {
            Some(text) => ServiceFailures::read(&text, generation).map_err(|what| {
                StoreError::Services { path: self.backend.services_path(user), what }
            }),
            None => Ok(ServiceFailures::none(generation)),
        }
    }

    fn services_text(
        &self,
        user: &UserName,
        counted: &ServiceFailures,
    ) -> Result<String, StoreError> {
        counted.text().map_err(|_| StoreError::Services {
            path: self.backend.services_path(user),
            what: "it cannot be written as TOML",
        })
    }
}

/// What is counted in the file of this name.
pub(super) fn read(
    top: &Dir,
    owner: u32,
    name: &str,
) -> Result<Option<Zeroizing<String>>, StoreError> {
    match top.dir_if_there(SERVICES, owner)? {
        Some(dir) => dir.text(name, owner),
        None => Ok(None),
    }
}

/// Puts `text` in the place of what is counted, durably. The caller has the account's lock,
/// as long as `still` says so.
#[cfg(any(test, feature = "daemon", feature = "tool"))]
pub(super) fn write(
    top: &Dir,
    owner: u32,
    name: &str,
    text: &str,
    still: impl Fn() -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    use super::durable::{make_dir, replace};

    let dir = match top.dir_if_there(SERVICES, owner)? {
        Some(dir) => dir,
        None => {
            make_dir(top.at(), std::path::Path::new(SERVICES), &top.path.join(SERVICES))?;
            top.sync()?;
            top.dir(SERVICES, owner)?
        }
    };
    replace(&dir, name, text, still)
}

/// Keeps who had the lock before from putting a text in force.
pub(super) fn withdraw(top: &Dir, owner: u32, name: &str) -> Result<(), StoreError> {
    let withdrawn = top
        .dir_if_there(SERVICES, owner)
        .and_then(|dir| dir.map_or(Ok(()), |dir| unlink(&dir, &temporary(name)).map(drop)));
    match withdrawn {
        // A program of root's that is confined to what logins need, which is none of this: no
        // login of its kind counts here. Who had the lock looks before it puts it in force.
        Err(StoreError::Io { error, .. }) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        withdrawn => withdrawn,
    }
}

/// Removes what is counted.
pub(super) fn remove(
    top: &Dir,
    owner: u32,
    name: &str,
    durability: Durability,
) -> Result<(), StoreError> {
    let Some(dir) = top.dir_if_there(SERVICES, owner)? else { return Ok(()) };
    unlink(&dir, name)?;
    unlink(&dir, &temporary(name))?;
    match durability {
        Durability::Now => dir.sync(),
        Durability::Later => Ok(()),
    }
}

/// Gives what is counted another name, if there is something.
pub(super) fn rename(top: &Dir, owner: u32, old: &str, new: &str) -> Result<(), StoreError> {
    let Some(dir) = top.dir_if_there(SERVICES, owner)? else { return Ok(()) };
    match renameat(dir.at(), &*dir.name(old), dir.at(), &*dir.name(new)) {
        Ok(()) => dir.sync(),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(io_error(&dir.path.join(new), "replace")(error)),
    }
}

/// Removes the files that `over` says so of, and holds meanwhile what it gives.
pub(super) fn sweep<L>(
    top: &Dir,
    owner: u32,
    over: impl Fn(&str) -> Result<Option<L>, StoreError>,
) -> Result<(), StoreError> {
    let Some(dir) = top.dir_if_there(SERVICES, owner)? else { return Ok(()) };
    for (name, ()) in dir.names(|_| Some(()))? {
        if let Some(_lock) = over(&name)? {
            unlink(&dir, &name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What of an account's failures is there again.
    pub(in crate::store) fn written_and_read(account: &str, failures: Failures) -> Failures {
        let generation = Generation([7; 16]);
        let accounts = BTreeMap::from([(account.to_owned(), failures)]);
        let text = ServiceFailures { generation, accounts }.text().unwrap();
        ServiceFailures::read(&text, generation).unwrap().of(account)
    }
}
