//! Why the store, or an account in it, cannot be used, and what to do about it.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::account::{Uid, UserName};

/// Why the store, or an account in it, cannot be used. Every one of them
/// refuses the login.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The marker is not there: never made, or not mounted.
    #[error("no store in {0}: store.toml is missing (not mounted? otherwise: onetimectl init)")]
    NoStore(PathBuf),
    /// The marker names another format.
    #[error("{0}: not a store of format 1")]
    Format(PathBuf),
    /// A file or directory that others could have written, or can read.
    #[error("{path}: {what} (should be: {should})")]
    Unsafe {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: Wrong,
        /// What it should be.
        should: &'static str,
    },
    /// A record that is not one. Its text is never part of the message.
    #[error(
        "{path}: damaged record: {what} (restore it from a backup, or: onetimectl enable --new-secret)"
    )]
    Record {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A record that belongs to another user.
    #[error(
        "{path}: the record is for uid {recorded}, but {user} has uid {actual} (the user was re-created? then: onetimectl disable, and enable)"
    )]
    Uid {
        /// Which.
        path: PathBuf,
        /// Who logs in.
        user: UserName,
        /// Their uid in the record.
        recorded: Uid,
        /// Their uid in the password database.
        actual: u32,
    },
    /// A record without a state, or with one that is not its own.
    #[error("{path}: {what} (onetimectl repair mends it)")]
    State {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// There is no record.
    #[error("{0} is not enabled (onetimectl enable issues a secret)")]
    NotEnabled(UserName),
    /// A hotp token's counter cannot be guessed.
    #[error(
        "{0}: the counter of a hotp token was lost with the state (onetimectl enable --new-secret issues a different one)"
    )]
    CounterLost(UserName),
    /// Others kept making and removing it.
    #[error("{0}: the account is being changed all the time: try again")]
    Busy(UserName),
    /// The name is too long to be a file's.
    #[error("{0}: the name is too long for a file name")]
    Name(UserName),
    /// The system's own error.
    #[error("{path}: cannot {what}: {error}{}", remedy(error))]
    Io {
        /// Which.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What came of it.
        error: io::Error,
    },
}

/// What to do about it, where the system's error tells.
fn remedy(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC) => " (make room on its file system)",
        Some(Errno::DQUOT) => " (raise root's quota on its file system)",
        Some(Errno::ROFS) => " (remount its file system read-write; dmesg may say why it is not)",
        Some(Errno::IO) => " (look at the disk: dmesg)",
        Some(Errno::FBIG) => " (the process may not write such files: ulimit -f)",
        Some(Errno::MFILE) => " (the process may not open more files: ulimit -n)",
        Some(_) | None => "",
    }
}

/// What makes a file or directory unsafe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
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
    /// Has a second name somewhere.
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
    fn what_can_be_done_about_an_error_of_the_system_is_said_with_it() {
        for (errno, remedy) in [
            (Errno::NOSPC, "make room"),
            (Errno::DQUOT, "quota"),
            (Errno::ROFS, "remount"),
            (Errno::IO, "dmesg"),
            (Errno::FBIG, "ulimit -f"),
            (Errno::MFILE, "ulimit -n"),
        ] {
            let error = StoreError::Io { path: "p".into(), what: "write", error: errno.into() };
            assert!(error.to_string().contains(remedy), "{error}");
        }
        let error = io::Error::from(Errno::NOENT);
        let expected = format!("p: cannot open: {error}");
        assert_eq!(StoreError::Io { path: "p".into(), what: "open", error }.to_string(), expected);
    }
}
