//! Who is meant: users named one by one, a group's members, all of them, or a
//! list on standard input.

use std::collections::HashSet;
use std::io::BufRead;

use anyhow::{Context as _, bail, ensure};
use pam_onetime::store::Store;
use pam_onetime::system::{Local, Passwd, members, ordinary_uids};

use crate::cli::Whom;
use crate::context::{People, User};

/// Whom `--all` means.
#[derive(Clone, Copy)]
pub(crate) enum All<'a> {
    /// The ordinary users of /etc/passwd.
    Ordinary,
    /// All who have a record.
    Enabled(&'a Store),
}

/// Where the names are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The command line names each.
    Named,
    /// A list, a group or the system has them, at least some.
    Elsewhere,
}

/// At least one name, none of them twice, in the order in which they were
/// given or else sorted.
pub(crate) struct Selected {
    pub(crate) names: Vec<String>,
    pub(crate) origin: Origin,
    people: People,
}

/// Finds out who is meant.
///
/// An error if that is nobody: whoever thinks of a group as protected must
/// learn that it has no members.
pub(crate) fn select(whom: &Whom, all: All<'_>) -> anyhow::Result<Selected> {
    let mut chosen = Chosen::default();
    for user in whom.users.iter().filter(|user| *user != "-") {
        chosen.add(user);
    }
    let stdin = whom.users.iter().any(|user| user == "-");
    if stdin {
        for name in listed(std::io::stdin().lock())? {
            chosen.add(&name);
        }
    }
    if !whom.groups.is_empty() {
        let passwd = Passwd::read()?;
        for group in &whom.groups {
            let found = members(group, &passwd).with_context(|| format!("group {group}"))?;
            let mut found = found.with_context(|| format!("there is no group {group}"))?;
            ensure!(!found.is_empty(), "nobody selected: the group {group} has no members");
            found.sort();
            found.iter().for_each(|name| chosen.add(name));
        }
    }
    if whom.all {
        everybody(all)?.iter().for_each(|name| chosen.add(name));
    }
    if chosen.names.is_empty() {
        bail!(match (stdin, whom.all, all) {
            (_, true, All::Ordinary) => "nobody selected: /etc/passwd has no ordinary users",
            (_, true, All::Enabled(_)) => "nobody selected: nobody is enabled",
            (true, false, _) => "nobody selected: there are no names on standard input",
            (false, false, _) => "nobody selected",
        });
    }
    let origin = match stdin || whom.all || !whom.groups.is_empty() {
        true => Origin::Elsewhere,
        false => Origin::Named,
    };
    Selected::new(chosen.names, origin)
}

impl Selected {
    /// These names as they are; one that stands twice is done twice.
    pub(crate) fn new(names: Vec<String>, origin: Origin) -> anyhow::Result<Self> {
        let people = People::of(names.iter())?;
        Ok(Self { names, origin, people })
    }

    /// All who have a record, sorted; perhaps nobody.
    pub(crate) fn enabled(store: &Store) -> anyhow::Result<Self> {
        Self::new(everybody(All::Enabled(store))?, Origin::Elsewhere)
    }

    /// Looks one of them up.
    pub(crate) fn find(&self, given: &str) -> anyhow::Result<User> {
        self.people.find(given)
    }
}

/// Names as they come, each once.
#[derive(Default)]
struct Chosen {
    names: Vec<String>,
    seen: HashSet<String>,
}

impl Chosen {
    fn add(&mut self, name: &str) {
        if self.seen.insert(name.to_owned()) {
            self.names.push(name.to_owned());
        }
    }
}

fn everybody(all: All<'_>) -> anyhow::Result<Vec<String>> {
    let mut names = match all {
        All::Ordinary => {
            let uids = ordinary_uids()?;
            let passwd = Passwd::read()?;
            let ordinary = passwd.users().filter(|user: &Local<'_>| user.is_ordinary(&uids));
            ordinary.map(|user| user.name.to_owned()).collect()
        }
        All::Enabled(store) => store
            .users()?
            .map(|user| user.map(|user| user.to_string()))
            .collect::<Result<Vec<_>, _>>()?,
    };
    names.sort_unstable();
    Ok(names)
}

/// One name a line; blank lines and those that begin with `#` do not count.
fn listed(list: impl BufRead) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for line in list.split(b'\n') {
        let line = line.context("cannot read standard input")?;
        // A name with other bytes is nobody's, and fails as such.
        let line = String::from_utf8_lossy(&line);
        let name = line.trim();
        if !name.is_empty() && !name.starts_with('#') {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
