//! Verifies a password by a libpam transaction of its own, on a service whose
//! file holds pam_unix, pam_sss or whatever the machine uses. Nothing of
//! shadow(5) or crypt(3) is written here.
//!
//! This is the one place where a [`PasswordProof`] is made of a password.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_int, c_uint, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pam::constants::{
    PAM_DISALLOW_NULL_AUTHTOK, PAM_ERROR_MSG, PAM_PROMPT_ECHO_OFF, PAM_SILENT, PAM_TEXT_INFO,
    PamFlag, PamResultCode,
};
use pam::module::PamHandle;

use super::door::{self, SUCCESS};
use super::sys;
use crate::login::PasswordProof;
use crate::login::ports::PasswordAnswer;

/// Set in the nested handle's PAM environment, so that this module knows
/// itself when the nested service's file includes it.
const NESTED: &CStr = c"PAM_ONETIME_NESTED";
const NESTED_IS_SET: &CStr = c"PAM_ONETIME_NESTED=1";

/// Whether this login is itself a password check of ours.
pub(super) fn is_nested(pamh: &mut PamHandle) -> bool {
    door::has_variable(pamh, NESTED)
}

/// Asks `service` whether `password` is `user`'s.
///
/// The delay that its modules want after a failure is handed on to the outer
/// handle, where it applies to any failure of the login: waited for here, a
/// wrong password would betray itself before the code prompt.
pub(super) fn verify(
    pamh: &mut PamHandle,
    service: &str,
    user: &str,
    password: &[u8],
    flags: PamFlag,
) -> PasswordAnswer {
    let passed = flags & (PAM_DISALLOW_NULL_AUTHTOK | PAM_SILENT);
    let dialogue = Dialogue { password, delay: Cell::new(0) };
    let status = match Transaction::start(service, user, &dialogue) {
        Ok(mut transaction) => {
            transaction.copy_items(pamh).and_then(|()| transaction.authenticate(passed))
        }
        Err(code) => Err(code),
    };
    door::delay_failure(pamh, dialogue.delay.get());
    match status {
        Ok(()) => PasswordAnswer::Right(PasswordProof::by_transaction()),
        Err(
            PamResultCode::PAM_AUTH_ERR
            | PamResultCode::PAM_USER_UNKNOWN
            | PamResultCode::PAM_MAXTRIES
            | PamResultCode::PAM_PERM_DENIED
            | PamResultCode::PAM_ACCT_EXPIRED
            | PamResultCode::PAM_CRED_INSUFFICIENT,
        ) => PasswordAnswer::Wrong,
        Err(code) => PasswordAnswer::Unavailable { result: code as i32 },
    }
}

/// What the callbacks of the nested handle work with.
struct Dialogue<'a> {
    password: &'a [u8],
    /// The longest delay that a module asked for, in microseconds.
    delay: Cell<c_uint>,
}

/// A nested handle, ended when dropped.
struct Transaction<'a> {
    pamh: *mut PamHandle,
    status: c_int,
    /// The handle holds a pointer to it.
    dialogue: PhantomData<&'a Dialogue<'a>>,
}

impl<'a> Transaction<'a> {
    fn start(service: &str, user: &str, dialogue: &'a Dialogue<'a>) -> Result<Self, PamResultCode> {
        let text = |text: &str| CString::new(text).map_err(|_| PamResultCode::PAM_BUF_ERR);
        let (service, user) = (text(service)?, text(user)?);
        let conversation = sys::Conversation {
            function: converse,
            data: std::ptr::from_ref(dialogue).cast_mut().cast(),
        };
        let mut pamh = std::ptr::null_mut();
        // SAFETY: the strings and the conversation live until the call
        // returns, and libpam copies them; `dialogue`, to which it keeps a
        // pointer, outlives the handle (lifetime 'a).
        let status = unsafe {
            sys::pam_start(service.as_ptr(), user.as_ptr(), &raw const conversation, &raw mut pamh)
        };
        if status != SUCCESS || pamh.is_null() {
            return Err(result(status).err().unwrap_or(PamResultCode::PAM_SYSTEM_ERR));
        }
        let mut transaction = Self { pamh, status, dialogue: PhantomData };
        let delay: sys::FailDelayFn = record_delay;
        transaction.set(sys::PAM_FAIL_DELAY, delay as *const c_void)?;
        // SAFETY: the handle is valid and the text NUL-terminated; libpam copies it.
        result(unsafe { sys::pam_putenv(pamh, NESTED_IS_SET.as_ptr()) })?;
        Ok(transaction)
    }

    /// Lets the nested modules see from where the user comes.
    fn copy_items(&mut self, outer: &PamHandle) -> Result<(), PamResultCode> {
        for (item, value) in [
            (sys::PAM_RHOST, door::rhost(outer)),
            (sys::PAM_TTY, door::tty(outer)),
            (sys::PAM_RUSER, door::ruser(outer)),
        ] {
            if let Some(value) = value {
                let value = CString::new(value).map_err(|_| PamResultCode::PAM_BUF_ERR)?;
                self.set(item, value.as_ptr().cast())?;
            }
        }
        Ok(())
    }

    fn set(&mut self, item: c_int, value: *const c_void) -> Result<(), PamResultCode> {
        // SAFETY: the handle is valid; the value is a NUL-terminated string,
        // which libpam copies, or the delay function, which is never freed.
        result(unsafe { sys::pam_set_item(self.pamh, item, value) })
    }

    fn authenticate(&mut self, flags: PamFlag) -> Result<(), PamResultCode> {
        let flags = c_int::try_from(flags).map_err(|_| PamResultCode::PAM_SYSTEM_ERR)?;
        // SAFETY: the handle is valid, and so is what its callbacks point to.
        self.status = unsafe { sys::pam_authenticate(self.pamh, flags) };
        result(self.status)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is valid, and not used again.
        let _ = unsafe { sys::pam_end(self.pamh, self.status) };
    }
}

fn result(code: c_int) -> Result<(), PamResultCode> {
    match PamResultCode::try_from(code) {
        Ok(PamResultCode::PAM_SUCCESS) => Ok(()),
        Ok(code) => Err(code),
        Err(_) => Err(PamResultCode::PAM_SYSTEM_ERR),
    }
}

/// PAM_FAIL_DELAY of the nested handle: notes how long its modules would
/// wait, whether they failed or not, and does not wait.
///
/// # Safety
/// `data` is the [`Dialogue`] of the transaction.
unsafe extern "C" fn record_delay(_status: c_int, microseconds: c_uint, data: *mut c_void) {
    // SAFETY: libpam calls this with the data of the conversation, a
    // `Dialogue` that outlives the handle and is not mutably borrowed.
    if let Some(dialogue) = unsafe { data.cast_const().cast::<Dialogue<'_>>().as_ref() } {
        dialogue.delay.set(dialogue.delay.get().max(microseconds));
    }
}

/// The nested conversation: every hidden prompt is answered with the password,
/// messages are not shown (they would show which factor failed), a visible
/// prompt is an error.
///
/// # Safety
/// To be called by libpam, with `count` messages and the transaction's
/// [`Dialogue`] as `data`.
unsafe extern "C" fn converse(
    count: c_int,
    messages: *mut *const sys::Message,
    responses: *mut *mut sys::Response,
    data: *mut c_void,
) -> c_int {
    let answered = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: as this function's own contract.
        unsafe { answer(count, messages, responses, data) }
    }));
    match answered {
        Ok(Ok(())) => SUCCESS,
        Ok(Err(code)) => code as c_int,
        Err(_) => PamResultCode::PAM_CONV_ERR as c_int,
    }
}

/// # Safety
/// As for [`converse`].
unsafe fn answer(
    count: c_int,
    messages: *mut *const sys::Message,
    responses: *mut *mut sys::Response,
    data: *mut c_void,
) -> Result<(), PamResultCode> {
    let error = PamResultCode::PAM_CONV_ERR;
    let count = usize::try_from(count).map_err(|_| PamResultCode::PAM_CONV_ERR)?;
    if count == 0 || count > sys::MAX_MESSAGES || messages.is_null() || responses.is_null() {
        return Err(error);
    }
    // SAFETY: `data` is the Dialogue, which outlives the handle.
    let Some(dialogue) = (unsafe { data.cast_const().cast::<Dialogue<'_>>().as_ref() }) else {
        return Err(error);
    };
    // SAFETY: libpam passes an array of `count` pointers to messages.
    let messages = unsafe { std::slice::from_raw_parts(messages, count) };
    let mut texts = [std::ptr::null_mut(); sys::MAX_MESSAGES];
    for (message, text) in messages.iter().zip(&mut texts) {
        // SAFETY: each pointer is null or that of a message.
        match unsafe { message.as_ref() }.map(|message| message.style) {
            Some(PAM_PROMPT_ECHO_OFF) => *text = copy(dialogue.password),
            Some(PAM_TEXT_INFO | PAM_ERROR_MSG) => continue,
            Some(_) | None => {}
        }
        if text.is_null() {
            texts.into_iter().for_each(discard);
            return Err(error);
        }
    }
    // SAFETY: calloc has no preconditions; libpam's module frees what it gets.
    let array = unsafe { libc::calloc(count, size_of::<sys::Response>()) }.cast::<sys::Response>();
    if array.is_null() {
        texts.into_iter().for_each(discard);
        return Err(PamResultCode::PAM_BUF_ERR);
    }
    for (index, text) in texts.into_iter().take(count).enumerate() {
        // SAFETY: the array has `count` places, and index is less.
        let place = unsafe { array.add(index) };
        // SAFETY: the place is valid for writes and properly aligned.
        unsafe { place.write(sys::Response { text, code: 0 }) };
    }
    // SAFETY: checked for null above; libpam passes a place for one pointer.
    unsafe { responses.write(array) };
    Ok(())
}

/// A NUL-terminated copy in memory of malloc's, as libpam wants it; null if
/// there is none.
fn copy(bytes: &[u8]) -> *mut libc::c_char {
    // SAFETY: calloc has no preconditions. One byte more: the NUL.
    let text = unsafe { libc::calloc(bytes.len().saturating_add(1), 1) }.cast::<u8>();
    if !text.is_null() {
        // SAFETY: `text` has room for all bytes and does not overlap them.
        unsafe { text.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }
    text.cast()
}

/// Overwrites and frees a copy that libpam will not get.
fn discard(text: *mut libc::c_char) {
    if !text.is_null() {
        // SAFETY: made by `copy`, so NUL-terminated.
        let length = unsafe { libc::strlen(text) };
        // SAFETY: as above; nobody else has it.
        let bytes = unsafe { std::slice::from_raw_parts_mut(text.cast::<u8>(), length) };
        zeroize::Zeroize::zeroize(bytes);
        // SAFETY: made by calloc, and not used again.
        unsafe { libc::free(text.cast()) };
    }
}

/// A door for the fuzz targets (`fuzz/`), and only in their build.
#[cfg(fuzzing)]
pub mod fuzzing {
    use super::*;

    /// What a module of the nested service may send: a message of some style, or a
    /// null pointer in its place.
    pub type MessageStyle = Option<c_int>;

    /// Sends `messages` to the nested conversation of a login with `password`, says
    /// that they are `count`, and takes and frees the answers as a module does.
    ///
    /// # Errors
    /// PAM's code, where there are no answers.
    pub fn converse(
        password: &[u8],
        messages: &[MessageStyle],
        count: c_int,
    ) -> Result<Vec<Option<Vec<u8>>>, c_int> {
        assert!(usize::try_from(count).is_ok_and(|count| count <= messages.len()) || count < 0);
        let text = c"?".as_ptr();
        let bodies: Vec<_> =
            messages.iter().map(|style| style.map(|style| sys::Message { style, text })).collect();
        let mut pointers: Vec<_> = bodies
            .iter()
            .map(|body| body.as_ref().map_or(std::ptr::null(), std::ptr::from_ref))
            .collect();
        let mut dialogue = Dialogue { password, delay: Cell::new(0) };
        let mut responses = std::ptr::null_mut();
        // SAFETY: there are `count` pointers, and the rest lives until the call returns.
        let status = unsafe {
            super::converse(
                count,
                pointers.as_mut_ptr(),
                &raw mut responses,
                (&raw mut dialogue).cast(),
            )
        };
        if status != SUCCESS {
            assert!(responses.is_null(), "answers of a conversation that failed leak");
            return Err(status);
        }
        let count = usize::try_from(count).unwrap_or_default();
        // SAFETY: one answer for each message.
        let answers = unsafe { std::slice::from_raw_parts(responses, count) }
            .iter()
            .map(|answer| take(answer.text))
            .collect();
        // SAFETY: made by calloc, and not used again.
        unsafe { libc::free(responses.cast()) };
        Ok(answers)
    }

    fn take(text: *mut libc::c_char) -> Option<Vec<u8>> {
        // SAFETY: an answer is null or NUL-terminated.
        let bytes = (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes().to_vec());
        discard(text);
        bytes
    }
}
