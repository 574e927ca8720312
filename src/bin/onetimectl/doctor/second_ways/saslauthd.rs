//! saslauthd: with `-c` it repeats a success without asking.

use std::collections::BTreeSet;

use super::super::finding::{Finding, FindingId};
use super::super::known_services::program;
use super::super::services::is_service;
use super::{FileText, ProgramFiles, words};

/// Files of variables, from which its command line is made.
const PATTERNS: [(&str, &str); 2] =
    [("/etc/default", "saslauthd*"), ("/etc/sysconfig", "saslauthd*")];
/// The variables that have options of the command line.
const VARIABLES: [&str; 5] = ["OPTIONS", "FLAGS", "MECH_OPTIONS", "DAEMON_OPTS", "PARAMS"];
/// Its options that have a value.
const WITH_VALUE: &str = "aOlmnrst";

pub(super) fn judge(users: &BTreeSet<String>, machine: &ProgramFiles<'_>) -> Vec<Finding> {
    // What a client calls its service is not known: smtp, imap, ldap.
    let may_serve = |name: &String| match program(name) {
        Some(program) => ["Dovecot", "Postfix", "saslauthd"].contains(&program.name.as_str()),
        None => true,
    };
    let services: Vec<_> = users.iter().filter(|name| may_serve(name)).cloned().collect();
    if services.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let has_unit = machine.units.iter().any(|unit| unit.starts("saslauthd"));
    let files = PATTERNS.iter().flat_map(|(dir, pattern)| (machine.matching)(dir, pattern));
    // Not what packagers leave there.
    let files = files.filter(|file| file.rsplit('/').next().is_some_and(is_service));
    for file in files {
        match (machine.read)(&file) {
            FileText::Missing => {}
            FileText::Unreadable => {
                let what = format!("saslauthd: {file} cannot be read to the end");
                let remedy = "look at owner, mode and size of the file; OPTIONS must not have -c";
                found.push(Finding::new(FindingId::ProgramConfigUnreadable, what, remedy));
            }
            // Debian's script does not start it then.
            FileText::Whole(text)
                if !has_unit && set(&text, "START").is_some_and(|(_, words)| words != ["yes"]) => {}
            FileText::Whole(text) => match cached_by(&text) {
                Cache::On(line) => found.push(finding(&format!("{file}:{line}"), &services)),
                // Debian's script takes -c where nothing is said.
                Cache::Unsaid if file.starts_with("/etc/default/") && !has_unit => {
                    let place = format!("{file}, by default, since OPTIONS is not set");
                    found.push(finding(&place, &services));
                }
                Cache::Unsaid | Cache::Off => {}
            },
        }
    }
    for unit in machine.units.iter().filter(|unit| unit.starts("saslauthd")) {
        if let Some((place, arguments)) = unit.arguments()
            && caches(&arguments)
        {
            found.push(finding(&place.to_string(), &services));
        }
    }
    found
}

/// What a file of variables says of the cache.
enum Cache {
    /// By the line of this number.
    On(usize),
    Off,
    /// No variable has options.
    Unsaid,
}

fn cached_by(text: &str) -> Cache {
    let mut cache = Cache::Unsaid;
    for variable in VARIABLES {
        match set(text, variable) {
            Some((number, words)) if caches(&words) => return Cache::On(number),
            Some((_, words)) if !words.is_empty() && variable != "MECH_OPTIONS" => {
                cache = Cache::Off;
            }
            Some(_) | None => {}
        }
    }
    cache
}

/// The number of the last line that sets a variable, as a shell reads it, and the words.
fn set(text: &str, variable: &str) -> Option<(usize, Vec<String>)> {
    let value_of = |line: &str| {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let value = line.strip_prefix(variable)?.strip_prefix('=')?;
        // Only the first word of an assignment is its value.
        let value = words(value).into_iter().next().unwrap_or_default();
        Some(value.split_whitespace().map(str::to_owned).collect())
    };
    let lines = super::joined(text);
    lines.iter().rev().find_map(|(number, line)| Some((*number, value_of(line)?)))
}

/// Whether options have `-c`, as getopt(3) reads them.
fn caches(words: &[String]) -> bool {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            continue;
        };
        for (at, letter) in letters.char_indices() {
            if letter == 'c' {
                return true;
            }
            if WITH_VALUE.contains(letter) {
                let is_last = at.saturating_add(letter.len_utf8()) >= letters.len();
                if is_last {
                    words.next();
                }
                break;
            }
        }
    }
    false
}

fn finding(place: &str, services: &[String]) -> Finding {
    let what = format!(
        "saslauthd repeats a success without asking, so that a code that was used lets in again: \
         -c in {place} ({})",
        services.join(", ")
    );
    let remedy = format!("take -c out of {place}, then restart saslauthd");
    Finding::new(FindingId::SaslauthdCache, what, remedy)
}

#[cfg(test)]
mod tests {
    use super::super::tests::judged;
    use super::*;

    #[test]
    fn the_option_is_found_as_its_program_finds_it() {
        let file = "/etc/default/saslauthd";
        let unit = "/etc/systemd/system/saslauthd.service";
        let exec = |words: &str| format!("[Service]\nExecStart=/usr/sbin/saslauthd {words}\n");
        for (path, text, is_cached) in [
            (file, "OPTIONS=\"-c -m /run/saslauthd\"\n".to_owned(), true),
            (file, "START=yes\nOPTIONS='-m /run/x -c'\n".to_owned(), true),
            (file, "OPTIONS=-c\n".to_owned(), true),
            (file, "OPTIONS=\"-m -c\"\n".to_owned(), false),
            (file, "OPTIONS=\"-Vc\"\n".to_owned(), true),
            (file, "OPTIONS=\"-m/run/c\"\n".to_owned(), false),
            (file, "OPTIONS=\"-c\"\nOPTIONS=\"-m /x\"\n".to_owned(), false),
            (file, "#OPTIONS=\"-m /x\"\nMECH_OPTIONS=\"\"\n".to_owned(), true),
            (file, "OPTIONS=\"\"\n".to_owned(), true),
            (file, "START=no\nOPTIONS=-c\n".to_owned(), false),
            ("/etc/default/saslauthd.dpkg-old", "OPTIONS=-c\n".to_owned(), false),
            ("/etc/sysconfig/saslauthd", "MECH=pam\nFLAGS=\n".to_owned(), false),
            ("/etc/default/saslauthd-postfix", "OPTIONS=\"-c\"\n".to_owned(), true),
            ("/etc/sysconfig/saslauthd", "FLAGS=-c\n".to_owned(), true),
            (unit, exec("-a pam -c"), true),
            (unit, exec("-a pam"), false),
        ] {
            let found = judged(&["smtp"], &[(path, &text)]);
            let ids: Vec<_> = found.iter().map(|(id, _)| *id).collect();
            let expected = if is_cached { vec![FindingId::SaslauthdCache] } else { Vec::new() };
            assert_eq!(ids, expected, "{path}: {text}");
            assert!(found.iter().all(|(_, what)| what.contains("saslauthd")), "{found:?}");
        }
        assert_eq!(judged(&["sshd"], &[(file, "OPTIONS=-c\n")]), []);
    }
}
