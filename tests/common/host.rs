//! `examples/pam_host.rs` in a world: an application that stays, told what to do line
//! by line, and looked at from outside meanwhile.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::client::example;
use super::process::{PATIENCE, wait_within};
use super::world::World;

/// The running program; it ends when it is dropped.
pub struct Host {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// How long it may take over one line.
    pub patience: Duration,
}

impl Host {
    #[track_caller]
    pub fn new(world: &World) -> Self {
        Self::start(&mut example(world, "pam_host"))
    }

    /// Another way to start it: through prlimit, say.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.spawn().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, input, output, patience: PATIENCE }
    }

    /// Says a line, and returns the numbers that come back; none if it has died or is
    /// out of patience.
    #[track_caller]
    pub fn tell(&mut self, line: &str) -> Option<Vec<i32>> {
        let input = self.input.as_mut().expect("it has not ended");
        // A program that has died does not answer either.
        drop(writeln!(input, "{line}"));
        let limit = Timespec::try_from(self.patience).expect("a limit of less than centuries");
        let pipe = PollFd::new(self.output.get_ref(), PollFlags::IN);
        let ready = rustix::io::retry_on_intr(|| poll(&mut [pipe.clone()], Some(&limit)));
        if ready != Ok(1) {
            return None;
        }
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("it tells numbers");
        let numbers = answer.strip_suffix('\n')?.split_whitespace();
        Some(numbers.map(|number| number.parse().expect("a number")).collect())
    }

    /// One transaction, at this time or now; libpam's result.
    #[track_caller]
    pub fn login(&mut self, time: Option<i64>, service: &str, user: &str, answers: &[&str]) -> i32 {
        let time = time.map_or_else(|| "now".to_owned(), |time| time.to_string());
        let line = [&["login", &time, service, user], answers].concat().join(" ");
        let results = self.tell(&line).unwrap_or_else(|| panic!("dead, or it hangs: {line}"));
        let [result] = results[..] else { panic!("{line}: {results:?}") };
        result
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A file of its directory in /proc.
    #[track_caller]
    pub fn proc(&self, name: &str) -> String {
        let path = format!("/proc/{}/{name}", self.id());
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {path}: {e}"))
    }

    /// Lets it end, and says how it ended.
    #[track_caller]
    pub fn end(mut self) -> ExitStatus {
        drop(self.input.take());
        wait_within(&mut self.child, PATIENCE).expect("it ends with its input")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It has ended, or its test has failed.
        drop(self.child.kill().and_then(|()| self.child.wait()));
    }
}
