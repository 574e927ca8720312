//! The only room that touches libpam: the three hooks, module arguments, the
//! conversation, the nested transaction that verifies a password.
//!
//! Only `pam_sm_authenticate`, `pam_sm_acct_mgmt` and `pam_sm_setcred` are exported. A
//! module that exports all six hooks is passed over when it is wrongly listed under
//! `session`; without the hook libpam says PAM_MODULE_UNKNOWN, and the stack fails.
//!
//! A panic becomes PAM_ABORT, which no control word takes for success.
//!
//! What a login worked with is gone when it ends: the heap is wiped as it is freed
//! (the allocator in [`crate`]), the stack at once.

mod account;
mod dialogue;
mod door;
mod hook;
#[cfg(feature = "tool")]
pub(crate) mod kernel;
mod password;
mod service_file;
mod sys;

#[cfg(fuzzing)]
pub use dialogue::fuzzing as nested;

pub use password::{Items as PasswordItems, PasswordService};

use std::ffi::{c_char, c_int};

use pam::constants::{PamFlag, PamResultCode};
use pam::macros::invoke_hook;
use pam::module::PamHandle;

/// More than a login's own frames take: where codes were computed lie keys and digests
/// that no destructor knows of.
const STACK: usize = 16 * 1024;

/// Authenticates a user: see [`crate`] for the way of one login.
///
/// # Safety
/// To be called by libpam, with its handle and `argc` arguments in `argv`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pam_sm_authenticate(
    pamh: *mut PamHandle,
    flags: PamFlag,
    argc: c_int,
    argv: *const *const c_char,
) -> PamResultCode {
    // SAFETY: as this function's own contract.
    let result = unsafe { guarded(pamh, flags, argc, argv) };
    zeroize::zeroize_stack::<STACK>();
    result
}

/// Answers what the password service said of the account when the user authenticated.
/// Never success: where nothing was noted, the other modules decide.
///
/// # Safety
/// As for [`pam_sm_authenticate`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pam_sm_acct_mgmt(
    pamh: *mut PamHandle,
    _flags: PamFlag,
    argc: c_int,
    argv: *const *const c_char,
) -> PamResultCode {
    // SAFETY: libpam gives a handle that is valid for the call, and `argc`
    // NUL-terminated arguments in `argv`.
    unsafe { invoke_hook(pamh, argc, argv, |pamh, args| account::answer(pamh, &args)) }
}

/// In a frame of its own, below which the stack can be wiped.
///
/// # Safety
/// As for [`pam_sm_authenticate`].
#[inline(never)]
unsafe fn guarded(
    pamh: *mut PamHandle,
    flags: PamFlag,
    argc: c_int,
    argv: *const *const c_char,
) -> PamResultCode {
    // SAFETY: libpam gives a handle that is valid for the call, and `argc`
    // NUL-terminated arguments in `argv`.
    unsafe { invoke_hook(pamh, argc, argv, |pamh, args| hook::authenticate(pamh, &args, flags)) }
}

/// There are no credentials to set. Success, because a `required` module that
/// answers anything else here fails the stack it just let pass; after
/// PAM_IGNORE at authentication libpam ignores this answer too.
///
/// # Safety
/// To be called by libpam.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pam_sm_setcred(
    _pamh: *mut PamHandle,
    _flags: PamFlag,
    _argc: c_int,
    _argv: *const *const c_char,
) -> PamResultCode {
    PamResultCode::PAM_SUCCESS
}
