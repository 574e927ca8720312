//! A PAM application that keeps nothing: what it is told and what it answers goes by
//! without a copy of its own, and its heap is wiped as it is freed. So whatever of a
//! secret is in its memory after a login, libpam or a module has left it there.
//!
//! ```text
//! pam_forgetful SERVICE USER [keeps=leaked|freed|stack]
//! ```
//!
//! Standard input: one answer a line, and `go` for each `paused`. Standard output:
//! each text and prompt as it is, then `result NUMBER`, `paused` with the handle
//! still open, and `paused` after its end. With `keeps` it does keep what it is told
//! and answers, so that a search for it can be seen to find it.

#![expect(unsafe_code, reason = "a PAM module is called by C, and calls it")]

#[path = "../tests/libpam/mod.rs"]
mod libpam;

use std::ffi::{CStr, CString, c_int};
use std::os::unix::ffi::OsStringExt;

use libpam::{Answer, Handle, Transaction, User};

#[global_allocator]
static WIPED: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let mut next = || {
        let argument = arguments.next().expect("pam_forgetful SERVICE USER [keeps=PLACE]");
        CString::new(argument.into_vec()).expect("an argument has no NUL")
    };
    let (service, user) = (next(), next());
    let keeps = match arguments.next().as_deref().and_then(std::ffi::OsStr::to_str) {
        None => Keeps::Nothing,
        Some("keeps=leaked") => Keeps::Leaked,
        Some("keeps=freed") => Keeps::Freed,
        Some("keeps=stack") => Keeps::Stack,
        Some(other) => panic!("unknown option {other}"),
    };
    let mut transaction = Transaction::start(&service, &user, Forgetful(keeps));
    let status = transaction.authenticate(0);
    say(format!("\nresult {status}\n").as_bytes());
    pause();
    drop(transaction);
    pause();
}

struct Forgetful(Keeps);

impl User for Forgetful {
    fn answer(&mut self, _handle: Handle, _style: c_int, prompt: &CStr) -> Answer {
        say(prompt.to_bytes());
        say(b"\n");
        let answer = read_line();
        self.0.copy(answer.to_bytes());
        Answer::Text(answer)
    }

    fn read(&mut self, _style: c_int, text: &CStr) {
        self.0.copy(text.to_bytes());
        say(text.to_bytes());
        say(b"\n");
    }
}

enum Keeps {
    Nothing,
    Leaked,
    Freed,
    Stack,
}

impl Keeps {
    fn copy(&self, bytes: &[u8]) {
        match self {
            Self::Nothing => {}
            Self::Leaked => {
                Box::leak(bytes.to_vec().into_boxed_slice());
            }
            Self::Freed => {
                // What is allocated next begins where a freed block began.
                let offset = 8_000;
                // SAFETY: malloc has no preconditions.
                let block = unsafe { libc::malloc(2 * offset + bytes.len()) }.cast::<u8>();
                assert!(!block.is_null(), "there is memory");
                // SAFETY: the block is that long.
                let place = unsafe { block.add(offset) };
                // SAFETY: it has room for all bytes, and does not overlap them.
                unsafe { place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
                // SAFETY: made above, and not used again.
                unsafe { libc::free(std::hint::black_box(block).cast()) };
            }
            Self::Stack => leave_on_stack(bytes),
        }
    }
}

/// Far below the frames of what is called next.
#[inline(never)]
fn leave_on_stack(bytes: &[u8]) {
    let mut frame = [0_u8; 400_000];
    for (place, byte) in frame.iter_mut().zip(bytes) {
        *place = *byte;
    }
    std::hint::black_box(&mut frame);
}

/// Reads byte by byte, into memory that is wiped when it is freed.
fn read_line() -> CString {
    let mut line = Vec::with_capacity(1024);
    loop {
        let mut byte = 0_u8;
        // SAFETY: the place is one byte long.
        let length = unsafe { libc::read(0, (&raw mut byte).cast(), 1) };
        assert!(length == 1, "standard input has ended");
        match byte {
            b'\n' => return CString::new(line).expect("an answer has no NUL"),
            byte => line.push(byte),
        }
    }
}

fn pause() {
    say(b"paused\n");
    assert_eq!(read_line().as_c_str(), c"go", "the answers are as many as the prompts");
}

/// Writes from where the text is.
fn say(mut text: &[u8]) {
    while !text.is_empty() {
        // SAFETY: the slice is that long.
        let length = unsafe { libc::write(1, text.as_ptr().cast(), text.len()) };
        let length = usize::try_from(length).expect("somebody listens");
        text = text.get(length..).expect("no more than was there is written");
    }
}
