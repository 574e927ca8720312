//! The files of what is remembered of keys (`retired/FINGERPRINT.toml`): bytes, their lock
//! and their syncs. The directory is made when there is something to remember.

use std::path::{Path, PathBuf};

use rustix::io::Errno;
use zeroize::Zeroizing;

use super::StoreError;
use super::backend::{RemoveOutcome, Successor};
use super::checked::{Dir, io_error};
use super::deferral::Deferral;
use super::durable::{TEMPORARY, make_dir, replace, temporary, unlink};
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
    deferral: Option<&Deferral>,
) -> Result<Option<Zeroizing<String>>, StoreError> {
    let name = file_name(key);
    // What another account of the batch has left of this key is not to be read yet.
    if deferral.is_some_and(|it| it.is_taken(RETIRED, &name)) {
        return Err(busy(top, &name));
    }
    // Else nothing was ever remembered.
    match top.dir_if_there(RETIRED, owner)? {
        Some(dir) => dir.text(&name, owner),
        None => Ok(None),
    }
}

/// Puts what `text` makes of what is remembered in its place, durably unless that is left for
/// later.
pub(super) fn write(
    top: &Dir,
    owner: u32,
    key: &Fingerprint,
    text: &mut Successor<'_>,
    deferral: Option<&Deferral>,
) -> Result<(), StoreError> {
    let name = file_name(key);
    let Some(deferral) = deferral else {
        let dir = open_locked(top, owner)?;
        let before = dir.text(&name, owner)?;
        return match text(before.as_ref().map(|text| text.as_str()))? {
            Some(text) => replace(&dir, &name, &text, || Ok(())),
            None => Ok(()),
        };
    };
    let dir = deferral.dir(RETIRED, || open_locked(top, owner).map(Some))?;
    let (Some(dir), false) = (dir, deferral.is_taken(RETIRED, &name)) else {
        return Err(busy(top, &name));
    };
    let before = dir.text(&name, owner)?;
    match text(before.as_ref().map(|text| text.as_str()))? {
        Some(text) => deferral.write(RETIRED, dir, temporary(&name), &name, &text),
        None => Ok(()),
    }
}

fn busy(top: &Dir, name: &str) -> StoreError {
    io_error(&top.path.join(RETIRED).join(name), "use twice at once")(Errno::BUSY)
}

fn open_locked(top: &Dir, owner: u32) -> Result<Dir, StoreError> {
    let dir = match top.dir_if_there(RETIRED, owner)? {
        Some(dir) => dir,
        None => {
            make_dir(top.at(), Path::new(RETIRED), &top.path.join(RETIRED))?;
            top.sync()?;
            top.dir(RETIRED, owner)?
        }
    };
    lock_dir(&dir)?;
    Ok(dir)
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
