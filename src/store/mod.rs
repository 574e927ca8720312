//! Records and states on disk, and the one door through which they change.
//!
//! [`Store::load`] reads an account; [`Store::update`] judges an attempt under
//! the account's lock and commits what it leads to before it returns the
//! verdict. Issuing, removing and repairing are for `onetimectl`. Whatever is
//! missing, damaged, mismatched, linked, wrongly owned or too widely readable
//! is an error, never "no record". docs/FILEFORMAT.md has the bytes.

mod accounts;
pub mod backend;
#[cfg(any(test, feature = "tool"))]
mod batch;
mod checked;
mod deferral;
mod durable;
mod error;
mod examine;
mod files;
#[cfg(fuzzing)]
pub mod fuzzing;
mod holder;
mod issue;
mod lock;
mod memory;
mod names;
mod persons;
mod record;
mod removal;
mod retired;
mod seen;
mod services;
mod shield;
mod slots;
mod stage;
mod succession;
#[cfg(test)]
mod tests;
mod uids;

pub use accounts::{AccountSnapshot, Store};
pub use backend::RemoveOutcome;
#[cfg(any(test, feature = "tool"))]
pub use batch::Batch;
pub use checked::read_config;
pub use error::{FileFault, LogError, Purpose, Removal, StoreError};
pub use examine::{Problem, examine};
pub use files::Files;
pub use holder::{Holder, ProcessInfo};
pub use issue::{IssueOutcome, RepairOutcome, Replace, Scope};
pub use persons::RenameOutcome;
pub use uids::Indexing;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crc::{CRC_32_ISO_HDLC, Crc};

use crate::account::UserName;
use crate::config::{self, StoreBackend};

/// A lock that was taken over, for the log and the admin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakeOver {
    /// Whose account's.
    pub user: UserName,
    /// From whom.
    pub holder: Holder,
}

impl std::fmt::Display for TakeOver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let holder = &self.holder;
        write!(f, "the account's lock was taken over: {holder} had held it for 2 s")
    }
}

/// Locks that were taken over, for whoever reports them.
#[derive(Debug, Clone, Default)]
pub struct TakeOvers(Arc<Mutex<Vec<TakeOver>>>);

impl TakeOvers {
    /// Those since it was last asked.
    #[must_use]
    pub fn take(&self) -> Vec<TakeOver> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, take_over: TakeOver) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(take_over);
    }
}

/// Opens the store that the configuration names, as root's.
///
/// # Errors
/// [`StoreError`].
pub fn open(config: &config::StoreConfig) -> Result<Store, StoreError> {
    match config.backend {
        StoreBackend::Files => Store::open(Path::new(&config.dir), Store::ROOT),
    }
}

/// The same, for one login.
///
/// # Errors
/// [`StoreError`].
pub fn open_for_a_login(config: &config::StoreConfig) -> Result<Store, StoreError> {
    match config.backend {
        StoreBackend::Files => Store::open_for_a_login(Path::new(&config.dir), Store::ROOT),
    }
}

/// Detects damage in record and state: CRC-32 as in zip and PNG.
fn checksum(bytes: &[u8]) -> u32 {
    const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
    CRC.checksum(bytes)
}
