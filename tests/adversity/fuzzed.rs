//! Fuzzing: each target of `fuzz/` is built with libFuzzer and AddressSanitizer, and run
//! on from its corpus. What a target demands of each input is in its own file.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::common::{Figures, Finished, extent, finish, finish_within, long};

/// On a slow machine that has other things to do, building takes its time.
const BUILDING: Duration = Duration::from_secs(1800);
/// The seconds of the long form, for one target.
const SECONDS: u64 = 45;
/// No target reaches less than this, if its seeds still mean something to it.
const LEAST_COVERED: u64 = 200;

#[test]
fn no_target_finds_an_input_that_breaks_its_promise() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("fuzz");
    let built = cargo_fuzz(&["build", "--target-dir"], Some(&target_dir));
    assert!(built.success(), "{} ('make cargo-tools' brings cargo-fuzz)", built.text());
    let mut figures = Figures::new(
        "fuzzed",
        &["target", "inputs tried", "a second", "edges covered", "inputs kept", "memory", "found"],
    );
    let targets = cargo_fuzz(&["list"], None).ok();
    assert!(targets.lines().count() >= 8, "{targets}");
    for target in targets.lines() {
        let run = run(root, &executable(&target_dir, target), target);
        let text = run.text();
        assert!(run.success(), "{target} found this:\n{text}");
        let tried = number(&text, "stat::number_of_executed_units:");
        let covered = number(&text, "DONE   cov:");
        assert!(tried >= extent(runs(target), 1000), "{target}: {tried} inputs\n{text}");
        assert!(covered >= LEAST_COVERED, "{target}: {covered} edges\n{text}");
        let kept = number(&text, " corp:");
        let memory = format!("{} MB", number(&text, "stat::peak_rss_mb:"));
        let a_second = number(&text, "stat::average_exec_per_sec:");
        figures.row(&[&format!("`{target}`"), &tried, &a_second, &covered, &kept, &memory, &0]);
    }
    figures.publish();
}

/// `cargo fuzz`, on the toolchain that builds all the rest: RUSTC_BOOTSTRAP lets a stable
/// one take the instrumentation's options.
fn cargo_fuzz(arguments: &[&str], directory: Option<&Path>) -> Finished {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).env("RUSTC_BOOTSTRAP", "1");
    finish_within(cargo.arg("fuzz").args(arguments).args(directory), b"", BUILDING)
}

/// Where cargo puts what is built for a named platform, as cargo-fuzz has it.
fn executable(target_dir: &Path, target: &str) -> PathBuf {
    let rustc = finish(Command::new("rustc").arg("-vV"), b"").ok();
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
    target_dir.join(host).join("release").join(target)
}

/// How many inputs the short form tries: some seconds' worth.
fn runs(target: &str) -> u64 {
    match target {
        "records" | "config" | "imports" => 2_000,
        "states" | "logins" | "codes" => 8_000,
        _ => 20_000,
    }
}

/// Runs a target on from its corpus; what it finds out besides is not kept.
fn run(root: &Path, executable: &Path, target: &str) -> Finished {
    let found = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory of our own");
    let corpus = root.join("fuzz/corpus").join(target);
    assert!(corpus.is_dir(), "no seeds in {}", corpus.display());
    let mut command = Command::new(executable);
    command.arg(found.path()).arg(corpus);
    let words = root.join("fuzz/words").join(target);
    if words.exists() {
        command.arg(format!("-dict={}", words.display()));
    }
    // An input that breaks a promise is printed, too, in base64.
    command.arg(format!("-artifact_prefix={}/", found.path().display()));
    command.args(["-print_final_stats=1", "-timeout=10", "-rss_limit_mb=2048"]);
    match long() {
        true => command.arg(format!("-max_total_time={SECONDS}")),
        false => command.args(["-seed=1", &format!("-runs={}", runs(target))]),
    };
    finish_within(&mut command, b"", Duration::from_secs(600))
}

/// The number after the last `key`.
fn number(text: &str, key: &str) -> u64 {
    let (_, rest) = text.rsplit_once(key).unwrap_or_else(|| panic!("no{key} in {text}"));
    let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|e| panic!("{key} {digits}: {e}"))
}
