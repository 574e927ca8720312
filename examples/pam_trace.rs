//! A PAM module for `make callers`: first in a stack, it writes down how a program uses
//! PAM, and changes nothing. Each phase, with its process and the items that are set; each
//! message that a later module says, by its style, its length and its first words; each
//! answer, by its kind, never by its text. A line of JSON each, appended to a file; where
//! that cannot be opened, to syslog.
//!
//! ```text
//! auth  optional  pam_trace.so log=/run/pam_trace password=TEXT
//! auth  optional  pam_trace.so log=/run/pam_trace info=60 info=1500 error=60 ask
//! ```
//!
//! `info=N` and `error=N` say a harmless text of N bytes, which begins and ends with words
//! to search for; `ask` asks one hidden question more: what a program does with these is
//! found out without a secret.

#![expect(unsafe_code, reason = "a PAM module is called by C, and calls it")]

#[path = "../tests/libpam/abi.rs"]
mod abi;

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs::{self, OpenOptions};
use std::io::Write;

use abi::{Conversation, Message, Response};
use serde_json::{Value, json};

const SUCCESS: c_int = 0;
const IGNORE: c_int = 25;

const PAM_CONV: c_int = 5;
const ITEMS: [(&str, c_int); 5] = [
    ("service", 1), // PAM_SERVICE ...
    ("user", 2),
    ("tty", 3),
    ("rhost", 4),
    ("ruser", 8),
];

const ECHO_OFF: c_int = 1;
const ERROR: c_int = 3;
const INFO: c_int = 4;
const STYLES: [&str; 6] = ["", "hidden", "visible", "error", "info", "radio"];

/// So many characters of a text are written down: less than any secret.
const FIRST: usize = 40;

/// Where to write, and how to know a password.
#[derive(Clone, Default)]
struct Log {
    file: String,
    password: String,
}

/// The conversation of the program, behind ours.
struct Wrapped {
    log: Log,
    theirs:
        unsafe extern "C" fn(c_int, *mut *const Message, *mut *mut Response, *mut c_void) -> c_int,
    data: *mut c_void,
}

macro_rules! phase {
    ($function:ident, $name:literal) => {
        /// # Safety
        /// To be called by libpam.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $function(
            handle: *mut c_void,
            flags: c_int,
            argc: c_int,
            argv: *const *const c_char,
        ) -> c_int {
            // SAFETY: libpam gives a handle and `argc` arguments.
            unsafe { run(handle, $name, flags, argc, argv) }
        }
    };
}

phase!(pam_sm_authenticate, "auth");
phase!(pam_sm_setcred, "setcred");
phase!(pam_sm_acct_mgmt, "account");
phase!(pam_sm_open_session, "open_session");
phase!(pam_sm_close_session, "close_session");
phase!(pam_sm_chauthtok, "chauthtok");

/// # Safety
/// `handle` is libpam's, and there are `argc` arguments.
unsafe fn run(
    handle: *mut c_void,
    phase: &str,
    flags: c_int,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    let count = usize::try_from(argc).unwrap_or(0);
    // SAFETY: there are so many. Without any, libpam gives a null pointer.
    let words = if count == 0 { &[] } else { unsafe { std::slice::from_raw_parts(argv, count) } };
    // SAFETY: each is a pointer to text.
    let words = words.iter().map(|word| unsafe { CStr::from_ptr(*word) }.to_string_lossy());
    let words: Vec<_> = words.collect();
    let value = |name: &str| {
        let mut values = words.iter().filter_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        values.next().unwrap_or_default().to_owned()
    };
    let log = Log { file: value("log"), password: value("password") };
    let probes = words.iter().any(|word| word.starts_with("info=") || word == "ask");
    if !probes {
        log.write(&event_of(handle, phase, flags));
        wrap(handle, &log);
    }
    if phase == "auth" {
        for word in &words {
            let (name, length) = word.split_once('=').unwrap_or((word, "0"));
            let length = length.parse().unwrap_or(0);
            match name {
                "info" => say(handle, INFO, &stand_in("info", length)),
                "error" => say(handle, ERROR, &stand_in("error", length)),
                "ask" => say(handle, ECHO_OFF, "Second word: "),
                _ => SUCCESS,
            };
        }
    }
    IGNORE
}

/// A text in lines as long as those of a QR code, with words at its ends to search for.
fn stand_in(name: &str, length: usize) -> String {
    let (begin, end) =
        (format!("STANDIN-{name}-{length}-BEGIN"), format!("STANDIN-{name}-{length}-END"));
    let mut text = begin;
    let mut column = text.len();
    while text.len() + end.len() + 1 < length {
        let line_ends = column >= 60;
        text.push(if line_ends { '\n' } else { '.' });
        column = if line_ends { 0 } else { column + 1 };
    }
    format!("{text} {end}")
}

fn event_of(handle: *mut c_void, phase: &str, flags: c_int) -> Value {
    let mut event = json!({ "event": "phase", "phase": phase, "flags": flags });
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let uids = field("Uid:");
    event["pid"] = json!(std::process::id());
    event["uid"] = json!(uids.first());
    event["euid"] = json!(uids.get(1));
    event["threads"] = json!(field("Threads:").first());
    event["exe"] = json!(field("Name:").join(" "));
    for (name, item) in ITEMS {
        let mut value: *const c_void = std::ptr::null();
        // SAFETY: the handle is valid, and the place is for one pointer.
        let status = unsafe { pam_get_item(handle, item, &raw mut value) };
        if status == SUCCESS && !value.is_null() {
            // SAFETY: these items are texts, which libpam keeps.
            let text = unsafe { CStr::from_ptr(value.cast()) };
            event[name] = json!(text.to_string_lossy());
        }
    }
    event
}

/// Puts our conversation before the program's, unless it is there.
fn wrap(handle: *mut c_void, log: &Log) {
    let Some(theirs) = conversation(handle) else { return };
    if std::ptr::fn_addr_eq(theirs.function, converse as unsafe extern "C" fn(_, _, _, _) -> _) {
        return;
    }
    let (theirs, data) = (theirs.function, theirs.data);
    // Kept until the process ends: the program may use the conversation after us.
    let wrapped = Box::leak(Box::new(Wrapped { log: log.clone(), theirs, data }));
    let ours = Conversation { function: converse, data: std::ptr::from_mut(wrapped).cast() };
    // SAFETY: the handle is valid, and libpam copies the two pointers.
    unsafe { pam_set_item(handle, PAM_CONV, (&raw const ours).cast()) };
}

fn conversation<'h>(handle: *mut c_void) -> Option<&'h Conversation> {
    let mut conversation: *const c_void = std::ptr::null();
    // SAFETY: the handle is valid, and the place is for one pointer.
    let status = unsafe { pam_get_item(handle, PAM_CONV, &raw mut conversation) };
    // SAFETY: PAM_CONV is a conversation, which libpam keeps; or there is none.
    (status == SUCCESS).then(|| unsafe { conversation.cast::<Conversation>().as_ref() }).flatten()
}

unsafe extern "C" fn converse(
    count: c_int,
    messages: *mut *const Message,
    responses: *mut *mut Response,
    data: *mut c_void,
) -> c_int {
    // SAFETY: `data` is what `wrap` has made, and is never freed.
    let wrapped = unsafe { &*data.cast::<Wrapped>() };
    let length = usize::try_from(count).unwrap_or(0);
    // SAFETY: the module passes `count` pointers to messages.
    let said = unsafe { std::slice::from_raw_parts(messages.cast::<&Message>(), length) };
    for message in said {
        // SAFETY: a message's text is NUL-terminated.
        let text = unsafe { CStr::from_ptr(message.text) }.to_string_lossy();
        let first: String = text.trim_start().chars().take(FIRST).collect();
        let style = usize::try_from(message.style).ok().and_then(|style| STYLES.get(style));
        wrapped.log.write(&json!({
            "event": "said", "style": style, "length": text.len(), "words": first,
            "together": count, "pid": std::process::id(),
        }));
    }
    // SAFETY: what we were given is passed on, with the program's own data.
    let status = unsafe { (wrapped.theirs)(count, messages, responses, wrapped.data) };
    for (index, message) in said.iter().enumerate().filter(|(_, message)| message.style < ERROR) {
        // SAFETY: the place is the module's, and was filled or not.
        let array = unsafe { responses.as_ref() }.copied().filter(|_| status == SUCCESS);
        // SAFETY: there is an answer for each message.
        let place = array.filter(|it| !it.is_null()).map(|it| unsafe { it.add(index) });
        // SAFETY: as above.
        let text = place.and_then(|it| unsafe { it.as_ref() }).map(|response| response.text);
        let text = text.filter(|text| !text.is_null());
        // SAFETY: an answer is NUL-terminated.
        let text = text.map(|text| unsafe { CStr::from_ptr(text) }.to_string_lossy());
        let style = usize::try_from(message.style).ok().and_then(|style| STYLES.get(style));
        wrapped.log.write(&json!({
            "event": "answer", "style": style, "status": status,
            "kind": wrapped.log.kind(text.as_deref()),
        }));
    }
    status
}

/// One message; the answer is freed.
fn say(handle: *mut c_void, style: c_int, text: &str) -> c_int {
    let Some(conversation) = conversation(handle) else { return SUCCESS };
    let text = CString::new(text).unwrap_or_default();
    let message = Message { style, text: text.as_ptr() };
    let mut pointer: *const Message = &raw const message;
    let mut responses: *mut Response = std::ptr::null_mut();
    // SAFETY: there is one message, and a place for the answers.
    let status = unsafe {
        (conversation.function)(1, &raw mut pointer, &raw mut responses, conversation.data)
    };
    // SAFETY: there is one answer, or none.
    if let Some(response) = unsafe { responses.as_ref() }.filter(|_| status == SUCCESS) {
        // SAFETY: an answer is malloc's, and the module's to free.
        unsafe { libc::free(response.text.cast()) };
        // SAFETY: as above.
        unsafe { libc::free(responses.cast()) };
    }
    status
}

impl Log {
    /// What was answered, but for the answer itself.
    fn kind(&self, text: Option<&str>) -> &'static str {
        let is_code = |text: &str| {
            (6..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        match text {
            None => "none",
            Some("") => "empty",
            Some(text) if is_code(text) => "code",
            Some(text) => match text.strip_prefix(&self.password) {
                _ if self.password.is_empty() => "other",
                Some("") => "password",
                Some(rest) if is_code(rest) => "password and code",
                _ => "other",
            },
        }
    }

    /// One line; in one piece, since several processes write.
    fn write(&self, event: &Value) {
        let line = format!("{event}\n");
        let file = OpenOptions::new().append(true).open(&self.file);
        if file.and_then(|mut file| file.write_all(line.as_bytes())).is_err() {
            let line = CString::new(format!("pam_trace: {event}")).unwrap_or_default();
            // SAFETY: the format takes one text.
            unsafe {
                libc::syslog(libc::LOG_AUTHPRIV | libc::LOG_DEBUG, c"%s".as_ptr(), line.as_ptr())
            };
        }
    }
}

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_get_item(handle: *mut c_void, item: c_int, value: *mut *const c_void) -> c_int;
    fn pam_set_item(handle: *mut c_void, item: c_int, value: *const c_void) -> c_int;
}
