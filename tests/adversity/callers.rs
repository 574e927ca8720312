//! Programs that log people in are as docs/callers.toml says: those that are quick to run.
//! `make callers` runs all of them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::common::{finish_within, need, preflight};

#[test]
fn programs_that_log_people_in_do_what_their_table_says() {
    preflight();
    need("debootstrap", "debootstrap debian-archive-keyring");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp has a parent");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["test", "--locked", "--quiet"]);
    cargo.args(["--test", "callers", "--target-dir"]).arg(target).args(["--", "cheap"]);
    let run = finish_within(&mut cargo, b"", Duration::from_secs(900));
    assert!(run.success(), "{}", run.text());
    assert!(run.stdout.contains(" 0 failures"), "{}", run.text());
}
