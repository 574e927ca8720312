//! What an admin can do about an error: the remedies that the library's errors
//! bring with them, and errors of the tool's own that have one.

use std::borrow::Cow;
use std::io::{self, ErrorKind};

use pam_onetime::account::UserName;
use pam_onetime::store::StoreError;
use pam_onetime::system::{Person, SystemError};
use rustix::io::Errno;

use crate::formats::FormatError;

/// Standard output does not take what is to be shown.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
pub(crate) struct OutputError(#[from] pub(crate) io::Error);

/// What the tool itself does not do, and what to do instead.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct ToolError {
    what: Cow<'static, str>,
    remedy: Option<&'static str>,
}

impl ToolError {
    /// There is no record, and so nothing to work on.
    pub(crate) const NOT_ENABLED: Self =
        Self::new("not enabled", "issue a secret: onetimectl enable");
    /// Nor is there anybody by that name: it may be a slip of the hand.
    pub(crate) const UNKNOWN: Self = Self::unknown(
        "check the spelling, and whether the source of names has it: getent passwd NAME; there is \
         no record of that name either",
    );

    /// Nobody has that name.
    pub(crate) const fn unknown(remedy: &'static str) -> Self {
        Self::new("this system knows no such user", remedy)
    }

    /// `what` is wrong, as a user's row says it; `remedy` is an order to the admin.
    pub(crate) const fn new(what: &'static str, remedy: &'static str) -> Self {
        Self { what: Cow::Borrowed(what), remedy: Some(remedy) }
    }

    /// The same, where what is wrong has a name or a time in it.
    pub(crate) const fn of(what: String, remedy: &'static str) -> Self {
        Self::known(what, Some(remedy))
    }

    /// What is wrong, and the remedy if there is one, as they were found out before.
    pub(crate) const fn known(what: String, remedy: Option<&'static str>) -> Self {
        Self { what: Cow::Owned(what), remedy }
    }
}

/// One wording for one fact: that there is no record says each verb alike, and of a
/// name that nobody has, that nobody has it.
pub(crate) fn of_user(
    error: anyhow::Error,
    user: &UserName,
    person: Option<&Person>,
) -> anyhow::Error {
    let is_not_enabled = |error: &ToolError| error.what == ToolError::NOT_ENABLED.what;
    let no_record = matches!(error.downcast_ref(), Some(StoreError::NotEnabled(name)) if name == user)
        || error.downcast_ref().is_some_and(is_not_enabled);
    match (no_record, person) {
        (false, _) => error,
        (true, Some(_)) => ToolError::NOT_ENABLED.into(),
        (true, None) => ToolError::UNKNOWN.into(),
    }
}

/// What went wrong, with all that led to it.
pub(crate) fn text(error: &anyhow::Error) -> String {
    without_numbers(&format!("{error:#}"))
}

/// Without the number of an error of the system: its words are there, and what to do
/// about it.
pub(crate) fn without_numbers(text: &str) -> String {
    let mut rest = text;
    let mut text = String::with_capacity(rest.len());
    while let Some((before, after)) = rest.split_once(" (os error ") {
        text.push_str(before);
        let number = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-');
        rest = number.strip_prefix(')').unwrap_or(number);
    }
    text + rest
}

/// What to do about an error; `None` where nothing is known that would help.
pub(crate) fn remedy(error: &anyhow::Error) -> Option<&'static str> {
    error.chain().find_map(|cause| {
        let of_tool = cause.downcast_ref().and_then(|error: &ToolError| error.remedy);
        let of_file = || cause.downcast_ref().and_then(|error: &FormatError| error.remedy);
        let of_store = || cause.downcast_ref().and_then(of_store);
        let of_system = || cause.downcast_ref().and_then(of_system);
        let of_output = || cause.downcast_ref().map(|OutputError(_)| OUTPUT);
        let of_errno = || cause.downcast_ref().and_then(|error: &Errno| of_io(&(*error).into()));
        let of_io = || cause.downcast_ref().and_then(of_io).or_else(of_errno);
        let of_ours = of_tool.or_else(of_file).or_else(of_store);
        of_ours.or_else(of_system).or_else(of_output).or_else(of_io)
    })
}

const OUTPUT: &str = "let it go where there is room, or to a terminal";

fn of_store(error: &StoreError) -> Option<&'static str> {
    let io = if let StoreError::Io { error, .. } = error { Some(error) } else { None };
    error.remedy().or_else(|| io.and_then(of_io))
}

fn of_system(error: &SystemError) -> Option<&'static str> {
    error.remedy().or_else(|| match error {
        SystemError::File(_, error) => of_io(error),
        SystemError::Clock
        | SystemError::Users(_)
        | SystemError::UserName(_)
        | SystemError::HostName => None,
    })
}

/// Where the error of the system is all that is known.
fn of_io(error: &io::Error) -> Option<&'static str> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "there are more kinds than have a remedy")]
    match error.kind() {
        ErrorKind::NotFound => Some("check the path: there is nothing by that name"),
        ErrorKind::PermissionDenied => Some(
            "check owner and mode of that path; where they are right, SELinux or AppArmor may refuse",
        ),
        ErrorKind::AlreadyExists => Some("name another file, or remove that one first"),
        ErrorKind::NotADirectory => Some("check the path: a part of it is no directory"),
        ErrorKind::IsADirectory => Some("name a file: that is a directory"),
        ErrorKind::StorageFull => Some("make room on its file system"),
        ErrorKind::ReadOnlyFilesystem => Some("name a path on a file system that can be written"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_system_is_in_words_and_has_a_remedy() {
        for number in [1, 2, 13, 17, 20, 21, 28, 30] {
            let error = anyhow::Error::from(io::Error::from_raw_os_error(number)).context("a (b)");
            let said = text(&error);
            assert!(said.starts_with("a (b): ") && !said.contains("os error"), "{said}");
            assert!(remedy(&error).is_some(), "{said}");
        }
    }
}
