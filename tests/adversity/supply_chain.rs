//! Supply chain: what is in Cargo.lock is compared with deny.toml, and each crate that
//! is linked into the module is counted and named.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::common::{Figures, Finished, finish_within};

/// A bound that a new dependency of the module has to argue with.
const CRATES_LINKED: usize = 54;

fn cargo(arguments: &[&str]) -> Finished {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    finish_within(cargo.args(arguments), b"", Duration::from_secs(300))
}

#[test]
fn the_lock_file_is_committed_and_says_all() {
    for manifest in ["Cargo.toml", "fuzz/Cargo.toml"] {
        let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join(manifest).with_extension("lock");
        assert!(lock.exists(), "{}", lock.display());
        let arguments = ["metadata", "--locked", "--format-version=1", "--manifest-path", manifest];
        cargo(&arguments).ok();
    }
}

/// Advisories are not looked up: the list of them comes from the network.
#[test]
fn licences_sources_and_versions_are_those_that_deny_toml_allows() {
    for features in [&["--no-default-features"][..], &[]] {
        let arguments = [&["deny", "--offline", "--locked"], features];
        let check = ["check", "licenses", "bans", "sources"];
        let checked = cargo(&[&arguments.concat()[..], &check].concat());
        let text = checked.text();
        assert!(checked.success(), "{text} ('make cargo-tools' brings cargo-deny)");
        assert!(text.contains("bans ok, licenses ok, sources ok"), "{text}");
    }
}

/// A script of `packaging/`, which asks cargo for what is linked.
fn script(arguments: &[&str]) -> String {
    let mut script = Command::new("python3");
    script.current_dir(env!("CARGO_MANIFEST_DIR")).env("CARGO_NET_OFFLINE", "true");
    finish_within(script.args(arguments), b"", Duration::from_secs(60)).ok()
}

#[test]
fn debians_copyright_names_the_licence_of_each_crate_that_is_linked() {
    let written = script(&["packaging/make-copyright"]);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/debian/copyright");
    let there = std::fs::read_to_string(file).expect("the file can be read");
    assert!(there == written, "packaging/debian/copyright is old: make copyright");
    for it in
        ["pam-bindings-0.4.0/*", "License: Zlib\n This software", "License: Expat or Apache-2.0"]
    {
        assert!(written.contains(it), "no {it}");
    }
}

#[test]
fn bills_of_materials_have_what_is_linked_and_what_needs_it_and_no_path_of_the_machine() {
    let names = |what: &str| -> BTreeSet<String> {
        let text = script(&["packaging/make-sbom", what]);
        assert!(!text.contains(env!("CARGO_MANIFEST_DIR")) && !text.contains("file:"), "{text}");
        let bill: Value = serde_json::from_str(&text).expect("a bill is JSON");
        let refs = |list: &Value, key: &str| -> BTreeSet<String> {
            let list = list.as_array().expect("a list");
            list.iter().map(|it| it[key].as_str().expect("a text").to_owned()).collect()
        };
        let mut listed = refs(&bill["components"], "bom-ref");
        listed.insert(bill["metadata"]["component"]["bom-ref"].as_str().expect("ours").to_owned());
        assert_eq!(refs(&bill["dependencies"], "ref"), listed, "each says what it needs");
        for it in bill["components"].as_array().expect("a list") {
            let hash = it["hashes"][0]["content"].as_str();
            assert!(hash.is_some_and(|hash| hash.len() == 64), "{it}");
        }
        let needed = bill["dependencies"].as_array().expect("a list").iter();
        for need in needed.flat_map(|it| it["dependsOn"].as_array().expect("a list")) {
            assert!(listed.contains(need.as_str().expect("a text")), "{need}");
        }
        refs(&bill["components"], "name")
    };
    let (module, tool) = (names("module"), names("tool"));
    assert!(module.is_subset(&tool) && module.len() > 40, "{module:?}");
    assert!(tool.contains("clap") && !module.contains("clap"), "{tool:?}");
    for at_build_time_alone in ["polib", "serde_derive", "syn", "proptest"] {
        assert!(!tool.contains(at_build_time_alone), "{at_build_time_alone}");
    }
}

#[test]
fn the_module_links_few_crates_and_each_one_is_known_by_name_and_version() {
    let tree = [
        "tree",
        "--locked",
        "--no-default-features",
        "--edges=normal,no-proc-macro",
        "--prefix=none",
        "--format={p}|{l}",
    ];
    let tree = cargo(&tree).ok();
    let line = |line: &str| {
        let (package, licence) = line.trim_end_matches(" (*)").split_once('|')?;
        let mut words = package.split(' ');
        Some([words.next()?, words.next()?.trim_start_matches('v'), licence].map(str::to_owned))
    };
    let crates: BTreeSet<_> =
        tree.lines().map(|it| line(it).unwrap_or_else(|| panic!("{it}"))).collect();
    let names: BTreeSet<_> = crates.iter().map(|[name, ..]| name.as_str()).collect();
    assert_eq!(names.len(), crates.len(), "one is linked in two versions: {crates:?}");
    assert!(names.contains("pam-bindings") && crates.len() <= CRATES_LINKED, "{crates:?}");
    for only_the_tools in ["clap", "anyhow", "serde_json", "tempfile", "png", "jiff"] {
        assert!(!names.contains(only_the_tools), "{only_the_tools} is linked into the module");
    }
    let mut figures = Figures::new("supply_chain", &["crate", "version", "licence"]);
    for [name, version, licence] in &crates {
        figures.row(&[name, version, licence]);
    }
    figures.row(&[&format!("{} crates in all", crates.len()), &"", &""]);
    figures.publish();
}
