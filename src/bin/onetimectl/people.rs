//! Who is meant, and who that is: names given one by one, a group's members, all
//! of them, or a list on standard input; each looked up in the user database.
//!
//! There is one way to look a user up: [`User::find`]. [`People`] does it for
//! many, and `report::each` hands each verb the user it is to work on.

use std::collections::HashSet;
use std::io::BufRead;

use anyhow::{Context as _, bail, ensure};
use pam_onetime::account::UserName;
use pam_onetime::bytes_as_text::Readable;
use pam_onetime::store::Store;
use pam_onetime::system::{Passwd, PasswdLine, Person, SystemError, members, ordinary_uids};

use crate::cli::{SelectionOptions, given};
use crate::error::ToolError;

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
    /// Those that somebody typed, and may have mistyped: not the members of a group.
    typed: HashSet<String>,
    /// Those of /etc/passwd, where it was read, by name; others are looked up alone.
    local: Vec<Person>,
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
    let stdin = whom.reads_stdin();
    if stdin {
        for name in listed(std::io::stdin().lock())? {
            chosen.add(&name);
        }
    }
    let typed = chosen.seen.clone();
    if !whom.groups.is_empty() {
        let passwd = Passwd::read()?;
        for group in &whom.groups {
            let found = members(group, &passwd).with_context(|| format!("group {group}"))?;
            let mut found = found.ok_or_else(|| {
                let what = format!("there is no group {group}");
                ToolError::of(what, "check the spelling, and whether it is there: getent group")
            })?;
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
    Ok(People { typed, ..People::of(chosen.names, origin)? })
}

impl People {
    /// These names as they are; one that is given twice is done twice.
    ///
    /// # Errors
    /// /etc/passwd cannot be read.
    pub(crate) fn of(names: Vec<String>, origin: Origin) -> anyhow::Result<Self> {
        let known = {
            let wanted: HashSet<&str> = names.iter().map(String::as_str).collect();
            Self::known(names.len(), |name| wanted.contains(name))?
        };
        Ok(Self { names, origin, ..known })
    }

    /// Who can be found quickly, where so many are looked up whose names are `wanted`. It
    /// has no names of its own.
    ///
    /// # Errors
    /// /etc/passwd cannot be read.
    pub(crate) fn known(count: usize, wanted: impl Fn(&str) -> bool) -> anyhow::Result<Self> {
        let mut local = Vec::new();
        if count > MANY {
            let passwd = Passwd::read()?;
            let users = passwd.users().filter(|user| wanted(&user.name));
            // A name that cannot be one of ours fails when it is looked up.
            local.extend(users.filter_map(|user| user.person().ok()));
            // The first line holds.
            local.sort_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
            local.dedup_by(|later, first| later.name == first.name);
        }
        let (names, typed) = (Vec::new(), HashSet::new());
        Ok(Self { names, origin: Origin::Elsewhere, typed, local })
    }

    /// Nobody who can be found quickly.
    pub(crate) fn unknown() -> Self {
        let (names, typed, local) = (Vec::new(), HashSet::new(), Vec::new());
        Self { names, origin: Origin::Elsewhere, typed, local }
    }

    /// All who have a record, sorted; perhaps nobody.
    ///
    /// # Errors
    /// The store or /etc/passwd cannot be read.
    pub(crate) fn enabled(store: &Store) -> anyhow::Result<Self> {
        Self::of(everybody(Everybody::Enabled(store))?, Origin::Elsewhere)
    }

    /// All who have a record, and the ordinary users of /etc/passwd, sorted.
    ///
    /// # Errors
    /// The store, /etc/passwd or login.defs cannot be read.
    pub(crate) fn enabled_or_ordinary(store: &Store) -> anyhow::Result<Self> {
        let mut names = everybody(Everybody::Enabled(store))?;
        names.extend(everybody(Everybody::Ordinary)?);
        names.sort_unstable();
        names.dedup();
        Self::of(names, Origin::Elsewhere)
    }

    /// Whether one of these has a secret to lose; also if that cannot be found out.
    pub(crate) fn is_enabled(&self, store: &Store, given: &str) -> bool {
        self.find(given).is_ok_and(|user| store.is_there(&user.name).unwrap_or(true))
    }

    /// A selection of one user, named on the command line.
    pub(crate) fn one(name: &str) -> Self {
        Self {
            names: vec![name.to_owned()],
            origin: Origin::Named,
            typed: HashSet::from([name.to_owned()]),
            local: Vec::new(),
        }
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
        match self.local(given) {
            Some(person) => Ok(User { name: person.name.clone(), person: Some(person.clone()) }),
            None => User::find(given),
        }
    }

    /// [`Person::find`], for one of these.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn person(&self, given: &str) -> Result<Option<Person>, SystemError> {
        match self.local(given) {
            Some(person) => Ok(Some(person.clone())),
            None => Person::find(given),
        }
    }

    fn local(&self, given: &str) -> Option<&Person> {
        let place = self.local.binary_search_by(|person| person.name.as_str().cmp(given));
        self.local.get(place.ok()?)
    }
}

impl People {
    /// How a question calls them: by name where the command line does.
    pub(crate) fn described(&self) -> String {
        let readable = |name: &String| Readable(name).to_string();
        match (self.origin, self.names()) {
            (Origin::Named, names) => names.iter().map(readable).collect::<Vec<_>>().join(", "),
            (Origin::Elsewhere, [only]) => format!("1 user ({})", readable(only)),
            (Origin::Elsewhere, names) => format!("{} users", names.len()),
        }
    }

    /// The row of a user without a record. A name that the system does not know either
    /// may be a slip of the hand; not so in a group, which somebody else keeps.
    ///
    /// # Errors
    /// [`ToolError::UNKNOWN`].
    pub(crate) fn without_record<T>(&self, user: &User, row: T) -> anyhow::Result<T> {
        let is_typed = self.typed.contains(user.name.as_str());
        if user.person.is_none() && is_typed { Err(ToolError::UNKNOWN.into()) } else { Ok(row) }
    }
}

/// Bytes of a list of names; 100,000 names of 80 bytes are half of that.
const LONGEST_LIST: u64 = 16 * 1024 * 1024;

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
    let mut bounded = list.take(LONGEST_LIST.saturating_add(1));
    let mut line = Vec::new();
    while bounded.read_until(b'\n', &mut line).context("cannot read standard input")? > 0 {
        ensure!(
            bounded.limit() > 0,
            "the list on standard input has more than {LONGEST_LIST} bytes: nothing was changed"
        );
        let text = given(&line);
        line.clear();
        let name = text.trim();
        if !name.is_empty() && !name.starts_with('#') {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
