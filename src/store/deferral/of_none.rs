//! Where there are none: a login changes one account, and has no code for more.

use std::sync::Arc;

use super::super::StoreError;
use super::super::checked::Dir;

/// Nothing is left for later.
#[derive(Debug)]
pub(in crate::store) enum Deferral {}

impl Deferral {
    pub(in crate::store) fn dir(
        &self,
        _kind: &'static str,
        _open: impl FnOnce() -> Result<Option<Dir>, StoreError>,
    ) -> Result<Option<Arc<Dir>>, StoreError> {
        match *self {}
    }

    pub(in crate::store) fn is_taken(&self, _kind: &'static str, _name: &str) -> bool {
        match *self {}
    }

    pub(in crate::store) fn write(
        &self,
        _kind: &'static str,
        _dir: Arc<Dir>,
        _temporary: String,
        _name: &str,
        _text: &str,
    ) -> Result<(), StoreError> {
        match *self {}
    }
}
