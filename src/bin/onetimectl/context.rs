//! What every verb works with: the configuration, the store, and the form of
//! what is printed.

use std::path::Path;

use anyhow::Context as _;
use pam_onetime::config::Config;
use pam_onetime::store::{self, Store, StoreError, read_config};

use crate::cli::Cli;
use crate::say::Form;

pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) form: Form,
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
        Ok(store::open(&self.config.store)?)
    }

    /// A store that is not there is made. One whose directory is there but empty
    /// is not: perhaps it is a mount point whose store is not mounted, and a
    /// second store below it would let everybody in when it is not.
    pub(crate) fn open_or_make(&self) -> anyhow::Result<Store> {
        if self.dir_exists()? { self.store() } else { Ok(Store::init(self.dir(), Store::ROOT)?) }
    }
}
