//! polkit asks for an administrator, and whoever is asked may choose which: of them all the
//! weakest counts. Values in, findings out.

use std::collections::BTreeSet;

use super::super::finding::{Finding, FindingId, NameList};
use super::{FileText, ProgramFiles};

/// Where its rules are.
const RULES: [&str; 4] = [
    "/etc/polkit-1/rules.d",
    "/run/polkit-1/rules.d",
    "/usr/local/share/polkit-1/rules.d",
    "/usr/share/polkit-1/rules.d",
];
/// Where older versions say who an administrator is.
const OLD: [&str; 2] =
    ["/etc/polkit-1/localauthority.conf.d", "/var/lib/polkit-1/localauthority.conf.d"];
/// Who administrates where no rule says it.
const GROUPS: [&str; 3] = ["admin", "sudo", "wheel"];

/// What is known of those who may be administrators.
pub(in super::super) struct Administrators<'a> {
    /// The members of a group; `Err` if that cannot be found out.
    pub(in super::super) members: &'a dyn Fn(&str) -> Result<Vec<String>, String>,
    /// Whether somebody has to give a code, or is refused; `None` if that is not known.
    pub(in super::super) needs_code: &'a dyn Fn(&str) -> Option<bool>,
    /// Whether somebody has a password that could be right, as far as is known.
    pub(in super::super) has_password: &'a dyn Fn(&str) -> bool,
}

/// Judges the administrators where polkit asks for codes.
pub(in super::super) fn judge(
    users: &BTreeSet<String>,
    machine: &ProgramFiles<'_>,
    people: &Administrators<'_>,
) -> Vec<Finding> {
    if !users.contains("polkit-1") {
        return Vec::new();
    }
    let (identities, mut unknown) = identities(machine);
    let mut open = NameList::default();
    for identity in &identities {
        let (names, of) = match identity {
            Identity::User(name) => (vec![name.clone()], String::new()),
            Identity::Group(group) => match (people.members)(group) {
                Ok(names) => (names, format!(" ({group})")),
                Err(why) => {
                    unknown.add(format!("the members of {group}: {why}"));
                    continue;
                }
            },
        };
        for name in names {
            match (people.needs_code)(&name) {
                Some(true) => {}
                Some(false) if !(people.has_password)(&name) => {}
                Some(false) => open.add(format!("{name}{of}")),
                None => unknown.add(format!("whether {name} has a code")),
            }
        }
    }
    let mut found = Vec::new();
    if !unknown.is_empty() {
        let what = format!("polkit's administrators: not found out: {unknown}");
        let remedy = "look at those files, and whether the user database answers: getent group";
        found.push(Finding::new(FindingId::ProgramConfigUnreadable, what, remedy));
    }
    if !open.is_empty() {
        let what = format!(
            "administrators without a code: {open}: run0 and pkexec ask for any of them, whom the \
             user chooses, and that password alone is enough"
        );
        let remedy = "enable them: onetimectl enable; or take them out of the group";
        found.push(Finding::new(FindingId::AdministratorsWithoutCode, what, remedy));
    }
    found
}

/// Who may be an administrator.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    User(String),
    Group(String),
}

/// All that the rules name, since which of them holds is for polkit to say; and what could
/// not be read.
fn identities(machine: &ProgramFiles<'_>) -> (BTreeSet<Identity>, NameList) {
    let (mut found, mut unknown) = (BTreeSet::new(), NameList::default());
    let files = |dirs: &[&str], pattern: &str| -> Vec<String> {
        dirs.iter().flat_map(|dir| (machine.matching)(dir, pattern)).collect()
    };
    let rules = files(&RULES, "*.rules").into_iter().map(|file| (file, "addAdminRule"));
    let old = files(&OLD, "*.conf").into_iter().map(|file| (file, "AdminIdentities"));
    for (file, keyword) in rules.chain(old) {
        match (machine.read)(&file) {
            FileText::Missing => {}
            FileText::Unreadable => unknown.add(file),
            FileText::Whole(text) => {
                let text = without_comments(&text);
                if text.contains(keyword) {
                    found.extend(named(&text));
                }
            }
        }
    }
    if found.is_empty() {
        found.extend(GROUPS.map(|group| Identity::Group(group.to_owned())));
    }
    (found, unknown)
}

/// The identities in a text: `unix-group:sudo`.
fn named(text: &str) -> impl Iterator<Item = Identity> {
    let name = |rest: &str| -> String {
        let ends = |c: char| c.is_whitespace() || "\"';,]`".contains(c);
        rest.split(ends).next().unwrap_or_default().to_owned()
    };
    let all = |start: &str| -> Vec<String> {
        text.split(start).skip(1).map(name).filter(|name| !name.is_empty()).collect()
    };
    let users = all("unix-user:")
        .into_iter()
        .map(|name| Identity::User(if name == "0" { "root".to_owned() } else { name }));
    users.chain(all("unix-group:").into_iter().map(Identity::Group))
}

/// A text in JavaScript, or of lines, without comments.
fn without_comments(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("/*") {
        kept.push_str(before);
        rest = after.split_once("*/").map_or("", |(_, after)| after);
    }
    kept.push_str(rest);
    let is_code = |line: &&str| !line.trim_start().starts_with(['#', ';']);
    let lines = kept.lines().filter(is_code).map(|line| line.split("//").next().unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(rules: &[(&str, FileText)], polkit: &str) -> Vec<(FindingId, String)> {
        let read = |path: &str| {
            let file = rules.iter().find(|(name, _)| *name == path);
            file.map_or(FileText::Missing, |(_, text)| text.clone())
        };
        let machine = ProgramFiles {
            read: &read,
            matching: &|dir, _| {
                let below = rules.iter().map(|(name, _)| (*name).to_owned());
                below.filter(|name| name.starts_with(dir)).collect()
            },
            is_program: &|_| true,
            units: &[],
        };
        let people = Administrators {
            members: &|group| match group {
                "sudo" => Ok(vec!["alice".to_owned(), "bob".to_owned()]),
                "wheel" => Ok(vec!["carol".to_owned()]),
                "down" => Err("EIO".to_owned()),
                _ => Ok(Vec::new()),
            },
            needs_code: &|user| (user != "dave").then_some(user == "alice"),
            has_password: &|user| user != "root",
        };
        let users = BTreeSet::from([polkit.to_owned()]);
        let found = judge(&users, &machine, &people).into_iter();
        found.map(|finding| (finding.id, finding.what)).collect()
    }

    #[test]
    fn administrators_whose_password_is_enough_are_named() {
        const RULE: &str = "/etc/polkit-1/rules.d/40-debian-sudo.rules";
        let rule = |body: &str| {
            let text = format!("polkit.addAdminRule(function(a, s) {{ {body} }});");
            [(RULE, FileText::Whole(text))]
        };
        use FindingId::*;
        for (files, expected) in [
            (
                &rule("return [\"unix-group:sudo\"];")[..],
                vec![(AdministratorsWithoutCode, "bob (sudo)")],
            ),
            (
                &rule("return ['unix-user:0', 'unix-user:eve'];"),
                vec![(AdministratorsWithoutCode, "eve: run0")],
            ),
            (
                &rule(
                    "/* \"unix-group:wheel\" */ return [\"unix-user:alice\"]; // unix-group:sudo",
                ),
                vec![],
            ),
            (
                &rule("return [\"unix-group:down\", 'unix-user:dave'];"),
                vec![(ProgramConfigUnreadable, "members of down: EIO, whether dave")],
            ),
            (
                &[(RULE, FileText::Unreadable)],
                vec![
                    (ProgramConfigUnreadable, "40-debian"),
                    (AdministratorsWithoutCode, "bob (sudo), carol (wheel)"),
                ],
            ),
            (&[], vec![(AdministratorsWithoutCode, "bob (sudo), carol (wheel)")]),
            (
                &[(
                    "/var/lib/polkit-1/localauthority.conf.d/a.conf",
                    FileText::Whole("AdminIdentities=unix-user:0;unix-group:wheel\n".to_owned()),
                )],
                vec![(AdministratorsWithoutCode, "carol (wheel)")],
            ),
        ] {
            let found = judged(files, "polkit-1");
            assert_eq!(found.len(), expected.len(), "{files:?}: {found:?}");
            for ((id, what), (expected, named)) in found.iter().zip(expected) {
                assert!(*id == expected && what.contains(named), "{files:?}: {found:?}");
            }
        }
        assert_eq!(judged(&[], "sudo"), []);
    }
}
