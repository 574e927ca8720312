//! Runs a program to its end, and for no longer than it is given. Output goes to
//! unnamed files, not pipes: a daemon that a program leaves behind cannot hold us.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::de::DeserializeOwned;

/// How long anything here waits for a program before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until it is so, for as long as a program may take.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}: not after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What /proc/PID/status says in this field; `None`: the process is gone, or has none.
pub fn status_of(process: u32, field: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// A program that has ended, and what it said (invalid UTF-8 replaced).
#[derive(Debug)]
pub struct Finished {
    pub command: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// Standard output, then standard error.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Standard output as JSON, however it ended.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("no JSON, {e}: {}", self.text()))
    }

    /// Standard output of a program that must have succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.success(), "failed, {}: {}\n{}", self.status, self.command, self.text());
        self.stdout
    }
}

/// Asserts how a program ended, and that it said so.
#[track_caller]
pub fn assert_ends(run: &Finished, code: i32, said: &str) {
    assert_eq!(run.status.code(), Some(code), "{}: {}", run.command, run.text());
    assert!(run.text().contains(said), "{}: no {said:?} in {}", run.command, run.text());
}

/// Runs `command` with `input` as its standard input; fails the test after `PATIENCE`.
#[track_caller]
pub fn finish(command: &mut Command, input: &[u8]) -> Finished {
    finish_within(command, input, PATIENCE)
}

#[track_caller]
pub fn finish_within(command: &mut Command, input: &[u8], limit: Duration) -> Finished {
    let name = format!("{command:?}");
    let [mut stdin, mut stdout, mut stderr] = [(); 3]
        .map(|()| tempfile::tempfile().unwrap_or_else(|e| panic!("cannot make a file: {e}")));
    stdin.write_all(input).and_then(|()| stdin.rewind()).expect("an unnamed file takes the input");
    let shared = |file: &File| file.try_clone().expect("a descriptor can be duplicated");
    let mut child = command
        .stdin(stdin)
        .stdout(shared(&stdout))
        .stderr(shared(&stderr))
        .spawn()
        .unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
    let status = wait_within(&mut child, limit);
    let [stdout, stderr] = [&mut stdout, &mut stderr].map(|file| {
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("the output can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let Some(status) = status else {
        // The test fails either way; an error here would only hide why.
        drop(child.kill().and_then(|()| child.wait()));
        panic!("still running after {limit:?}: {name}\n{stdout}{stderr}");
    };
    Finished { command: name, status, stdout, stderr }
}

/// The child's exit status, or `None` if it still runs after `limit`.
pub fn wait_within(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    if let Some(status) = child.try_wait().expect("our own child can be waited for") {
        return Some(status);
    }
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())
        .unwrap_or_else(|e| panic!("no pidfd of child {}: {e}", child.id()));
    let limit = Timespec::try_from(limit).expect("a limit of less than centuries");
    rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit)))
        .unwrap_or_else(|e| panic!("cannot wait for child {}: {e}", child.id()));
    child.try_wait().expect("our own child can be waited for")
}
