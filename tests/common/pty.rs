//! A program on a terminal of its own: what a person would type is sent, what the
//! person would wait for is awaited, and a failure shows all that was on screen.
//! setsid(1) makes the program a session leader with the terminal as its
//! controlling one, so this needs no code between fork and exec.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use regex::Regex;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::process::{PATIENCE, wait_within};

/// What to wait for: a `&str` stands for itself, a `Regex` for what it matches.
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
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap_or_else(|e| panic!("cannot open a terminal: {e}"));
        let slave = grantpt(&master)
            .and_then(|()| unlockpt(&master))
            .and_then(|()| ioctl_tiocgptpeer(&master, flags))
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
        std::thread::spawn({
            let stream = Arc::clone(&stream);
            move || keep_what_is_shown(reader, &stream)
        });
        Self { child, master, stream, used: 0, patience: PATIENCE }
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
        if time.timed_out() && found.is_none() {
            let text = strip(&seen.bytes);
            drop(seen);
            panic!("no {:?} within {:?}; the terminal showed:\n{text}", pattern, self.patience);
        }
        self.used += found.as_deref().map_or(0, str::len);
        found
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

fn keep_what_is_shown(mut master: File, stream: &Stream) {
    let mut chunk = [0; 4096];
    // The master's read fails (EIO) once nobody has the other side open any more.
    while let Ok(length @ 1..) = master.read(&mut chunk) {
        stream.lock().bytes.extend_from_slice(&chunk[..length]);
        stream.changed.notify_all();
    }
    stream.lock().closed = true;
    stream.changed.notify_all();
}

fn strip(bytes: &[u8]) -> String {
    let escape =
        r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-Z\\^-~]|\r";
    let escape = Regex::new(escape).expect("a valid pattern");
    escape.replace_all(&String::from_utf8_lossy(bytes), "").into_owned()
}
