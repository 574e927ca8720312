//! libpam's handle, as a login needs it: items, the password, one prompt, one
//! message. Safe to call; the declarations behind it are in `sys`.

use std::ffi::CStr;

use pam::constants::{
    PAM_ERROR_MSG, PAM_PROMPT_ECHO_OFF, PAM_PROMPT_ECHO_ON, PAM_TEXT_INFO, PamResultCode,
};
use pam::conv::Conv;
use pam::items::{AuthTok, Item, RHost, RUser, Service, Tty, User};
use pam::module::PamHandle;
use pam::secret::SecretBytes;

use super::sys;

/// PAM_SUCCESS as the declarations have it.
pub(super) const SUCCESS: i32 = PamResultCode::PAM_SUCCESS as i32;

/// Whether what is typed is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Echo {
    On,
    Off,
}

/// How a message is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Info,
    Error,
}

/// The name to authenticate, asked for if the application has not said it.
pub(super) fn user(pamh: &mut PamHandle) -> Result<String, PamResultCode> {
    pamh.get_user(None)
}

/// PAM_USER as it stands now.
pub(super) fn user_item(pamh: &PamHandle) -> Option<String> {
    item::<User<'_>>(pamh, |item| item.0)
}

/// PAM_SERVICE.
pub(super) fn service(pamh: &PamHandle) -> Option<String> {
    item::<Service<'_>>(pamh, |item| item.0)
}

/// PAM_RHOST.
pub(super) fn rhost(pamh: &PamHandle) -> Option<String> {
    item::<RHost<'_>>(pamh, |item| item.0)
}

/// PAM_TTY.
pub(super) fn tty(pamh: &PamHandle) -> Option<String> {
    item::<Tty<'_>>(pamh, |item| item.0)
}

/// PAM_RUSER.
pub(super) fn ruser(pamh: &PamHandle) -> Option<String> {
    item::<RUser<'_>>(pamh, |item| item.0)
}

fn item<'a, T: Item<'a>>(pamh: &'a PamHandle, text: impl FnOnce(T) -> &'a CStr) -> Option<String> {
    let item = pamh.get_item::<T>().ok()??;
    Some(text(item).to_string_lossy().into_owned()).filter(|text| !text.is_empty())
}

/// The password: what an earlier module has set, else what the user answers,
/// which is then set for later modules.
pub(super) fn ask_password(pamh: &mut PamHandle) -> Result<SecretBytes, PamResultCode> {
    let mut token = std::ptr::null();
    // SAFETY: the handle is valid; `token` receives a pointer that libpam
    // owns; a null prompt means libpam's own.
    let code =
        unsafe { sys::pam_get_authtok(pamh, sys::PAM_AUTHTOK, &raw mut token, std::ptr::null()) };
    if code != SUCCESS {
        return Err(PamResultCode::try_from(code).unwrap_or(PamResultCode::PAM_SYSTEM_ERR));
    }
    password_item(pamh).ok_or(PamResultCode::PAM_AUTHTOK_ERR)
}

/// Sets the password for later modules, or forgets it.
pub(super) fn set_password(pamh: &mut PamHandle, password: Option<&CStr>) {
    let value = password.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: the handle is valid, the value null or NUL-terminated; libpam
    // copies it. Where it fails, later modules ask themselves.
    let _ = unsafe { sys::pam_set_item(pamh, sys::PAM_AUTHTOK, value.cast()) };
}

/// The password that an earlier module has set, if one has.
pub(super) fn password_item(pamh: &PamHandle) -> Option<SecretBytes> {
    let item = pamh.get_item::<AuthTok<'_>>().ok()??;
    Some(item.to_owned_secret())
}

/// Asks for one answer; `None` if the application has none to give.
pub(super) fn ask(
    pamh: &PamHandle,
    prompt: &str,
    echo: Echo,
) -> Result<Option<SecretBytes>, PamResultCode> {
    let style = match echo {
        Echo::On => PAM_PROMPT_ECHO_ON,
        Echo::Off => PAM_PROMPT_ECHO_OFF,
    };
    conversation(pamh)?.send(style, prompt)
}

/// Shows a text that needs no answer.
pub(super) fn tell(pamh: &PamHandle, text: &str, tone: Tone) -> Result<(), PamResultCode> {
    let style = match tone {
        Tone::Info => PAM_TEXT_INFO,
        Tone::Error => PAM_ERROR_MSG,
    };
    conversation(pamh)?.send(style, text).map(drop)
}

fn conversation(pamh: &PamHandle) -> Result<Conv<'_>, PamResultCode> {
    pamh.get_item::<Conv<'_>>()?.ok_or(PamResultCode::PAM_CONV_ERR)
}

/// Asks libpam to wait at least so long before it tells a failure.
pub(super) fn delay_failure(pamh: &mut PamHandle, microseconds: u32) {
    // SAFETY: the handle is valid. The only error is a handle that is null.
    let _ = unsafe { sys::pam_fail_delay(pamh, microseconds) };
}

/// Whether a variable of the PAM environment is set. It belongs to the
/// handle; the process environment is not read.
pub(super) fn has_variable(pamh: &mut PamHandle, name: &CStr) -> bool {
    // SAFETY: the handle is valid and the name NUL-terminated; the answer is
    // compared with null and not kept.
    !unsafe { sys::pam_getenv(pamh, name.as_ptr()) }.is_null()
}
