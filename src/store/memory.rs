//! The files of what is remembered of keys (`retired/FINGERPRINT.toml`): bytes, their lock
//! and their syncs. The directory is made when there is something to remember.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::StoreError;
use super::backend::{RemoveOutcome, Successor};
use super::checked::{Dir, io_error};
use super::durable::{TEMPORARY, make_dir, replace, unlink};
use super::files::RECORD_ENDING;
use super::retired::Fingerprint;

/// The directory's name in the store.
pub(super) const RETIRED: &str = "retired";

/// How often, and how long between two times, another order's lock is waited for: two
/// seconds in all. Only root's processes hold it, for the time of one small file.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);

fn file_name(key: &Fingerprint) -> String {
    format!("{key}{RECORD_ENDING}")
}

/// Where it is, for messages.
pub(super) fn location(top: &Dir, key: &Fingerprint) -> PathBuf {
    top.path.join(RETIRED).join(file_name(key))
}

/// `None`: nothing was ever remembered.
fn open(top: &Dir, owner: u32) -> Result<Option<Dir>, StoreError> {
    match top.dir(RETIRED, owner) {
        Ok(dir) => Ok(Some(dir)),
        Err(StoreError::Io { error, .. }) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is remembered of a key.
pub(super) fn read(
    top: &Dir,
    owner: u32,
    key: &Fingerprint,
) -> Result<Option<Zeroizing<String>>, StoreError> {
    match open(top, owner)? {
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
    let dir = match open(top, owner)? {
        Some(dir) => dir,
        None => {
            make_dir(&top.fd, Path::new(RETIRED), &top.path.join(RETIRED))?;
            top.sync()?;
            top.dir(RETIRED, owner)?
        }
    };
    lock(&dir)?;
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
    let Some(dir) = open(top, owner)? else { return Ok(0) };
    lock(&dir)?;
    let mut removed = 0_usize;
    let entries = rustix::fs::Dir::read_from(&dir.fd).map_err(io_error(&dir.path, "list"))?;
    for entry in entries {
        let entry = entry.map_err(io_error(&dir.path, "list"))?;
        let name = entry.file_name().to_str().unwrap_or_default();
        if name.starts_with(TEMPORARY) {
            unlink(&dir, name)?;
        } else if name.ends_with(RECORD_ENDING)
            // One that cannot be read is for doctor.
            && matches!(dir.text(name, owner), Ok(Some(text)) if over(&text))
            && unlink(&dir, name)? == RemoveOutcome::Record
        {
            removed = removed.saturating_add(1);
        }
    }
    Ok(removed)
}

/// Locks the directory until it is closed.
#[expect(clippy::disallowed_methods, reason = "an order of the tool may wait; no login gets here")]
fn lock(dir: &Dir) -> Result<(), StoreError> {
    for _ in 0..TRIES {
        match flock(&dir.fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK | Errno::INTR) => std::thread::sleep(PAUSE),
            Err(error) => return Err(io_error(&dir.path, "lock")(error)),
        }
    }
    Err(io_error(&dir.path, "lock")(Errno::WOULDBLOCK))
}
