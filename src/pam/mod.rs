//! The only room that touches libpam: the two hooks, module arguments, the
//! conversation, the nested transaction that verifies a password.
//!
//! Only `pam_sm_authenticate` and `pam_sm_setcred` are exported. A module that
//! exports all six hooks answers success when it is wrongly listed under
//! `account`; without the hook libpam says PAM_MODULE_UNKNOWN.
//!
//! A panic becomes PAM_ABORT, which no control word takes for success.

mod arguments;
mod authenticate;
mod handle;
mod password;
mod sys;

use std::ffi::{c_char, c_int};

use pam::constants::{PamFlag, PamResultCode};
use pam::macros::invoke_hook;
use pam::module::PamHandle;

/// Reads the arguments of a line in pam.d as a login does: the configuration's
/// path, the password mode by its word, and what is wrong with the rest once
/// `config` is known.
///
/// # Errors
/// What is wrong with the arguments, in words.
pub fn check_arguments(line: &[&std::ffi::CStr]) -> Result<CheckedArguments, String> {
    let arguments = arguments::Arguments::parse(line).map_err(|error| error.to_string())?;
    let default = crate::config::Config::default();
    arguments.apply(default).map_err(|error| error.to_string())?;
    Ok(CheckedArguments {
        config: arguments.config.clone(),
        password: match arguments.password {
            arguments::PasswordMode::Verify => "verify",
            arguments::PasswordMode::Stack => "stack",
            arguments::PasswordMode::None => "none",
        },
    })
}

/// What [`check_arguments`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedArguments {
    /// The configuration that the line names, or the default one.
    pub config: std::path::PathBuf,
    /// `verify`, `stack` or `none`.
    pub password: &'static str,
}

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
    // SAFETY: libpam gives a handle that is valid for the call, and `argc`
    // NUL-terminated arguments in `argv`.
    unsafe {
        invoke_hook(pamh, argc, argv, |pamh, args| authenticate::authenticate(pamh, &args, flags))
    }
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
