//! What pam-bindings does not declare of libpam (Linux-PAM's `_pam_types.h`,
//! `pam_appl.h` and `pam_modules.h`, which have been stable since 1.0).

use std::ffi::{CStr, OsStr, c_char, c_int, c_uint, c_void};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use pam::module::PamHandle;

/// `struct pam_message`
#[repr(C)]
pub(super) struct Message {
    pub(super) style: c_int,
    pub(super) text: *const c_char,
}

/// `struct pam_response`
#[repr(C)]
pub(super) struct Response {
    pub(super) text: *mut c_char,
    /// Always 0.
    pub(super) code: c_int,
}

/// The file of the libpam that this process uses; `None` if the loader does not say.
pub(super) fn libpam_path() -> Option<PathBuf> {
    let mut found = MaybeUninit::<libc::Dl_info>::zeroed();
    let symbol = (pam_start as *const ()).cast::<c_void>();
    // SAFETY: dladdr compares the address alone, and writes no more than a Dl_info.
    let known = unsafe { libc::dladdr(symbol, found.as_mut_ptr()) } != 0;
    // SAFETY: zeros are a Dl_info too: null pointers and no addresses.
    let found = unsafe { found.assume_init() };
    if !known || found.dli_fname.is_null() {
        return None;
    }
    // SAFETY: the loader's own name of the file ends with NUL, and stays as long as libpam
    // is loaded, which called us.
    let name = unsafe { CStr::from_ptr(found.dli_fname) };
    Some(PathBuf::from(OsStr::from_bytes(name.to_bytes())))
}

/// The application's conversation function.
pub(super) type ConversationFn = unsafe extern "C" fn(
    count: c_int,
    messages: *mut *const Message,
    responses: *mut *mut Response,
    data: *mut c_void,
) -> c_int;

/// `struct pam_conv`
#[repr(C)]
pub(super) struct Conversation {
    pub(super) function: ConversationFn,
    pub(super) data: *mut c_void,
}

/// What PAM_FAIL_DELAY holds.
pub(super) type FailDelayFn =
    unsafe extern "C" fn(status: c_int, microseconds: c_uint, data: *mut c_void);

pub(super) const PAM_TTY: c_int = 3;
pub(super) const PAM_RHOST: c_int = 4;
pub(super) const PAM_AUTHTOK: c_int = 6;
pub(super) const PAM_RUSER: c_int = 8;
pub(super) const PAM_FAIL_DELAY: c_int = 10;

/// The most messages a conversation may be given at once (PAM_MAX_NUM_MSG).
pub(super) const MAX_MESSAGES: usize = 32;

// Linked by pam-bindings.
unsafe extern "C" {
    pub(super) fn pam_start(
        service: *const c_char,
        user: *const c_char,
        conversation: *const Conversation,
        pamh: *mut *mut PamHandle,
    ) -> c_int;
    pub(super) fn pam_end(pamh: *mut PamHandle, status: c_int) -> c_int;
    pub(super) fn pam_authenticate(pamh: *mut PamHandle, flags: c_int) -> c_int;
    pub(super) fn pam_acct_mgmt(pamh: *mut PamHandle, flags: c_int) -> c_int;
    pub(super) fn pam_get_user(
        pamh: *mut PamHandle,
        user: *mut *const c_char,
        prompt: *const c_char,
    ) -> c_int;
    pub(super) fn pam_set_item(pamh: *mut PamHandle, item: c_int, value: *const c_void) -> c_int;
    pub(super) fn pam_get_authtok(
        pamh: *mut PamHandle,
        item: c_int,
        token: *mut *const c_char,
        prompt: *const c_char,
    ) -> c_int;
    pub(super) fn pam_fail_delay(pamh: *mut PamHandle, microseconds: c_uint) -> c_int;
    pub(super) fn pam_putenv(pamh: *mut PamHandle, name_value: *const c_char) -> c_int;
    pub(super) fn pam_getenv(pamh: *mut PamHandle, name: *const c_char) -> *const c_char;
}
