//! A PAM module for the tests, that does what its line says: the odd services of the
//! world, of which no real one can be had. For the rest there are the real ones.
//!
//! ```text
//! auth     required  pam_odd.so WORD ...
//! account  required  pam_odd.so WORD ...
//! password required  pam_odd.so WORD ...
//! ```
//!
//! The words are done in turn. `hidden=TEXT`, `visible=TEXT`, `radio=TEXT`: asks;
//! `info=TEXT`, `error=TEXT`: says; `both=TEXT`: asks two hidden questions in one
//! conversation; `texts=N`: says so many texts of 2000 characters; `user=NAME`: changes
//! PAM_USER; `returns=N`: is the result. Without that, the result is that of the last
//! conversation. `anyway=N` is the result also where a conversation has failed before.
//! `password=TEXT`: fails unless the last answer was this.

#![expect(unsafe_code, reason = "a PAM module is called by C, and calls it")]

#[path = "../tests/libpam/abi.rs"]
mod abi;

use std::ffi::{CStr, CString, c_char, c_int, c_void};

use abi::{Conversation, Message};

const SUCCESS: c_int = 0;
const AUTH_ERR: c_int = 7;
const IGNORE: c_int = 25;

const PRELIM_CHECK: c_int = 0x4000;

const PAM_USER: c_int = 2;
const PAM_CONV: c_int = 5;

const ECHO_OFF: c_int = 1;
const ECHO_ON: c_int = 2;
const ERROR: c_int = 3;
const INFO: c_int = 4;
const RADIO: c_int = 5;

/// # Safety
/// To be called by libpam.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pam_sm_authenticate(
    handle: *mut c_void,
    _flags: c_int,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    // SAFETY: libpam gives a handle and `argc` arguments.
    unsafe { run(handle, argc, argv) }
}

/// # Safety
/// To be called by libpam.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pam_sm_acct_mgmt(
    handle: *mut c_void,
    _flags: c_int,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    // SAFETY: libpam gives a handle and `argc` arguments.
    unsafe { run(handle, argc, argv) }
}

/// Does what its line says in the first of the two passes: a directory's way to ask for
/// the present password before another module asks for the new one.
///
/// # Safety
/// To be called by libpam.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pam_sm_chauthtok(
    handle: *mut c_void,
    flags: c_int,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    if flags & PRELIM_CHECK == 0 {
        return SUCCESS;
    }
    // SAFETY: libpam gives a handle and `argc` arguments.
    unsafe { run(handle, argc, argv) }
}

/// # Safety
/// To be called by libpam.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pam_sm_setcred(
    _handle: *mut c_void,
    _flags: c_int,
    _argc: c_int,
    _argv: *const *const c_char,
) -> c_int {
    IGNORE
}

/// # Safety
/// `handle` is libpam's, and there are `argc` arguments.
unsafe fn run(handle: *mut c_void, argc: c_int, argv: *const *const c_char) -> c_int {
    let count = usize::try_from(argc).expect("a number of arguments");
    let mut result = SUCCESS;
    let mut answer = None;
    // SAFETY: there are so many. Without any, libpam gives a null pointer.
    let words = if count == 0 { &[] } else { unsafe { std::slice::from_raw_parts(argv, count) } };
    for word in words {
        // SAFETY: each is a pointer to text.
        let word = unsafe { CStr::from_ptr(*word) }.to_str().expect("an argument is text");
        let (name, value) = word.split_once('=').expect("WORD=VALUE");
        let said = match name {
            "hidden" => say(handle, &[(ECHO_OFF, value)]),
            "visible" => say(handle, &[(ECHO_ON, value)]),
            "radio" => say(handle, &[(RADIO, value)]),
            "both" => say(handle, &[(INFO, "first"), (ECHO_OFF, value), (ECHO_OFF, value)]),
            "info" => say(handle, &[(INFO, value)]),
            "error" => say(handle, &[(ERROR, value)]),
            "texts" => {
                let long = "x".repeat(2000);
                let times: u32 = value.parse().expect("a number");
                (0..times).try_fold(None, |_, _| say(handle, &[(INFO, &long)]))
            }
            "user" => {
                let value = CString::new(value).expect("no NUL");
                // SAFETY: the handle is valid, and libpam copies the name.
                assert_eq!(unsafe { pam_set_item(handle, PAM_USER, value.as_ptr().cast()) }, 0);
                continue;
            }
            "password" => {
                if answer.as_deref() != Some(value) && result == SUCCESS {
                    result = AUTH_ERR;
                }
                continue;
            }
            "returns" => {
                if result == SUCCESS {
                    result = value.parse().expect("a number");
                }
                continue;
            }
            "anyway" => {
                result = value.parse().expect("a number");
                continue;
            }
            other => panic!("pam_odd does not know {other}"),
        };
        match said {
            Ok(given) => answer = given.or(answer),
            Err(code) => result = code,
        }
    }
    result
}

/// One conversation; the last answer that came.
fn say(handle: *mut c_void, messages: &[(c_int, &str)]) -> Result<Option<String>, c_int> {
    let mut conversation = std::ptr::null();
    // SAFETY: the handle is valid, and the place is for one pointer.
    let status = unsafe { pam_get_item(handle, PAM_CONV, &raw mut conversation) };
    assert_eq!(status, SUCCESS, "pam_get_item");
    // SAFETY: PAM_CONV is a conversation, which libpam keeps.
    let conversation = unsafe { &*conversation.cast::<Conversation>() };
    let texts: Vec<CString> =
        messages.iter().map(|(_, text)| CString::new(*text).expect("no NUL")).collect();
    let messages: Vec<Message> = messages
        .iter()
        .zip(&texts)
        .map(|((style, _), text)| Message { style: *style, text: text.as_ptr() })
        .collect();
    let mut pointers: Vec<*const Message> = messages.iter().map(std::ptr::from_ref).collect();
    let mut responses = std::ptr::null_mut();
    let count = c_int::try_from(pointers.len()).expect("few");
    // SAFETY: there are `count` messages, and a place for the answers.
    let status = unsafe {
        (conversation.function)(count, pointers.as_mut_ptr(), &raw mut responses, conversation.data)
    };
    if status != SUCCESS {
        return Err(status);
    }
    let mut last = None;
    for index in 0..pointers.len() {
        // SAFETY: there is an answer for each message.
        let response = unsafe { responses.add(index) };
        // SAFETY: as above.
        let text = unsafe { (*response).text };
        if !text.is_null() {
            // SAFETY: an answer is NUL-terminated.
            let text = unsafe { CStr::from_ptr(text) };
            last = Some(text.to_string_lossy().into_owned());
        }
        // SAFETY: an answer is malloc's, and the module's to free.
        unsafe { libc::free(text.cast()) };
    }
    // SAFETY: as above.
    unsafe { libc::free(responses.cast()) };
    Ok(last)
}

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_get_item(handle: *mut c_void, item: c_int, value: *mut *const c_void) -> c_int;
    fn pam_set_item(handle: *mut c_void, item: c_int, value: *const c_void) -> c_int;
}
