//! The index by uid: `uids/UID` names whose record is for that uid. So a person whom the
//! system has come to know by another name is found, at the cost of one file that is not
//! there for who has no record. docs/FILEFORMAT.md has its bytes.
//!
//! A name in it counts only while there is such a record: an entry is made before its
//! record and removed after it, and one that was left behind is nobody's.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::checked::{Dir, io_error};
use super::deferral::Deferral;
use super::durable::{Durability, TEMPORARY, replace_by, temporary, unlink};
use super::files::{Files, is_not_text};
use super::record::{body_of, with_checksum};
use super::{StoreError, names};
use crate::account::UserName;

pub(super) const UIDS: &str = "uids";

/// The line of the marker of a store whose index is complete.
pub(super) const INDEX_LINE: &str = "index = \"uids\"";

/// Whether a store has an index by uid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indexing {
    /// The marker says that it is complete: where its directory is not there, a login of
    /// somebody without a record is refused.
    Complete,
    /// The store is older; `init` makes it. What there is of it is read.
    NotYet,
}

impl Indexing {
    /// What the marker's text says.
    pub(super) fn of_marker(marker: &str) -> Self {
        if marker.lines().any(|line| line == INDEX_LINE) { Self::Complete } else { Self::NotYet }
    }
}

impl Files {
    /// The index's directory; `None` where a store has none yet.
    fn uids(&self) -> Result<Option<Dir>, StoreError> {
        match self.indexing {
            Indexing::Complete => self.top.dir(UIDS, self.owner).map(Some),
            Indexing::NotYet => self.top.dir_if_there(UIDS, self.owner),
        }
    }

    /// The names in an entry. Also of an index that is not complete: the line of the marker
    /// that says so may have been damaged.
    pub(super) fn names_of(&self, uid: u32) -> Result<Vec<UserName>, StoreError> {
        let Some(dir) = self.uids()? else { return Ok(Vec::new()) };
        let name = uid.to_string();
        let damaged = |what| StoreError::Index { path: dir.path.join(&name), what };
        match dir.text(&name, self.owner) {
            Ok(Some(text)) => names_in(&text).map_err(damaged),
            Ok(None) => Ok(Vec::new()),
            Err(error) if is_not_text(&error) => Err(damaged("it is not text")),
            Err(error) => Err(error),
        }
    }

    /// Puts `names` into an entry. The temporary file is called after `user`, whose
    /// account's lock the caller holds.
    pub(super) fn put_entry(
        &self,
        uid: u32,
        names: &[UserName],
        user: &UserName,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let Some(dir) = self.uids()? else { return Ok(()) };
        if names.is_empty() {
            return self.remove_entry(uid);
        }
        let (temporary, text) = (temporary(&encoded(user)?), text_of(names)?);
        replace_by(&dir, &temporary, &uid.to_string(), &text, durability, || Ok(()))
    }

    /// As [`Files::put_entry`], but it gets its name later.
    pub(super) fn defer_entry(
        &self,
        uid: u32,
        names: &[UserName],
        user: &UserName,
        deferral: &Deferral,
    ) -> Result<(), StoreError> {
        let Some(dir) = deferral.dir(UIDS, || self.uids())? else { return Ok(()) };
        let (temporary, name) = (temporary(&encoded(user)?), uid.to_string());
        if names.is_empty() || deferral.is_taken(UIDS, &name) {
            return Err(StoreError::Busy(user.clone()));
        }
        deferral.write(UIDS, dir, temporary, &name, &text_of(names)?)
    }

    /// Removes an entry. That need not be durable: it names no record that there is.
    pub(super) fn remove_entry(&self, uid: u32) -> Result<(), StoreError> {
        match self.uids()? {
            Some(dir) => unlink(&dir, &uid.to_string()).map(drop),
            None => Ok(()),
        }
    }

    /// Takes a user's name, and what was left behind for it, out of the index.
    pub(super) fn take_out(&self, user: &UserName, uid: Option<u32>) -> Result<(), StoreError> {
        let Some(dir) = self.uids()? else { return Ok(()) };
        unlink(&dir, &temporary(&encoded(user)?))?;
        let Some(uid) = uid else { return Ok(()) };
        let mut names = self.names_of(uid)?;
        if names.contains(user) {
            names.retain(|name| name != user);
            self.put_entry(uid, &names, user, Durability::Now)?;
        }
        Ok(())
    }

    /// Every entry of the index, nobody's where it is damaged. What was left behind among
    /// them is removed.
    pub(super) fn entries(&self) -> Result<BTreeMap<u32, Vec<UserName>>, StoreError> {
        let mut entries = BTreeMap::new();
        let Some(dir) = self.uids()? else { return Ok(entries) };
        for (name, uid) in dir.names(|name| Some(uid_of(name)))? {
            if name.starts_with(TEMPORARY) {
                unlink(&dir, &name)?;
            } else if let Some(uid) = uid {
                match self.names_of(uid) {
                    Ok(names) => drop(entries.insert(uid, names)),
                    // It is made again.
                    Err(StoreError::Index { .. }) => drop(entries.insert(uid, Vec::new())),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(entries)
    }

    /// Makes entries that were put without it durable.
    pub(super) fn sync_index(&self) -> Result<(), StoreError> {
        match self.uids()? {
            Some(dir) => {
                dir.itself().and_then(rustix::fs::syncfs).map_err(io_error(&dir.path, "sync"))
            }
            None => Ok(()),
        }
    }
}

/// The uid whose entry has this file name; `None` if it is nobody's.
pub(super) fn uid_of(name: &str) -> Option<u32> {
    name.parse().ok().filter(|uid: &u32| uid.to_string() == name)
}

fn encoded(user: &UserName) -> Result<Cow<'_, str>, StoreError> {
    names::encode(user).ok_or_else(|| StoreError::Name(user.clone()))
}

/// The text of an entry.
fn text_of(names: &[UserName]) -> Result<String, StoreError> {
    let mut body = String::new();
    for name in names {
        body.push_str(&encoded(name)?);
        body.push('\n');
    }
    Ok(with_checksum(&body))
}

/// The names in the text of an entry: one a line, at least one.
fn names_in(text: &str) -> Result<Vec<UserName>, &'static str> {
    let names = body_of(text)?.lines().map(names::decode).collect::<Option<Vec<_>>>();
    names.filter(|names| !names.is_empty()).ok_or("a line is no user's name")
}
