//! Names that files get later: what is written of many accounts is durable first, by one sync,
//! and then has its names (`super::batch`). Of records that is `super::stage`; here are the
//! entries of the index and what is remembered of keys.

#[cfg(any(test, feature = "tool"))]
mod of_many;
#[cfg(not(any(test, feature = "tool")))]
mod of_none;

#[cfg(any(test, feature = "tool"))]
pub(super) use of_many::{Deferral, Unnamed};
#[cfg(not(any(test, feature = "tool")))]
pub(super) use of_none::Deferral;
