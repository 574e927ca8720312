//! The keys of a configuration with the lines that they are in. Text in, values out; what
//! a key means, and whether it may have its value, is decided by the reader of logins.

use pam_onetime::config::{Config, ConfigError};
use serde::Serialize;
use toml::de::{DeTable, DeValue};
use toml_writer::ToTomlKey;

/// The configuration as it is shipped: each key with its default, behind a `#`.
const SHIPPED: &str = include_str!("../../../../conf/onetime.toml");

/// A key, or a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// With its section: `login.missing`.
    pub(super) path: String,
    /// In the file, from 1.
    pub(super) line: usize,
    /// Its value as TOML, in one line.
    pub(super) value: String,
    is_section: bool,
}

/// What is wrong with a configuration, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) what: String,
}

/// Every key with its default.
pub(super) fn defaults() -> Vec<Key> {
    let is_key = |rest: &str| rest.starts_with(|c: char| c.is_ascii_lowercase());
    let lines = SHIPPED.lines().map(|line| match line.strip_prefix('#') {
        Some(key) if is_key(key) => key,
        _ => line,
    });
    let text = lines.flat_map(|line| [line, "\n"]).collect::<String>();
    keys(&text).0.into_iter().filter(|key| !key.is_section).collect()
}

/// The keys of a text, and where it is no TOML.
pub(super) fn keys(text: &str) -> (Vec<Key>, Vec<Fault>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut found = Vec::new();
    add(text, "", table.get_ref(), &mut found);
    found.sort_by_key(|key| key.line);
    let fault = |mut error: toml::de::Error| {
        let line = line_of(text, error.span().map_or(0, |span| span.start));
        error.set_input(None);
        Fault { line, what: one_line(&error.to_string()) }
    };
    (found, errors.into_iter().map(fault).collect())
}

fn add(text: &str, section: &str, table: &DeTable<'_>, found: &mut Vec<Key>) {
    for (name, value) in table {
        let path = format!("{section}{}", name.get_ref());
        let line = line_of(text, name.span().start);
        if let DeValue::Table(below) = value.get_ref() {
            let value = "{}".to_owned();
            found.push(Key { path: path.clone(), line, value, is_section: true });
            add(text, &format!("{path}."), below, found);
        } else {
            let value = one_line(text.get(value.span()).unwrap_or_default());
            found.push(Key { path, line, value, is_section: false });
        }
    }
}

/// Everything that is wrong with a configuration, where the reader of logins stops at the
/// first: it is asked about each key alone, and then about what is left together.
pub(super) fn faults(text: &str) -> Vec<Fault> {
    let (keys, mut faults) = keys(text);
    if !faults.is_empty() {
        faults.sort();
        faults.dedup();
        return faults;
    }
    let mut sound = Vec::new();
    for key in keys {
        match Config::parse(&alone(&key)) {
            // A rule between several keys says nothing about one.
            Ok(_) | Err(ConfigError::Value(_)) => sound.push(key),
            Err(ConfigError::File { what, .. }) => faults.push(Fault { line: key.line, what }),
        }
    }
    let together: Vec<_> = sound.iter().filter(|key| !key.is_section).collect();
    let rest = together.iter().map(|key| format!("{} = {}\n", key.path, key.value));
    if let Err(ConfigError::Value(rule)) = Config::parse(&rest.collect::<String>()) {
        let what = rule.to_string();
        let subject = what.split(':').next().unwrap_or_default();
        // A rule names a key or a section; the last line that has to do with it.
        let of_it = |key: &&&Key| key.path.starts_with(subject);
        let line = together.iter().rfind(of_it).map_or(1, |key| key.line);
        faults.push(Fault { line, what });
    }
    // What the whole is refused for, if none of its parts is.
    if let (true, Err(error)) = (faults.is_empty(), Config::parse(text)) {
        faults.push(match error {
            ConfigError::File { line, what } => Fault { line, what },
            ConfigError::Value(rule) => Fault { line: 1, what: rule.to_string() },
        });
    }
    faults.sort();
    faults
}

/// A configuration with this key and no other.
fn alone(key: &Key) -> String {
    // A name may need its quotes.
    let names = key.path.split('.').map(|name| name.to_toml_key()).collect::<Vec<_>>();
    format!("{} = {}\n", names.join("."), key.value)
}

fn line_of(text: &str, at: usize) -> usize {
    let newlines = text.bytes().take(at).filter(|byte| *byte == b'\n').count();
    newlines.saturating_add(1)
}

fn one_line(text: &str) -> String {
    text.trim().replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_shown_and_is_the_one_of_logins() {
        let defaults = defaults();
        assert!(defaults.len() > 25, "{defaults:?}");
        for key in defaults.iter().filter(|key| key.path != "issuer") {
            assert_eq!(Config::parse(&alone(key)), Ok(Config::default()), "{}", key.path);
        }
    }

    #[test]
    fn every_fault_is_named_with_its_line_and_not_the_first_alone() {
        let found = |text: &str| {
            let faults = faults(text).into_iter();
            faults.map(|Fault { line, what }| format!("{line}: {what}")).collect::<Vec<_>>()
        };
        let text = "issuer = \"a\"\n[login]\nmissing = \"dney\"\n\n# c\necho = 1\n[loign]\n\
                    [limits]\nfailure = 3\nlockout = 9\nmax_lockout = 3\n";
        let faults = found(text);
        let lines: Vec<_> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
        assert_eq!(lines, ["3", "6", "7", "9", "11"], "{faults:#?}");
        assert!(faults[0].contains("unknown variant `dney`"), "{faults:?}");
        assert!(faults[4].contains("max_lockout must not be less than lockout"), "{faults:?}");
        assert_eq!(found("[limits]\nlockout = 1\nmax_lockout = 3\n"), [""; 0]);
        assert_eq!(found(SHIPPED), [""; 0]);
        for (text, line) in [
            ("login = {\n  missing = \"x\" }\n", "2"),
            ("\nlogin.missing = [\n\"ignore\"\n]\n", "2"),
            ("a = \n[b\n", "1"),
            ("[login]\necho = true\necho = true\n", "3"),
            ("\nissuer = \"a:b\"\n", "2"),
            ("[password]\n\nservice = \"../x\"\n", "3"),
            ("login = 3\n", "1"),
            ("[[login]]\necho = true\n", "1"),
            ("code.\"a.b\" = 3\n", "1"),
        ] {
            let faults = found(text);
            assert!(
                faults.iter().any(|it| it.starts_with(&format!("{line}: "))),
                "{text}: {faults:?}"
            );
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]
        #[test]
        fn a_configuration_is_sound_for_both_readers_or_for_none(
            words in proptest::collection::vec(proptest::sample::select(vec![
                "[login]\n", "[limits]\n", "[code]\n", "echo = true\n", "echo = 1\n", "failures = 0\n",
                "lockout = 9\n", "max_lockout = 3\n", "digits = 9\n", "window = 2\n", "issuer = \"x:\"\n",
                "login.uniform = true\n", "x = 1\n", "= 3\n", "a.b = {}\n", "[[code]]\n", "\"é\" = [1,\n2]\n",
            ]), 0..7),
        ) {
            let text = words.concat();
            proptest::prop_assert_eq!(faults(&text).is_empty(), Config::parse(&text).is_ok(), "{}", text);
        }
    }
}
