//! What the tool says, and the only place that prints: lines and JSON on
//! standard output (`print`, `escaping`), questions (`confirm`), errors and their remedies on standard error
//! (`failure`), a row for each user (`report`), a progress bar (`progress`).
//! It knows no verb and no check: whoever has something to say brings the words.

mod confirm;
mod escaping;
mod failure;

mod print;
pub(crate) mod progress;
pub(crate) mod report;

pub(crate) use confirm::{Answer, Input, confirm};
pub(crate) use failure::{fail, not_permitted, usage};
pub(crate) use print::{
    Colour, columns, is_unseen, json, line, paint, ready, warn, warn_with, write,
};

/// In which form results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Json,
}
