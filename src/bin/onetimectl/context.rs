//! What every verb works with: the configuration, the store, the users of
//! the system, the time.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};
use nix::unistd::User;
use pam_onetime::account::{Timestamp, UserName};
use pam_onetime::config::Config;
use pam_onetime::store::{Store, read_config};

use crate::cli::Cli;
use crate::report::Form;

pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) form: Form,
}

/// A user, as far as this system knows them.
pub(crate) struct Person {
    /// The canonical name, or the one given.
    pub(crate) name: UserName,
    /// `None`: the system does not know them.
    pub(crate) uid: Option<u32>,
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

    pub(crate) fn store(&self) -> anyhow::Result<Store> {
        Ok(Store::open(self.dir(), Store::ROOT)?)
    }
}

impl Person {
    /// Looks up a name.
    pub(crate) fn find(given: &str) -> anyhow::Result<Self> {
        let known = User::from_name(given).context("the password database cannot be read")?;
        Ok(match known {
            Some(user) => Self { name: UserName::new(user.name)?, uid: Some(user.uid.as_raw()) },
            None => Self { name: UserName::new(given)?, uid: None },
        })
    }

    /// The uid of a user whom the system must know.
    pub(crate) fn known_uid(&self) -> anyhow::Result<u32> {
        self.uid.ok_or_else(|| anyhow!("this system knows no such user"))
    }
}

pub(crate) fn now() -> anyhow::Result<Timestamp> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(Timestamp(since.as_secs()))
}
