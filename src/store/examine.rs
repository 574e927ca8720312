//! Examines a store for an admin: reports everything in it that a login would
//! refuse or that does not belong there, by the same checks as a login
//! ([`super::checked`]). Nothing is written, and no account is read.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, Stat, statat};
use rustix::io::Errno;

use super::checked::{io_error, open_top, problems};
use super::durable::TEMPORARY;
use super::files::{MARKER, RECORD_ENDING, STATE, USERS};
use super::memory::RETIRED;
use super::services::SERVICES;
use super::succession::displaced_of;
use super::uids::{Indexing, UIDS, uid_of};
use super::{Purpose, Store, StoreError, names};

/// What an examination can come to.
#[derive(Debug)]
pub enum Problem {
    /// A login that needs it is refused, with this error.
    Refused(StoreError),
    /// A file that was not yet in force, or no longer, when a process was killed. It may
    /// hold a secret.
    Leftover(PathBuf),
    /// A file among the records or in the index whose name is not that of one.
    ForeignName(PathBuf),
    /// A state without a record.
    OrphanedState(PathBuf),
}

/// Reports to `report` each problem of the store in `dir`, which `owner` should own;
/// one file may have several. A store that is not whole is
/// [`StoreError::NoStore`] without its marker, else an [`StoreError::Io`] of
/// [`ErrorKind::NotFound`].
pub fn examine(dir: &Path, owner: u32, report: &mut dyn FnMut(Problem)) {
    let mut examiner = Examiner { owner, report };
    for above in dir.ancestors().skip(1) {
        examiner.look(above, Purpose::Above);
    }
    // What is in it cannot be relied on, or is not there.
    if examiner.look(dir, Purpose::PrivateDir) == Presence::Missing
        || examiner.look(&dir.join(MARKER), Purpose::PrivateFile) == Presence::Missing
    {
        return (examiner.report)(Problem::Refused(StoreError::NoStore(dir.to_owned())));
    }
    let (users, state, uids) = (dir.join(USERS), dir.join(STATE), dir.join(UIDS));
    let (retired, services) = (dir.join(RETIRED), dir.join(SERVICES));
    examiner.look(&retired, Purpose::PrivateDir);
    examiner.look(&services, Purpose::PrivateDir);
    for path in [&users, &state] {
        if examiner.look(path, Purpose::PrivateDir) == Presence::Missing {
            let error = io_error(path, "open")(std::io::Error::from(ErrorKind::NotFound));
            (examiner.report)(Problem::Refused(error));
        }
    }
    // An older store has none.
    if examiner.look(&uids, Purpose::PrivateDir) == Presence::Missing && is_indexed(dir, owner) {
        let error = io_error(&uids, "open")(std::io::Error::from(ErrorKind::NotFound));
        (examiner.report)(Problem::Refused(error));
    }
    let store = Store::open(dir, owner).ok();
    examiner.list(&uids, |examiner, at, name| {
        if is_temporary(name) {
            return (examiner.report)(Problem::Leftover(uids.join(name)));
        }
        examiner.look_at(at, &uids, name);
        match name.to_str().and_then(uid_of) {
            None => (examiner.report)(Problem::ForeignName(uids.join(name))),
            // Also of a uid that has no record: who has it is refused.
            Some(uid) => {
                let read = store.as_ref().map(|store| store.indexed(uid));
                if let Some(Err(error @ StoreError::Index { .. })) = read {
                    (examiner.report)(Problem::Refused(error));
                }
            }
        }
    });
    examiner.list(dir, |examiner, _, name| {
        if is_temporary(name) {
            (examiner.report)(Problem::Leftover(dir.join(name)));
        }
    });
    // The latter are there once there is something to remember or to count.
    for dir in [&users, &retired, &services] {
        examiner.list(dir, |examiner, at, name| {
            if is_temporary(name) {
                return (examiner.report)(Problem::Leftover(dir.join(name)));
            }
            examiner.look_at(at, dir, name);
            if !name.as_encoded_bytes().ends_with(RECORD_ENDING.as_bytes()) {
                (examiner.report)(Problem::ForeignName(dir.join(name)));
            } else if *dir == services && is_missing(&users.join(name)) {
                (examiner.report)(Problem::Leftover(dir.join(name)));
            }
        });
    }
    examiner.list(&state, |examiner, at, name| {
        examiner.look_at(at, &state, name);
        // Of a lock that is being taken over, or is with the next login; else left behind.
        if let Some(user) = name.to_str().and_then(displaced_of) {
            let in_place = names::encode(&user).map(|name| state.join(&*name));
            if in_place.is_none_or(|path| rustix::fs::lstat(path).is_err()) {
                (examiner.report)(Problem::Leftover(state.join(name)));
            }
            return;
        }
        let mut record = name.to_owned();
        record.push(RECORD_ENDING);
        if is_missing(&users.join(record)) {
            (examiner.report)(Problem::OrphanedState(state.join(name)));
        }
    });
}

#[derive(PartialEq, Eq)]
enum Presence {
    Present,
    Missing,
}

struct Examiner<'r> {
    owner: u32,
    report: &'r mut dyn FnMut(Problem),
}

impl Examiner<'_> {
    /// Reports what is wrong with one path.
    fn look(&mut self, path: &Path, purpose: Purpose) -> Presence {
        self.judge(rustix::fs::lstat(path), || path.to_owned(), purpose)
    }

    /// The same of a private file in `dir`, which is open.
    fn look_at(&mut self, at: BorrowedFd<'_>, dir: &Path, name: &OsStr) {
        let stat = statat(at, name, AtFlags::SYMLINK_NOFOLLOW);
        self.judge(stat, || dir.join(name), Purpose::PrivateFile);
    }

    fn judge(
        &mut self,
        stat: Result<Stat, Errno>,
        path: impl Fn() -> PathBuf,
        purpose: Purpose,
    ) -> Presence {
        match stat {
            Ok(stat) => {
                for what in problems(&stat, purpose, self.owner) {
                    let path = path();
                    (self.report)(Problem::Refused(StoreError::Unsafe { path, what, purpose }));
                }
                Presence::Present
            }
            Err(Errno::NOENT) => Presence::Missing,
            Err(error) => {
                (self.report)(Problem::Refused(io_error(&path(), "examine")(error)));
                Presence::Present
            }
        }
    }

    /// Does `each` with the name of everything in `dir`, which is open, if it is there.
    fn list(&mut self, dir: &Path, mut each: impl FnMut(&mut Self, BorrowedFd<'_>, &OsStr)) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let listed = rustix::fs::open(dir, flags, Mode::empty()).and_then(|opened| {
            for entry in rustix::fs::Dir::read_from(&opened)? {
                let entry = entry?;
                let name = OsStr::from_bytes(entry.file_name().to_bytes());
                if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                    each(self, opened.as_fd(), name);
                }
            }
            Ok(())
        });
        if let Err(error) = listed
            && error != Errno::NOENT
        {
            (self.report)(Problem::Refused(io_error(dir, "read")(error)));
        }
    }
}

fn is_indexed(dir: &Path, owner: u32) -> bool {
    let marker = open_top(dir, owner).and_then(|top| top.text(MARKER, owner));
    matches!(marker, Ok(Some(marker)) if Indexing::of_marker(&marker) == Indexing::Complete)
}

fn is_missing(path: &Path) -> bool {
    matches!(rustix::fs::lstat(path), Err(rustix::io::Errno::NOENT))
}

fn is_temporary(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(TEMPORARY.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn me() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn found(dir: &Path) -> Vec<String> {
        let mut found = Vec::new();
        examine(dir, me(), &mut |problem| {
            found.push(match problem {
                Problem::Refused(error) => error.to_string(),
                Problem::Leftover(path) => format!("left: {}", path.display()),
                Problem::ForeignName(path) => format!("foreign: {}", path.display()),
                Problem::OrphanedState(path) => format!("orphan: {}", path.display()),
            });
        });
        let prefix = format!("{}/", dir.display());
        let mut found: Vec<_> = found.into_iter().map(|line| line.replace(&prefix, "")).collect();
        found.sort();
        found
    }

    fn store() -> (tempfile::TempDir, PathBuf) {
        let above = tempfile::tempdir().unwrap();
        let dir = above.path().join("store");
        Store::init(&dir, me()).unwrap();
        (above, dir)
    }

    fn put(path: &Path, mode: u32) {
        fs::write(path, "").unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn make_private(path: &Path) {
        fs::create_dir(path).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
    }

    #[test]
    fn a_new_store_has_no_problem() {
        let (_above, dir) = store();
        assert_eq!(found(&dir), [""; 0]);
    }

    #[test]
    fn all_problems_of_all_files_are_reported() {
        let (_above, dir) = store();
        put(&dir.join("users/alice.toml"), 0o644);
        fs::hard_link(dir.join("users/alice.toml"), dir.join("users/twin")).unwrap();
        put(&dir.join("users/.new-bob"), 0o600);
        put(&dir.join(".new-x"), 0o600);
        put(&dir.join("state/alice"), 0o600);
        put(&dir.join("state/carol"), 0o666);
        put(&dir.join("state/.aaaaaaaaaaaaa-alice"), 0o600);
        put(&dir.join("state/.aaaaaaaaaaaaa-bob"), 0o600);
        symlink("alice", dir.join("state/link")).unwrap();
        make_private(&dir.join("retired"));
        put(&dir.join("retired/00.toml"), 0o640);
        put(&dir.join("retired/.new-00.toml"), 0o600);
        put(&dir.join("retired/00"), 0o600);
        make_private(&dir.join("services"));
        put(&dir.join("services/alice.toml"), 0o600);
        put(&dir.join("services/bob.toml"), 0o644);
        put(&dir.join("services/.new-bob.toml"), 0o600);
        put(&dir.join("services/alice"), 0o600);
        fs::set_permissions(dir.join("state"), Permissions::from_mode(0o711)).unwrap();
        assert_eq!(
            found(&dir),
            [
                "foreign: retired/00",
                "foreign: services/alice",
                "foreign: users/twin",
                "left: .new-x",
                "left: retired/.new-00.toml",
                "left: services/.new-bob.toml",
                "left: services/bob.toml",
                "left: state/.aaaaaaaaaaaaa-bob",
                "left: users/.new-bob",
                "orphan: state/carol",
                "orphan: state/link",
                "retired/00.toml: has mode 0640",
                "services/bob.toml: has mode 0644",
                "state/carol: has mode 0666",
                "state/link: is a symbolic link",
                "state: has mode 0711",
                "users/alice.toml: has 2 hard links",
                "users/alice.toml: has mode 0644",
                "users/twin: has 2 hard links",
                "users/twin: has mode 0644",
            ]
        );
    }

    #[test]
    fn an_entry_of_the_index_that_is_none_is_reported_whether_or_not_its_uid_has_a_record() {
        let (_above, dir) = store();
        put(&dir.join("uids/2001"), 0o600);
        let damaged = "uids/2001: damaged index: it is empty or cut off";
        assert_eq!(found(&dir), [damaged]);
    }

    #[test]
    fn what_a_login_refuses_is_what_is_reported_first() {
        let (_above, dir) = store();
        fs::set_permissions(dir.join("users"), Permissions::from_mode(0o750)).unwrap();
        let refused = Store::open(&dir, me()).unwrap_err().to_string();
        assert_eq!(found(&dir), [refused.replace(&format!("{}/", dir.display()), "")]);
    }

    #[test]
    fn only_a_store_whose_marker_says_so_has_to_have_an_index() {
        let (_above, dir) = store();
        fs::remove_dir(dir.join("uids")).unwrap();
        let missing = std::io::Error::from(ErrorKind::NotFound);
        assert_eq!(found(&dir), [format!("uids: cannot open: {missing}")]);
        fs::write(dir.join(MARKER), "format = 1\n").unwrap();
        assert_eq!(found(&dir), [""; 0]);
    }

    #[test]
    fn a_store_that_is_not_whole_is_reported_as_such() {
        let (above, dir) = store();
        fs::remove_dir(dir.join("state")).unwrap();
        let missing = std::io::Error::from(ErrorKind::NotFound);
        assert_eq!(found(&dir), [format!("state: cannot open: {missing}")]);
        fs::remove_file(dir.join("store.toml")).unwrap();
        assert!(found(&dir)[0].starts_with("no store in "));
        assert!(found(&above.path().join("nowhere"))[0].starts_with("no store in "));
    }
}
