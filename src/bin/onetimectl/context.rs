//! What every verb works with: the configuration, the store, and users by the
//! names that the admin typed.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::{Context as _, anyhow};
use pam_onetime::account::UserName;
use pam_onetime::config::Config;
use pam_onetime::store::{Store, StoreError, read_config};
use pam_onetime::system::{Passwd, Person};

use crate::cli::Cli;
use crate::say::Form;

pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) form: Form,
}

/// A user, as far as this system knows them.
pub(crate) struct User {
    /// The canonical name, or the one given.
    pub(crate) name: UserName,
    /// `None`: the system does not know them.
    pub(crate) person: Option<Person>,
}

impl Context {
    pub(crate) fn read(cli: &Cli) -> anyhow::Result<Self> {
        let text = read_config(&cli.config)?;
        let config = Config::parse(&text).with_context(|| cli.config.display().to_string())?;
        Ok(Self { config, form: if cli.json { Form::Json } else { Form::Text } })
    }

    pub(crate) fn dir(&self) -> &Path {
        Path::new(&self.config.store.dir)
    }

    /// Whether there is anything where the store should be.
    pub(crate) fn dir_exists(&self) -> Result<bool, StoreError> {
        let dir = self.dir();
        dir.try_exists().map_err(|error| {
            let (path, what) = (dir.to_owned(), "examine");
            StoreError::Io { path, what, error }
        })
    }

    pub(crate) fn store(&self) -> anyhow::Result<Store> {
        Ok(Store::open(self.dir(), Store::ROOT)?)
    }

    /// A store that is not there is made. One whose directory is there but empty
    /// is not: perhaps it is a mount point whose store is not mounted, and a
    /// second store below it would let everybody in when it is not.
    pub(crate) fn open_or_make(&self) -> anyhow::Result<Store> {
        if self.dir_exists()? { self.store() } else { Ok(Store::init(self.dir(), Store::ROOT)?) }
    }
}

impl User {
    /// Looks a name up.
    pub(crate) fn find(given: &str) -> anyhow::Result<Self> {
        let person = Person::find(given)?;
        let name = match &person {
            Some(person) => person.name.clone(),
            None => UserName::new(given)?,
        };
        Ok(Self { name, person })
    }

    /// The uid of a user whom the system must know.
    pub(crate) fn known_uid(&self) -> anyhow::Result<u32> {
        let known = self.person.as_ref().map(|person| person.uid);
        known.ok_or_else(|| anyhow!("this system knows no such user"))
    }
}

/// From so many users on, /etc/passwd is read once instead of for each.
const MANY: usize = 64;

/// Users who are to be looked up one after the other.
pub(crate) struct People {
    local: HashMap<String, Person>,
}

impl People {
    /// Gets ready to look up `names`.
    pub(crate) fn of<'n>(names: impl ExactSizeIterator<Item = &'n String>) -> anyhow::Result<Self> {
        let mut local = HashMap::new();
        if names.len() > MANY {
            let wanted: HashSet<&str> = names.map(String::as_str).collect();
            let passwd = Passwd::read()?;
            for user in passwd.users().filter(|user| wanted.contains(user.name)) {
                // The first line holds, and a name that none of ours can be
                // fails when it is looked up.
                if let Ok(person) = user.person() {
                    local.entry(user.name.to_owned()).or_insert(person);
                }
            }
        }
        Ok(Self { local })
    }

    /// Looks one of them up.
    pub(crate) fn find(&self, given: &str) -> anyhow::Result<User> {
        match self.local.get(given) {
            Some(person) => Ok(User { name: person.name.clone(), person: Some(person.clone()) }),
            None => User::find(given),
        }
    }
}
