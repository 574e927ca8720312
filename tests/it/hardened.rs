//! How the module, the tool and the daemon are linked: what an attacker who can write into the
//! memory of a login must not find there, as readelf(1) shows it. And how onetimed's unit is
//! confined, as systemd judges it.

use std::path::Path;
use std::process::Command;

use crate::common::{Finished, finish, module_path, tool_path};

/// What readelf says of a file, each line on its own.
#[track_caller]
fn readelf(option: &str, file: &Path) -> Vec<String> {
    let text = finish(Command::new("readelf").args(["-W", option]).arg(file), b"").ok();
    text.lines().map(|line| line.trim().to_owned()).collect()
}

/// A segment of a file: its type, and its flags as in `R E`.
#[derive(Debug, PartialEq, Eq)]
struct Segment(String, String);

#[track_caller]
fn segments(file: &Path) -> Vec<Segment> {
    let is_number = |word: &str| word.starts_with("0x");
    let segment = |line: String| {
        let words: Vec<_> = line.split_whitespace().collect();
        // Type, offset, two addresses, two sizes, flags, alignment.
        if words.len() < 8 || !words[1..6].iter().copied().all(is_number) {
            return None;
        }
        Some(Segment(words[0].to_owned(), words[6..words.len() - 1].join(" ")))
    };
    readelf("-l", file).into_iter().filter_map(segment).collect()
}

/// The tags of the dynamic section, each with its value.
#[track_caller]
fn tags(file: &Path) -> Vec<String> {
    readelf("-d", file).into_iter().filter(|line| line.starts_with("0x")).collect()
}

#[track_caller]
fn assert_hardened(file: &Path) {
    let (segments, tags) = (segments(file), tags(file));
    let of = |kind: &str| segments.iter().filter(|segment| segment.0 == kind).collect::<Vec<_>>();
    assert!(of("LOAD").len() > 1 && tags.len() > 10, "{segments:?} {tags:?}");
    // What the loader has filled in is read-only before anything of it runs.
    assert_eq!(of("GNU_RELRO").len(), 1, "{segments:?}");
    let at_once = |tag: &String| tag.contains("(FLAGS)") && tag.contains("BIND_NOW");
    assert!(tags.iter().any(at_once), "{tags:?}");
    // Neither the stack nor anything else can be both written and run.
    let stack = of("GNU_STACK");
    assert!(stack.len() == 1 && stack[0].1 == "RW", "{stack:?}");
    for segment in of("LOAD") {
        assert!(!(segment.1.contains('W') && segment.1.contains('E')), "{segment:?}");
    }
    // Code is not changed by the loader, and libraries come from the system alone.
    for word in ["TEXTREL", "RPATH", "RUNPATH"] {
        assert!(!tags.iter().any(|tag| tag.contains(word)), "{word}: {tags:?}");
    }
}

#[test]
fn the_module_is_read_only_once_it_is_loaded_has_no_way_of_its_own_to_libraries_and_runs_no_data() {
    assert_hardened(module_path());
}

#[test]
fn what_a_login_runs_lies_together_in_the_module() {
    let module = module_path();
    let sections = readelf("-S", module);
    let size = |name: &str| {
        let line = sections.iter().find(|line| line.contains(&format!(" {name} ")));
        let line = line.unwrap_or_else(|| panic!("no {name}: {sections:?}"));
        let after = line.split_once(" PROGBITS ").map(|(_, rest)| rest);
        let size = after.and_then(|rest| rest.split_whitespace().nth(2));
        u64::from_str_radix(size.expect("a size"), 16).expect("a number")
    };
    let (login, rest) = (size(".text.login"), size(".text"));
    // Names that are no longer those of a function do nothing (packaging/order-login).
    assert!(login > 300_000, "{login} of {}: run packaging/order-login", login + rest);
    assert!(login < rest, "{login} of {}", login + rest);
}

#[test]
fn the_tool_is_hardened_as_the_module_is_and_is_loaded_at_any_address() {
    assert_hardened(tool_path());
    let header = readelf("-h", tool_path());
    assert!(header.iter().any(|line| line.starts_with("Type:") && line.contains("DYN")));
    assert!(tags(tool_path()).iter().any(|tag| tag.contains("(FLAGS_1)") && tag.contains("PIE")));
}

#[test]
fn the_daemon_is_hardened_as_the_module_is_and_is_loaded_at_any_address() {
    let daemon = Path::new(env!("CARGO_BIN_EXE_onetimed"));
    assert_hardened(daemon);
    assert!(tags(daemon).iter().any(|tag| tag.contains("(FLAGS_1)") && tag.contains("PIE")));
}

/// What systemd says of a unit; it is above the bound if that fails. From 0 to 100.
fn exposure(unit: &Path, bound: &str) -> Finished {
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["security", "--no-pager", "--offline=true", "--threshold", bound]).arg(unit);
    finish(&mut analyze, b"")
}

#[test]
fn systemd_finds_the_sandbox_of_the_daemon_as_tight_as_the_manual_page_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let unit = root.join("packaging/systemd/onetimed.service");
    let judged = exposure(&unit, "12");
    assert!(judged.success(), "{}", judged.text());
    assert!(judged.stdout.contains("Overall exposure level for onetimed.service: 1.2"));
    assert!(!exposure(&unit, "11").success(), "the bound is one");
    let page = std::fs::read_to_string(root.join("docs/onetimed.8")).expect("the page");
    assert!(page.contains("\nsays 1.2; 10 is a service without any protection.\n"));
}
