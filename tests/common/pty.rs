//! A program on a terminal of its own: what a person would type is sent, what the
//! person would wait for is awaited, and a failure shows all that was on screen.
//! setsid(1) makes the program a session leader with the terminal as its
//! controlling one, so this needs no code between fork and exec.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use regex::Regex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::process::{PATIENCE, wait_within};

const FLAGS: OpenptFlags = OpenptFlags::RDWR.union(OpenptFlags::NOCTTY).union(OpenptFlags::CLOEXEC);

/// A program that ends closes the terminal a moment before its end can be seen.
const HANG_UP: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// What to wait for: a `&str` means that text, a `Regex` what it matches.
pub struct Pattern(Regex);

impl From<&str> for Pattern {
    fn from(literal: &str) -> Self {
        Self(Regex::new(&regex::escape(literal)).expect("an escaped text is a valid pattern"))
    }
}

impl From<Regex> for Pattern {
    fn from(regex: Regex) -> Self {
        Self(regex)
    }
}

/// What came of waiting for a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The text to the end of the match.
    Found(String),
    /// The program left the terminal without it.
    Ended,
    /// Nothing of that came in time.
    Silence,
}

#[derive(Default)]
struct Stream {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    bytes: Vec<u8>,
    closed: bool,
}

impl Stream {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Pty {
    child: Child,
    master: File,
    stream: Arc<Stream>,
    /// How much of the text earlier expectations have used up.
    used: usize,
    /// How long each expectation may take; `PATIENCE` unless a test says otherwise.
    pub patience: Duration,
}

impl Pty {
    /// Starts `command` on a terminal of 80 columns and 24 rows. Of its environment
    /// only what was set on the command itself is passed on.
    #[track_caller]
    pub fn spawn(command: &Command) -> Self {
        Self::spawn_sized(command, 80, 24)
    }

    #[track_caller]
    pub fn spawn_sized(command: &Command, cols: u16, rows: u16) -> Self {
        let master = openpt(FLAGS).unwrap_or_else(|e| panic!("cannot open a terminal: {e}"));
        let slave = grantpt(&master)
            .and_then(|()| unlockpt(&master))
            .and_then(|()| ioctl_tiocgptpeer(&master, FLAGS))
            .unwrap_or_else(|e| panic!("cannot open the terminal's other side: {e}"));
        let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&slave, size).unwrap_or_else(|e| panic!("cannot size the terminal: {e}"));

        let mut leader = Command::new("setsid");
        leader.args(["--ctty", "--"]).arg(command.get_program()).args(command.get_args());
        leader.env_clear().envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
        let shared = || slave.try_clone().expect("a descriptor can be duplicated");
        let child = leader
            .stdin(shared())
            .stdout(shared())
            .stderr(shared())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));

        let stream = Arc::new(Stream::default());
        let master = File::from(master);
        let reader = master.try_clone().expect("a descriptor can be duplicated");
        let ended = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())
            .unwrap_or_else(|e| panic!("no pidfd of child {}: {e}", child.id()));
        std::thread::spawn({
            let stream = Arc::clone(&stream);
            move || keep_what_is_shown(reader, &ended, &stream)
        });
        Self { child, master, stream, used: 0, patience: PATIENCE }
    }

    /// The number of the program's process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Types a text and the return key.
    #[track_caller]
    pub fn send_line(&mut self, line: &str) {
        self.send(format!("{line}\r").as_bytes());
    }

    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        if let Err(error) = self.master.write_all(bytes) {
            panic!("cannot type {:?}: {error}\n{}", String::from_utf8_lossy(bytes), self.text());
        }
    }

    /// Waits for `pattern` in what has not been used up yet, uses it up, and returns
    /// the text from there to the end of the match.
    #[track_caller]
    pub fn expect(&mut self, pattern: impl Into<Pattern>) -> String {
        let pattern = pattern.into();
        let wanted = pattern.0.to_string();
        self.expect_or_end(pattern).unwrap_or_else(|| {
            panic!("the program ended without {wanted:?}; the terminal showed:\n{}", self.text())
        })
    }

    /// As `expect`; `None` if the program leaves the terminal without it.
    #[track_caller]
    pub fn expect_or_end(&mut self, pattern: impl Into<Pattern>) -> Option<String> {
        let pattern = pattern.into();
        let wanted = pattern.0.to_string();
        match self.listen(pattern) {
            Heard::Found(text) => Some(text),
            Heard::Ended => None,
            Heard::Silence => panic!(
                "no {wanted:?} within {:?}; the terminal showed:\n{}",
                self.patience,
                self.text()
            ),
        }
    }

    /// As `expect`, where each end is one that a test wants to know.
    pub fn listen(&mut self, pattern: impl Into<Pattern>) -> Heard {
        let Pattern(pattern) = pattern.into();
        let mut found = None;
        let used = self.used;
        let (seen, time) = self
            .stream
            .changed
            .wait_timeout_while(self.stream.lock(), self.patience, |seen| {
                let text = strip(&seen.bytes);
                found = text.get(used..).and_then(|unused| {
                    let end = pattern.find(unused)?.end();
                    unused.get(..end).map(str::to_owned)
                });
                found.is_none() && !seen.closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        drop(seen);
        let timed_out = time.timed_out();
        self.used += found.as_deref().map_or(0, str::len);
        match found {
            Some(text) => Heard::Found(text),
            None if timed_out => Heard::Silence,
            None => Heard::Ended,
        }
    }

    /// Waits for the program to end, with all its output read.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let Some(status) = wait_within(&mut self.child, self.patience) else {
            panic!(
                "still running after {:?}; the terminal showed:\n{}",
                self.patience,
                self.text()
            );
        };
        // The leader's end hangs up the terminal, so the reader comes to an end too.
        let waited =
            self.stream
                .changed
                .wait_timeout_while(self.stream.lock(), self.patience, |seen| !seen.closed);
        drop(waited);
        status
    }

    /// All bytes that the program has written to the terminal, and the echo.
    pub fn transcript(&self) -> Vec<u8> {
        self.stream.lock().bytes.clone()
    }

    /// The transcript as text: no escape sequences, and plain line ends.
    pub fn text(&self) -> String {
        strip(&self.stream.lock().bytes)
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good; what it started gets the
        // terminal's hang-up.
        drop(self.child.kill().and_then(|()| self.child.wait()));
    }
}

/// Reads what is written to the terminal, until its program, which `ended` stands for, has
/// ended and nobody has the terminal's other side open any more.
fn keep_what_is_shown(mut master: File, ended: &OwnedFd, stream: &Stream) {
    let mut chunk = [0; 4096];
    let mut other_side: Option<OwnedFd> = None;
    loop {
        if other_side.is_some() && which_comes_first(&master, ended) == First::End {
            other_side = None;
        }
        match master.read(&mut chunk) {
            Ok(length @ 1..) => {
                stream.lock().bytes.extend_from_slice(&chunk[..length]);
                stream.changed.notify_all();
            }
            // Nobody has the other side open. That is the end, if the program has ended.
            // If not, it may be vhangup(2): login(1) of util-linux closes the terminal for
            // all who have it open, and opens it again. Until the program ends, the other
            // side is then kept open here.
            Ok(_) | Err(_) if has_ended(ended, HANG_UP) => {
                if other_side.take().is_none() {
                    break;
                }
            }
            Ok(_) | Err(_) => other_side = ioctl_tiocgptpeer(&master, FLAGS).ok(),
        }
    }
    stream.lock().closed = true;
    stream.changed.notify_all();
}

#[derive(PartialEq, Eq)]
enum First {
    Output,
    End,
}

/// Waits for output on the terminal or for the end of its program.
fn which_comes_first(master: &File, ended: &OwnedFd) -> First {
    let mut both = [PollFd::new(master, PollFlags::IN), PollFd::new(ended, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut both, None)).expect("a terminal can be waited for");
    // What was written before the end is read first.
    if both[0].revents().is_empty() { First::End } else { First::Output }
}

/// Whether the program has ended, or does within so long.
fn has_ended(ended: &OwnedFd, within: Timespec) -> bool {
    let mut end = [PollFd::new(ended, PollFlags::IN)];
    let ready = rustix::io::retry_on_intr(|| poll(&mut end, Some(&within)));
    ready.expect("a program can be waited for") > 0
}

fn strip(bytes: &[u8]) -> String {
    static ESCAPE: LazyLock<Regex> = LazyLock::new(|| {
        let escape =
            r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-Z\\^-~]|\r";
        Regex::new(escape).expect("a valid pattern")
    });
    ESCAPE.replace_all(&String::from_utf8_lossy(bytes), "").into_owned()
}
