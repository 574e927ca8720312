//! What the kernel says of the clock. Not libpam's, but this is the one room
//! for `unsafe`, and no safe crate that we link asks adjtimex(2). For
//! `onetimectl` alone.

use std::mem::MaybeUninit;

/// Whether something keeps the kernel's clock right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockSync {
    /// The kernel's clock is kept in step, by NTP for instance.
    Yes,
    /// The kernel's clock runs freely.
    No,
}

/// Asks the kernel whether its clock is synchronized, and changes nothing;
/// `None` if it does not say.
#[must_use]
pub fn clock_synchronized() -> Option<ClockSync> {
    let mut state = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: the pointer is to a whole `timex`, all zero: no mode is set, so
    // the kernel only fills it in.
    let answer = unsafe { libc::adjtimex(state.as_mut_ptr()) };
    // SAFETY: integers, for which any bytes are valid, and zeroed to begin with.
    let state = unsafe { state.assume_init() };
    if answer < 0 {
        return None;
    }
    let unsynchronized = answer == libc::TIME_ERROR || state.status & libc::STA_UNSYNC != 0;
    Some(if unsynchronized { ClockSync::No } else { ClockSync::Yes })
}
