//! A module that lets everybody in and does nothing, for `make bench`: what it costs to
//! be a module of Rust's at all. Built as ours is, and with the same guard against panics.

#![expect(unsafe_code, reason = "libpam looks its hooks up by their C names")]

use std::ffi::{c_char, c_int, c_void};
use std::panic::catch_unwind;

const PAM_SUCCESS: c_int = 0;
const PAM_ABORT: c_int = 26;

/// Called by libpam.
#[unsafe(no_mangle)]
pub extern "C" fn pam_sm_authenticate(
    _pamh: *mut c_void,
    flags: c_int,
    argc: c_int,
    _argv: *const *const c_char,
) -> c_int {
    // Something that could panic, or the guard would be left out.
    let checked = || {
        assert!(!format!("{flags} {argc}").is_empty(), "numbers are written with digits");
        PAM_SUCCESS
    };
    catch_unwind(checked).unwrap_or(PAM_ABORT)
}

/// Called by libpam.
#[unsafe(no_mangle)]
pub extern "C" fn pam_sm_setcred(
    _pamh: *mut c_void,
    _flags: c_int,
    _argc: c_int,
    _argv: *const *const c_char,
) -> c_int {
    PAM_SUCCESS
}
