//! One person, one record: whether each record belongs to the one whom the system knows
//! by its name and its uid, and whether the store's index by uid has it.

use std::collections::BTreeMap;

use pam_onetime::account::{Uid, UserName};
use pam_onetime::bytes_as_text::Readable;
use pam_onetime::store::{Indexing, Store, StoreError};
use pam_onetime::system::{Passwd, SystemError};

use super::finding::FindingId;
use super::store::{Fault, Faults};

pub(super) const NOT_LOOKED_UP: Fault = Fault::new(
    FindingId::AccountUserNotLookedUp,
    "the user database does not answer",
    "check that it does: getent passwd",
);

/// Judges a record whose name the system does not know; `name_of` is the name that it has
/// for a uid. Also what is said of it.
pub(super) fn judge_unknown(
    user: &UserName,
    recorded: Uid,
    name_of: impl FnOnce(u32) -> Result<Option<UserName>, SystemError>,
) -> (Fault, String) {
    let Uid::Is(uid) = recorded else {
        let fault = Fault::new(
            FindingId::AccountUserUnknown,
            "this system knows no such user, and the record is for whoever gets that name",
            "if nobody is to get it: onetimectl disable",
        );
        return (fault, user.to_string());
    };
    match name_of(uid) {
        Err(_) => (NOT_LOOKED_UP, user.to_string()),
        Ok(Some(now)) => {
            let fault = Fault::new(
                FindingId::AccountRenamed,
                "the user has another name now, and the login is refused (or, where the store has no \
                 index yet, needs no code)",
                "onetimectl rename OLD NEW; if that is somebody else who got the uid: \
                 onetimectl disable OLD",
            );
            (fault, format!("{user} is now {now}"))
        }
        Ok(None) => {
            let fault = Fault::new(
                FindingId::AccountUserUnknown,
                "this system knows no such user",
                "if they are gone: onetimectl disable",
            );
            (fault, user.to_string())
        }
    }
}

/// A record whose name leads to another one in the user database.
pub(super) const ALIAS: Fault = Fault::new(
    FindingId::AccountAlias,
    "this system has another name for that user, and looks for that",
    "onetimectl rename OLD NEW, with the name that getent passwd shows",
);

/// Whose records are for which uid.
#[derive(Default)]
pub(super) struct Uids(BTreeMap<u32, Vec<UserName>>);

impl Uids {
    pub(super) fn note(&mut self, user: &UserName, recorded: Uid) {
        if let Uid::Is(uid) = recorded {
            self.0.entry(uid).or_default().push(user.clone());
        }
    }

    /// Judges all that were noted; `passwd` is where other names of theirs are.
    pub(super) fn judge(&self, store: &Store, passwd: Option<&Passwd>, faults: &mut Faults) {
        for (uid, names) in &self.0 {
            if let [_, _, ..] = names.as_slice() {
                let fault = Fault::new(
                    FindingId::AccountUidShared,
                    "two records for one person",
                    "onetimectl disable the name that the person is not to log in by",
                );
                faults.add(fault, listed(names, *uid));
            }
            self.judge_index(store, *uid, names, faults);
        }
        for line in passwd.into_iter().flat_map(Passwd::users) {
            let Some(names) = self.0.get(&line.uid) else { continue };
            if names.iter().all(|name| name.as_str() != &*line.name) {
                let fault = Fault::new(
                    FindingId::AccountSecondName,
                    "the uid has a record under another name, and the login is refused (or, where the \
                     store has no index yet, needs no code)",
                    "if the user was renamed: onetimectl rename OLD NEW; \
                     if that is somebody else: give them a uid of their own",
                );
                faults.add(
                    fault,
                    format!("{} beside {}", Readable(&line.name), listed(names, line.uid)),
                );
            }
        }
    }

    fn judge_index(&self, store: &Store, uid: u32, names: &[UserName], faults: &mut Faults) {
        match store.indexing() {
            // Said once, of the store.
            Indexing::NotYet => {}
            Indexing::Complete => match store.indexed(uid) {
                Ok(indexed) => {
                    for name in names.iter().filter(|name| !indexed.contains(name)) {
                        let fault = Fault::new(
                            FindingId::AccountNotIndexed,
                            "not in the index by uid: by another name, the user needs no code",
                            "make the index again: onetimectl init",
                        );
                        faults.add(fault, name.to_string());
                    }
                }
                // It was said with the files of the store.
                Err(StoreError::Index { .. } | StoreError::Unsafe { .. }) => {}
                Err(error) => faults.add(Fault::of_store(&error), error.to_string()),
            },
        }
    }
}

fn listed(names: &[UserName], uid: u32) -> String {
    let names: Vec<_> = names.iter().map(UserName::to_string).collect();
    format!("{} (uid {uid})", names.join(" and "))
}

/// Says of an older store that it has no index.
pub(super) fn judge_indexing(store: &Store, faults: &mut Faults) {
    match store.indexing() {
        Indexing::Complete => {}
        Indexing::NotYet => {
            let fault = Fault::new(
                FindingId::StoreIndexMissing,
                "no index by uid yet: a user who was renamed needs no code",
                "make it: onetimectl init",
            );
            faults.add(fault, store.path().display().to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_gone_is_told_from_who_has_another_name() {
        let name = |text: &str| UserName::new(text).unwrap();
        let judge = |uid, now: Result<Option<UserName>, SystemError>| {
            let (fault, who) = judge_unknown(&name("alice"), uid, |_| now);
            (fault.id(), who)
        };
        let alice = || "alice".to_owned();
        assert_eq!(judge(Uid::Is(7), Ok(None)), (FindingId::AccountUserUnknown, alice()));
        assert_eq!(judge(Uid::Any, Ok(None)), (FindingId::AccountUserUnknown, alice()));
        let renamed = (FindingId::AccountRenamed, "alice is now alicia".to_owned());
        assert_eq!(judge(Uid::Is(7), Ok(Some(name("alicia")))), renamed);
        let unanswered = judge(Uid::Is(7), Err(SystemError::Clock));
        assert_eq!(unanswered, (FindingId::AccountUserNotLookedUp, alice()));
    }
}
