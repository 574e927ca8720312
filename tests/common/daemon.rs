//! The real `onetimed` in a world, at its usual socket.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::installed::hasty;
use super::process::PATIENCE;
use super::world::World;

/// Where it listens.
const SOCKET: &str = "/run/onetime/socket";

/// A service whose program runs as whoever is logged in.
pub const LOCKER: &str = "auth required pam_onetime.so\naccount required pam_onetime.so\n\
                      account sufficient pam_permit.so\n";

/// A world with a program of the user's own to log in by: the service `locker`.
#[track_caller]
pub fn with_locker() -> World {
    let world = hasty();
    world.pam_service("locker", LOCKER);
    world
}

/// A daemon, ended when dropped.
pub struct Daemon {
    child: Child,
}

impl Daemon {
    /// Starts it, and waits until it listens.
    #[track_caller]
    pub fn start(world: &World) -> Self {
        Self::start_with(world, &["--idle=0"])
    }

    /// With these arguments.
    #[track_caller]
    pub fn start_with(world: &World, arguments: &[&str]) -> Self {
        let program = world.program(super::daemon_path());
        let mut command = world.command(&program);
        command.args(arguments);
        Self::spawn(world, command)
    }

    /// Run by another program, with that one's arguments.
    #[track_caller]
    pub fn start_under(world: &World, words: &[&str]) -> Self {
        let program = world.program(super::daemon_path());
        let mut command = world.command(words[0]);
        command.args(&words[1..]).args([&program, "--idle=0"]);
        Self::spawn(world, command)
    }

    #[track_caller]
    fn spawn(world: &World, mut command: Command) -> Self {
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        // One that was killed has left its own.
        let socket = || world.path(SOCKET).symlink_metadata().ok().map(|it| it.ino());
        let before = socket();
        let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot start onetimed: {e}"));
        let begin = Instant::now();
        while socket().is_none_or(|it| Some(it) == before) {
            if let Ok(Some(status)) = child.try_wait() {
                let mut said = String::new();
                drop(child.stderr.take().expect("a pipe").read_to_string(&mut said));
                panic!("onetimed ended ({status}): {said}");
            }
            assert!(begin.elapsed() < PATIENCE, "onetimed does not listen");
            std::thread::yield_now();
        }
        Self { child }
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The numbers of the processes that it has for connections, and for the next one.
    pub fn children(&self) -> Vec<String> {
        let id = self.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        children.expect("its children").split_whitespace().map(String::from).collect()
    }

    /// Waits until it ends by itself; what it said.
    #[track_caller]
    pub fn wait(mut self) -> (bool, String) {
        let status = super::wait_within(&mut self.child, PATIENCE).expect("onetimed ends");
        let said = BufReader::new(self.child.stderr.take().expect("a pipe")).lines();
        (status.success(), said.map_while(Result::ok).collect::<Vec<_>>().join("\n"))
    }

    /// Ends it as systemd does.
    pub fn stop(&self) {
        let process = rustix::process::Pid::from_raw(self.child.id() as i32).expect("a process");
        rustix::process::kill_process(process, rustix::process::Signal::TERM).expect("it is there");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill().and_then(|()| self.child.wait()));
    }
}
