//! What the tool says: results, errors, progress. Nothing else prints.

pub(crate) mod progress;
pub(crate) mod report;
