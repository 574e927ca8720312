//! Mutation testing: cargo-mutants changes the core, one place at a time, and the unit
//! tests beside it have to notice. `.cargo/mutants.toml` says what is changed, and gives
//! the reason for each change that no test can notice.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::common::{Figures, extent, finish_within};

/// What became of the mutants of a file.
#[derive(Clone, Copy, Default)]
struct Tally {
    caught: u32,
    timeouts: u32,
    missed: u32,
    unviable: u32,
}

impl Tally {
    /// The tally of one mutant, by the outcome that cargo-mutants states.
    fn of(outcome: &str) -> Self {
        let mut tally = Self::default();
        let count = match outcome {
            "CaughtMutant" => &mut tally.caught,
            "Timeout" => &mut tally.timeouts,
            "MissedMutant" => &mut tally.missed,
            "Unviable" => &mut tally.unviable,
            _ => panic!("cargo-mutants says {outcome}"),
        };
        *count += 1;
        tally
    }

    /// Those that compile: only they can be noticed.
    fn viable(self) -> u32 {
        self.caught + self.timeouts + self.missed
    }

    fn publish(self, figures: &mut Figures, file: &str) {
        let Self { caught, timeouts, missed, unviable } = self;
        let noticed = f64::from(caught + timeouts) / f64::from(self.viable().max(1));
        let score = format!("{:.1} %", 100.0 * noticed);
        let mutants = self.viable() + unviable;
        figures.row(&[&file, &mutants, &unviable, &caught, &timeouts, &missed, &score]);
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.caught += other.caught;
        self.timeouts += other.timeouts;
        self.missed += other.missed;
        self.unviable += other.unviable;
    }
}

#[test]
fn no_change_to_the_core_goes_unnoticed_by_its_unit_tests() {
    // Apart from the other tests' target directory, which nothing here locks; kept, with
    // the dependencies in it.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp has a parent");
    let target = target.join("mutation");
    let run = |arguments: &[&str], limit: Duration| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(env!("CARGO_MANIFEST_DIR")).env("CARGO_TARGET_DIR", &target);
        // Whatever holds for the other builds, these are of nearly the same source.
        cargo.env_remove("CARGO_INCREMENTAL");
        // A mutant is noticed by the first failure, however long its case is.
        cargo.env("PROPTEST_MAX_SHRINK_ITERS", "0");
        // Most of the time of the unit tests is waited for locks and for the disk: more of
        // them at a time, and in memory.
        cargo.env("RUST_TEST_THREADS", "8");
        let memory = Path::new("/dev/shm");
        if memory.is_dir() {
            cargo.env("TMPDIR", memory);
        }
        finish_within(cargo.args(arguments), b"", limit)
    };
    // Each run builds in a directory of its own, and leaves what it built.
    run(&["clean", "--quiet", "--package=pam-onetime", "--profile=mutants"], MINUTE).ok();
    let output = format!("--output={}", target.display());
    let some = ["--shard=3/60", "--sharding=round-robin"];
    let mut arguments = vec!["mutants", "--no-shuffle", "--colors=never", &output];
    arguments.extend(extent(&some[..], &[]));
    let ended = run(&arguments, extent(20 * MINUTE, 180 * MINUTE));
    let said = ended.text();
    println!("{said}");
    // All noticed, some missed, some timed out: otherwise there is no outcome.
    assert!(matches!(ended.status.code(), Some(0 | 2 | 3)), "{}: {said}", ended.status);

    let outcomes = std::fs::read_to_string(target.join("mutants.out/outcomes.json"))
        .unwrap_or_else(|e| panic!("no outcomes.json: {e}\n{said}"));
    let outcomes: Value = serde_json::from_str(&outcomes).expect("outcomes.json is JSON");
    let mut files = BTreeMap::<&str, Tally>::new();
    for outcome in outcomes["outcomes"].as_array().expect("a list of outcomes") {
        let summary = outcome["summary"].as_str().expect("an outcome");
        match outcome["scenario"]["Mutant"]["file"].as_str() {
            Some(file) => *files.entry(file).or_default() += Tally::of(summary),
            None => assert_eq!(summary, "Success", "the code as it is:\n{said}"),
        }
    }

    let columns = ["file", "mutants", "do not compile", "caught", "timed out", "missed", "score"];
    let mut figures = Figures::new("mutants", &columns);
    let mut all = Tally::default();
    for (file, tally) in files {
        tally.publish(&mut figures, file);
        all += tally;
    }
    all.publish(&mut figures, "all");
    figures.publish();
    assert!(all.viable() >= extent(4, 300), "hardly any mutants:\n{said}");
    assert_eq!(all.missed, 0, "{said}");
}

const MINUTE: Duration = Duration::from_secs(60);
