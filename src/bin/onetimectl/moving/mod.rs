//! Tokens from elsewhere, and the way back.

pub(crate) mod export;
pub(crate) mod import;
