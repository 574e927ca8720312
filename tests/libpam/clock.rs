//! Virtual time. The program's own clock_gettime, time and gettimeofday stand before
//! the C library's in the order in which the loader looks symbols up (build.rs has
//! them exported), so every module that libpam loads, ours and the peers', sees the
//! time that the program sets.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicI64, Ordering};

/// Seconds since 1970; the least number stands for the system's own time.
static NOW: AtomicI64 = AtomicI64::new(i64::MIN);

/// From now on it is so many seconds after 1970, in this process.
pub fn set(seconds: i64) {
    NOW.store(seconds, Ordering::SeqCst);
}

fn virtual_time() -> Option<i64> {
    Some(NOW.load(Ordering::Relaxed)).filter(|now| *now != i64::MIN)
}

#[unsafe(no_mangle)]
extern "C" fn clock_gettime(clock: c_int, time: *mut libc::timespec) -> c_int {
    let now = match virtual_time() {
        Some(tv_sec) if clock == libc::CLOCK_REALTIME => libc::timespec { tv_sec, tv_nsec: 0 },
        _ => return system(clock, time),
    };
    // SAFETY: the caller passes a place for the time.
    unsafe { *time = now };
    0
}

#[unsafe(no_mangle)]
extern "C" fn time(place: *mut i64) -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    clock_gettime(libc::CLOCK_REALTIME, &raw mut now);
    if !place.is_null() {
        // SAFETY: the caller passes a place for the time, or none.
        unsafe { *place = now.tv_sec };
    }
    now.tv_sec
}

#[unsafe(no_mangle)]
extern "C" fn gettimeofday(place: *mut libc::timeval, _zone: *mut c_void) -> c_int {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    clock_gettime(libc::CLOCK_REALTIME, &raw mut now);
    // SAFETY: the caller passes a place for the time.
    unsafe { *place = libc::timeval { tv_sec: now.tv_sec, tv_usec: now.tv_nsec / 1000 } };
    0
}

fn system(clock: c_int, time: *mut libc::timespec) -> c_int {
    // SAFETY: the numbers are those of clock_gettime(2), the place is the caller's.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as c_int }
}
