//! A conversation as libpam's two sides give it to each other (`_pam_types.h`): for the
//! applications and the modules among the programs for tests.
#![expect(unreachable_pub, reason = "no other crate uses a program for tests")]

use std::ffi::{c_char, c_int, c_void};

#[repr(C)]
pub struct Message {
    pub style: c_int,
    pub text: *const c_char,
}

#[repr(C)]
pub struct Response {
    pub text: *mut c_char,
    pub code: c_int,
}

#[repr(C)]
pub struct Conversation {
    pub function:
        unsafe extern "C" fn(c_int, *mut *const Message, *mut *mut Response, *mut c_void) -> c_int,
    pub data: *mut c_void,
}
