//! The order of the house, read from the source and from what is built: which room
//! uses which, who may show a secret, what the module exports and links, and that
//! the manual pages say all that the code takes, and no more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{PROGRAMS, finish, module_path, tool_path};
use crate::source::{Crate, Floors, Parts, paths, texts};
use pam_onetime::Overrides;
use regex::Regex;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

/// The source files below `dir`.
fn sources(dir: &str) -> Vec<PathBuf> {
    let (mut found, mut dirs) = (Vec::new(), vec![root().join(dir)]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("a source directory can be read") {
            let path = entry.expect("its entries too").path();
            match path.is_dir() {
                true => dirs.push(path),
                false if path.extension().is_some_and(|ending| ending == "rs") => found.push(path),
                false => {}
            }
        }
    }
    assert!(!found.is_empty(), "no source in {dir}");
    found
}

/// What a source file says outside of its tests and its comments.
fn code(path: &Path) -> String {
    let all = text(path);
    let before_tests = all.split("#[cfg(test)]\n").next().unwrap_or_default();
    let lines = before_tests.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn captures(pattern: &str, text: &str) -> BTreeSet<String> {
    let pattern = Regex::new(pattern).expect("a valid pattern");
    pattern.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// The drawing of a house, in the documentation of the crate's root: its rooms from the
/// top down, those of one line on one floor.
fn floors(root: &str) -> Floors {
    let (_, rest) = root.split_once("```text\n").expect("the drawing of the house");
    let (drawing, _) = rest.split_once("//! ```").expect("its end");
    let lines = drawing.lines().map(|line| line.trim_start_matches("//!").trim());
    let rooms = |line: &str| -> Vec<String> {
        let (rooms, _) = line.split_once("   ").unwrap_or((line, ""));
        rooms.split_whitespace().map(str::to_owned).collect()
    };
    lines.map(rooms).collect()
}

/// The files of a crate of ours by the path of their module, without files of tests.
fn files(dir: &str) -> BTreeMap<Parts, String> {
    let mut files = BTreeMap::new();
    for path in sources(dir) {
        let within = path.strip_prefix(root().join(dir)).expect("a source of ours");
        let within = within.with_extension("");
        let mut parts: Parts =
            within.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if parts.last().is_some_and(|name| name == "mod") {
            parts.pop();
        }
        let others = parts.first().is_some_and(|room| room == "bin");
        if !others && !parts.iter().any(|part| part == "tests") {
            files.insert(parts, text(&path));
        }
    }
    files
}

/// A crate of ours: `dir` with the file that is its root.
fn crate_of(dir: &str, root_file: &str) -> Crate {
    let mut files = files(dir);
    let root = files.remove(&[root_file.to_owned()][..]).expect("the root of the crate");
    Crate { root, files }
}

#[test]
fn each_room_of_the_library_uses_only_rooms_below_it() {
    let library = crate_of("src", "lib");
    assert_eq!(library.wrong_arrows(&floors(&library.root)), BTreeSet::new());
}

#[test]
fn each_room_of_the_tool_uses_only_rooms_below_it() {
    let tool = crate_of("src/bin/onetimectl", "main");
    assert_eq!(tool.wrong_arrows(&floors(&tool.root)), BTreeSet::new());
}

#[test]
fn each_room_of_the_daemon_uses_only_rooms_below_it() {
    let daemon = crate_of("src/bin/onetimed", "main");
    assert_eq!(daemon.wrong_arrows(&floors(&daemon.root)), BTreeSet::new());
}

#[test]
fn each_room_of_the_tool_of_users_uses_only_rooms_below_it() {
    let own = crate_of("src/bin/onetime", "main");
    assert_eq!(own.wrong_arrows(&floors(&own.root)), BTreeSet::new());
}

#[test]
fn a_proof_that_a_secret_may_be_shown_is_made_where_it_should_be_and_nowhere_else() {
    let tool = files("src/bin/onetimectl").into_iter();
    let tool =
        tool.map(|(module, text)| ([&["onetimectl".to_owned()][..], &module].concat(), text));
    let daemon = files("src/bin/onetimed").into_iter();
    let daemon =
        daemon.map(|(module, text)| ([&["onetimed".to_owned()][..], &module].concat(), text));
    let files: BTreeMap<_, _> = files("src").into_iter().chain(tool).chain(daemon).collect();
    let makers = |how: &str| -> Vec<String> {
        let calls = |text: &str| {
            let made = |parts: &Parts| parts.ends_with(&[how.to_owned()]);
            paths(text).iter().filter(|parts| made(parts)).count()
        };
        let makers = files.iter().map(|(module, text)| (module.join("::"), calls(text)));
        makers.filter(|(_, calls)| *calls > 0).map(|(name, n)| format!("{name} {n}")).collect()
    };
    // Where it is defined, and who calls it, by whatever path.
    assert_eq!(makers("by_transaction"), ["login::password 1", "pam::password 1"]);
    assert_eq!(makers("by_configuration"), ["login::password 1", "login::plan 1"]);
    assert_eq!(makers("by_verdict"), ["login::password 1", "onetimed::own 1"]);
    assert_eq!(
        makers("by_administrator"),
        [
            "login::password 1",
            "onetimectl::accounts::enable 1",
            "onetimectl::accounts::token 1",
            "onetimectl::moving::export 1",
            "onetimectl::paper::handout 1",
            "onetimectl::paper::qr 1"
        ]
    );
}

/// The rooms that take time, chance and files from their callers.
const PURE: [&str; 6] = ["account", "code", "config", "enrollment", "login", "messages"];

/// What a pure room does not name.
const IMPURE: &[&[&str]] = &[
    &["libc"],
    &["nix"],
    &["rand", "random"],
    &["rand", "rng"],
    &["rand", "rngs"],
    &["rustix"],
    &["std", "env"],
    &["std", "fs"],
    &["std", "io", "stderr"],
    &["std", "io", "stdin"],
    &["std", "io", "stdout"],
    &["std", "net", "TcpListener"],
    &["std", "net", "TcpStream"],
    &["std", "net", "ToSocketAddrs"],
    &["std", "net", "UdpSocket"],
    &["std", "os"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
    &["time", "OffsetDateTime", "now_utc"],
];

/// The paths of this source by which it would reach for clock, chance or system.
fn impure(source: &str) -> Vec<String> {
    let begins = |parts: &Parts, path: &[&str]| {
        parts.len() >= path.len() && parts.iter().zip(path).all(|(part, name)| part == name)
    };
    let impure = |parts: &Parts| IMPURE.iter().any(|path| begins(parts, path));
    paths(source).iter().filter(|parts| impure(parts)).map(|parts| parts.join("::")).collect()
}

#[test]
fn the_core_asks_no_clock_no_chance_and_no_system() {
    let mut read = BTreeSet::new();
    for (module, source) in files("src") {
        if PURE.iter().any(|room| module.first().is_some_and(|first| first == room)) {
            assert_eq!(impure(&source), [""; 0], "{}", module.join("::"));
            read.insert(module[0].clone());
        }
    }
    assert_eq!(read.len(), PURE.len(), "{read:?}");
}

#[test]
fn what_reaches_for_clock_chance_or_system_is_seen_however_it_is_written() {
    for (source, path) in [
        ("use std::{collections::BTreeMap, fs};", "std::fs"),
        ("use std::time::{Duration, SystemTime};", "std::time::SystemTime"),
        ("fn f() { std::env::var(\"X\"); }", "std::env::var"),
        ("#[cfg(test)] mod tests {} use rustix::fs::open;", "rustix::fs::open"),
        ("fn f() { assert!(libc::getuid() == 0) }", "libc::getuid"),
    ] {
        assert_eq!(impure(source), [path], "{source}");
    }
    let pure = "use std::time::Duration; // std::fs\n#[cfg(test)] mod tests { use std::fs; }";
    assert_eq!(impure(pure), [""; 0]);
}

#[test]
fn no_text_for_people_is_in_the_notation_of_rust() {
    let notation = Regex::new(r":#?[xX]?\?\}|\b(Some|Ok|Err)\(").expect("a valid pattern");
    let tool = files("src/bin/onetimectl").into_iter();
    let mut wrong = Vec::new();
    for (module, source) in files("src").into_iter().chain(tool) {
        let texts = texts(&source).into_iter().filter(|text| notation.is_match(text));
        wrong.extend(texts.map(|text| format!("{}: {text}", module.join("::"))));
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn the_module_exports_its_three_hooks_alone() {
    let nm = finish(Command::new("nm").args(["-D", "--defined-only"]).arg(module_path()), b"").ok();
    let exported: Vec<_> = nm.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(exported, ["pam_sm_acct_mgmt", "pam_sm_authenticate", "pam_sm_setcred"]);
}

#[test]
fn the_module_loads_libpam_and_the_c_library_alone() {
    let readelf = finish(Command::new("readelf").arg("-d").arg(module_path()), b"").ok();
    let needed = captures(r"\(NEEDED\).*\[(.*)\]", &readelf);
    let expected = ["ld-linux-x86-64.so.2", "libc.so.6", "libpam.so.0"].map(str::to_owned);
    assert!(needed.is_subset(&BTreeSet::from(expected)), "{needed:?}");
    assert!(needed.contains("libpam.so.0"), "{needed:?}");
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let manifest = text("Cargo.toml");
    let (_, rest) = manifest.split_once("\n[dependencies]\n").expect("dependencies");
    let (dependencies, _) = rest.split_once("\n[lints").expect("their end");
    for line in dependencies.lines().filter(|line| line.contains(" = ")) {
        assert!(line.contains(" # "), "no reason given: {line}");
    }
}

#[test]
fn every_module_argument_is_in_its_manual_page() {
    let page = text("docs/pam_onetime.8");
    let parser = code(&root().join("src/config/arguments.rs"));
    let mut arguments = captures(r#"Some\(\("(\w+)", \w+\)\)"#, &parser);
    arguments.extend(captures(r#"None if key == "(\w+)""#, &parser));
    arguments.extend(Overrides::KEYS.iter().map(|key| (*key).to_owned()));
    assert!(arguments.len() > 8, "{arguments:?}");
    let documented = captures(r"(?m)^\.It Cm (\w+)", &page);
    assert_eq!(documented, arguments);
}

#[test]
fn every_key_of_the_configuration_is_in_its_manual_page() {
    // That conf/onetime.toml shows every key is a test of src/config/mod.rs.
    let keys = captures(r"(?m)^#?([a-z_]+) = ", &text("conf/onetime.toml"));
    assert!(keys.len() > 10, "{keys:?}");
    let documented = captures(r"(?m)^\.It (?:Ic|Cm|Va|Li) (\w+)", &text("docs/onetime.toml.5"));
    assert_eq!(documented, keys);
}

#[test]
fn the_example_of_onetime_toml_s_manual_page_is_every_key_with_its_default() {
    let page = text("docs/onetime.toml.5");
    let (_, example) = page.split_once("\n.Sh EXAMPLES\n").expect("a section EXAMPLES");
    let (_, example) = example.split_once(".Bd -literal -offset indent\n").expect("an example");
    let (example, _) = example.split_once("\n.Ed\n").expect("its end");
    let set = Regex::new(r"^#?([a-z_]+ = |\[)").expect("a valid pattern");
    let shipped = text("conf/onetime.toml");
    let shipped = shipped.lines().filter(|line| set.is_match(line));
    let shipped: Vec<_> = shipped.map(|line| line.trim_start_matches('#')).collect();
    let shown: Vec<_> = example.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(shown, shipped);
}

#[test]
fn every_verb_and_option_of_the_tool_is_in_its_manual_page_and_back() {
    let help = |arguments: &[&str]| {
        finish(Command::new(tool_path()).args(arguments).arg("--help"), b"").ok()
    };
    let verbs = captures(r"(?m)^  ([a-z]+)  ", &help(&[]));
    let options = |text: &str| captures(r"(?m)^ +(?:-\w, )?--([a-z-]+)", text);
    let mut all = options(&help(&[]));
    for verb in verbs.iter().filter(|verb| *verb != "help") {
        all.extend(options(&help(&[verb])));
    }
    for verb in ["add", "list", "remove"] {
        all.extend(options(&help(&["token", verb])));
    }
    assert!(verbs.len() > 8 && all.len() > 10, "{verbs:?} {all:?}");
    let page = text("docs/onetimectl.8");
    assert_eq!(captures(r"(?m)^\.It (?:Fl \w , )?Fl -([a-z-]+)", &page), all);
    let documented = captures(r"(?m)^\.Ss ([a-z]+)", &page);
    for verb in verbs.iter().filter(|verb| *verb != "help") {
        assert!(documented.contains(verb), "{verb} is not in the manual page: {documented:?}");
    }
}

#[test]
fn the_drawings_are_what_their_script_makes() {
    let script = root().join("docs/drawings/draw.py");
    finish(Command::new("python3").arg(script).arg("--check"), b"").ok();
}

#[test]
fn every_package_that_a_test_asks_for_is_one_that_make_installs() {
    let makefile = text("Makefile").replace("\\\n", " ");
    let installed = |variable: &str| -> BTreeSet<String> {
        let pattern = format!("(?m)^{variable} *= *(.*)$");
        let list = captures(&pattern, &makefile).pop_first().expect("the Makefile has this list");
        list.split_whitespace().map(str::to_owned).collect()
    };
    let tests = installed("TEST_PACKAGES");
    let missing: Vec<_> =
        PROGRAMS.iter().filter(|(_, package)| !tests.contains(*package)).collect();
    assert!(missing.is_empty(), "not in TEST_PACKAGES: {missing:?}");
    let campaigns = installed("CAMPAIGN_PACKAGES");
    let mut asked = BTreeSet::new();
    for file in sources("tests/adversity") {
        asked.extend(captures(r#"need\("[^"]+", "([^"]+)"\)"#, &text(file)));
    }
    let asked: Vec<_> = asked.iter().flat_map(|packages| packages.split(' ')).collect();
    assert!(!asked.is_empty(), "campaigns ask for nothing");
    let missing: Vec<_> = asked.iter().filter(|package| !campaigns.contains(**package)).collect();
    assert!(missing.is_empty(), "not in CAMPAIGN_PACKAGES: {missing:?}");
}

#[test]
fn no_test_is_ignored() {
    for path in sources("tests").into_iter().chain(sources("src")) {
        let ignored = format!("#[{}", "ignore");
        assert!(!text(&path).contains(&ignored), "{}", path.display());
    }
}

#[test]
fn every_line_of_the_comparison_names_a_test_that_exists() {
    let readme = text("README.md");
    let (_, rest) = readme.split_once("## Compared with").expect("the comparison");
    let lines = rest.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| |"));
    let tests: String = sources("tests").into_iter().chain(sources("src")).map(text).collect();
    let mut named = 0;
    for line in lines {
        let name = line.rsplit('`').nth(1).unwrap_or_else(|| panic!("no test named: {line}"));
        let exists =
            tests.contains(&format!("fn {name}()")) || tests.contains(&format!("test {name} "));
        assert!(exists, "no such test: {name}");
        named += 1;
    }
    assert!(named > 20, "{named} lines");
}
