//! Opens a file or directory, then checks the descriptor, not the path: type,
//! owner, mode, links, size. Nothing here follows a link in the last
//! component, blocks on a FIFO, or hands a descriptor to a child.
//!
//! What is wrong with something is decided by [`problems`] alone. A login stops
//! at the first problem, `super::examine` reports them all.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::{FileFault, Purpose, StoreError};

/// No record or configuration is nearly as large.
const MAX_TEXT_BYTES: u64 = 64 * 1024;

/// How a directory is opened.
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Permission bits of group and others.
const GROUP_OTHER: u32 = 0o077;
const GROUP_OTHER_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// A directory whose owner and mode have been checked, with its path for
/// messages.
#[derive(Debug, Clone)]
pub(super) struct Dir {
    at: Arc<OwnedFd>,
    /// Its name in `at`, if that is the directory above it.
    below: Option<&'static str>,
    pub(super) path: PathBuf,
}

/// Opens the private directory `path`; every directory above it must be such
/// that only the owner or root can replace what is in it.
pub(super) fn open_top(path: &Path, owner: u32) -> Result<Dir, StoreError> {
    judge_ancestors(path, owner)?;
    open_dir(CWD, path, path.to_owned(), owner)
}

/// Every directory above `path` must be such that only `owner` or root can
/// replace what is in it; in a sticky one, others can only replace their own.
fn judge_ancestors(path: &Path, owner: u32) -> Result<(), StoreError> {
    for above in path.ancestors().skip(1) {
        let stat = rustix::fs::lstat(above).map_err(io_error(above, "examine"))?;
        first_problem(&stat, Purpose::Above, owner)
            .map_err(|what| unsafe_path(above, what, Purpose::Above))?;
    }
    Ok(())
}

impl Dir {
    fn new(fd: OwnedFd, path: PathBuf) -> Self {
        Self { at: Arc::new(fd), below: None, path }
    }

    /// What names in it are relative to, together with [`Dir::name`].
    pub(super) fn at(&self) -> BorrowedFd<'_> {
        self.at.as_fd()
    }

    /// What a file in it is called, seen from [`Dir::at`].
    pub(super) fn name<'n>(&self, name: &'n str) -> Cow<'n, str> {
        match self.below {
            None => Cow::Borrowed(name),
            Some(below) => Cow::Owned([below, "/", name].concat()),
        }
    }

    /// The descriptor that it has of its own as long as it is in use: what is locked by it
    /// stays locked.
    ///
    /// # Errors
    /// It has none.
    pub(super) fn own(&self) -> Result<&OwnedFd, Errno> {
        self.below.map_or(Ok(&self.at), |_| Err(Errno::BADF))
    }

    /// The directory's own descriptor, opened now if need be.
    ///
    /// # Errors
    /// Those of opening it, where it is not open.
    pub(super) fn itself(&self) -> Result<Arc<OwnedFd>, Errno> {
        let Some(below) = self.below else { return Ok(Arc::clone(&self.at)) };
        openat(self.at(), below, DIRECTORY, Mode::empty()).and_then(beyond_stdio).map(Arc::new)
    }

    /// A private directory in this one, checked and not opened: what is in it is reached
    /// through this one, in which nobody but the owner can put another in its place.
    pub(super) fn below(&self, name: &'static str, owner: u32) -> Result<Self, StoreError> {
        let path = self.path.join(name);
        let stat =
            statat(self.at(), name, AtFlags::SYMLINK_NOFOLLOW).map_err(io_error(&path, "open"))?;
        let purpose = Purpose::PrivateDir;
        first_problem(&stat, purpose, owner).map_err(|what| unsafe_path(&path, what, purpose))?;
        Ok(Self { at: Arc::clone(&self.at), below: Some(name), path })
    }

    /// Opens a private directory in this one.
    pub(super) fn dir(&self, name: &str, owner: u32) -> Result<Self, StoreError> {
        open_dir(self.at(), Path::new(&*self.name(name)), self.path.join(name), owner)
    }

    /// As [`Dir::dir`]; `None` if there is none.
    pub(super) fn dir_if_there(&self, name: &str, owner: u32) -> Result<Option<Self>, StoreError> {
        match self.dir(name, owner) {
            Err(StoreError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            dir => dir.map(Some),
        }
    }

    /// The names of what is in it that `of` knows, with what it says of them. Others may be
    /// removed or renamed meanwhile.
    pub(super) fn names<T>(
        &self,
        of: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<(String, T)>, StoreError> {
        let entries = self.entries()?;
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(io_error(&self.path, "list"))?;
            let name = entry.file_name().to_str().unwrap_or_default();
            if let Some(known) = of(name) {
                found.push((name.to_owned(), known));
            }
        }
        Ok(found)
    }

    /// What is in it.
    pub(super) fn entries(&self) -> Result<rustix::fs::Dir, StoreError> {
        self.itself().and_then(rustix::fs::Dir::read_from).map_err(io_error(&self.path, "list"))
    }

    /// What the name of a file in it leads to now.
    pub(super) fn stat(&self, name: &str) -> Result<Stat, Errno> {
        statat(self.at(), &*self.name(name), AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Opens the private regular file `name`; `None` if there is none.
    pub(super) fn file(
        &self,
        name: &str,
        access: OFlags,
        owner: u32,
    ) -> Result<Option<(File, Stat)>, StoreError> {
        let path = || self.path.join(name);
        let place = self.name(name);
        open_file(self.at(), Path::new(&*place), &path, access, owner, Purpose::PrivateFile)
    }

    /// The text of the private file `name`; `None` if there is none.
    pub(super) fn text(
        &self,
        name: &str,
        owner: u32,
    ) -> Result<Option<Zeroizing<String>>, StoreError> {
        Ok(self.text_and_stat(name, owner)?.map(|(text, _)| text))
    }

    /// As [`Dir::text`], with what identifies the file.
    pub(super) fn text_and_stat(
        &self,
        name: &str,
        owner: u32,
    ) -> Result<Option<(Zeroizing<String>, Stat)>, StoreError> {
        let Some((file, stat)) = self.file(name, OFlags::RDONLY, owner)? else {
            return Ok(None);
        };
        let text = read_text(file, &stat, &|| self.path.join(name), Purpose::PrivateFile)?;
        Ok(Some((Zeroizing::new(text), stat)))
    }

    /// Makes what was created, renamed or removed in it durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.itself().and_then(rustix::fs::fsync).map_err(io_error(&self.path, "sync"))
    }
}

/// The text of the configuration file `path`, which everybody may read and
/// only root may write.
///
/// # Errors
/// [`StoreError`]; a missing file is an error, since the policy it held is
/// not known.
pub fn read_config(path: &Path) -> Result<String, StoreError> {
    judge_ancestors(path, 0)?;
    let shown = || path.to_owned();
    match open_file(CWD, path, &shown, OFlags::RDONLY, 0, Purpose::Config)? {
        Some((file, stat)) => read_text(file, &stat, &shown, Purpose::Config),
        None => Err(StoreError::Io {
            path: path.to_owned(),
            what: "find the configuration",
            error: Errno::NOENT.into(),
        }),
    }
}

fn open_dir(at: impl AsFd, name: &Path, path: PathBuf, owner: u32) -> Result<Dir, StoreError> {
    let purpose = Purpose::PrivateDir;
    let fd = match openat(at, name, DIRECTORY, Mode::empty()) {
        Ok(fd) => fd,
        // Which of the two it is, only for the message.
        Err(Errno::NOTDIR | Errno::LOOP) => {
            let is_link = rustix::fs::lstat(&path).is_ok_and(|stat| is(&stat, FileType::Symlink));
            let what = if is_link { FileFault::Link } else { FileFault::Type };
            return Err(unsafe_path(&path, what, purpose));
        }
        Err(error) => return Err(io_error(&path, "open")(error)),
    };
    let fd = beyond_stdio(fd).map_err(io_error(&path, "open"))?;
    let stat = fstat(&fd).map_err(io_error(&path, "examine"))?;
    first_problem(&stat, purpose, owner).map_err(|what| unsafe_path(&path, what, purpose))?;
    Ok(Dir::new(fd, path))
}

/// `path` is for messages: mostly there are none.
fn open_file(
    at: impl AsFd,
    name: &Path,
    path: &dyn Fn() -> PathBuf,
    access: OFlags,
    owner: u32,
    purpose: Purpose,
) -> Result<Option<(File, Stat)>, StoreError> {
    // NONBLOCK: opening a FIFO must not wait for its other end.
    let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = match openat(at, name, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(unsafe_path(&path(), FileFault::Link, purpose)),
        // A directory opened for writing, a socket, a device without a driver.
        Err(Errno::ISDIR | Errno::NXIO) => {
            return Err(unsafe_path(&path(), FileFault::Type, purpose));
        }
        Err(error) => return Err(io_error(&path(), "open")(error)),
    };
    let fd = beyond_stdio(fd).map_err(|error| io_error(&path(), "open")(error))?;
    let stat = fstat(&fd).map_err(|error| io_error(&path(), "examine")(error))?;
    first_problem(&stat, purpose, owner).map_err(|what| unsafe_path(&path(), what, purpose))?;
    Ok(Some((File::from(fd), stat)))
}

/// The same file by another descriptor, if it got that of standard input, output or
/// error because the host process has closed them: what is printed must not land in it.
pub(super) fn beyond_stdio(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    if fd.as_raw_fd() > 2 { Ok(fd) } else { rustix::io::fcntl_dupfd_cloexec(fd, 3) }
}

fn is(stat: &Stat, file_type: FileType) -> bool {
    FileType::from_raw_mode(stat.st_mode) == file_type
}

/// All that keeps a login from using what `stat` describes, the worst first. What
/// is of the wrong type has no other problem.
pub(super) fn problems(
    stat: &Stat,
    purpose: Purpose,
    owner: u32,
) -> impl Iterator<Item = FileFault> {
    let file_type = FileType::from_raw_mode(stat.st_mode);
    let of_type = match (file_type, purpose) {
        (FileType::Symlink, _) => Some(FileFault::Link),
        (FileType::Directory, Purpose::Above | Purpose::PrivateDir)
        | (FileType::RegularFile, Purpose::PrivateFile | Purpose::Config) => None,
        _ => Some(FileFault::Type),
    };
    let owned = stat.st_uid == owner || (purpose == Purpose::Above && stat.st_uid == 0);
    let forbidden = match purpose {
        Purpose::Above if stat.st_mode & STICKY != 0 => 0,
        Purpose::Above | Purpose::Config => GROUP_OTHER_WRITE,
        Purpose::PrivateDir | Purpose::PrivateFile => GROUP_OTHER,
    };
    let exposed = stat.st_mode & forbidden != 0;
    #[cfg_attr(
        target_arch = "x86_64",
        expect(clippy::useless_conversion, reason = "it has 64 bits here, and 32 on aarch64")
    )]
    let links = u64::from(stat.st_nlink);
    let linked = purpose == Purpose::PrivateFile && links > 1;
    let others = [
        (!owned).then_some(FileFault::Owner(stat.st_uid)),
        exposed.then_some(FileFault::Mode(stat.st_mode & 0o7777)),
        linked.then_some(FileFault::Links(links)),
    ];
    let others = if of_type.is_some() { [None; 3] } else { others };
    of_type.into_iter().chain(others.into_iter().flatten())
}

fn first_problem(stat: &Stat, purpose: Purpose, owner: u32) -> Result<(), FileFault> {
    problems(stat, purpose, owner).next().map_or(Ok(()), Err)
}

/// That a private file, which was opened before, is still as it was judged then.
pub(super) fn judge_file(
    stat: &Stat,
    path: impl FnOnce() -> PathBuf,
    owner: u32,
) -> Result<(), StoreError> {
    let purpose = Purpose::PrivateFile;
    first_problem(stat, purpose, owner).map_err(|what| unsafe_path(&path(), what, purpose))
}

fn read_text(
    file: File,
    stat: &Stat,
    path: &dyn Fn() -> PathBuf,
    purpose: Purpose,
) -> Result<String, StoreError> {
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    if size > MAX_TEXT_BYTES {
        return Err(unsafe_path(&path(), FileFault::Size(size), purpose));
    }
    // Reserved at once: a string that grows leaves copies of a secret behind.
    let room = usize::try_from(size).unwrap_or(0).saturating_add(1);
    let mut text = String::with_capacity(room);
    match file.take(size).read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => Err(StoreError::Io { path: path(), what: "read", error }),
    }
}

/// For `map_err`: what was tried on which path.
pub(super) fn io_error<E: Into<io::Error>>(
    path: &Path,
    what: &'static str,
) -> impl FnOnce(E) -> StoreError {
    move |error| StoreError::Io { path: path.to_owned(), what, error: error.into() }
}

fn unsafe_path(path: &Path, what: FileFault, purpose: Purpose) -> StoreError {
    StoreError::Unsafe { path: path.to_owned(), what, purpose }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    fn me() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// A private directory in one that is not ours alone to judge.
    fn private() -> (tempfile::TempDir, Dir) {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("private");
        fs::create_dir(&path).unwrap();
        set_mode(&path, 0o700);
        let dir = open_top(&path, me()).unwrap();
        (above, dir)
    }

    #[test]
    fn a_descriptor_that_is_none_of_the_standard_ones_stays_as_it_is() {
        let fd = OwnedFd::from(tempfile::tempfile().unwrap());
        let number = fd.as_raw_fd();
        assert_eq!(beyond_stdio(fd).unwrap().as_raw_fd(), number);
    }

    /// What is wrong with something, if it is that which keeps it from being used.
    fn wrong<T>(opened: Result<T, StoreError>) -> Option<FileFault> {
        match opened {
            Ok(_) => None,
            Err(StoreError::Unsafe { what, .. }) => Some(what),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_directory_is_used_only_if_nobody_else_can_replace_one_above_it() {
        let (above, dir) = private();
        for (mode, expected) in [
            (0o755, None),
            (0o775, Some(FileFault::Mode(0o775))),
            (0o757, Some(FileFault::Mode(0o757))),
            (0o1777, None),
        ] {
            set_mode(above.path(), mode);
            assert_eq!(wrong(open_top(&dir.path, me())), expected, "{mode:o}");
        }
        set_mode(above.path(), 0o755);
        // Root may replace everything anyway: only somebody else's directory can be wrong.
        let theirs = if me() == 0 { 4711 } else { me() };
        chown(above.path(), Some(theirs), None).unwrap();
        assert_eq!(wrong(judge_ancestors(&dir.path, theirs)), None);
        let others = judge_ancestors(&dir.path, theirs + 1);
        assert_eq!(wrong(others), Some(FileFault::Owner(theirs)));
    }

    #[test]
    fn a_directory_that_cannot_be_opened_is_not_taken_for_none() {
        let (_above, dir) = private();
        assert!(dir.dir_if_there("none", me()).unwrap().is_none());
        let failed = dir.dir_if_there(&"x".repeat(300), me());
        assert!(matches!(failed, Err(StoreError::Io { .. })));
    }

    #[test]
    fn a_directory_is_used_only_if_it_is_one_and_its_owners_alone() {
        let (_above, dir) = private();
        let path = dir.path.join("it");
        fs::create_dir(&path).unwrap();
        for (mode, expected) in [
            (0o700, None),
            (0o500, None),
            (0o710, Some(FileFault::Mode(0o710))),
            (0o701, Some(FileFault::Mode(0o701))),
        ] {
            set_mode(&path, mode);
            assert_eq!(wrong(dir.dir("it", me())), expected, "{mode:o}");
        }
        set_mode(&path, 0o700);
        assert_eq!(wrong(dir.dir("it", me() + 1)), Some(FileFault::Owner(me())));
        symlink(&path, dir.path.join("link")).unwrap();
        assert_eq!(wrong(dir.dir("link", me())), Some(FileFault::Link));
        fs::write(dir.path.join("file"), "").unwrap();
        set_mode(&dir.path.join("file"), 0o600);
        assert_eq!(wrong(dir.dir("file", me())), Some(FileFault::Type));
        assert!(matches!(dir.dir("none", me()), Err(StoreError::Io { .. })));
    }

    #[test]
    fn a_file_is_read_only_if_it_is_one_its_owners_alone_and_of_one_name() {
        let (_above, dir) = private();
        let path = dir.path.join("it");
        let read = |name: &str, owner| dir.text(name, owner);
        assert!(read("it", me()).unwrap().is_none());
        fs::write(&path, "a secret").unwrap();
        for (mode, expected) in [
            (0o600, None),
            (0o640, Some(FileFault::Mode(0o640))),
            (0o604, Some(FileFault::Mode(0o604))),
        ] {
            set_mode(&path, mode);
            assert_eq!(wrong(read("it", me())), expected, "{mode:o}");
        }
        set_mode(&path, 0o600);
        assert_eq!(*read("it", me()).unwrap().unwrap(), "a secret");
        assert_eq!(wrong(read("it", me() + 1)), Some(FileFault::Owner(me())));
        symlink(&path, dir.path.join("link")).unwrap();
        assert_eq!(wrong(read("link", me())), Some(FileFault::Link));
        fs::create_dir(dir.path.join("dir")).unwrap();
        assert_eq!(wrong(read("dir", me())), Some(FileFault::Type));
        // Nobody holds its other end: to open it must not wait for that.
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mkfifoat(dir.at(), "fifo", mode).unwrap();
        assert_eq!(wrong(read("fifo", me())), Some(FileFault::Type));
        // Nor is its other end waited for where a directory should be.
        assert_eq!(wrong(dir.dir("fifo", me())), Some(FileFault::Type));
        fs::hard_link(&path, dir.path.join("twin")).unwrap();
        assert_eq!(wrong(read("it", me())), Some(FileFault::Links(2)));
    }

    #[test]
    fn a_file_may_be_as_large_as_64_kib() {
        let (_above, dir) = private();
        let path = dir.path.join("it");
        for (size, expected) in [(65_536, None), (65_537, Some(FileFault::Size(65_537)))] {
            fs::write(&path, vec![b' '; size]).unwrap();
            set_mode(&path, 0o600);
            assert_eq!(wrong(dir.text("it", me())), expected);
        }
    }

    #[test]
    fn a_configuration_may_be_read_by_all_and_have_other_names_but_be_written_by_its_owner_alone() {
        let (_above, dir) = private();
        let path = dir.path.join("it");
        fs::write(&path, "").unwrap();
        fs::hard_link(&path, dir.path.join("twin")).unwrap();
        for (mode, expected) in [
            (0o644, None),
            (0o664, Some(FileFault::Mode(0o664))),
            (0o646, Some(FileFault::Mode(0o646))),
        ] {
            set_mode(&path, mode);
            let opened =
                open_file(CWD, &path, &|| path.clone(), OFlags::RDONLY, me(), Purpose::Config);
            assert_eq!(wrong(opened), expected, "{mode:o}");
        }
    }

    #[test]
    fn a_configuration_is_read_as_it_is_and_is_never_taken_for_an_empty_one() {
        // One that is everywhere, and root's.
        let passwd = Path::new("/etc/passwd");
        assert_eq!(read_config(passwd).unwrap(), fs::read_to_string(passwd).unwrap());
        assert!(matches!(read_config(Path::new("/etc/no-such")), Err(StoreError::Io { .. })));
    }

    #[test]
    fn every_problem_is_seen_and_the_worst_first() {
        let (_above, dir) = private();
        let path = dir.path.join("it");
        fs::write(&path, "").unwrap();
        set_mode(&path, 0o644);
        fs::hard_link(&path, dir.path.join("twin")).unwrap();
        symlink(&path, dir.path.join("link")).unwrap();
        let all = |name: &str, purpose, owner| -> Vec<_> {
            let stat = rustix::fs::lstat(dir.path.join(name)).unwrap();
            problems(&stat, purpose, owner).collect()
        };
        let (mode, links) = (FileFault::Mode(0o644), FileFault::Links(2));
        assert_eq!(all("it", Purpose::PrivateFile, me()), [mode, links]);
        let owner = FileFault::Owner(me());
        assert_eq!(all("it", Purpose::PrivateFile, me() + 1), [owner, mode, links]);
        assert_eq!(all("it", Purpose::Config, me()), []);
        assert_eq!(all("it", Purpose::PrivateDir, me() + 1), [FileFault::Type]);
        assert_eq!(all("link", Purpose::PrivateFile, me() + 1), [FileFault::Link]);
    }
}
