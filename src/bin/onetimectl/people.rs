//! Who is meant, and who that is: names given one by one, a group's members, all
//! of them, or a list on standard input; each looked up in the user database.
//!
//! There is one way to look a user up: [`User::find`]. [`People`] does it for
//! many, and `report::each` hands each verb the user it is to work on.

use std::collections::{HashMap, HashSet};
use std::io::BufRead;

use anyhow::{Context as _, bail, ensure};
use pam_onetime::account::UserName;
use pam_onetime::store::Store;
use pam_onetime::system::{Passwd, PasswdLine, Person, members, ordinary_uids};

use crate::cli::{SelectionOptions, given};

/// From so many users on, /etc/passwd is read once instead of for each.
const MANY: usize = 64;

/// A user, as far as this system knows them.
#[derive(Clone)]
pub(crate) struct User {
    /// The canonical name, or the one given.
    pub(crate) name: UserName,
    /// `None`: the system does not know them.
    pub(crate) person: Option<Person>,
}

impl User {
    /// Looks a name up.
    ///
    /// # Errors
    /// The user database cannot be read, or the name is not valid.
    pub(crate) fn find(given: &str) -> anyhow::Result<Self> {
        let person = Person::find(given)?;
        let name = match &person {
            Some(person) => person.name.clone(),
            None => UserName::new(given)?,
        };
        Ok(Self { name, person })
    }

    /// `None`: the system does not know them.
    pub(crate) fn uid(&self) -> Option<u32> {
        self.person.as_ref().map(|person| person.uid)
    }
}

/// The users whom `--all` selects.
#[derive(Clone, Copy)]
pub(crate) enum Everybody<'a> {
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

/// Users by the names that were given, in that order or else sorted.
pub(crate) struct People {
    names: Vec<String>,
    pub(crate) origin: Origin,
    /// Those of /etc/passwd, where it was read; others are looked up alone.
    local: HashMap<String, Person>,
}

/// Finds out who is meant: at least one user, nobody twice.
///
/// An error if that is nobody: whoever thinks of a group as protected must
/// learn that it has no members.
pub(crate) fn select(whom: &SelectionOptions, all: Everybody<'_>) -> anyhow::Result<People> {
    let mut chosen = Selection::default();
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
            (_, true, Everybody::Ordinary) => "nobody selected: /etc/passwd has no ordinary users",
            (_, true, Everybody::Enabled(_)) => "nobody selected: nobody is enabled",
            (true, false, _) => "nobody selected: there are no names on standard input",
            (false, false, _) => "nobody selected",
        });
    }
    let origin = match stdin || whom.all || !whom.groups.is_empty() {
        true => Origin::Elsewhere,
        false => Origin::Named,
    };
    People::of(chosen.names, origin)
}

impl People {
    /// These names as they are; one that is given twice is done twice.
    ///
    /// # Errors
    /// /etc/passwd cannot be read.
    pub(crate) fn of(names: Vec<String>, origin: Origin) -> anyhow::Result<Self> {
        let mut local = HashMap::new();
        if names.len() > MANY {
            let wanted: HashSet<&str> = names.iter().map(String::as_str).collect();
            let passwd = Passwd::read()?;
            for user in passwd.users().filter(|user| wanted.contains(&*user.name)) {
                // The first line holds, and a name that cannot be one of ours
                // fails when it is looked up.
                if let Ok(person) = user.person() {
                    local.entry(user.name.into_owned()).or_insert(person);
                }
            }
        }
        Ok(Self { names, origin, local })
    }

    /// All who have a record, sorted; perhaps nobody.
    ///
    /// # Errors
    /// The store or /etc/passwd cannot be read.
    pub(crate) fn enabled(store: &Store) -> anyhow::Result<Self> {
        Self::of(everybody(Everybody::Enabled(store))?, Origin::Elsewhere)
    }

    /// The ordinary users of /etc/passwd, sorted; perhaps nobody.
    ///
    /// # Errors
    /// /etc/passwd or login.defs cannot be read.
    pub(crate) fn ordinary() -> anyhow::Result<Self> {
        Self::of(everybody(Everybody::Ordinary)?, Origin::Elsewhere)
    }

    /// A selection of one user, named on the command line.
    pub(crate) fn one(name: &str) -> Self {
        Self { names: vec![name.to_owned()], origin: Origin::Named, local: HashMap::new() }
    }

    /// The names as they were given.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// [`User::find`], for one of these.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn find(&self, given: &str) -> anyhow::Result<User> {
        match self.local.get(given) {
            Some(person) => Ok(User { name: person.name.clone(), person: Some(person.clone()) }),
            None => User::find(given),
        }
    }
}

/// Names as they come, each once.
#[derive(Default)]
struct Selection {
    names: Vec<String>,
    seen: HashSet<String>,
}

impl Selection {
    fn add(&mut self, name: &str) {
        if self.seen.insert(name.to_owned()) {
            self.names.push(name.to_owned());
        }
    }
}

fn everybody(all: Everybody<'_>) -> anyhow::Result<Vec<String>> {
    let mut names = match all {
        Everybody::Ordinary => {
            let uids = ordinary_uids()?;
            let passwd = Passwd::read()?;
            let ordinary = passwd.users().filter(|user: &PasswdLine<'_>| user.is_ordinary(&uids));
            ordinary.map(|user| user.name.into_owned()).collect()
        }
        Everybody::Enabled(store) => store
            .users()?
            .map(|user| user.map(|user| user.as_str().to_owned()))
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
        let line = given(&line);
        let name = line.trim();
        if !name.is_empty() && !name.starts_with('#') {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
