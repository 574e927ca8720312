//! The integration tests: real programs in a private world, one module for each theme.
//! `tests/adversity` has the campaigns, `tests/story.rs` the story of the README.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "a test starts programs, and fails by panicking"
)]

#[path = "../common/mod.rs"]
mod common;

mod bulk;
mod doctor;
mod features;
mod files;
mod harness;
mod house;
mod moving;
mod programs;
mod source;
mod stack;
mod tool;
