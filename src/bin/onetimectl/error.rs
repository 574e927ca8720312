//! What an admin can do about an error: the remedies that the library's errors
//! bring with them, and errors of the tool's own that have one.

use crate::formats::FormatError;
use pam_onetime::store::StoreError;
use pam_onetime::system::SystemError;

/// What the tool itself does not do, and what to do instead.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct ToolError {
    what: &'static str,
    remedy: &'static str,
}

impl ToolError {
    /// There is no record, and so nothing to work on.
    pub(crate) const NOT_ENABLED: Self =
        Self::new("not enabled", "issue a secret: onetimectl enable");

    /// `what` is wrong, as a user's row says it; `remedy` is an order to the admin.
    pub(crate) const fn new(what: &'static str, remedy: &'static str) -> Self {
        Self { what, remedy }
    }
}

/// What to do about an error; `None` where nothing is known that would help.
pub(crate) fn remedy(error: &anyhow::Error) -> Option<&'static str> {
    error.chain().find_map(|cause| {
        let of_tool = cause.downcast_ref().map(|error: &ToolError| error.remedy);
        let of_file = || cause.downcast_ref().and_then(|error: &FormatError| error.remedy);
        let of_store = || cause.downcast_ref().and_then(StoreError::remedy);
        let of_system = || cause.downcast_ref().and_then(SystemError::remedy);
        of_tool.or_else(of_file).or_else(of_store).or_else(of_system)
    })
}
