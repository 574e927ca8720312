//! The process whose logins are measured (benches/side_by_side, tests/budget.rs), and
//! the small jobs around them that want a small process of their own.
//!
//! ```text
//! pam_measured logins SECRET [block=N] [seconds=N] [pause=N] [gate=FILE] [password=WORD] SERVICE:FIRST:COUNT ... < STEPS
//! pam_measured memory SECRET SERVICE:FIRST:COUNT < STEPS
//! pam_measured load TIMES MODULE
//! pam_measured child PROGRAM [ARGUMENT ...]
//! pam_measured sink SOCKET
//! ```
//!
//! `logins` logs in once for each time step on standard input (8 bytes each,
//! little-endian; processes that share the file never draw the same one), or for so many
//! seconds, with the code of that step, after the password if there is one, while the clock
//! stands there. The services take
//! turns by blocks of N logins, the users of a service (`u` and seven digits, COUNT of
//! them from FIRST on) one by one, N milliseconds apart if there is a pause. With a gate the process says `ready` and waits until
//! it can lock the file. Then one line a login: number of the service, libpam's result,
//! start, wall time, processor time (nanoseconds).
//!
//! Two kinds of services are not only libpam's: `none` is no login at all, and tells what
//! this program itself costs; `floor`, `floor-...` is what a login must cost that spends
//! its code on disk before it lets in, and logs it.

#![expect(unsafe_code, reason = "it measures itself by libc")]

#[path = "../tests/libpam/mod.rs"]
mod libpam;

use std::ffi::{CStr, CString, c_int};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use libpam::{Answer, Handle, PAM_SUCCESS, Transaction, User};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Signal, set_parent_process_death_signal};

/// Seconds of a time step.
const PERIOD: u64 = 30;
/// What `floor` writes to.
const FLOOR: &str = "/var/lib/floor";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["logins", secret, options @ ..] => logins(secret, options),
        ["memory", secret, service] => memory(secret, service),
        ["load", times, module] => load(times.parse().expect("a number"), module),
        ["child", program, arguments @ ..] => child(program, arguments),
        ["sink", socket] => sink(socket),
        other => panic!("see the head of examples/pam_measured.rs: {other:?}"),
    }
}

// -- logins --

struct Service {
    name: CString,
    users: Vec<CString>,
    turns: usize,
}

impl Service {
    /// `SERVICE:FIRST:COUNT`.
    fn parse(text: &str) -> Self {
        let parts: Vec<&str> = text.split(':').collect();
        let [name, first, count] = parts[..] else { panic!("SERVICE:FIRST:COUNT, not {text}") };
        let [first, count] = [first, count].map(|n| n.parse::<u32>().expect("a number"));
        let user = |n| CString::new(format!("u{n:07}")).expect("no NUL");
        let name = CString::new(name).expect("no NUL");
        Self { name, users: (first..first + count).map(user).collect(), turns: 0 }
    }

    /// One login of the user whose turn it is.
    fn login(&mut self, code: &CStr) -> c_int {
        let user = &self.users[self.turns % self.users.len()];
        self.turns += 1;
        if self.name.as_bytes() == b"none" {
            return PAM_SUCCESS;
        }
        let mut transaction = Transaction::start(&self.name, user, Typist(code));
        let result = match transaction.authenticate(0) {
            PAM_SUCCESS => transaction.account(0),
            refused => refused,
        };
        if self.name.as_bytes().starts_with(b"floor") {
            floor(self.turns);
        }
        result
    }
}

/// Types the code, after the password if there is one, whatever is asked.
struct Typist<'a>(&'a CStr);

impl User for Typist<'_> {
    fn answer(&mut self, _: Handle, _: c_int, _: &CStr) -> Answer {
        Answer::Text(self.0.to_owned())
    }
    fn read(&mut self, _: c_int, _: &CStr) {}
}

/// A slot of 512 bytes written in place and made durable, and a line for the log.
fn floor(turn: usize) {
    let file = OpenOptions::new().write(true).open(FLOOR).expect("the file is there");
    let place = 4096 * (turn as u64 % 2);
    file.write_all_at(&[turn as u8; 512], place).expect("it can be written");
    file.sync_data().expect("it can be made durable");
    let log = UnixDatagram::unbound().expect("a socket");
    log.connect("/dev/log").expect("somebody listens");
    log.send(b"<86>Jan  1 00:00:00 floor[1]: outcome=accepted user=u0000000 service=floor")
        .expect("the line is taken");
}

fn logins(secret: &str, options: &[&str]) {
    let (mut block, mut seconds, mut gate, mut services) = (1, u64::MAX, None, Vec::new());
    let (mut pause, mut password) = (Duration::ZERO, "");
    for option in options {
        match option.split_once('=') {
            Some(("block", value)) => block = value.parse().expect("a number"),
            Some(("seconds", value)) => seconds = value.parse().expect("a number"),
            Some(("pause", value)) => {
                pause = Duration::from_millis(value.parse().expect("a number"));
            }
            Some(("password", value)) => password = value,
            Some(("gate", value)) => gate = Some(value),
            _ => services.push(Service::parse(option)),
        }
    }
    let codes = Codes::new(secret, password);
    let mut told = Vec::new();
    if let Some(gate) = gate {
        println!("ready");
        std::io::stdout().flush().expect("somebody listens");
        let gate = File::open(gate).expect("the gate is there");
        flock(&gate, FlockOperation::LockShared).expect("it opens");
    }
    let end = clock(libc::CLOCK_MONOTONIC).saturating_add(seconds.saturating_mul(1_000_000_000));
    for turn in 0.. {
        let Some(step) = next_step() else { break };
        let code = codes.of(step);
        libpam::clock::set(i64::try_from(step * PERIOD).expect("a time"));
        let which = turn / block % services.len();
        let service = &mut services[which];
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
        let processor = clock(libc::CLOCK_PROCESS_CPUTIME_ID);
        let start = clock(libc::CLOCK_MONOTONIC);
        let result = service.login(&code);
        let now = clock(libc::CLOCK_MONOTONIC);
        let processor = clock(libc::CLOCK_PROCESS_CPUTIME_ID) - processor;
        told.push((which, result, start, now - start, processor));
        if now > end {
            break;
        }
    }
    let lines = told.iter().map(|(which, result, start, wall, processor)| {
        format!("{which} {result} {start} {wall} {processor}\n")
    });
    print!("{}", lines.collect::<String>());
}

/// What a phone shows, after the password.
struct Codes<'p>(totp_rs::Totp, &'p str);

impl<'p> Codes<'p> {
    fn new(secret: &str, password: &'p str) -> Self {
        let alphabet = base32::Alphabet::Rfc4648 { padding: false };
        let secret = base32::decode(alphabet, secret).expect("a secret in base32");
        let codes = totp_rs::Builder::new().with_secret(secret).with_step_duration(1);
        Self(codes.build_noncompliant(), password)
    }

    fn of(&self, step: u64) -> CString {
        CString::new(format!("{}{}", self.1, self.0.generate(step))).expect("no NUL")
    }
}

/// The next time step; `None` at the end of standard input.
fn next_step() -> Option<u64> {
    let mut bytes = [0; 8];
    // One read(2), which moves the offset that processes share by all 8 bytes.
    match rustix::io::read(std::io::stdin().as_fd(), &mut bytes).expect("steps can be read") {
        8 => Some(u64::from_le_bytes(bytes)),
        _ => None,
    }
}

fn clock(which: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes to the place that it is given.
    unsafe { libc::clock_gettime(which, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

// -- memory --

/// The first login of a process, and what it adds: page faults, peak of the resident
/// memory (bytes), and files that stay mapped after it.
fn memory(secret: &str, service: &str) {
    let mut service = Service::parse(service);
    let step = next_step().expect("a step");
    let code = Codes::new(secret, "").of(step);
    libpam::clock::set(i64::try_from(step * PERIOD).expect("a time"));
    let before = maps();
    // The peak begins again at what is resident now.
    std::fs::write("/proc/self/clear_refs", "5").expect("the peak can be reset");
    let resident = peak();
    let faults = usage(libc::RUSAGE_SELF).ru_minflt;
    let result = service.login(&code);
    let faults = usage(libc::RUSAGE_SELF).ru_minflt - faults;
    let added = peak() - resident;
    let left: Vec<String> = maps().into_iter().filter(|file| !before.contains(file)).collect();
    println!("{result} {faults} {added} {}", left.join(","));
}

/// VmHWM, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim_end_matches("kB").trim().parse::<u64>().expect("kilobytes") * 1024
}

/// The files that are mapped.
fn maps() -> Vec<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    let mut files: Vec<String> =
        maps.lines().filter_map(|line| line.find('/').map(|at| line[at..].to_owned())).collect();
    files.sort();
    files.dedup();
    files
}

fn usage(whose: c_int) -> libc::rusage {
    let mut usage = MaybeUninit::zeroed();
    // SAFETY: it writes to the place that it is given.
    unsafe { libc::getrusage(whose, usage.as_mut_ptr()) };
    // SAFETY: all zero is a value of it, whatever was written.
    unsafe { usage.assume_init() }
}

// -- loading --

/// One line a round: nanoseconds of dlopen now, dlopen lazily, both with dlclose.
fn load(times: u32, module: &str) {
    let module = CString::new(module).expect("no NUL");
    let load = |how| {
        let start = clock(libc::CLOCK_MONOTONIC);
        // SAFETY: the module's constructors are those that libpam runs.
        let handle = unsafe { libc::dlopen(module.as_ptr(), how) };
        assert!(!handle.is_null(), "cannot load {module:?}");
        // SAFETY: opened above, and nothing of it is used.
        unsafe { libc::dlclose(handle) };
        clock(libc::CLOCK_MONOTONIC) - start
    };
    for _ in 0..times {
        println!("{} {}", load(libc::RTLD_NOW), load(libc::RTLD_LAZY));
    }
}

// -- the rest --

/// Runs a program: after its own output, a last line with wall time and processor time
/// (nanoseconds) and its peak of resident memory (bytes). Ends as it has ended.
fn child(program: &str, arguments: &[&str]) {
    let start = clock(libc::CLOCK_MONOTONIC);
    let status = Command::new(program).args(arguments).status().expect("it can be started");
    let wall = clock(libc::CLOCK_MONOTONIC) - start;
    let code = status.code().unwrap_or_else(|| panic!("{program} {arguments:?}: {status}"));
    let usage = usage(libc::RUSAGE_CHILDREN);
    let time = |time: libc::timeval| time.tv_sec * 1_000_000_000 + time.tv_usec * 1000;
    let processor = time(usage.ru_utime) + time(usage.ru_stime);
    println!("{wall} {processor} {}", usage.ru_maxrss * 1024);
    std::process::exit(code);
}

/// Reads what is logged, until whoever started it ends.
fn sink(path: &str) {
    set_parent_process_death_signal(Some(Signal::KILL)).expect("it can be asked for");
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => panic!("{path}: {error}"),
        _ => {}
    }
    let socket = UnixDatagram::bind(path).expect("the socket can be made");
    println!("ready");
    std::io::stdout().flush().expect("somebody listens");
    let mut line = [0; 65536];
    while socket.recv(&mut line).is_ok() {}
}
