//! How a run fails: `onetimectl: what: why` on standard error, and the exit code.

use std::io::ErrorKind;
use std::process::ExitCode;

use crate::say::print::complain;
use crate::say::report::{FAILED, NOT_PERMITTED};

/// The whole run failed.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    let broken = |error: &std::io::Error| error.kind() == ErrorKind::BrokenPipe;
    // `onetimectl list | head` has seen enough: nothing went wrong.
    if !error.root_cause().downcast_ref().is_some_and(broken) {
        complain(&format!("{error:#}"));
    }
    ExitCode::from(FAILED)
}

/// The caller is not root.
pub(crate) fn not_permitted() -> ExitCode {
    complain("not permitted: secrets belong to root; run it as root (sudo onetimectl ...)");
    ExitCode::from(NOT_PERMITTED)
}
