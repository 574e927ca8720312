//! A PAM application for the tests: it says every message it is given, takes
//! its answers from standard input byte for byte, and tells libpam's results
//! as numbers. pamtester can do neither 10 kB nor bytes that are no text.
//!
//! ```text
//! pam_client SERVICE USER [flags=N] [rhost=X] [tty=X] [ruser=X] [times=N] [operation ...]
//! ```
//!
//! Operations: authenticate (default), setcred, acct_mgmt. On standard input one
//! answer a line: `hex:` and bytes, `null` (no answer), `error` (the conversation
//! fails), `user=NAME` (PAM_USER is changed, and the next line is the answer), or
//! the answer as it stands. On standard output one event a line: `prompt` and
//! `prompt_echo`, `info` and `error` with a message (newlines as `\n`), then
//! `result OPERATION NUMBER`, then `descriptors BEFORE AFTER`.

#![allow(unsafe_code, reason = "libpam's application side has no safe face here")]
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::arithmetic_side_effects,
    clippy::string_slice,
    clippy::cast_sign_loss,
    reason = "a program for tests fails by panicking"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io::{BufRead, Write};
use std::os::unix::ffi::OsStringExt;

#[repr(C)]
struct Message {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct Response {
    text: *mut c_char,
    code: c_int,
}

#[repr(C)]
struct Conversation {
    function:
        unsafe extern "C" fn(c_int, *mut *const Message, *mut *mut Response, *mut c_void) -> c_int,
    data: *mut c_void,
}

enum Handle {}

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_start(
        service: *const c_char,
        user: *const c_char,
        conv: *const Conversation,
        pamh: *mut *mut Handle,
    ) -> c_int;
    fn pam_end(pamh: *mut Handle, status: c_int) -> c_int;
    fn pam_authenticate(pamh: *mut Handle, flags: c_int) -> c_int;
    fn pam_setcred(pamh: *mut Handle, flags: c_int) -> c_int;
    fn pam_acct_mgmt(pamh: *mut Handle, flags: c_int) -> c_int;
    fn pam_set_item(pamh: *mut Handle, item: c_int, value: *const c_void) -> c_int;
}

const PAM_USER: c_int = 2;
const PAM_TTY: c_int = 3;
const PAM_RHOST: c_int = 4;
const PAM_RUSER: c_int = 8;
const PAM_CONV_ERR: c_int = 19;
const PAM_ESTABLISH_CRED: c_int = 2;

/// What the conversation needs to know.
struct Session {
    pamh: *mut Handle,
}

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    // Any bytes: a user's name need not be text.
    let mut next = || {
        let argument = arguments.next().expect("pam_client SERVICE USER [options]");
        CString::new(argument.into_vec()).expect("an argument has no NUL")
    };
    let (service, user) = (next(), next());
    let (mut flags, mut times, mut items, mut operations) = (0, 1, Vec::new(), Vec::new());
    for argument in arguments {
        let argument = argument.into_string().expect("an option is text");
        match argument.split_once('=') {
            Some(("flags", value)) => flags = value.parse().expect("flags are a number"),
            Some(("times", value)) => times = value.parse().expect("times is a number"),
            Some(("rhost", value)) => items.push((PAM_RHOST, c_string(value))),
            Some(("tty", value)) => items.push((PAM_TTY, c_string(value))),
            Some(("ruser", value)) => items.push((PAM_RUSER, c_string(value))),
            _ => operations.push(argument),
        }
    }
    if operations.is_empty() {
        operations.push("authenticate".to_owned());
    }
    for _ in 0..times {
        let before = descriptors();
        transaction(&service, &user, flags, &items, &operations);
        say(&format!("descriptors {before} {}", descriptors()));
    }
}

fn transaction(
    service: &CStr,
    user: &CStr,
    flags: c_int,
    items: &[(c_int, CString)],
    operations: &[String],
) {
    let mut session = Box::new(Session { pamh: std::ptr::null_mut() });
    let conversation = Conversation { function: converse, data: (&raw mut *session).cast() };
    let mut pamh = std::ptr::null_mut();
    // SAFETY: strings and conversation outlive the call, the session outlives the handle.
    let mut status = unsafe {
        pam_start(service.as_ptr(), user.as_ptr(), &raw const conversation, &raw mut pamh)
    };
    assert_eq!(status, 0, "pam_start");
    session.pamh = pamh;
    for (item, value) in items {
        // SAFETY: the handle is valid, the value a string that libpam copies.
        assert_eq!(unsafe { pam_set_item(pamh, *item, value.as_ptr().cast()) }, 0, "pam_set_item");
    }
    for operation in operations {
        status = match operation.as_str() {
            // SAFETY: the handle is valid.
            "authenticate" => unsafe { pam_authenticate(pamh, flags) },
            // SAFETY: the handle is valid.
            "setcred" => unsafe { pam_setcred(pamh, flags | PAM_ESTABLISH_CRED) },
            // SAFETY: the handle is valid.
            "acct_mgmt" => unsafe { pam_acct_mgmt(pamh, flags) },
            other => panic!("unknown operation {other}"),
        };
        say(&format!("result {operation} {status}"));
    }
    // SAFETY: the handle is valid and not used again.
    unsafe { pam_end(pamh, status) };
}

unsafe extern "C" fn converse(
    count: c_int,
    messages: *mut *const Message,
    responses: *mut *mut Response,
    data: *mut c_void,
) -> c_int {
    let count = count as usize;
    // SAFETY: calloc has no preconditions; the module frees the array.
    let array = unsafe { libc::calloc(count, size_of::<Response>()) }.cast::<Response>();
    for index in 0..count {
        // SAFETY: libpam passes `count` pointers to messages.
        let place = unsafe { messages.add(index) };
        // SAFETY: the place is within the array.
        let message = unsafe { *place };
        // SAFETY: each pointer is that of a message.
        let message = unsafe { &*message };
        // SAFETY: a message's text is NUL-terminated.
        let text = unsafe { CStr::from_ptr(message.text) }.to_string_lossy().replace('\n', "\\n");
        match message.style {
            1 => say(&format!("prompt {text}")),
            2 => say(&format!("prompt_echo {text}")),
            3 => say(&format!("error {text}")),
            4 => say(&format!("info {text}")),
            style => panic!("message style {style}"),
        }
        if message.style > 2 {
            continue;
        }
        // SAFETY: `data` is the session of the transaction under way.
        let session = unsafe { &*data.cast_const().cast::<Session>() };
        let Some(bytes) = answer(session) else {
            // SAFETY: made above, and not given away.
            unsafe { libc::free(array.cast()) };
            return PAM_CONV_ERR;
        };
        // SAFETY: the array has `count` places.
        let place = unsafe { array.add(index) };
        // SAFETY: as above.
        unsafe { (*place).text = bytes };
    }
    // SAFETY: libpam passes a place for the array.
    unsafe { *responses = array };
    0
}

/// The next answer in malloc's memory; a null pointer for `null`, `None` for `error`
/// and at the end of the input.
fn answer(session: &Session) -> Option<*mut c_char> {
    let mut line = String::new();
    if std::io::stdin().lock().read_line(&mut line).expect("standard input is text") == 0 {
        return None;
    }
    let line = line.trim_end_matches('\n');
    let bytes = match (line, line.split_once('=')) {
        ("null", _) => return Some(std::ptr::null_mut()),
        ("error", _) => return None,
        (_, Some(("user", name))) => {
            let name = c_string(name);
            // SAFETY: the handle is valid while its conversation runs.
            unsafe { pam_set_item(session.pamh, PAM_USER, name.as_ptr().cast()) };
            return answer(session);
        }
        _ => match line.strip_prefix("hex:") {
            Some(digits) => (0..digits.len() / 2)
                .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("hex digits"))
                .collect(),
            None => line.as_bytes().to_vec(),
        },
    };
    let text = CString::new(bytes).expect("an answer has no NUL");
    // SAFETY: the text is NUL-terminated.
    Some(unsafe { libc::strdup(text.as_ptr()) })
}

fn c_string(text: &str) -> CString {
    CString::new(text).expect("an argument has no NUL")
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc is mounted").count()
}

fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).expect("somebody listens");
}
