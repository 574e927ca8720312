//! An application that stays, and authenticates again and again, as daemons and login
//! managers do. One line of standard input is one thing to do, one line of standard
//! output has libpam's results as numbers.
//!
//! ```text
//! login TIME SERVICE USER [ANSWER ...]                a transaction
//! threads COUNT TIMES SERVICE USER [ANSWER ...]       so many threads, each so many transactions
//! fork SERVICE USER [ANSWER ...]                      one handle, used by a child and by its parent
//! descriptors COUNT                                   opens so many, for good
//! close                                               closes standard input, output and error
//! storm MICROSECONDS                                  SIGALRM so often, handled, calls not restarted
//! ```
//!
//! `TIME` is what the clock says (seconds after 1970), or `now`. At the end of the
//! answers the conversation fails. `storm` prints how many signals came so far.

#![expect(unsafe_code, reason = "signals, fork and closed descriptors have no safe face in std")]

#[path = "../tests/libpam/mod.rs"]
mod libpam;

use std::collections::VecDeque;
use std::ffi::{CStr, CString, c_int};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::sync::atomic::{AtomicI32, Ordering};

use libpam::{Answer, Handle, Transaction, User};

/// Where descriptors begin that `close` leaves alone.
const OUT_OF_THE_WAY: c_int = 10;

fn main() {
    let [input, mut output] = [0, 1].map(moved);
    for line in BufReader::new(input).lines() {
        let line = line.expect("standard input is text");
        let results: Vec<String> = obey(&line).iter().map(c_int::to_string).collect();
        writeln!(output, "{}", results.join(" ")).expect("somebody listens");
    }
}

fn obey(line: &str) -> Vec<c_int> {
    let mut words = line.split(' ');
    let mut next = || words.next().unwrap_or_else(|| panic!("too few words: {line}"));
    let number = |word: &str| word.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    match next() {
        "login" => {
            match next() {
                "now" => {}
                time => libpam::clock::set(time.parse().expect("a time is a number")),
            }
            vec![Login::new(words).run()]
        }
        "threads" => {
            let (count, times) = (number(next()), number(next()));
            let login = Login::new(words);
            let logins = || (0..times).map(|_| login.run()).collect::<Vec<_>>();
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..count).map(|_| scope.spawn(logins)).collect();
                threads.into_iter().flat_map(|it| it.join().expect("no panic")).collect()
            })
        }
        "fork" => Login::new(words).run_forked(),
        "descriptors" => {
            let opened = (0..number(next())).map(|_| File::open("/dev/null").expect("it opens"));
            opened.for_each(std::mem::forget);
            Vec::new()
        }
        "close" => {
            for descriptor in 0..=2 {
                // SAFETY: from here on nothing in this program uses them.
                unsafe { libc::close(descriptor) };
            }
            Vec::new()
        }
        "storm" => {
            storm(number(next()));
            vec![SIGNALS.load(Ordering::SeqCst)]
        }
        other => panic!("unknown: {other}"),
    }
}

/// A descriptor's double, where nobody closes it.
fn moved(descriptor: c_int) -> File {
    use std::os::fd::FromRawFd;
    // SAFETY: no memory is involved.
    let double = unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, OUT_OF_THE_WAY) };
    assert!(double >= OUT_OF_THE_WAY, "fcntl");
    // SAFETY: just made, and nobody else's.
    unsafe { File::from_raw_fd(double) }
}

static SIGNALS: AtomicI32 = AtomicI32::new(0);

extern "C" fn count(_signal: c_int) {
    SIGNALS.fetch_add(1, Ordering::SeqCst);
}

fn storm(microseconds: c_int) {
    // SAFETY: all zeros is a valid sigaction: no flags (not SA_RESTART), an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = count as extern "C" fn(c_int) as usize;
    // SAFETY: the handler only adds to an atomic number.
    let set = unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) };
    assert_eq!(set, 0, "sigaction");
    let every = libc::timeval { tv_sec: 0, tv_usec: microseconds.into() };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    // SAFETY: the timer is valid, the old one is not asked for.
    let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
    assert_eq!(set, 0, "setitimer");
}

struct Login {
    service: CString,
    user: CString,
    answers: VecDeque<CString>,
}

impl Login {
    fn new<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        let mut words = words.map(|word| CString::new(word).expect("a word has no NUL"));
        let mut next = || words.next().expect("a service and a user");
        let (service, user) = (next(), next());
        Self { service, user, answers: words.collect() }
    }

    fn start(&self) -> Transaction<Script> {
        Transaction::start(&self.service, &self.user, Script(self.answers.clone()))
    }

    fn run(&self) -> c_int {
        self.start().authenticate(0)
    }

    fn run_forked(&self) -> Vec<c_int> {
        let mut transaction = self.start();
        // SAFETY: this program has one thread as long as it forks.
        let child = unsafe { libc::fork() };
        let result = transaction.authenticate(0);
        drop(transaction);
        if child == 0 {
            std::process::exit(result);
        }
        let mut status = 0;
        // SAFETY: the place for the status is valid.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child, "waitpid");
        vec![libc::WEXITSTATUS(status), result]
    }
}

/// Answers each prompt with the next word, and reads nothing.
struct Script(VecDeque<CString>);

impl User for Script {
    fn answer(&mut self, _handle: Handle, _style: c_int, _prompt: &CStr) -> Answer {
        self.0.pop_front().map_or(Answer::Fail, Answer::Text)
    }

    fn read(&mut self, _style: c_int, _text: &CStr) {}
}
