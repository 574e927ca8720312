//! A machine to log in to, made of this one: a mount namespace in which /etc,
//! /dev, /run, /tmp, /var/lib, /var/log, /home, /root, /usr/local/sbin and libpam's
//! module directory are a test's own, and everything else is the host's, read-only.
//! The host itself is not changed, and several worlds live side by side. A holder process
//! keeps the namespace; it reads from a pipe that only the test has open, so it goes
//! when the test goes, however that ends.

use std::fs::{self, Metadata, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use tempfile::TempDir;

use super::pamtester::{Pamtester, PamtesterRun};
use super::process::{Finished, PATIENCE, finish};
use super::pty::Pty;
use super::syslog::{Sink, SyslogLine};

// As hashed in world.sh.
pub const ROOT_PASSWORD: &str = "root-pw-4711";
pub const ALICE_PASSWORD: &str = "alice-pw-4711";
pub const BOB_PASSWORD: &str = "bob-pw-4711";
pub const CAROL_PASSWORD: &str = "carol-pw-4711";

/// Makes a world of a new namespace: who lives there, which files are its own.
const SETUP: &str = include_str!("world.sh");

/// A test keeps it in a variable for as long as something runs in it: dropped, the
/// world is gone, and what was to be started there has no place to start.
pub struct World {
    holder: Child,
    sink: Sink,
    // Last, so that it is removed after the holder, and with it the mounts, is gone.
    _directory: TempDir,
}

impl World {
    /// A world with `pam_onetime.so` beside libpam's own modules.
    #[track_caller]
    pub fn new() -> Self {
        super::preflight();
        Self::start(Some(super::module_path()))
    }

    /// A world without the module, to test what works without it.
    #[track_caller]
    pub fn without_module() -> Self {
        super::preflight();
        Self::start(None)
    }

    #[track_caller]
    fn start(module: Option<&Path>) -> Self {
        // In the target directory: a real disk where /tmp may be memory.
        let directory = tempfile::Builder::new()
            .prefix("world-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .unwrap_or_else(|e| panic!("no directory in {}: {e}", env!("CARGO_TARGET_TMPDIR")));
        let holder = hold(directory.path());
        let sink = Sink::listen(&inside(&holder, "/dev/log"));
        let world = Self { holder, sink, _directory: directory };
        if let Some(module) = module {
            world.pam_module("pam_onetime.so", module);
        }
        world
    }

    // -- files --

    /// Where the host sees the world's `path`. Seen from there, a symbolic link with
    /// an absolute target leads out of the world: none may be on the way.
    #[track_caller]
    pub fn path(&self, path: &str) -> PathBuf {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent.trim_start_matches('/'));
        let root = rustix::fs::open(inside(&self.holder, "/"), OFlags::PATH, Mode::empty())
            .unwrap_or_else(|e| panic!("the world has no root: {e}"));
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let way = openat2(root, format!("./{parent}"), flags, Mode::empty(), ResolveFlags::BENEATH);
        assert!(
            !matches!(way, Err(Errno::XDEV)),
            "{path} leads through a link with an absolute target: name the target instead"
        );
        inside(&self.holder, path)
    }

    /// Puts a copy of a module beside libpam's own.
    #[track_caller]
    pub fn pam_module(&self, name: &str, module: &Path) {
        let bytes =
            fs::read(module).unwrap_or_else(|e| panic!("cannot read {}: {e}", module.display()));
        self.write(&modules_directory().join(name).display().to_string(), &bytes, 0o644);
    }

    #[track_caller]
    pub fn pam_service(&self, name: &str, text: &str) {
        self.write(&format!("/etc/pam.d/{name}"), text.as_bytes(), 0o644);
    }

    /// Writes a file of root's; missing parents are made with mode 0755.
    #[track_caller]
    pub fn write(&self, path: &str, bytes: &[u8], mode: u32) {
        let place = self.path(path);
        let parents = place.parent().expect("a path in a world has a parent");
        if !parents.exists() {
            self.run(
                "mkdir",
                &["-p", "-m", "755", path.rsplit_once('/').map_or("/", |(dir, _)| dir)],
            )
            .ok();
        }
        put(&place, bytes, mode);
    }

    #[track_caller]
    pub fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.path(path)).unwrap_or_else(|e| panic!("cannot read the world's {path}: {e}"))
    }

    #[track_caller]
    pub fn read_text(&self, path: &str) -> String {
        String::from_utf8(self.read(path)).unwrap_or_else(|e| panic!("{path} is no text: {e}"))
    }

    /// Removes a file, or a directory with all that is in it.
    #[track_caller]
    pub fn remove(&self, path: &str) {
        let place = self.path(path);
        let removed = match self.metadata(path).is_dir() {
            true => fs::remove_dir_all(place),
            false => fs::remove_file(place),
        };
        removed.unwrap_or_else(|e| panic!("cannot remove the world's {path}: {e}"));
    }

    /// Whether there is something at `path`, be it a dangling link.
    pub fn exists(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// Of the thing itself: a symbolic link is not followed.
    #[track_caller]
    pub fn metadata(&self, path: &str) -> Metadata {
        let metadata = self.path(path).symlink_metadata();
        metadata.unwrap_or_else(|e| panic!("cannot look at the world's {path}: {e}"))
    }

    /// The names in a directory, sorted.
    #[track_caller]
    pub fn list(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path))
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .unwrap_or_else(|e| panic!("cannot list the world's {path}: {e}"));
        let mut names: Vec<String> =
            entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    // -- programs --

    /// A program in the world, run by root in `/`, with a small clean environment.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.enter("root", "/root");
        command.arg(program);
        command
    }

    /// As `command`, run by another of the world's users, with that user's groups.
    pub fn command_as(&self, user: &str, program: &str) -> Command {
        let mut command = self.enter(user, &format!("/home/{user}"));
        command.arg("setpriv");
        command.args([format!("--reuid={user}"), format!("--regid={user}")]);
        command.args(["--init-groups", "--", program]);
        command
    }

    #[track_caller]
    pub fn run(&self, program: &str, args: &[&str]) -> Finished {
        finish(self.command(program).args(args), b"")
    }

    #[track_caller]
    pub fn onetimectl(&self, args: &[&str]) -> Finished {
        self.run("onetimectl", args)
    }

    /// A program of root's on a terminal of its own.
    #[track_caller]
    pub fn pty(&self, program: &str, args: &[&str]) -> Pty {
        Pty::spawn(self.command(program).args(args))
    }

    #[track_caller]
    pub fn pty_as(&self, user: &str, program: &str, args: &[&str]) -> Pty {
        Pty::spawn(self.command_as(user, program).args(args))
    }

    /// Authenticates with pamtester, with these answers; see [`Pamtester`] for more.
    #[track_caller]
    pub fn pamtester(&self, service: &str, user: &str, answers: &[&str]) -> PamtesterRun {
        Pamtester::new(self, service, user).answers(answers)
    }

    /// Authenticates with pamtester, with exactly these prompts and answers.
    #[track_caller]
    pub fn pamtester_script(
        &self,
        service: &str,
        user: &str,
        script: &[(&str, &str)],
    ) -> PamtesterRun {
        Pamtester::new(self, service, user).script(script)
    }

    /// Where in the world a program of ours is: the world covers /tmp and /home, where
    /// the target directory may be.
    #[track_caller]
    pub fn program(&self, program: &Path) -> String {
        let name = program.file_name().expect("a program has a name").display();
        let inside = format!("/usr/local/sbin/{name}");
        if !self.exists(&inside) {
            // By another process: a descriptor open for writing here would be inherited
            // by whatever another thread starts meanwhile, and the file be busy.
            finish(Command::new("cp").arg(program).arg(self.path(&inside)), b"").ok();
        }
        inside
    }

    // -- syslog --

    /// All lines that came to the world's /dev/log so far.
    pub fn syslog(&self) -> Vec<SyslogLine> {
        self.sink.lines()
    }

    /// From now on, only what comes from now on.
    pub fn forget_syslog(&self) {
        self.sink.forget();
    }

    /// The first line that is as wanted, be it there already or still to come.
    #[track_caller]
    pub fn wait_for_syslog(
        &self,
        wanted: impl Fn(&SyslogLine) -> bool,
        limit: Duration,
    ) -> SyslogLine {
        self.sink.wait_for(wanted, limit)
    }

    fn enter(&self, user: &str, home: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.env_clear().env("PATH", super::PATH).env("HOME", home);
        command.envs([("LANG", "C.UTF-8"), ("TERM", "xterm-256color"), ("SHELL", "/bin/sh")]);
        command.envs([("USER", user), ("LOGNAME", user)]);
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id())).arg("--");
        command
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Whatever fails here, the holder also ends with our side of its pipe.
        drop(self.holder.kill().and_then(|()| self.holder.wait()));
    }
}

/// The directory where this system's libpam looks for modules.
pub fn modules_directory() -> PathBuf {
    let below =
        |dir: &str| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let candidates = below("/usr/lib").chain(below("/lib")).chain(below("/"));
    candidates
        .map(|dir| dir.join("security"))
        .chain(["/usr/lib/security".into(), "/lib/security".into()])
        .find(|dir| dir.join("pam_unix.so").exists())
        .expect("pam_unix.so lies in no known directory: apt-get install libpam-modules")
}

/// Starts the process that makes and keeps the namespace.
fn hold(dir: &Path) -> Child {
    let mut holder = Command::new("unshare");
    holder.args(["--mount", "--propagation", "private", "--", "sh", "-euc", SETUP, "setup"]);
    holder.args([dir, &modules_directory(), super::tool_path()]);
    holder.env_clear().env("PATH", super::PATH).current_dir("/");
    holder.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut holder = holder.spawn().unwrap_or_else(|e| panic!("cannot start unshare: {e}"));
    let mut output = BufReader::new(holder.stdout.take().expect("its output is a pipe"));
    let mut complaints = holder.stderr.take().expect("its complaints are a pipe");
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut answer = String::new();
        // No answer is an answer too: the complaints say why.
        if output.read_line(&mut answer).is_err() || answer != "ready\n" {
            drop(complaints.read_to_string(&mut answer));
        }
        drop(sender.send(answer));
    });
    match receiver.recv_timeout(PATIENCE).as_deref() {
        Ok("ready\n") => holder,
        answer => {
            drop(holder.kill().and_then(|()| holder.wait()));
            panic!("no world here (it needs the right to mount): {answer:?}");
        }
    }
}

fn inside(holder: &Child, path: &str) -> PathBuf {
    assert!(path.starts_with('/'), "a path in a world is absolute: {path}");
    PathBuf::from(format!("/proc/{}/root{path}", holder.id()))
}

/// Writes a file whole, whatever the umask; a link in its place is replaced, since
/// written through it might lead to the host.
fn put(path: &Path, bytes: &[u8], mode: u32) {
    if path.is_symlink() {
        fs::remove_file(path).unwrap_or_else(|e| panic!("cannot remove {}: {e}", path.display()));
    }
    fs::write(path, bytes)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
}
