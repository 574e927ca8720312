//! Users by name and by uid, from passwd(5) or what is in its place. Names are bytes:
//! nix makes text of them with loss, which would take two users for one. rustix has no
//! such call.

use std::ffi::{CStr, CString, c_char, c_int};

use nix::errno::Errno;

use crate::bytes_as_text::{to_bytes, to_text};

/// What is used of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// As [`to_text`] makes it.
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Larger than any entry: 1 MiB.
const MAX_BUFFER: usize = 1 << 20;

/// The user with this name, as [`to_text`] makes it; `None` if there is none.
pub(super) fn by_name(name: &str) -> Result<Option<Entry>, Errno> {
    // There is no name with a NUL in it.
    let Ok(name) = CString::new(&*to_bytes(name)) else { return Ok(None) };
    lookup(|entry, buffer, found| {
        // SAFETY: the name is NUL-terminated, and all other pointers are valid for the
        // call; `buffer` has the length that is said.
        unsafe { libc::getpwnam_r(name.as_ptr(), entry, buffer.as_mut_ptr(), buffer.len(), found) }
    })
}

/// The user with this uid; `None` if there is none.
pub(super) fn by_uid(uid: u32) -> Result<Option<Entry>, Errno> {
    lookup(|entry, buffer, found| {
        // SAFETY: all pointers are valid for the call; `buffer` has the length that is said.
        unsafe { libc::getpwuid_r(uid, entry, buffer.as_mut_ptr(), buffer.len(), found) }
    })
}

fn lookup(
    mut call: impl FnMut(*mut libc::passwd, &mut [c_char], *mut *mut libc::passwd) -> c_int,
) -> Result<Option<Entry>, Errno> {
    let mut length = 1024;
    loop {
        let mut buffer: Vec<c_char> = vec![0; length];
        let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
        let mut found = std::ptr::null_mut();
        match call(entry.as_mut_ptr(), &mut buffer, &raw mut found) {
            0 if found.is_null() => return Ok(None),
            0 => {
                // SAFETY: where there is a result, the call has filled the entry in.
                let entry = unsafe { entry.assume_init_ref() };
                // SAFETY: its name is NUL-terminated and in `buffer`, which is still there.
                let name = unsafe { CStr::from_ptr(entry.pw_name) };
                let name = to_text(name.to_bytes());
                return Ok(Some(Entry { name, uid: entry.pw_uid, gid: entry.pw_gid }));
            }
            libc::ERANGE if length < MAX_BUFFER => length = length.saturating_mul(4),
            libc::EINTR => {}
            error => return Err(Errno::from_raw(error)),
        }
    }
}
