//! What onetimectl(8) says of each verb, beside what the tool itself says of it: the
//! SYNOPSIS, and the verb's own section.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{finish, tool_path};
use regex::Regex;

/// Options of each verb, described once, at the beginning.
const GLOBAL: [&str; 3] = ["--config", "--json", "--help"];
/// What `selection` stands for.
const SELECTION: [&str; 2] = ["--group", "--all"];

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/onetimectl.8");
    fs::read_to_string(path).expect("the page can be read")
}

fn help(words: &[&str]) -> String {
    finish(Command::new(tool_path()).args(words).arg("--help"), b"").ok()
}

fn all(pattern: &str, text: &str) -> Vec<String> {
    let pattern = Regex::new(pattern).expect("a pattern");
    pattern.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// The verbs of the tool, those of `token` with it (`token add`), and the help of each.
fn verbs() -> BTreeMap<String, String> {
    let below = |words: &[&str]| {
        let help = help(words);
        let (_, commands) = help.split_once("Commands:\n").unwrap_or_default();
        let commands = commands.split("\n\n").next().unwrap_or_default();
        let mut names = all(r"(?m)^  ([a-z]+)  ", commands);
        names.retain(|name| name != "help");
        names
    };
    let mut verbs = BTreeMap::new();
    for verb in below(&[]) {
        let further = below(&[&verb]);
        if further.is_empty() {
            verbs.insert(verb.clone(), help(&[&verb]));
        }
        for second in further {
            verbs.insert(format!("{verb} {second}"), help(&[&verb, &second]));
        }
    }
    assert!(verbs.len() > 15, "{verbs:?}");
    verbs
}

/// The options that a help lists, with their dashes; `-o` too where it is a short form.
fn options(help: &str) -> BTreeSet<String> {
    let long = all(r"(?m)^ +(?:-\w, )?(--[a-z-]+)", help);
    long.into_iter().filter(|name| !GLOBAL.contains(&name.as_str())).collect()
}

/// The long name of an option that has a short one, by this help.
fn long_of(short: &str, help: &str) -> String {
    let long = all(&format!(r"(?m)^ +-{short}, (--[a-z-]+)"), help);
    long.first().unwrap_or_else(|| panic!("-{short} is no option: {help}")).clone()
}

/// The options that a piece of the page names by `.Fl` or `Fl`.
fn named(text: &str, help: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with('.')) {
        let mut words = line.trim_start_matches('.').split_whitespace().peekable();
        while let Some(word) = words.next() {
            if word != "Fl" {
                continue;
            }
            // `.Fl -kind , -digits` names two.
            while let Some(name) = words.next_if(|word| word.starts_with('-') || *word == ",") {
                if name != "," {
                    names.insert(format!("-{name}"));
                }
            }
            let is_short = |word: &&str| word.len() == 1 && word.chars().all(char::is_alphanumeric);
            if let Some(short) = words.next_if(is_short) {
                names.insert(long_of(short, help));
            }
        }
    }
    names
}

/// The entries of the SYNOPSIS by their verbs.
fn synopsis() -> BTreeMap<String, String> {
    let page = page();
    let (_, rest) = page.split_once("\n.Sh SYNOPSIS\n").expect("a synopsis");
    let (synopsis, _) = rest.split_once("\n.Sh ").expect("its end");
    let mut entries = BTreeMap::new();
    for entry in synopsis
        .split(".Nm\n")
        .filter(|entry| entry.contains("\n.Cm ") || entry.starts_with(".Cm "))
    {
        let verb = all(r"(?m)^\.Cm ([a-z]+(?: [a-z]+)?)$", entry).remove(0);
        assert_eq!(entries.insert(verb.clone(), entry.to_owned()), None, "{verb} has two");
    }
    entries
}

#[test]
fn the_synopsis_has_every_verb_with_every_option_and_no_other() {
    let (synopsis, verbs) = (synopsis(), verbs());
    assert_eq!(synopsis.keys().collect::<Vec<_>>(), verbs.keys().collect::<Vec<_>>());
    for (verb, entry) in &synopsis {
        let help = &verbs[verb];
        let mut expected = options(help);
        let selects = SELECTION.iter().all(|option| expected.contains(*option));
        assert_eq!(entry.contains("Ar selection"), selects && help.contains("USER"), "{verb}");
        if entry.contains("Ar selection") {
            expected.retain(|option| !SELECTION.contains(&option.as_str()));
        }
        assert_eq!(named(entry, help), expected, "{verb}");
    }
}

#[test]
fn the_page_of_the_daemon_has_every_option_and_no_other() {
    let daemon = Path::new(env!("CARGO_BIN_EXE_onetimed"));
    let help = finish(Command::new(daemon).arg("--help"), b"").ok();
    let taken: BTreeSet<_> = all(r"(?m)^ +(?:-\w, )?--([a-z-]+)", &help).into_iter().collect();
    assert!(taken.len() > 4, "{help}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/onetimed.8");
    let page = fs::read_to_string(path).expect("the page can be read");
    let described = all(r"(?m)^\.It Fl -([a-z-]+)", &page);
    assert_eq!(described.into_iter().collect::<BTreeSet<_>>(), taken);
    let synopsis = all(r"(?m)^\.(?:Op )?Fl -([a-z-]+)", &page);
    let usual = ["help", "version"].map(str::to_owned);
    let synopsis = synopsis.into_iter().chain(usual);
    assert_eq!(synopsis.collect::<BTreeSet<_>>(), taken);
}

#[test]
fn each_verb_has_every_option_of_its_own_in_its_own_section() {
    let page = page();
    let ends = Regex::new(r"\n\.S[sh] ").expect("a pattern");
    for (verb, help) in verbs() {
        let first = verb.split(' ').next().unwrap_or_default();
        let (_, rest) = page
            .split_once(&format!("\n.Ss {first}\n"))
            .unwrap_or_else(|| panic!("{first} has no section"));
        let section = ends.split(rest).next();
        let section = section.unwrap_or_default();
        if verb.contains(' ') {
            assert!(section.contains(&format!("\n.It Cm {verb}")), "{verb} is not in {section}");
        }
        let mut missing = options(&help);
        let selects = SELECTION.iter().all(|option| missing.contains(*option));
        let of_others = if selects { &SELECTION[..] } else { &[] };
        missing.retain(|option| {
            let name = &option[1..];
            !of_others.contains(&option.as_str()) && !section.contains(&format!(" {name}"))
        });
        assert_eq!(missing, BTreeSet::new(), "{verb}");
    }
}
