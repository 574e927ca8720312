//! What every verb works with: the configuration, the store, and the form of
//! what is printed.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use pam_onetime::config::Config;
use pam_onetime::store::{self, Store, StoreError, TakeOvers, read_config};

use crate::cli::Cli;
use crate::say::{self, Form, report};

/// Whether a verb does what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    Real,
    /// Nothing is written.
    Dry,
}

impl Run {
    /// By `--dry-run`.
    pub(crate) const fn of(dry: bool) -> Self {
        if dry { Self::Dry } else { Self::Real }
    }
}

pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) form: Form,
    /// Of the stores that were opened.
    take_overs: Mutex<Vec<TakeOvers>>,
}

impl Context {
    pub(crate) fn read(cli: &Cli) -> anyhow::Result<Self> {
        let text = read_config(&cli.config)?;
        let config = Config::parse(&text).with_context(|| cli.config.display().to_string())?;
        let form = if cli.json { Form::Json } else { Form::Text };
        Ok(Self { config, form, take_overs: Mutex::default() })
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
        Ok(self.watched(store::open(&self.config.store)?))
    }

    fn watched(&self, store: Store) -> Store {
        self.take_overs().push(store.take_overs());
        store
    }

    fn take_overs(&self) -> MutexGuard<'_, Vec<TakeOvers>> {
        self.take_overs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whose locks had to be taken over, and from whom: somebody may have meant harm.
    pub(crate) fn report_take_overs(&self) {
        for take_over in self.take_overs().iter().flat_map(TakeOvers::take) {
            let (user, what) = (&take_over.user, take_over.to_string());
            report::log(user, &what);
            say::warn(&format!("{user}: {what}"));
        }
    }

    /// A store that is not there is made. One whose directory is there but empty
    /// is not: perhaps it is a mount point whose store is not mounted, and a
    /// second store below it would let everybody in when it is not.
    pub(crate) fn open_or_make(&self) -> anyhow::Result<Store> {
        if self.dir_exists()? { self.store() } else { self.init() }
    }

    /// The store, made if it is not there.
    pub(crate) fn init(&self) -> anyhow::Result<Store> {
        Ok(self.watched(Store::init(self.dir(), Store::ROOT)?))
    }
}
