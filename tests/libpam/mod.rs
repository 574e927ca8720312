//! libpam's application side, for the programs that log in again and again
//! (`examples/`, `benches/`): a transaction and its conversation, and a clock that
//! the program sets. Nothing here knows the module.
#![expect(dead_code, reason = "each program compiles all of this and uses a part of it")]
#![expect(unsafe_code, reason = "libpam's application side has no safe face here")]
#![expect(unreachable_pub, reason = "no other crate uses a program for tests")]

mod abi;
pub mod clock;

use std::ffi::{CStr, CString, c_char, c_int, c_void};

use abi::{Conversation, Message, Response};

pub const PAM_SUCCESS: c_int = 0;
pub const PAM_USER: c_int = 2;
pub const PAM_TTY: c_int = 3;
pub const PAM_RHOST: c_int = 4;
pub const PAM_RUSER: c_int = 8;
const PAM_CONV_ERR: c_int = 19;
const PAM_ESTABLISH_CRED: c_int = 2;

pub const PROMPT_ECHO_OFF: c_int = 1;
pub const PROMPT_ECHO_ON: c_int = 2;
pub const ERROR_MSG: c_int = 3;
pub const TEXT_INFO: c_int = 4;

/// What the user answers to a prompt.
pub enum Answer {
    Text(CString),
    /// A null pointer in the place of a text.
    Null,
    /// The conversation succeeds, and gives no answers at all.
    Nothing,
    /// The conversation fails.
    Fail,
}

/// Who is on the other side of the conversation.
pub trait User {
    /// A prompt.
    fn answer(&mut self, handle: Handle, style: c_int, prompt: &CStr) -> Answer;
    /// A text or an error.
    fn read(&mut self, style: c_int, text: &CStr);
}

/// A libpam handle that is valid as long as its transaction.
#[derive(Clone, Copy)]
pub struct Handle(*mut Pam);

impl Handle {
    pub fn set_item(self, item: c_int, value: &CStr) -> c_int {
        // SAFETY: the handle is valid, the value a string that libpam copies.
        unsafe { pam_set_item(self.0, item, value.as_ptr().cast()) }
    }
}

/// From pam_start to pam_end.
pub struct Transaction<U: User> {
    handle: *mut Pam,
    // libpam keeps its address.
    session: Box<Session<U>>,
    status: c_int,
}

struct Session<U> {
    handle: *mut Pam,
    user: U,
}

impl<U: User> Transaction<U> {
    pub fn start(service: &CStr, name: &CStr, user: U) -> Self {
        let mut session = Box::new(Session { handle: std::ptr::null_mut(), user });
        let conversation =
            Conversation { function: converse::<U>, data: (&raw mut *session).cast() };
        let mut handle = std::ptr::null_mut();
        // SAFETY: strings and conversation outlive the call, the session outlives the handle.
        let status = unsafe {
            pam_start(service.as_ptr(), name.as_ptr(), &raw const conversation, &raw mut handle)
        };
        assert_eq!(status, PAM_SUCCESS, "pam_start");
        session.handle = handle;
        Self { handle, session, status }
    }

    pub fn handle(&self) -> Handle {
        Handle(self.handle)
    }

    /// Who is on the other side.
    pub fn user(&mut self) -> &mut U {
        &mut self.session.user
    }

    pub fn authenticate(&mut self, flags: c_int) -> c_int {
        // SAFETY: the handle is valid.
        self.status = unsafe { pam_authenticate(self.handle, flags) };
        self.status
    }

    pub fn account(&mut self, flags: c_int) -> c_int {
        // SAFETY: the handle is valid.
        self.status = unsafe { pam_acct_mgmt(self.handle, flags) };
        self.status
    }

    pub fn credentials(&mut self, flags: c_int) -> c_int {
        // SAFETY: the handle is valid.
        self.status = unsafe { pam_setcred(self.handle, flags | PAM_ESTABLISH_CRED) };
        self.status
    }
}

impl<U: User> Drop for Transaction<U> {
    fn drop(&mut self) {
        // SAFETY: the handle is valid and not used again.
        unsafe { pam_end(self.handle, self.status) };
    }
}

unsafe extern "C" fn converse<U: User>(
    count: c_int,
    messages: *mut *const Message,
    responses: *mut *mut Response,
    data: *mut c_void,
) -> c_int {
    let count = count as usize;
    // SAFETY: `data` is the session of the transaction under way, which libpam calls
    // back on the thread that holds it.
    let session = unsafe { &mut *data.cast::<Session<U>>() };
    // SAFETY: calloc has no preconditions; the module frees the array.
    let array = unsafe { libc::calloc(count, size_of::<Response>()) }.cast::<Response>();
    // SAFETY: libpam passes `count` pointers to messages.
    let messages = unsafe { std::slice::from_raw_parts(messages.cast::<&Message>(), count) };
    // SAFETY: calloc made `count` of them, all null.
    let places = unsafe { std::slice::from_raw_parts_mut(array, count) };
    for (message, place) in messages.iter().zip(places) {
        // SAFETY: a message's text is NUL-terminated.
        let text = unsafe { CStr::from_ptr(message.text) };
        let answer = match message.style {
            PROMPT_ECHO_OFF | PROMPT_ECHO_ON => {
                session.user.answer(Handle(session.handle), message.style, text)
            }
            ERROR_MSG | TEXT_INFO => {
                session.user.read(message.style, text);
                continue;
            }
            style => panic!("message style {style}"),
        };
        place.text = match answer {
            // SAFETY: the text is NUL-terminated.
            Answer::Text(text) => unsafe { libc::strdup(text.as_ptr()) },
            Answer::Null => std::ptr::null_mut(),
            refused @ (Answer::Nothing | Answer::Fail) => {
                // SAFETY: made above, and not given away.
                unsafe { libc::free(array.cast()) };
                return if let Answer::Fail = refused { PAM_CONV_ERR } else { PAM_SUCCESS };
            }
        };
    }
    // SAFETY: libpam passes a place for the array.
    unsafe { *responses = array };
    PAM_SUCCESS
}

enum Pam {}

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_start(
        service: *const c_char,
        user: *const c_char,
        conversation: *const Conversation,
        handle: *mut *mut Pam,
    ) -> c_int;
    fn pam_end(handle: *mut Pam, status: c_int) -> c_int;
    fn pam_authenticate(handle: *mut Pam, flags: c_int) -> c_int;
    fn pam_setcred(handle: *mut Pam, flags: c_int) -> c_int;
    fn pam_acct_mgmt(handle: *mut Pam, flags: c_int) -> c_int;
    fn pam_set_item(handle: *mut Pam, item: c_int, value: *const c_void) -> c_int;
}
