//! How a run, or one user of a run, fails: `onetimectl: what: why` on standard
//! error, the remedy on a line of its own below, and the exit code.

use std::io::ErrorKind;
use std::process::ExitCode;

use pam_onetime::bytes_as_text::Readable;

use crate::error;
use crate::say::print::complain;
use crate::say::report::{FAILED, NOT_PERMITTED};

/// Prints an error, of one user or of the whole run.
pub(super) fn failure(user: Option<&str>, error: &anyhow::Error) {
    let user = user.map(|user| format!("{}: ", Readable(user))).unwrap_or_default();
    complain(&format!("{user}{error:#}"), error::remedy(error));
}

/// The whole run failed.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    let broken = |error: &std::io::Error| error.kind() == ErrorKind::BrokenPipe;
    // `onetimectl list | head` has seen enough: nothing went wrong.
    if !error.root_cause().downcast_ref().is_some_and(broken) {
        failure(None, error);
    }
    ExitCode::from(FAILED)
}

/// The caller is not root.
pub(crate) fn not_permitted() -> ExitCode {
    let remedy = "run it as root: sudo onetimectl ...";
    complain("not permitted: secrets belong to root", Some(remedy));
    ExitCode::from(NOT_PERMITTED)
}
