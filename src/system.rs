//! What is asked of the system: the time, the host's name, users and groups.

use std::ffi::CString;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::unistd::{Gid, Group, User, getgrouplist};

use crate::account::{Timestamp, Uid, UserName, UserNameError};

/// Why the system did not say.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// The clock.
    #[error("the clock is before 1970")]
    Clock,
    /// passwd(5), group(5), or what stands for them.
    #[error("the user database cannot be read: {0}")]
    Users(#[from] nix::Error),
    /// It knows the user by a name that none of ours can be.
    #[error(transparent)]
    UserName(#[from] UserNameError),
    /// The host's name cannot be an issuer.
    #[error("the host's name cannot be an issuer: set `issuer` in the configuration")]
    HostName,
}

/// The time.
///
/// # Errors
/// [`SystemError::Clock`].
pub fn now() -> Result<Timestamp, SystemError> {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => Ok(Timestamp(since.as_secs())),
        Err(_) => Err(SystemError::Clock),
    }
}

/// The host's name, as an issuer of codes.
///
/// # Errors
/// [`SystemError::HostName`].
pub fn host_name() -> Result<String, SystemError> {
    let name = rustix::system::uname().nodename().to_str().map(str::to_owned);
    name.ok().filter(|name| crate::config::is_issuer(name)).ok_or(SystemError::HostName)
}

/// A user whom the system knows.
#[derive(Debug, Clone)]
pub struct Person {
    /// The canonical name: an alias must not be a second account.
    pub name: UserName,
    /// Their uid.
    pub uid: u32,
    gid: Gid,
}

impl Person {
    /// Looks a name up; `None` if the system does not know it.
    ///
    /// # Errors
    /// [`SystemError`]: "cannot say" is not "unknown".
    pub fn find(given: &str) -> Result<Option<Self>, SystemError> {
        let Some(user) = User::from_name(given)? else {
            return Ok(None);
        };
        let name = UserName::new(user.name)?;
        Ok(Some(Self { name, uid: user.uid.as_raw(), gid: user.gid }))
    }

    /// For a record.
    #[must_use]
    pub const fn uid(&self) -> Uid {
        Uid::Is(self.uid)
    }

    /// Those of `groups` that the user is a member of. A group that does not
    /// exist has no members.
    ///
    /// # Errors
    /// [`SystemError::Users`].
    pub fn groups_among<'a>(
        &self,
        groups: impl Iterator<Item = &'a String>,
    ) -> Result<Vec<String>, SystemError> {
        let mut groups = groups.peekable();
        // Nobody asks: the database is not read.
        if groups.peek().is_none() {
            return Ok(Vec::new());
        }
        let name = CString::new(self.name.as_str()).map_err(|_| UserNameError::Control)?;
        let own = getgrouplist(&name, self.gid)?;
        let mut found = Vec::new();
        for group in groups {
            if Group::from_name(group)?.is_some_and(|known| own.contains(&known.gid)) {
                found.push(group.clone());
            }
        }
        Ok(found)
    }
}
