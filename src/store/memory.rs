//! The files of what is remembered of keys (`retired/FINGERPRINT.toml`): bytes, their lock
//! and their syncs. The directory is made when there is something to remember.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::StoreError;
use super::backend::{RemoveOutcome, Successor};
use super::checked::Dir;
use super::durable::{TEMPORARY, make_dir, replace, unlink};
use super::files::RECORD_ENDING;
use super::lock::lock_dir;
use super::retired::Fingerprint;

/// The directory's name in the store.
pub(super) const RETIRED: &str = "retired";

fn file_name(key: &Fingerprint) -> String {
    format!("{key}{RECORD_ENDING}")
}

/// Where it is, for messages.
pub(super) fn location(top: &Dir, key: &Fingerprint) -> PathBuf {
    top.path.join(RETIRED).join(file_name(key))
}

/// What is remembered of a key.
pub(super) fn read(
    top: &Dir,
    owner: u32,
    key: &Fingerprint,
) -> Result<Option<Zeroizing<String>>, StoreError> {
    // Else nothing was ever remembered.
    match top.dir_if_there(RETIRED, owner)? {
        Some(dir) => dir.text(&file_name(key), owner),
        None => Ok(None),
    }
}

/// Puts what `text` makes of what is remembered in its place, durably.
pub(super) fn write(
    top: &Dir,
    owner: u32,
    key: &Fingerprint,
    text: &mut Successor<'_>,
) -> Result<(), StoreError> {
    let dir = match top.dir_if_there(RETIRED, owner)? {
        Some(dir) => dir,
        None => {
            make_dir(top.at(), Path::new(RETIRED), &top.path.join(RETIRED))?;
            top.sync()?;
            top.dir(RETIRED, owner)?
        }
    };
    lock_dir(&dir)?;
    let name = file_name(key);
    let before = dir.text(&name, owner)?;
    match text(before.as_ref().map(|text| text.as_str()))? {
        Some(text) => replace(&dir, &name, &text, || Ok(())),
        None => Ok(()),
    }
}

/// Removes what is `over`, and what a killed order has left. Returns how many.
pub(super) fn sweep(
    top: &Dir,
    owner: u32,
    over: &mut dyn FnMut(&str) -> bool,
) -> Result<usize, StoreError> {
    let Some(dir) = top.dir_if_there(RETIRED, owner)? else { return Ok(0) };
    lock_dir(&dir)?;
    let mut removed = 0_usize;
    for (name, ()) in dir.names(|_| Some(()))? {
        if name.starts_with(TEMPORARY) {
            unlink(&dir, &name)?;
        } else if name.ends_with(RECORD_ENDING)
            // One that cannot be read is for doctor.
            && matches!(dir.text(&name, owner), Ok(Some(text)) if over(&text))
            && unlink(&dir, &name)? == RemoveOutcome::Record
        {
            removed = removed.saturating_add(1);
        }
    }
    Ok(removed)
}
