//! libpam's handle as the [`Door`] of a login: items, the password, one prompt, one
//! text. Safe to call; the declarations behind it are in `sys`.

use std::ffi::{CStr, CString};
use std::fmt;

use pam::constants::{
    PAM_ERROR_MSG, PAM_PROMPT_ECHO_OFF, PAM_PROMPT_ECHO_ON, PAM_SILENT, PAM_TEXT_INFO, PamFlag,
    PamResultCode,
};
use pam::conv::Conv;
use pam::items::{AuthTok, Item, RHost, RUser, Service, Tty, User};
use pam::module::PamHandle;
use pam::secret::SecretBytes;

use zeroize::Zeroizing;

use super::password::{Items, PasswordService};
use super::{account, sys};
use crate::bytes_as_text::to_text;
use crate::login::ports::{ConversationError, Door, Echo, PasswordAnswer, RawAnswer, Tone};
use crate::login::{AccountNote, NoteError, Output, ServiceFault, ServiceReport};
use crate::{callers, system};

/// PAM_SUCCESS as the declarations have it.
pub(super) const SUCCESS: i32 = PamResultCode::PAM_SUCCESS as i32;

/// The application at the other end of a handle.
pub(super) struct PamDoor<'a> {
    pamh: &'a mut PamHandle,
    flags: PamFlag,
    service: PasswordService,
}

impl<'a> PamDoor<'a> {
    pub(super) const fn new(pamh: &'a mut PamHandle, flags: PamFlag) -> Self {
        Self { pamh, flags, service: PasswordService::new(flags) }
    }

    fn conversation(&self) -> Result<Conv<'_>, PamResultCode> {
        self.pamh.get_item::<Conv<'_>>()?.ok_or(PamResultCode::PAM_CONV_ERR)
    }
}

impl Door for PamDoor<'_> {
    fn service(&self) -> Option<String> {
        service(self.pamh)
    }

    fn ruser(&self) -> Option<String> {
        who_asks(self.pamh)
    }

    fn rhost(&self) -> Option<String> {
        rhost(self.pamh)
    }

    fn tty(&self) -> Option<String> {
        tty(self.pamh)
    }

    fn output(&self) -> Output {
        system::output()
    }

    fn wants_silence(&self) -> bool {
        self.flags & PAM_SILENT != 0
    }

    fn user(&mut self) -> Result<String, ConversationError> {
        let (pamh, mut user) = (&mut *self.pamh, std::ptr::null());
        // SAFETY: the handle is valid; `user` receives a pointer that libpam owns; a null
        // prompt means libpam's own.
        let code = unsafe { sys::pam_get_user(pamh, &raw mut user, std::ptr::null()) };
        if code != SUCCESS || user.is_null() {
            let code = PamResultCode::try_from(code).unwrap_or(PamResultCode::PAM_SYSTEM_ERR);
            return Err(failed(code));
        }
        // SAFETY: libpam's name is NUL-terminated, and stays until it is set again.
        Ok(to_text(unsafe { CStr::from_ptr(user) }.to_bytes()))
    }

    fn current_user(&self) -> Option<String> {
        user(self.pamh)
    }

    fn left_password(&self) -> Option<RawAnswer> {
        let item = self.pamh.get_item::<AuthTok<'_>>().ok()??;
        Some(typed(&item.to_owned_secret()))
    }

    fn ask_password(&mut self) -> Result<RawAnswer, ConversationError> {
        let (pamh, mut token) = (&mut *self.pamh, std::ptr::null());
        // SAFETY: the handle is valid; `token` receives a pointer that libpam
        // owns; a null prompt means libpam's own.
        let code = unsafe {
            sys::pam_get_authtok(pamh, sys::PAM_AUTHTOK, &raw mut token, std::ptr::null())
        };
        if code != SUCCESS {
            let code = PamResultCode::try_from(code).unwrap_or(PamResultCode::PAM_SYSTEM_ERR);
            return Err(failed(code));
        }
        self.left_password().ok_or_else(|| failed(PamResultCode::PAM_AUTHTOK_ERR))
    }

    fn leave_password(&mut self, password: Option<&[u8]>) {
        let Some(password) = password else { return set_password(self.pamh, None) };
        // libpam has no place for a password with a NUL in it.
        if let Ok(text) = CString::new(password) {
            set_password(self.pamh, Some(&text));
            drop(Zeroizing::new(text.into_bytes()));
        }
    }

    fn verify_password(&mut self, service: &str, user: &str, password: &[u8]) -> PasswordAnswer {
        let items = Items { rhost: rhost(self.pamh), tty: tty(self.pamh), ruser: ruser(self.pamh) };
        let answer = self.service.verify(service, user, password, &items);
        delay_failure(self.pamh, self.service.delay());
        answer
    }

    fn hear_service(&mut self) -> Result<ServiceReport, ServiceFault> {
        self.service.hear()
    }

    fn note_account(&mut self, note: AccountNote) -> Result<(), NoteError> {
        account::note(self.pamh, note).map_err(|code| NoteError(ResultName(code).to_string()))
    }

    fn ask(&mut self, prompt: &str, echo: Echo) -> Result<RawAnswer, ConversationError> {
        let style = match echo {
            Echo::On => PAM_PROMPT_ECHO_ON,
            Echo::Off => PAM_PROMPT_ECHO_OFF,
        };
        let answer = self.conversation().and_then(|conversation| conversation.send(style, prompt));
        // Of some applications Enter arrives as a success without a text.
        Ok(answer.map_err(failed)?.map_or_else(RawAnswer::default, |answer| typed(&answer)))
    }

    fn show(&mut self, text: &str, tone: Tone) -> Result<(), ConversationError> {
        let style = match tone {
            Tone::Info => PAM_TEXT_INFO,
            Tone::Error => PAM_ERROR_MSG,
        };
        let shown = self.conversation().and_then(|conversation| conversation.send(style, text));
        shown.map(drop).map_err(failed)
    }
}

fn typed(secret: &SecretBytes) -> RawAnswer {
    Zeroizing::new(secret.as_bytes().to_vec())
}

fn failed(code: PamResultCode) -> ConversationError {
    ConversationError(ResultName(code).to_string())
}

/// A result by libpam's own name of it, such as `PAM_CONV_ERR`: the crate has them as words
/// of its `Debug` alone.
struct ResultName(PamResultCode);

impl fmt::Display for ResultName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// PAM_USER.
pub(super) fn user(pamh: &PamHandle) -> Option<String> {
    let item = pamh.get_item::<User<'_>>().ok()??;
    Some(to_text(item.0.to_bytes())).filter(|name| !name.is_empty())
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

/// On whose behalf a login is, for the log: PAM_RUSER, or, where that is somebody else, the
/// user who has started the program, if it is not root.
pub(super) fn who_asks(pamh: &PamHandle) -> Option<String> {
    if callers::names_who_asks(&service(pamh).unwrap_or_default()) {
        return ruser(pamh);
    }
    let uid = rustix::process::getuid();
    let name = || system::name_of(uid.as_raw()).ok().flatten();
    (!uid.is_root()).then(|| name().map_or_else(|| uid.to_string(), |name| name.to_string()))
}

fn item<'a, T: Item<'a>>(pamh: &'a PamHandle, text: impl FnOnce(T) -> &'a CStr) -> Option<String> {
    let item = pamh.get_item::<T>().ok()??;
    Some(text(item).to_string_lossy().into_owned()).filter(|text| !text.is_empty())
}

/// Sets the password for later modules, or forgets it.
fn set_password(pamh: &mut PamHandle, password: Option<&CStr>) {
    let value = password.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: the handle is valid, the value null or NUL-terminated; libpam
    // copies it. Where it fails, later modules ask themselves.
    let _ = unsafe { sys::pam_set_item(pamh, sys::PAM_AUTHTOK, value.cast()) };
}

/// Asks libpam to wait at least so long before it reports a failure.
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
