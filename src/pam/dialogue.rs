//! The nested transaction's side of the conversation: the first hidden prompt is answered
//! with the password, and nothing else is. Texts are kept: shown before the verdict, they
//! would show which factor failed.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_int, c_uint, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use pam::constants::{PAM_ERROR_MSG, PAM_PROMPT_ECHO_OFF, PAM_TEXT_INFO, PamResultCode};
use zeroize::Zeroizing;

use super::door::SUCCESS;
use super::sys;
use crate::login::ports::Tone;

/// Texts that are kept of one transaction.
const MAX_TEXTS: usize = 16;
/// Characters that are kept of a text.
const MAX_TEXT: usize = 1024;
/// Characters that are kept of a prompt, for the log.
const MAX_PROMPT: usize = 128;

/// What the callbacks of the nested handle work with.
pub(super) struct Dialogue {
    /// Until it has been asked for.
    password: Cell<Option<Zeroizing<Vec<u8>>>>,
    /// The first thing that was asked besides.
    asked: RefCell<Option<String>>,
    /// What the modules say to the user.
    texts: RefCell<Vec<(Tone, String)>>,
    /// The longest delay that a module asked for, in microseconds.
    delay: Cell<c_uint>,
}

impl Dialogue {
    pub(super) fn with(password: &[u8]) -> Self {
        Self {
            password: Cell::new(Some(Zeroizing::new(password.to_vec()))),
            asked: RefCell::default(),
            texts: RefCell::default(),
            delay: Cell::new(0),
        }
    }

    /// What was asked besides the password, if anything was.
    pub(super) fn asked(&self) -> Option<String> {
        self.asked.borrow().clone()
    }

    /// What the modules have said to the user.
    pub(super) fn take_texts(&self) -> Vec<(Tone, String)> {
        self.texts.take()
    }

    /// The longest delay that a module asked for, in microseconds.
    pub(super) const fn delay(&self) -> c_uint {
        self.delay.get()
    }

    /// The answer to a message, null for a text, which wants none.
    fn answer(&self, style: c_int, text: &CStr) -> Result<*mut libc::c_char, PamResultCode> {
        match style {
            PAM_TEXT_INFO => self.hear(Tone::Info, text),
            PAM_ERROR_MSG => self.hear(Tone::Error, text),
            PAM_PROMPT_ECHO_OFF => {
                if let Some(password) = self.password.take() {
                    let answer = copy(&password);
                    let failed = answer.is_null();
                    return if failed { Err(PamResultCode::PAM_BUF_ERR) } else { Ok(answer) };
                }
                return Err(self.refuse(text));
            }
            // A visible prompt, a choice, or a kind that came later.
            _ => return Err(self.refuse(text)),
        }
        Ok(std::ptr::null_mut())
    }

    fn hear(&self, tone: Tone, text: &CStr) {
        let mut texts = self.texts.borrow_mut();
        if texts.len() < MAX_TEXTS {
            texts.push((tone, shortened(text, MAX_TEXT)));
        }
    }

    fn refuse(&self, prompt: &CStr) -> PamResultCode {
        self.asked.borrow_mut().get_or_insert_with(|| shortened(prompt, MAX_PROMPT));
        PamResultCode::PAM_CONV_ERR
    }
}

fn shortened(text: &CStr, characters: usize) -> String {
    text.to_string_lossy().chars().take(characters).collect()
}

/// PAM_FAIL_DELAY of the nested handle: notes how long its modules would
/// wait, whether they failed or not, and does not wait.
///
/// # Safety
/// `data` is the [`Dialogue`] of the transaction.
pub(super) unsafe extern "C" fn record_delay(
    _status: c_int,
    microseconds: c_uint,
    data: *mut c_void,
) {
    // SAFETY: libpam calls this with the data of the conversation, a
    // `Dialogue` that outlives the handle and is not mutably borrowed.
    if let Some(dialogue) = unsafe { data.cast_const().cast::<Dialogue>().as_ref() } {
        dialogue.delay.set(dialogue.delay.get().max(microseconds));
    }
}

/// The nested conversation.
///
/// # Safety
/// To be called by libpam, with `count` messages and the transaction's
/// [`Dialogue`] as `data`.
pub(super) unsafe extern "C" fn converse(
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
    let Some(dialogue) = (unsafe { data.cast_const().cast::<Dialogue>().as_ref() }) else {
        return Err(error);
    };
    // SAFETY: libpam passes an array of `count` pointers to messages.
    let messages = unsafe { std::slice::from_raw_parts(messages, count) };
    let mut texts = [std::ptr::null_mut(); sys::MAX_MESSAGES];
    for (message, text) in messages.iter().zip(&mut texts) {
        // SAFETY: each pointer is null or that of a message.
        let answer = match unsafe { message.as_ref() } {
            Some(message) => {
                // SAFETY: a message's text is null or NUL-terminated, and outlives the call.
                let text = unsafe { text_of(message.text) };
                dialogue.answer(message.style, text)
            }
            None => Err(PamResultCode::PAM_CONV_ERR),
        };
        match answer {
            Ok(answer) => *text = answer,
            Err(code) => {
                texts.into_iter().for_each(discard);
                return Err(code);
            }
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

/// # Safety
/// `text` is null or NUL-terminated, and outlives what is made of it.
const unsafe fn text_of<'a>(text: *const libc::c_char) -> &'a CStr {
    if text.is_null() {
        return c"";
    }
    // SAFETY: as this function's own contract.
    unsafe { CStr::from_ptr(text) }
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
        let mut dialogue = Dialogue::with(password);
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
