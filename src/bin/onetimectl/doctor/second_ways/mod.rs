//! Judges programs that have a second way in, past PAM, by their own configuration: one that
//! checks a password itself after a refusal, or repeats a success without asking. Text in,
//! findings out.

mod dovecot;
mod polkit;
mod proftpd;
mod samba;
mod saslauthd;

use std::collections::BTreeSet;

use super::finding::{Finding, FindingId, NameList};
use super::units::Unit;
pub(super) use polkit::{Administrators, judge as judge_administrators};

/// A file of a program's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FileText {
    Missing,
    /// It is there, and cannot be read, or not to its end.
    Unreadable,
    Whole(String),
}

/// What the machine is asked.
pub(super) struct ProgramFiles<'a> {
    /// A file by its path.
    pub(super) read: &'a dyn Fn(&str) -> FileText,
    /// The paths of the files for a pattern; one that begins with no `/` is below the first.
    pub(super) matching: &'a dyn Fn(&str, &str) -> Vec<String>,
    /// Whether there is a program of this name.
    pub(super) is_program: &'a dyn Fn(&str) -> bool,
    pub(super) units: &'a [Unit],
}

/// As deep as includes are followed.
const MAX_DEPTH: u32 = 16;
/// More files than a configuration has; ones that include each other reach it.
const MAX_FILES: usize = 500;

/// The lines of a configuration, in the order in which its program reads them.
#[derive(Default)]
struct ConfigLines {
    lines: Vec<ConfigLine>,
    /// The files that could not be read.
    unreadable: NameList,
    files: usize,
}

struct ConfigLine {
    file: String,
    number: usize,
    text: String,
}

impl ConfigLine {
    fn place(&self) -> String {
        format!("{}:{}", self.file, self.number)
    }
}

/// Of a line: the pattern of the files that it includes, if it does.
type IncludeOf = dyn Fn(&str) -> Option<String>;

impl ConfigLines {
    /// Reads a file with all that it includes; `None` if it is not there.
    fn read(path: &str, machine: &ProgramFiles<'_>, include_of: &IncludeOf) -> Option<Self> {
        let mut lines = Self::default();
        match (machine.read)(path) {
            FileText::Missing => return None,
            text @ (FileText::Unreadable | FileText::Whole(_)) => {
                lines.add(path, text, 0, machine, include_of);
            }
        }
        Some(lines)
    }

    fn add(
        &mut self,
        path: &str,
        text: FileText,
        depth: u32,
        machine: &ProgramFiles<'_>,
        include_of: &IncludeOf,
    ) {
        self.files = self.files.saturating_add(1);
        let text = match text {
            FileText::Whole(text) if depth <= MAX_DEPTH && self.files <= MAX_FILES => text,
            FileText::Whole(_) | FileText::Unreadable => return self.unreadable.add(path),
            // A pattern that fits nothing.
            FileText::Missing => return,
        };
        for (number, text) in joined(&text) {
            let Some(pattern) = include_of(&text) else {
                self.lines.push(ConfigLine { file: path.to_owned(), number, text });
                continue;
            };
            let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
            for file in (machine.matching)(dir, &pattern) {
                if self.files > MAX_FILES {
                    return self.unreadable.add(file);
                }
                let text = (machine.read)(&file);
                self.add(&file, text, depth.saturating_add(1), machine, include_of);
            }
        }
    }

    /// What is not known is not "no".
    fn unreadable(&self, program: &str) -> Option<Finding> {
        (!self.unreadable.is_empty()).then(|| {
            let what = format!(
                "{program}: {} cannot be read to the end, so whether there is a way in past PAM is \
                 not known",
                self.unreadable
            );
            let remedy = "look at owner, mode and size of the file, and whether it includes itself";
            Finding::new(FindingId::ProgramConfigUnreadable, what, remedy)
        })
    }
}

/// The lines of a text, without those that are empty or comments; one that ends in `\` goes on
/// in the next.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut begun: Option<(usize, String)> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if begun.is_none() && (line.is_empty() || line.starts_with(['#', ';'])) {
            continue;
        }
        let (first, mut whole) = begun.take().unwrap_or((number, String::new()));
        match line.strip_suffix('\\') {
            Some(part) => {
                whole.push_str(part.trim_end());
                whole.push(' ');
                begun = Some((first, whole));
            }
            None => {
                whole.push_str(line);
                found.push((first, whole));
            }
        }
    }
    found.extend(begun);
    found
}

/// The words of a line, of which some are in quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.chars().peekable();
    loop {
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        let Some(first) = rest.peek().copied() else { return words };
        let mut word = String::new();
        let mut quote = None;
        if first == '#' {
            return words;
        }
        while let Some(c) = rest.next_if(|c| quote.is_some() || !c.is_whitespace()) {
            match quote {
                Some(open) if c == open => quote = None,
                None if c == '"' || c == '\'' => quote = Some(c),
                Some(_) | None => word.push(c),
            }
        }
        words.push(word);
    }
}

/// Judges the programs whose services are among `users`, which ask for codes.
pub(super) fn judge(users: &BTreeSet<String>, machine: &ProgramFiles<'_>) -> Vec<Finding> {
    let mut found = proftpd::judge(users, machine);
    found.extend(dovecot::judge(users, machine));
    found.extend(saslauthd::judge(users, machine));
    found.extend(samba::judge(users, machine));
    // In the order of their names.
    found.sort_by_key(|finding| finding.id);
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Judges a machine with these files; `*` at the end of a pattern is all that it can.
    pub(super) fn judged(users: &[&str], files: &[(&str, &str)]) -> Vec<(FindingId, String)> {
        let files: BTreeMap<_, _> = files.iter().copied().collect();
        let read = |path: &str| match files.get(path) {
            None => FileText::Missing,
            Some(&"(unreadable)") => FileText::Unreadable,
            Some(text) => FileText::Whole((*text).to_owned()),
        };
        let matching = |dir: &str, pattern: &str| {
            let whole = format!("{dir}/{pattern}");
            let pattern = if pattern.starts_with('/') { pattern } else { &whole };
            let fits = |path: &&&str| match pattern.split_once('*') {
                Some((start, end)) => path.starts_with(start) && path.ends_with(end),
                None => **path == pattern,
            };
            files.keys().filter(fits).map(|path| (*path).to_owned()).collect()
        };
        let units: Vec<_> = files
            .iter()
            .filter(|(path, _)| path.ends_with(".service"))
            .map(|(path, text)| {
                let name = path.rsplit('/').next().unwrap_or_default();
                Unit::read(name, &[((*path).to_owned(), (*text).to_owned())])
            })
            .collect();
        let machine =
            ProgramFiles { read: &read, matching: &matching, is_program: &|_| true, units: &units };
        let users = users.iter().map(|user| (*user).to_owned()).collect();
        let found = judge(&users, &machine).into_iter();
        found
            .map(|finding| {
                assert!(finding.remedy.is_some_and(|remedy| !remedy.is_empty()));
                (finding.id, finding.what)
            })
            .collect()
    }

    #[test]
    fn what_cannot_be_read_is_said_and_includes_in_a_loop_come_to_an_end() {
        use FindingId::ProgramConfigUnreadable;
        let order = "AuthOrder mod_auth_pam.c*\n";
        for (more, file) in [
            ("Include /x/*.conf\n", "/x/a.conf"),
            ("Include proftpd.conf\nInclude proftpd.conf\n", "proftpd.conf"),
        ] {
            let main = format!("{order}{more}");
            let found = judged(
                &["proftpd"],
                &[("/etc/proftpd/proftpd.conf", &main), ("/x/a.conf", "(unreadable)")],
            );
            let [(ProgramConfigUnreadable, what)] = found.as_slice() else { panic!("{found:?}") };
            assert!(what.contains(file), "{what}");
        }
        let found = judged(&["proftpd"], &[("/etc/proftpd/proftpd.conf", "(unreadable)")]);
        assert!(found.iter().any(|(id, _)| *id == ProgramConfigUnreadable), "{found:?}");
    }

    #[test]
    fn words_may_be_in_quotes_and_end_at_a_comment() {
        assert_eq!(words("a \"b c\" d'e f' # g"), ["a", "b c", "de f"]);
        assert_eq!(words("\"open"), ["open"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_configuration_is_too_strange(parts in proptest::collection::vec(proptest::sample::select(vec![
            "AuthOrder", "mod_auth_pam.c*", "<Global>", "</Global>", "<VirtualHost x>", "<IfModule",
            "Include", "!include", "*", "passdb", "{", "}", "driver = pam", "args = cache_key=%u",
            "auth_cache_size = 1M", "\n", "\n", "\n", "\\\n", "\"", "'", "[global]", "include = ",
            "OPTIONS=\"-c", "<", ">", "=", "\0", "é",
        ]), 0..80)) {
            let text = parts.join(" ");
            let files: Vec<_> = [
                "/etc/proftpd/proftpd.conf", "/etc/dovecot/dovecot.conf", "/etc/samba/smb.conf",
                "/etc/default/saslauthd", "/a/saslauthd.service",
            ].into_iter().map(|path| (path, text.as_str())).collect();
            judged(&["proftpd", "dovecot", "imap", "smtp"], &files);
        }
    }
}
