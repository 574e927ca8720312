//! Files that the tool hands to a person: QR codes and sheets, with secrets in
//! them. Every verb makes them here, so that all keep the same promises: a new
//! file, of mode 0600, that is complete or not there.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::fs::{Mode, OFlags};
use tempfile::{Builder, TempPath};

/// Of the temporary name; six random letters follow. A run that is killed may
/// leave such a file.
const PREFIX: &str = ".onetimectl-";
/// Root alone may read a secret.
const MODE: u32 = 0o600;

/// Whose a file becomes, and who may read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The user who runs the tool, root; mode 0600.
    Us,
    /// The user with this uid, who may only read it: mode 0400. That is how programs
    /// want a file with a secret of the user's own.
    User(u32),
}

/// A file that was made a moment ago. Dropped, it is removed again: so it ends
/// where the secret in it was not issued after all.
#[must_use = "the file is removed when this is dropped"]
#[derive(Debug)]
pub(crate) struct NewFile {
    /// As the admin typed it.
    path: PathBuf,
    guard: TempPath,
}

impl NewFile {
    /// Makes a file at `path`, of mode 0600 whatever the umask. It has a
    /// temporary name in the same directory until all of it is on the disk;
    /// when this returns, so is its name.
    ///
    /// # Errors
    /// `cannot write PATH: reason`, and then nothing is left of it. One reason
    /// is that something has this name already, be it a symbolic link that
    /// leads nowhere: nothing is replaced and no link is followed.
    pub(crate) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<Self> {
        Self::write_for(path, bytes, Owner::Us)
    }

    /// As [`NewFile::write`], for an owner.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn write_for(path: &Path, bytes: &[u8], owner: Owner) -> anyhow::Result<Self> {
        let guard = write(path, bytes, owner);
        let guard = guard.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path: path.to_owned(), guard })
    }

    /// Leaves the file where it is.
    pub(crate) fn keep(mut self) -> PathBuf {
        self.guard.disable_cleanup(true);
        self.path
    }
}

fn write(path: &Path, bytes: &[u8], owner: Owner) -> io::Result<TempPath> {
    let path = std::path::absolute(path)?;
    let parent = path.parent().ok_or(io::ErrorKind::IsADirectory)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(parent, flags, Mode::empty())?;
    let mut file = Builder::new().prefix(PREFIX).tempfile_in(parent)?;
    // The umask may have taken away the owner's own rights.
    let mode = match owner {
        Owner::Us => MODE,
        Owner::User(uid) => {
            std::os::unix::fs::fchown(file.as_file(), Some(uid), None)?;
            0o400
        }
    };
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    let _file = file.persist_noclobber(&path).map_err(|failed| failed.error)?;
    // From here on the file is ours: an error of the sync removes it.
    let guard = TempPath::try_from_path(path)?;
    rustix::fs::fsync(directory)?;
    Ok(guard)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    /// The names in a directory, hidden ones too.
    fn names(dir: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(dir.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_that_is_kept_has_all_bytes_and_the_mode_of_a_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        assert_eq!(NewFile::write(&path, b"picture").unwrap().keep(), path);
        assert_eq!(fs::read(&path).unwrap(), b"picture");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, MODE);
        assert_eq!(names(&dir), ["a.png"], "and the temporary name is gone");
    }

    #[test]
    fn a_file_that_is_not_kept_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let file = NewFile::write(&dir.path().join("a.png"), b"picture").unwrap();
        assert_eq!(names(&dir), ["a.png"]);
        drop(file);
        assert_eq!(names(&dir), [""; 0]);
    }

    #[test]
    fn whatever_has_the_name_already_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file.png"), "precious").unwrap();
        fs::create_dir(at("directory.png")).unwrap();
        symlink("file.png", at("link.png")).unwrap();
        symlink("nowhere", at("dangling.png")).unwrap();
        let before = names(&dir);
        for name in &before {
            let error = NewFile::write(&at(name), b"picture").unwrap_err();
            let error = format!("{error:#}");
            assert!(error.starts_with("cannot write ") && error.contains("exists"), "{error}");
        }
        assert_eq!(names(&dir), before, "nothing was removed, and nothing left behind");
        assert_eq!(fs::read(at("file.png")).unwrap(), b"precious");
    }

    #[test]
    fn what_cannot_be_a_file_is_refused_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let below = |name: &str| dir.path().join(name);
        for path in
            [below("no/such/a.png"), below("file/a.png"), below("a.png/"), "/".into(), "".into()]
        {
            assert!(NewFile::write(&path, b"picture").is_err(), "{}", path.display());
        }
        assert_eq!(names(&dir), ["file"]);
    }
}
