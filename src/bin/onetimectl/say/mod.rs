//! What the tool says, and the only place that prints: lines and JSON on
//! standard output (`print`), errors and their remedies on standard error
//! (`failure`), a row for each user (`report`), a progress bar (`progress`).
//! It knows no verb and no check: whoever has something to say brings the words.

mod failure;
mod print;
pub(crate) mod progress;
pub(crate) mod report;

pub(crate) use failure::{fail, not_permitted};
pub(crate) use print::{Colour, json, line, paint, warn, write};

/// In which form results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Json,
}
