//! Nothing is lost, nobody gets in: what SECURITY.md promises, held against adversity,
//! on real files, real processes and real stacks. One file a kind of adversity.
//!
//! `make campaigns` runs the short form, `make reliability` the long one, which writes its
//! figures into docs/RELIABILITY.md. Both install what the campaigns need.

#[path = "../common/mod.rs"]
mod common;

mod ansible;
mod booted;
mod budget;
mod by_onetimed;
mod callers;
mod confined;
mod crowd;
mod daemon;
mod debian;
mod disk_faults;
mod distributions;
mod doors;
mod environment;
mod fuzzed;
mod host;
mod hostile_files;
mod inject;
mod killed;
mod leaks;
mod load;
mod mutants;
mod operations;
mod oracle;
mod others_packages;
mod pictures;
mod power_cut;
mod release;
mod sanitizers;
mod snapshot;
mod stopped;
mod supply_chain;
mod timing;
mod units;
