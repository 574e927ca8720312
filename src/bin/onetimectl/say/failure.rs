//! How a run fails: `onetimectl: what: why` on standard error, and the exit code.

use std::io::ErrorKind;
use std::process::ExitCode;

use pam_onetime::store::StoreError;
use pam_onetime::system::SystemError;

use crate::say::print::complain;
use crate::say::report::{FAILED, NOT_PERMITTED};

/// The whole run failed.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    let broken = |error: &std::io::Error| error.kind() == ErrorKind::BrokenPipe;
    // `onetimectl list | head` has seen enough: nothing went wrong.
    if !error.root_cause().downcast_ref().is_some_and(broken) {
        complain(&with_remedy(error));
    }
    ExitCode::from(FAILED)
}

/// The caller is not root.
pub(crate) fn not_permitted() -> ExitCode {
    complain("not permitted: secrets belong to root; run it as root (sudo onetimectl ...)");
    ExitCode::from(NOT_PERMITTED)
}

/// Why, and the remedy that the library knows, in one line.
pub(super) fn with_remedy(error: &anyhow::Error) -> String {
    match remedy_of(error) {
        Some(remedy) => format!("{error:#} ({remedy})"),
        None => format!("{error:#}"),
    }
}

/// What to do about an error, where the library knows it.
fn remedy_of(error: &anyhow::Error) -> Option<&'static str> {
    error.chain().find_map(|cause| {
        let of_store = cause.downcast_ref().and_then(StoreError::remedy);
        of_store.or_else(|| cause.downcast_ref().and_then(SystemError::remedy))
    })
}
