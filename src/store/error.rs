//! Why the store, or an account in it, cannot be used, and what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use super::Holder;
use crate::account::{Uid, UserName};

/// Why the store, or an account in it, cannot be used. Every one of them
/// refuses the login. The text says why; [`StoreError::remedy`] says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The marker is not there: never made, or not mounted.
    #[error("no store in {0}: store.toml is missing")]
    NoStore(PathBuf),
    /// The marker names another format.
    #[error("{0}: not a store of format 1")]
    Format(PathBuf),
    /// A file or directory that others could have written, or can read.
    #[error("{path}: {what}")]
    Unsafe {
        /// The file or directory that the error is about.
        path: PathBuf,
        /// What is wrong with it.
        what: FileFault,
        /// What it is for, and so what it must be.
        purpose: Purpose,
    },
    /// A record that is not one. Its text is never part of the message.
    #[error("{path}: damaged record: {what}")]
    Record {
        /// The file or directory that the error is about.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A record that belongs to another user.
    #[error("{path}: the record is for uid {recorded}, but {user} has uid {actual}")]
    Uid {
        /// The file or directory that the error is about.
        path: PathBuf,
        /// The user who logs in, or whom the tool looks up.
        user: UserName,
        /// Their uid in the record.
        recorded: Uid,
        /// Their uid in the password database.
        actual: u32,
    },
    /// A user without a record, whose uid has one under another name.
    #[error("{user} has uid {uid}, and the record for that uid is {recorded}'s")]
    OtherName {
        /// The user who logs in, or whom the tool looks up.
        user: UserName,
        /// Their uid in the password database.
        uid: u32,
        /// Whose record it is.
        recorded: UserName,
    },
    /// An entry of the index by uid that is not one.
    #[error("{path}: damaged index: {what}")]
    Index {
        /// The file that the error is about.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A record that was to get a new name, which has one.
    #[error("{0} has a record already")]
    AlreadyEnabled(UserName),
    /// The state of this record has gone over to another name.
    #[error("{user}: the account was being renamed to {other}")]
    RenameUnfinished {
        /// The old name.
        user: UserName,
        /// The new name, which has the account.
        other: UserName,
    },
    /// A record without a state, or with one that is not its own.
    #[error("{path}: {what}")]
    State {
        /// The file or directory that the error is about.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// There is no record.
    #[error("{0} is not enabled")]
    NotEnabled(UserName),
    /// A hotp token's counter cannot be guessed.
    #[error("{0}: the counter of a hotp token was lost with the state")]
    CounterLost(UserName),
    /// Two tokens with one key: a code of it would be accepted twice.
    #[error("two tokens would have the same key, and each code of it would work twice")]
    KeyTwice,
    /// A counter at its end.
    #[error("the counter of a hotp token is at its end: it has no codes left")]
    NoCodesLeft,
    /// What is remembered of a key does not say which of its codes are spent.
    #[error("{path}: {what}")]
    Retired {
        /// The file that the error is about.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// What services' accounts have failed with a user cannot be understood.
    #[error("{path}: {what}")]
    Services {
        /// The file that the error is about.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// An account was to be removed, and what its keys have spent could not be noted.
    #[error(
        "{removal} up to where its codes are spent could not be noted, and its keys must not be \
         given to anybody again: {error}"
    )]
    NotRemembered {
        /// What has become of the account.
        removal: Removal,
        /// Why.
        error: Box<StoreError>,
    },
    /// An account was removed, but the index by uid still has its name.
    #[error(
        "the record is gone, but its name is still in the index by uid, until that \
         is made again: {0}"
    )]
    StillIndexed(Box<StoreError>),
    /// Others kept making and removing it.
    #[error("{0}: the account is being changed all the time")]
    Busy(UserName),
    /// Another process does not let go of an account's lock.
    #[error("{path}: {holder} has held the lock for 2 s{}", obstacle_text(obstacle.as_deref()))]
    Held {
        /// The file that is locked.
        path: PathBuf,
        /// Who holds it.
        holder: Box<Holder>,
        /// Why it could not be taken over, where that was tried.
        obstacle: Option<Box<StoreError>>,
    },
    /// It took too long here while the lock was held: another process has it now.
    #[error("{0}: this process held the lock for so long that another one has taken it over")]
    PassedOver(UserName),
    /// The name is too long to be a file's.
    #[error("{0}: the name is too long for a file name")]
    Name(UserName),
    /// The system's own error.
    #[error("{path}: cannot {what}: {error}")]
    Io {
        /// The file or directory that the error is about.
        path: PathBuf,
        /// What was tried, as in "cannot open".
        what: &'static str,
        /// What came of it.
        error: io::Error,
    },
}

impl StoreError {
    /// What an admin can do about it, as an order; `None` where the error alone
    /// does not say.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoStore(_) => {
                "mount its file system; if there never was a store: onetimectl init"
            }
            Self::Format(_) => "restore it from a backup",
            Self::Unsafe { what, purpose, .. } => purpose.remedy(*what),
            Self::Record { .. } => "restore it from a backup, or: onetimectl enable --new-secret",
            Self::Uid { .. } => {
                "if their uid was changed: onetimectl rebind; \
                 if the user was created again: onetimectl disable, then onetimectl enable"
            }
            Self::OtherName { .. } => {
                "if the user was renamed: onetimectl rename OLD NEW; \
                 if they are somebody else, and OLD is gone: onetimectl disable OLD"
            }
            Self::Index { .. } => "make it again: onetimectl init",
            Self::AlreadyEnabled(_) => "if it is not needed, first: onetimectl disable",
            Self::RenameUnfinished { .. } => "finish it: onetimectl rename OLD NEW",
            Self::State { .. } => "rebuild it: onetimectl repair",
            Self::NotEnabled(_) => "issue a secret: onetimectl enable",
            Self::CounterLost(_) => "issue a different secret: onetimectl enable --new-secret",
            Self::KeyTwice => "use the token that is there: onetimectl token list",
            Self::NoCodesLeft => "use a token with another key",
            Self::Retired { .. } => {
                "use a token with another key; or, if no code of this one can be known to others: \
                 remove that file, add the key again, then: onetimectl resync"
            }
            Self::Services { .. } => "let it count anew: onetimectl unlock",
            Self::NotRemembered { error, .. } | Self::StillIndexed(error) => {
                return error.remedy();
            }
            Self::Busy(_) | Self::PassedOver(_) => "try again",
            Self::Held { .. } => "end that process: kill -KILL; then try again",
            Self::Name(_) => return None,
            Self::Io { error, .. } => return remedy_of_system(error),
        })
    }

    /// Why, and the remedy in parentheses: for where there is one line only, such
    /// as the log.
    #[must_use]
    pub fn with_remedy(&self) -> String {
        match self.remedy() {
            // Whose right is missing, the error does not say.
            Some(remedy) if self.is_denied() => {
                let uid = rustix::process::geteuid().as_raw();
                format!("{self} (this program has uid {uid}: {remedy})")
            }
            Some(remedy) => format!("{self} ({remedy})"),
            None => self.to_string(),
        }
    }

    fn is_denied(&self) -> bool {
        let Self::Io { error, .. } = self else { return false };
        matches!(Errno::from_io_error(error), Some(Errno::ACCESS | Errno::PERM))
    }
}

fn obstacle_text(obstacle: Option<&StoreError>) -> String {
    obstacle.map_or_else(String::new, |error| format!(", and cannot be taken over: {error}"))
}

/// How far the removal of an account came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Complete,
    /// It may be there still, or after a crash.
    Incomplete,
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Complete => "disabled, but",
            Self::Incomplete => "perhaps not disabled (try again), and",
        })
    }
}

/// What to do about an error of the system, where it says enough.
fn remedy_of_system(error: &io::Error) -> Option<&'static str> {
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC) => Some("make room on its file system"),
        Some(Errno::DQUOT) => Some("raise root's quota on its file system"),
        Some(Errno::ROFS) => {
            // The first is what a unit with ProtectSystem=strict does to one program.
            Some(
                "if systemd starts the program, let its unit write there: \
                 ReadWritePaths=-/var/lib/onetime (onetimectl doctor names the unit); \
                 else remount the file system read-write: dmesg may say why it is not",
            )
        }
        Some(Errno::IO) => Some("look at the disk: dmesg"),
        Some(Errno::ISDIR) => {
            Some("find out who put that directory there, and move it away: onetimectl makes none")
        }
        Some(Errno::FBIG) => Some("let the process write larger files: ulimit -f"),
        Some(Errno::MFILE) => Some("let the process open more files: ulimit -n"),
        Some(Errno::NOENT | Errno::NOTDIR) => Some("put it back, or correct the path"),
        Some(Errno::ACCESS | Errno::PERM) => Some(
            "if it is not root's, such as a screen locker, give its service a file without \
             pam_onetime.so: conf/pam.d/password-only; if it is, SELinux or AppArmor refuses: see \
             the audit log",
        ),
        Some(_) | None => None,
    }
}

/// What a file or directory is for, which decides who may read and write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A directory above the store or the configuration: nobody but root may
    /// replace what is in it.
    Above,
    /// A directory of the store: root's, mode 0700.
    PrivateDir,
    /// A file of the store: root's, mode 0600, one name.
    PrivateFile,
    /// The configuration: root's, and only root may write it.
    Config,
}

impl Purpose {
    const fn remedy(self, what: FileFault) -> &'static str {
        match (self, what) {
            (Self::Above, FileFault::Link) => "configure the real path, without the link",
            (Self::Above, FileFault::Owner(_)) => "chown root it",
            (Self::Above, FileFault::Type) => {
                "put a directory in its place, or configure another one"
            }
            (Self::Above, _) => "let only root write it: chmod go-w",
            (Self::PrivateDir, FileFault::Owner(_) | FileFault::Mode(_)) => {
                "chown root:root and chmod 700 it; if others could read it, the secrets are known"
            }
            (Self::PrivateDir, _) => {
                "find out who put it there; put a directory of root's with mode 0700 in its place"
            }
            (Self::PrivateFile, FileFault::Owner(_) | FileFault::Mode(_)) => {
                "chown root:root and chmod 600 it; \
                 if others could read a record: onetimectl enable --new-secret"
            }
            (Self::PrivateFile, _) => "find out who put it there; restore it from a backup",
            (Self::Config, FileFault::Owner(_) | FileFault::Mode(_)) => {
                "chown root it, and chmod go-w: only root may write it"
            }
            (Self::Config, _) => "put a regular file of at most 64 KiB in its place",
        }
    }
}

/// An error with its remedy in one line, as the log has it.
#[derive(Debug)]
pub struct LogError(pub StoreError);

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.with_remedy())
    }
}

impl From<StoreError> for LogError {
    fn from(error: StoreError) -> Self {
        Self(error)
    }
}

/// What makes a file or directory unsafe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FileFault {
    /// A symbolic link.
    #[error("is a symbolic link")]
    Link,
    /// Not a regular file, or not a directory.
    #[error("is of the wrong type")]
    Type,
    /// Has another owner.
    #[error("is owned by uid {0}")]
    Owner(u32),
    /// Others may read or write it.
    #[error("has mode {0:04o}")]
    Mode(u32),
    /// Has a second name (a hard link).
    #[error("has {0} hard links")]
    Links(u64),
    /// Larger than any such file is.
    #[error("has {0} bytes")]
    Size(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_of_an_error_of_the_system_is_apart_from_it() {
        for (errno, remedy) in [
            (Errno::NOSPC, "make room"),
            (Errno::DQUOT, "quota"),
            (Errno::ROFS, "remount"),
            (Errno::IO, "dmesg"),
            (Errno::ROFS, "ReadWritePaths=-/var/lib/onetime"),
            (Errno::ROFS, "remount"),
            (Errno::FBIG, "ulimit -f"),
            (Errno::MFILE, "ulimit -n"),
            (Errno::NOENT, "correct the path"),
            (Errno::NOTDIR, "correct the path"),
            (Errno::ACCESS, "AppArmor"),
            (Errno::PERM, "AppArmor"),
        ] {
            let error = StoreError::Io { path: "p".into(), what: "write", error: errno.into() };
            assert!(error.remedy().is_some_and(|it| it.contains(remedy)), "{error}");
            let why = format!("p: cannot write: {}", io::Error::from(errno));
            assert_eq!(error.to_string(), why);
            assert!(error.with_remedy().starts_with(&format!("{why} (")));
        }
        let error = io::Error::from(Errno::NXIO);
        let why = format!("p: cannot open: {error}");
        let error = StoreError::Io { path: "p".into(), what: "open", error };
        assert_eq!(error.remedy(), None);
        assert_eq!(error.with_remedy(), why);
    }

    #[test]
    fn why_a_lock_is_not_taken_over_and_how_far_a_removal_came_are_said() {
        let path = || PathBuf::from("p");
        let format = || Box::new(StoreError::Format(path()));
        let held = |obstacle| StoreError::Held {
            path: path(),
            holder: Box::new(Holder::Unknown),
            obstacle,
        };
        let (plain, why) = (held(None).to_string(), StoreError::Format(path()).to_string());
        assert!(plain.ends_with("has held the lock for 2 s"), "{plain}");
        let expected = format!("{plain}, and cannot be taken over: {why}");
        assert_eq!(held(Some(format())).to_string(), expected);
        for (removal, said) in
            [(Removal::Complete, "disabled, but"), (Removal::Incomplete, "perhaps not disabled")]
        {
            let error = StoreError::NotRemembered { removal, error: format() };
            let said_in_full = error.to_string();
            assert!(said_in_full.contains(said) && said_in_full.contains(&why), "{said_in_full}");
            let with_remedy = error.with_remedy();
            assert_eq!(LogError(error).to_string(), with_remedy, "the log has both");
        }
    }

    #[test]
    fn what_can_be_fixed_has_a_remedy_that_its_text_does_not_repeat() {
        let user = || UserName::new("alice").unwrap();
        let path = || PathBuf::from("p");
        let unsafe_ = |what, purpose| StoreError::Unsafe { path: path(), what, purpose };
        for (error, remedy) in [
            (StoreError::NoStore(path()), "onetimectl init"),
            (StoreError::Format(path()), "backup"),
            (StoreError::Record { path: path(), what: "w" }, "onetimectl enable --new-secret"),
            (
                StoreError::Uid { path: path(), user: user(), recorded: Uid::Any, actual: 1 },
                "onetimectl disable",
            ),
            (StoreError::State { path: path(), what: "w" }, "onetimectl repair"),
            (StoreError::NotEnabled(user()), "onetimectl enable"),
            (StoreError::CounterLost(user()), "onetimectl enable --new-secret"),
            (StoreError::KeyTwice, "onetimectl token list"),
            (StoreError::NoCodesLeft, "another key"),
            (StoreError::Retired { path: path(), what: "w" }, "onetimectl resync"),
            (StoreError::Services { path: path(), what: "w" }, "onetimectl unlock"),
            (
                StoreError::NotRemembered {
                    removal: Removal::Complete,
                    error: Box::new(StoreError::Format(path())),
                },
                "backup",
            ),
            (StoreError::StillIndexed(Box::new(StoreError::Format(path()))), "backup"),
            (StoreError::Busy(user()), "try again"),
            (StoreError::PassedOver(user()), "try again"),
            (
                StoreError::Held {
                    path: path(),
                    holder: Box::new(Holder::Unknown),
                    obstacle: None,
                },
                "kill",
            ),
            (unsafe_(FileFault::Link, Purpose::Above), "real path"),
            (unsafe_(FileFault::Owner(7), Purpose::Above), "chown root"),
            (unsafe_(FileFault::Mode(0o777), Purpose::Above), "chmod go-w"),
            (unsafe_(FileFault::Mode(0o755), Purpose::PrivateDir), "chmod 700"),
            (unsafe_(FileFault::Type, Purpose::PrivateDir), "find out who"),
            (unsafe_(FileFault::Owner(7), Purpose::PrivateFile), "chown root:root"),
            (unsafe_(FileFault::Links(2), Purpose::PrivateFile), "find out who"),
            (unsafe_(FileFault::Mode(0o666), Purpose::Config), "chmod go-w"),
            (unsafe_(FileFault::Size(1 << 20), Purpose::Config), "64 KiB"),
        ] {
            let why = error.to_string();
            let said = error.remedy().unwrap_or_default();
            assert!(said.contains(remedy), "{why}: {said}");
            assert!(!why.contains("onetimectl"), "{why}");
            assert_eq!(error.with_remedy(), format!("{why} ({said})"));
        }
        assert_eq!(StoreError::Name(user()).remedy(), None);
    }
}
