//! Where there are batches: in the tool.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::StoreError;
use super::super::checked::Dir;
use super::super::durable::{self, Durability, withdraw, write_new};

/// A file that is written, and still has the name of a temporary one.
#[derive(Debug)]
pub(in crate::store) struct Unnamed {
    dir: Arc<Dir>,
    temporary: String,
    name: String,
    file: File,
}

impl Unnamed {
    /// Gives it its name.
    pub(in crate::store) fn put_in_force(&self) -> Result<(), StoreError> {
        let Self { dir, temporary, name, file } = self;
        durable::put_in_force(dir, temporary, name, file, || Ok(()))
    }

    /// Makes the name durable.
    pub(in crate::store) fn sync(&self) -> Result<(), StoreError> {
        self.dir.sync()
    }

    pub(in crate::store) fn give_up(&self) {
        withdraw(&self.dir, &self.temporary, &self.file);
    }
}

/// What a batch leaves for later.
#[derive(Debug, Default)]
pub(in crate::store) struct Deferral(Mutex<Left>);

#[derive(Debug, Default)]
struct Left {
    /// Of the account that is being looked at.
    unnamed: Vec<Unnamed>,
    /// The names that files of this batch are to get, by directory.
    taken: HashSet<(&'static str, String)>,
    /// Directories, opened once, and locked until the end of the batch where that is due.
    dirs: HashMap<&'static str, Arc<Dir>>,
}

impl Deferral {
    fn left(&self) -> MutexGuard<'_, Left> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory of this name, opened by `open` when it is asked for first.
    pub(in crate::store) fn dir(
        &self,
        kind: &'static str,
        open: impl FnOnce() -> Result<Option<Dir>, StoreError>,
    ) -> Result<Option<Arc<Dir>>, StoreError> {
        let mut left = self.left();
        if let Some(dir) = left.dirs.get(kind) {
            return Ok(Some(Arc::clone(dir)));
        }
        let Some(dir) = open()?.map(Arc::new) else { return Ok(None) };
        left.dirs.insert(kind, Arc::clone(&dir));
        Ok(Some(dir))
    }

    /// Whether a file of this batch is to get that name.
    pub(in crate::store) fn is_taken(&self, kind: &'static str, name: &str) -> bool {
        self.left().taken.contains(&(kind, name.to_owned()))
    }

    /// Writes a file that is to get a name which no other of the batch is to get.
    pub(in crate::store) fn write(
        &self,
        kind: &'static str,
        dir: Arc<Dir>,
        temporary: String,
        name: &str,
        text: &str,
    ) -> Result<(), StoreError> {
        let file = write_new(&dir, &temporary, name, text, Durability::Later, || Ok(()))?;
        let name = name.to_owned();
        let mut left = self.left();
        left.taken.insert((kind, name.clone()));
        left.unnamed.push(Unnamed { dir, temporary, name, file });
        Ok(())
    }

    /// What was written since this was last asked.
    pub(in crate::store) fn take(&self) -> Vec<Unnamed> {
        std::mem::take(&mut self.left().unnamed)
    }

    /// The batch is over.
    pub(in crate::store) fn end(&self) {
        std::mem::take(&mut *self.left()).unnamed.iter().for_each(Unnamed::give_up);
    }
}
