//! What users ask `onetimed` about themselves, and change of their own accounts.

use serde::{Deserialize, Serialize};

use super::RelayError;
use super::ask::{converse, method};
use super::messages::{Begin, End};
use super::wire::Wire;
use crate::login::ports::Door;

/// What users may change of their own accounts, where the administrator lets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnChange {
    /// New recovery codes take the place of the old.
    Recovery,
    /// A new token takes the place of the old one.
    Renew,
}

impl OwnChange {
    /// Its name, in the configuration and on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Recovery => "recovery",
            Self::Renew => "renew",
        }
    }

    /// For the log, once it is made.
    #[must_use]
    pub const fn done(self) -> &'static str {
        match self {
            Self::Recovery => "code right: the user has issued new recovery codes",
            Self::Renew => "code right: the user has exchanged the token",
        }
    }
}

/// Begins a change.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Change {
    /// What is to be changed.
    pub what: OwnChange,
}

/// What there is to say of one's own account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnStatus {
    /// Whether there is a record.
    pub otp: bool,
    /// Whether a code has succeeded.
    pub activated: bool,
    /// `None`: none were issued.
    #[serde(default)]
    pub recovery_codes_left: Option<u32>,
    /// In seconds since 1970; only while it is locked.
    #[serde(default)]
    pub locked_until: Option<u64>,
}

impl Begin {
    /// The login that goes before a change of the user's own account.
    #[must_use]
    pub fn of_own(user: &str, service: &str) -> Self {
        Self {
            user: user.to_owned(),
            service: service.to_owned(),
            line: Vec::new(),
            password: None,
            rhost: None,
            tty: None,
            ruser: None,
            terminal: true,
            silent: false,
            disallow_null_authtok: false,
        }
    }
}

/// Asks about whoever runs this program.
///
/// # Errors
/// [`RelayError`].
pub fn own_status() -> Result<OwnStatus, RelayError> {
    #[derive(Serialize)]
    struct Nothing {}
    Wire::connect()?.call_for(&method("Status"), &Nothing {})
}

/// Changes the account of whoever runs this program; `door` is that person.
///
/// # Errors
/// [`RelayError`].
pub fn own_change<D: Door>(door: &mut D, what: OwnChange) -> Result<End, RelayError> {
    let wire = Wire::connect()?;
    let step = wire.call(&method("Change"), &Change { what })?;
    converse(&wire, door, step)
}
