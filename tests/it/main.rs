//! The integration tests: real programs in a private world, one module for each theme.
//! `tests/adversity` has the campaigns, `tests/story.rs` the story of the README.

#[path = "../common/mod.rs"]
mod common;

mod account;
mod bulk;
mod callers;
mod careful;
mod clock;
mod combined;
mod config;
mod confined;
mod daemon;
mod daemon_attacks;
mod directory;
mod doctor;
mod doctor_programs;
mod doctor_services;
mod doors;
mod encrypted;
mod features;
mod files;
mod hardened;
mod harness;
mod house;
mod install;
mod leaving;
mod log_filters;
mod manual;
mod memory;
mod moved_accounts;
mod moving;
mod people;
mod pictures;
mod policy;
mod programs;
mod release;
mod self_service;
mod shipped;
mod source;
mod stack;
mod succession;
mod syslog;
mod tool;
