//! How a run, or one user of a run, fails: `onetimectl: what: why` on standard
//! error, the remedy on a line of its own below, and the exit code.

use std::io::{self, ErrorKind};
use std::process::ExitCode;

use clap::CommandFactory;
use pam_onetime::bytes_as_text::Readable;

use crate::cli::Cli;
use crate::error::{self, OutputError};
use crate::say::print::complain;
use crate::say::report::{FAILED, NOT_PERMITTED, USAGE};

/// Prints an error, of one user or of the whole run.
pub(super) fn failure(user: Option<&str>, error: &anyhow::Error) {
    let user = user.map(|user| format!("{}: ", Readable(user))).unwrap_or_default();
    complain(&format!("{user}{}", error::text(error)), error::remedy(error));
}

/// What was typed is no order: for what only the verb can find out.
pub(crate) fn usage(kind: clap::error::ErrorKind, what: &str) -> anyhow::Error {
    Cli::command().error(kind, what).into()
}

/// The whole run failed.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    if let Some(parsed) = error.downcast_ref::<clap::Error>() {
        return stopped(parsed);
    }
    let broken = |error: &io::Error| error.kind() == ErrorKind::BrokenPipe;
    let unread = error.chain().next().and_then(|cause| cause.downcast_ref());
    // `onetimectl list | head` has seen enough: nothing went wrong. A run that changes
    // accounts says how far it came.
    if !unread.is_some_and(|OutputError(io)| broken(io)) {
        failure(None, error);
    }
    ExitCode::from(FAILED)
}

/// `--help`, `--version`, or an error of what was typed.
fn stopped(parsed: &clap::Error) -> ExitCode {
    match (parsed.print(), parsed.use_stderr()) {
        (_, true) => ExitCode::from(USAGE),
        (Ok(()), false) => ExitCode::SUCCESS,
        (Err(error), false) => fail(&OutputError(error).into()),
    }
}

/// The caller is not root.
pub(crate) fn not_permitted() -> ExitCode {
    let remedy = "run it as root: sudo onetimectl ...";
    complain("not permitted: secrets belong to root", Some(remedy));
    ExitCode::from(NOT_PERMITTED)
}
