//! Doors for the fuzz targets (`fuzz/`), and only in their build: what is on disk as
//! bytes, without a disk.

use std::borrow::Cow;

use zeroize::Zeroizing;

use super::slots::{self, LatestState, SLOT_BYTES, Slot};
use super::{names, record};
use crate::account::{Generation, Record, State, UserName};

/// The record in a file's text.
///
/// # Errors
/// What is wrong, in words.
pub fn read_record(text: &str) -> Result<Record, &'static str> {
    record::from_text(text)
}

/// The text of a record's file; `None` if it cannot be written.
#[must_use]
pub fn write_record(record: &Record) -> Option<Zeroizing<String>> {
    record::to_text(record).ok()
}

/// The state that two slots hold for `generation`, the sequence number of its
/// successor, and in which of them that goes.
///
/// # Errors
/// What is wrong, in words.
pub fn read_state(
    slots: &[[u8; SLOT_BYTES]; 2],
    generation: Generation,
) -> Result<(State, u64, usize), &'static str> {
    let LatestState { state, spare, sequence } = slots::latest(slots, generation)?;
    Ok((state, sequence, usize::from(spare == Slot::Second)))
}

/// The bytes of a slot.
#[must_use]
pub fn write_slot(sequence: u64, state: &State) -> [u8; SLOT_BYTES] {
    slots::encode(sequence, state)
}

/// A user's name as that of a file; `None` if it gets too long.
#[must_use]
pub fn file_name(user: &UserName) -> Option<String> {
    names::encode(user).map(Cow::into_owned)
}

/// The user whose file name this is; `None` if it is nobody's.
#[must_use]
pub fn user_of(file: &str) -> Option<UserName> {
    names::decode(file)
}
