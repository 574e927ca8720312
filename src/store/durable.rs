//! Makes, replaces and removes files so that it lasts, and nobody's process is ended
//! for it.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use rustix::fs::{
    AtFlags, IFlags, Mode, OFlags, Stat, chmodat, fchmod, fstat, fsync, mkdirat, openat, renameat,
    unlinkat,
};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Resource, getrlimit};

use super::StoreError;
use super::backend::RemoveOutcome;
use super::checked::{Dir, beyond_stdio, io_error};

/// What the name of a file begins with that is not in force yet.
pub(super) const TEMPORARY: &str = ".new-";

pub(super) fn make_dir(
    at: impl std::os::fd::AsFd,
    name: &Path,
    path: &Path,
) -> Result<(), StoreError> {
    match mkdirat(&at, name, Mode::RWXU) {
        // Whatever the umask.
        Ok(()) => chmodat(at, name, Mode::RWXU, AtFlags::empty()).map_err(io_error(path, "make")),
        Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(io_error(path, "make")(error)),
    }
}

/// On btrfs, writing in place allocates unless the directory says otherwise;
/// elsewhere there is no such attribute and nothing to do.
pub(super) fn set_nocow(dir: &Dir) {
    let Ok(fd) = dir.itself() else { return };
    if let Ok(flags) = rustix::fs::ioctl_getflags(&fd) {
        // Not supported here: nothing to set, and `doctor` reports it on btrfs.
        let _unsupported = rustix::fs::ioctl_setflags(&fd, flags | IFlags::NOCOW).is_err();
    }
}

pub(super) fn unlink(dir: &Dir, name: &str) -> Result<RemoveOutcome, StoreError> {
    match unlinkat(dir.at(), &*dir.name(name), AtFlags::empty()) {
        Ok(()) => Ok(RemoveOutcome::Record),
        Err(Errno::NOENT) => Ok(RemoveOutcome::Nothing),
        Err(error) => Err(io_error(&dir.path.join(name), "remove")(error)),
    }
}

/// What a file is called before it is in force.
pub(super) fn temporary(name: &str) -> String {
    format!("{TEMPORARY}{name}")
}

/// Beyond its limit on the size of files the kernel does not let a process write,
/// but ends it (SIGXFSZ). The process is the application's: an error instead.
pub(super) fn within_limit(offset: u64, length: usize) -> io::Result<()> {
    let end = offset.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
    match getrlimit(Resource::Fsize).current {
        Some(limit) if end > limit => Err(Errno::FBIG.into()),
        Some(_) | None => Ok(()),
    }
}

/// Replaces a file whole: a temporary file in the same directory, fsync,
/// rename, fsync of the directory. The caller holds a lock, so a temporary
/// file that is there was left behind by a process that was killed; or by one that still
/// runs, and from which the lock was taken over: `still` says whether it is ours, and what
/// is put in force is the file that was written here or it is an error.
pub(super) fn replace(
    dir: &Dir,
    name: &str,
    text: &str,
    still: impl Fn() -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    replace_by(dir, &temporary(name), name, text, Durability::Now, still)
}

/// When what was written has to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// When the call returns.
    Now,
    /// When the caller has synced the whole file system.
    Later,
}

/// [`replace`], by a temporary file of this name.
pub(super) fn replace_by(
    dir: &Dir,
    temporary: &str,
    name: &str,
    text: &str,
    durability: Durability,
    still: impl Fn() -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let file = write_new(dir, temporary, name, text, durability, &still)?;
    put_in_force(dir, temporary, name, &file, still)?;
    match durability {
        Durability::Now => dir.sync(),
        Durability::Later => Ok(()),
    }
}

/// The first half of [`replace_by`]: the text is there, by the name of the temporary file.
pub(super) fn write_new(
    dir: &Dir,
    temporary: &str,
    name: &str,
    text: &str,
    durability: Durability,
    still: impl Fn() -> Result<(), StoreError>,
) -> Result<File, StoreError> {
    let path = || dir.path.join(name);
    still()?;
    unlink(dir, temporary)?;
    within_limit(0, text.len()).map_err(|error| io_error(&path(), "write")(error))?;
    let mut file = create(dir, temporary).map_err(|error| io_error(&path(), "write")(error))?;
    let synced = |file: &File| match durability {
        Durability::Now => {
            retry_on_intr(|| fsync(file)).map_err(|error| io_error(&path(), "sync")(error))
        }
        Durability::Later => Ok(()),
    };
    let written = file
        .write_all(text.as_bytes())
        .map_err(|error| io_error(&path(), "write")(error))
        .and_then(|()| synced(&file));
    if written.is_err() {
        withdraw(dir, temporary, &file);
    }
    written.map(|()| file)
}

/// The second half: `file`, which was written here, gets its name.
pub(super) fn put_in_force(
    dir: &Dir,
    temporary: &str,
    name: &str,
    file: &File,
    still: impl Fn() -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let put = still().and_then(|()| rename(dir, temporary, name, file, &still));
    if put.is_err() {
        withdraw(dir, temporary, file);
    }
    put
}

/// Removes a temporary file, if it is ours.
pub(super) fn withdraw(dir: &Dir, temporary: &str, file: &File) {
    if is(dir, temporary, file) == Ok(true) {
        // The caller gets the first error.
        let _left = unlink(dir, temporary).is_err();
    }
}

fn rename(
    dir: &Dir,
    temporary: &str,
    name: &str,
    file: &File,
    still: impl Fn() -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let path = || dir.path.join(name);
    let renamed = renameat(dir.at(), &*dir.name(temporary), dir.at(), &*dir.name(name));
    let error = match renamed.and_then(|()| is(dir, name, file)) {
        Ok(true) => return Ok(()),
        // Whoever took over had put their own there.
        Ok(false) => Errno::STALE,
        Err(error) => error,
    };
    still()?;
    Err(io_error(&path(), "replace")(error))
}

/// Whether the name is this file's.
fn is(dir: &Dir, name: &str, file: &File) -> Result<bool, Errno> {
    is_at(dir, name, &fstat(file)?)
}

/// Whether the name is that of the file with this status.
///
/// # Errors
/// The kernel's.
pub(super) fn is_at(dir: &Dir, name: &str, file: &Stat) -> Result<bool, Errno> {
    match dir.stat(name) {
        Ok(found) => Ok((found.st_dev, found.st_ino) == (file.st_dev, file.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a private file that was not there, and so never through a link.
pub(super) fn create(dir: &Dir, name: &str) -> Result<File, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = beyond_stdio(openat(dir.at(), &*dir.name(name), flags, mode)?)?;
    // Whatever the umask, which is the host process's.
    fchmod(&file, mode)?;
    Ok(File::from(file))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rustix::process::{Rlimit, setrlimit};

    use super::super::checked::open_top;
    use super::*;
    use crate::account::UserName;

    /// What is in a directory.
    fn texts(dir: &Dir) -> Vec<(String, String)> {
        let read = |name: String| {
            let text = std::fs::read_to_string(dir.path.join(&name)).unwrap();
            (name, text)
        };
        let mut texts: Vec<_> = dir
            .names(|name| (!matches!(name, "." | "..")).then_some(()))
            .unwrap()
            .into_iter()
            .map(|(name, ())| read(name))
            .collect();
        texts.sort();
        texts
    }

    #[test]
    fn what_fails_leaves_no_file_of_its_own_and_that_of_whoever_took_over() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("private");
        make_dir(rustix::fs::CWD, &path, &path).unwrap();
        let dir = open_top(&path, rustix::process::geteuid().as_raw()).unwrap();
        let theirs = path.join(temporary("it"));
        // Asked before it begins, before the file is put in force, and where that failed.
        let replaced = |taken: bool, passed_over: bool| {
            let asked = Cell::new(0);
            replace(&dir, "it", "ours", || {
                asked.set(asked.get() + 1);
                let second = asked.get() == 2;
                if second && taken {
                    std::fs::remove_file(&theirs).unwrap();
                    std::fs::write(&theirs, "theirs").unwrap();
                }
                if second && passed_over {
                    Err(StoreError::Busy(UserName::new("alice").unwrap()))
                } else {
                    Ok(())
                }
            })
        };
        let text = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        assert!(matches!(replaced(false, true), Err(StoreError::Busy(_))));
        assert_eq!(texts(&dir), []);
        assert!(matches!(replaced(true, true), Err(StoreError::Busy(_))));
        assert_eq!(texts(&dir), [text(&temporary("it"), "theirs")]);
        assert!(matches!(replaced(true, false), Err(StoreError::Io { .. })));
        assert_eq!(texts(&dir), [text("it", "theirs")], "not taken for ours");
        assert!(replaced(false, false).is_ok());
        assert_eq!(texts(&dir), [text("it", "ours")]);
    }

    #[test]
    fn what_ends_at_the_limit_on_sizes_may_be_written_and_no_byte_more() {
        // More than any test writes: the limit is the process's.
        const LIMIT: u64 = 1 << 40;
        let before = getrlimit(Resource::Fsize);
        assert!(before.current.is_none_or(|limit| limit > LIMIT), "{before:?}");
        setrlimit(Resource::Fsize, Rlimit { current: Some(LIMIT), ..before }).unwrap();
        let found = [(0, 512), (LIMIT - 512, 512), (LIMIT - 512, 513), (u64::MAX, 1)]
            .map(|(offset, length)| within_limit(offset, length).is_ok());
        setrlimit(Resource::Fsize, before).unwrap();
        assert_eq!(found, [true, true, false, false]);
    }
}
