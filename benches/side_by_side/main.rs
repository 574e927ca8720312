//! `make bench`: pam_onetime beside pam_google_authenticator and pam_oath, and beside
//! what no such module can do without, in one run on one machine. It writes
//! BENCHMARKS.md, which says what is measured and how.
//!
//! ```text
//! make bench [PART="login growth ..."] [QUICK=1]
//! ```
#![allow(
    unreachable_pub,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program for developers, which fails by panicking"
)]

#[path = "../../tests/common/mod.rs"]
mod common;
mod count;
mod field;
mod figures;
mod login;

use std::sync::OnceLock;
use std::time::Instant;

use figures::Extent;

type Part = fn(Extent);

const PARTS: [(&str, Part); 1] = [("login", login::run)];

fn main() {
    // Cargo adds an option of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let (quick, named): (Vec<&String>, Vec<&String>) =
        words.iter().partition(|word| *word == "quick");
    let extent = if quick.is_empty() { Extent::Full } else { Extent::Quick };
    for name in &named {
        assert!(PARTS.iter().any(|(part, _)| part == name), "no part {name}");
    }
    for (name, part) in PARTS {
        if named.is_empty() || named.iter().any(|wanted| *wanted == name) {
            progress(name);
            part(extent);
        }
    }
    progress("done");
}

/// Says what is being done, and how long it has taken up to here.
fn progress(what: &str) {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    let seconds = BEGIN.get_or_init(Instant::now).elapsed().as_secs();
    eprintln!("[{:2}:{:02}] {what}", seconds / 60, seconds % 60);
}
