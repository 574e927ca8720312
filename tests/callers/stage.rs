//! Where a program runs: a Debian in namespaces of its own (mounts, network with a loopback
//! alone, processes, host name), with everything of pam-onetime installed, users, and a
//! /dev/log that is read. What changes there is thrown away; everything in it ends with it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{Mode, OFlags, open};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{
    Finished, PATH, Pty, Sink, conf, copy_file, finish_within, module_path, tool_path,
    trace_module, write_file,
};
use crate::system::System;

/// How long a program may take, where a machine has much else to do. Nothing waits so long
/// where all is well: it waits for a sign.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// What is the first process of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Init {
    /// One that only waits.
    None,
    /// The system's own: its packages have systemd-sysv.
    Systemd,
}

/// Goes into an overlay of `$1`, in the directory `$2`; is in cgroup `$3` if that is named.
/// The machine's terminals are there, so that one of ours has a name inside. What systemd would
/// start for a screen is left to who asks for it.
const ENTER: &str = r#"
test -z "$3" || echo $$ >"$3/cgroup.procs"
exec setsid setpriv --pdeathsig KILL -- unshare --mount --pid --fork --kill-child=KILL \
    --uts --ipc --net --cgroup --propagation private sh -euc '
lower=$1 here=$2 cgroup=$3
mount -t tmpfs -o size=2g tmpfs "$here"
mkdir "$here/upper" "$here/work" "$here/root"
mount -t overlay -o "lowerdir=$lower,upperdir=$here/upper,workdir=$here/work" overlay "$here/root"
cd "$here/root"
mount -t proc proc proc
mount -o bind,ro proc/sys proc/sys
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
mount -t tmpfs -o mode=1777 tmpfs tmp
(cd /dev && cp -a null zero full random urandom tty ptmx "$here/root/dev/")
mkdir dev/pts dev/shm
mount --rbind /dev/pts dev/pts
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mkdir -p run/lock run/sshd run/sudo
chroot . ip link set lo up
chroot . hostname stage
test -z "$cgroup" || mount -t cgroup2 cgroup2 sys/fs/cgroup
pivot_root . mnt
cd /
umount -l /mnt
mount --make-rshared /
: >/run/ready
test -z "$cgroup" || exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /sbin/init --unit=multi-user.target
while :; do sleep 1000 & wait; done
' stage "$@"
"#;

/// Where the trace module writes.
pub(crate) const TRACE: &str = "/run/pam_trace";

/// The shell of every user: says `Welcome, NAME.`, or runs a command.
pub(crate) const SHELL: &str = "/usr/local/bin/welcome";

pub(crate) struct Stage {
    /// unshare(1), with which everything ends.
    outside: Child,
    /// The first process, by the machine's number.
    first: u32,
    cgroup: Option<PathBuf>,
    logs: Vec<Sink>,
    pub(crate) init: Init,
    since: SystemTime,
    daemons: RefCell<Vec<Child>>,
    /// So much of what the trace module has written is read.
    read: Cell<usize>,
    _here: TempDir,
}

impl Stage {
    /// A stage on which nothing of ours is installed yet.
    #[track_caller]
    pub(crate) fn enter(system: &System, init: Init) -> Self {
        let here = tempfile::tempdir().expect("a directory");
        let cgroup = (init == Init::Systemd).then(|| new_cgroup(here.path()));
        let mut enter = Command::new("sh");
        enter.args(["-euc", ENTER, "enter", &system.directories()]).arg(here.path());
        enter.arg(cgroup.clone().unwrap_or_default());
        let errors = tempfile::tempfile().expect("a file");
        let quiet = enter.stdin(Stdio::null()).stdout(Stdio::null());
        let outside = quiet.stderr(errors.try_clone().expect("a file")).spawn();
        let mut stage = Self {
            outside: outside.expect("a shell starts"),
            first: 0,
            cgroup,
            logs: Vec::new(),
            init,
            since: SystemTime::now(),
            daemons: RefCell::default(),
            read: Cell::default(),
            _here: here,
        };
        stage.wait_for_first(errors);
        if init == Init::Systemd {
            stage.until("systemd runs", || {
                let state = stage.run("systemctl", &["is-system-running"]).stdout;
                matches!(state.trim(), "running" | "degraded")
            });
        } else {
            stage.logs.push(Sink::listen(&stage.path("/dev/log")));
            // Where libsystemd writes, and some programs with it.
            stage.shell("mkdir -p /run/systemd/journal");
            stage.logs.push(Sink::listen(&stage.path("/run/systemd/journal/socket")));
        }
        stage
    }

    #[track_caller]
    fn wait_for_first(&mut self, mut errors: File) {
        let end = Instant::now() + PATIENCE;
        let id = self.outside.id();
        loop {
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
            let children = children.unwrap_or_default();
            self.first = children.split(' ').next().and_then(|id| id.parse().ok()).unwrap_or(0);
            let ready = self.first != 0 && self.path("/run/ready").exists();
            // Before pivot_root, a /run of the machine is seen.
            if ready && !self.path("/mnt/proc").exists() {
                return;
            }
            if Instant::now() > end || self.outside.try_wait().is_ok_and(|end| end.is_some()) {
                let mut said = String::new();
                drop(std::io::Seek::rewind(&mut errors));
                drop(errors.read_to_string(&mut said));
                panic!("no stage here: {said}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Installs module, tool, configuration and store, the tracing module, and the users.
    #[track_caller]
    pub(crate) fn install(&self) {
        let modules = self.shell("dirname /usr/lib/*/security/pam_unix.so");
        self.copy(module_path(), &format!("{}/pam_onetime.so", modules.trim()), 0o644);
        self.copy(&trace_module(), &format!("{}/pam_trace.so", modules.trim()), 0o644);
        self.copy(tool_path(), "/usr/local/sbin/onetimectl", 0o755);
        self.write("/etc/onetime/onetime.toml", &conf("onetime.toml"));
        self.write("/usr/share/pam-configs/onetime", &conf("pam-configs/onetime"));
        self.ship("onetime-password");
        self.write("/etc/hosts", "127.0.0.1 localhost stage\n::1 localhost\n");
        self.write(
            SHELL,
            "#!/bin/sh\n[ \"$1\" = -c ] && exec /bin/sh \"$@\"\necho \"Welcome, $(id -un).\"\n",
        );
        self.write("/etc/shells", &format!("/bin/sh\n/bin/bash\n{SHELL}\n"));
        self.shell(&format!("chmod 755 {SHELL}; : >{TRACE}; chmod 666 {TRACE}"));
        self.shell("onetimectl init");
    }

    // --- files ---

    /// Where the machine sees a file of the stage. A symbolic link with an absolute target
    /// leads out: name the target instead.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.first))
    }

    /// Writes a file of root's, for all to read; directories are made.
    #[track_caller]
    pub(crate) fn write(&self, path: &str, text: &str) {
        write_file(&self.path(path), text);
    }

    /// A file's text; none if there is no file.
    pub(crate) fn read(&self, path: &str) -> String {
        let bytes = fs::read(self.path(path)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[track_caller]
    pub(crate) fn copy(&self, from: &Path, to: &str, mode: u32) {
        copy_file(from, &self.path(to), mode);
    }

    /// Puts the service file that we ship in its place.
    #[track_caller]
    pub(crate) fn ship(&self, service: &str) {
        self.write(&format!("/etc/pam.d/{service}"), &conf(&format!("pam.d/{service}")));
    }

    // --- programs ---

    /// A program there, run by root, with a small clean environment.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = self.enter_as("root", "/root");
        command.arg(program);
        command
    }

    /// As `command`, run by this user, with that user's groups.
    pub(crate) fn command_as(&self, user: &str, program: &str) -> Command {
        let mut command = self.enter_as(user, &format!("/home/{user}"));
        command.arg("setpriv");
        command.args([format!("--reuid={user}"), format!("--regid={user}")]);
        command.args(["--init-groups", "--", program]);
        command
    }

    fn enter_as(&self, user: &str, home: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.env_clear().env("PATH", PATH).env("HOME", home);
        command.envs([("LANG", "C.UTF-8"), ("TERM", "xterm"), ("SHELL", "/bin/sh")]);
        command.envs([("USER", user), ("LOGNAME", user)]);
        let target = self.first.to_string();
        command.args(["--target", &target, "--mount", "--pid", "--uts", "--ipc", "--net"]);
        command.args(["--root", "--wd", "--"]);
        command
    }

    #[track_caller]
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Finished {
        finish(self.command(program).args(arguments), b"")
    }

    /// What a script of root's prints; it must succeed.
    #[track_caller]
    pub(crate) fn shell(&self, script: &str) -> String {
        self.run("sh", &["-euc", script]).ok()
    }

    /// Ends every process with this name.
    #[track_caller]
    pub(crate) fn end(&self, name: &str) {
        self.shell(&format!(
            "for it in /proc/[0-9]*; do read -r name <$it/comm && test \"$name\" = {name} && \
             kill -KILL ${{it#/proc/}} || true; done 2>/dev/null"
        ));
    }

    /// Starts a program of root's, on a terminal of its own.
    #[track_caller]
    pub(crate) fn pty(&self, program: &str, arguments: &[&str]) -> Pty {
        on_terminal(self.command(program).args(arguments))
    }

    #[track_caller]
    pub(crate) fn pty_as(&self, user: &str, program: &str, arguments: &[&str]) -> Pty {
        on_terminal(self.command_as(user, program).args(arguments))
    }

    /// Starts a daemon that stays in the foreground; what it prints goes to
    /// /var/log/printed-by-NAME, where secrets are looked for. It ends with the stage.
    #[track_caller]
    pub(crate) fn daemon(&self, name: &str, mut command: Command) {
        let log = self.path(&format!("/var/log/printed-by-{name}"));
        let log = File::create(&log).unwrap_or_else(|e| panic!("no {}: {e}", log.display()));
        let errors = log.try_clone().expect("a file");
        let quiet = command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let daemon = quiet.spawn().unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
        self.daemons.borrow_mut().push(daemon);
    }

    /// Waits for something that is to become so.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let came = self.comes(PATIENCE, &mut is_so);
        assert!(came, "{what}: not after {PATIENCE:?}\n{}{}", self.logged(), self.printed());
    }

    /// Whether something becomes so within this time.
    pub(crate) fn comes(&self, limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
        let end = Instant::now() + limit;
        while !is_so() {
            if Instant::now() > end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        true
    }

    /// Waits until something listens at this port, of TCP.
    #[track_caller]
    pub(crate) fn wait_for_port(&self, port: u16) {
        let wanted = format!(":{port:04X}");
        self.until(&format!("port {port} is open"), || {
            let tables = ["tcp", "tcp6"].map(|table| format!("/proc/{}/net/{table}", self.first));
            let tables = tables.map(|table| fs::read_to_string(table).unwrap_or_default());
            let rows = tables.iter().flat_map(|table| table.lines());
            let mut words = rows.map(|row| row.split_whitespace().collect::<Vec<_>>());
            words.any(|row| row.len() > 3 && row[1].ends_with(&wanted) && row[3] == "0A")
        });
    }

    /// Whether something listens at this socket, by its path. The socket is there a moment
    /// before that.
    pub(crate) fn listens(&self, path: &str) -> bool {
        let table = fs::read_to_string(format!("/proc/{}/net/unix", self.first));
        let table = table.unwrap_or_default();
        let mut rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
        rows.any(|row| row.last() == Some(&path) && row.get(3) == Some(&"00010000"))
    }

    /// Whether a terminal of a program there shows what is typed.
    pub(crate) fn echoes(&self) -> bool {
        let entries = fs::read_dir(self.path("/proc")).into_iter().flatten().flatten();
        let stats = entries.filter_map(|it| fs::read_to_string(it.path().join("stat")).ok());
        let numbers: BTreeSet<_> = stats.filter_map(|stat| terminal(&stat)).collect();
        numbers.into_iter().any(|number| {
            let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let terminal = open(format!("/dev/pts/{number}"), flags, Mode::empty());
            let modes = terminal.and_then(rustix::termios::tcgetattr);
            modes.is_ok_and(|it| it.local_modes.contains(rustix::termios::LocalModes::ECHO))
        })
    }

    // --- what happened ---

    /// What was logged: to /dev/log and to the journal.
    pub(crate) fn logged(&self) -> String {
        match self.init {
            Init::None => {
                let lines = self.logs.iter().flat_map(Sink::lines);
                lines.map(|line| line.raw + "\n").collect()
            }
            Init::Systemd => {
                self.run("journalctl", &["--sync"]);
                self.run("journalctl", &["-o", "cat", "--no-pager", "-a"]).stdout
            }
        }
    }

    /// What daemons have printed.
    fn printed(&self) -> String {
        let log = self.path("/var/log");
        let entries = fs::read_dir(log).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let printed = names.filter(|name| name.starts_with("printed-by-"));
        printed.map(|name| self.read(&format!("/var/log/{name}"))).collect()
    }

    /// What the trace module has written since `traced` was asked for it.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.events_and_end().0
    }

    /// What the trace module has written since the last time.
    pub(crate) fn traced(&self) -> Vec<Value> {
        let (events, end) = self.events_and_end();
        self.read.set(end);
        events
    }

    /// What is not read yet, of whole lines; and where it ends.
    fn events_and_end(&self) -> (Vec<Value>, usize) {
        let bytes = fs::read(self.path(TRACE)).unwrap_or_default();
        let new = bytes.get(self.read.get()..).unwrap_or_default();
        let length = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let lines = new[..length].split(|byte| *byte == b'\n');
        let events = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
        (events, self.read.get() + length)
    }

    /// The files that changed since the stage was entered, but for our own.
    pub(crate) fn changed_files(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut directories: Vec<_> =
            ["/var", "/run", "/tmp", "/home", "/root", "/etc", "/dev/shm"].map(String::from).into();
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(self.path(&directory)).into_iter().flatten().flatten() {
                let name = format!("{directory}/{}", entry.file_name().to_string_lossy());
                if name == TRACE || name == "/var/lib/onetime" {
                    continue;
                }
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_dir() {
                    directories.push(name);
                } else if metadata.is_file()
                    && metadata.len() < 1 << 26
                    && metadata.modified().is_ok_and(|time| time >= self.since)
                {
                    let bytes = fs::read(entry.path()).unwrap_or_default();
                    found.push((name, String::from_utf8_lossy(&bytes).into_owned()));
                }
            }
        }
        found
    }
}

/// The number in /dev/pts of a process's terminal, by its line of /proc; of the first 256.
fn terminal(stat: &str) -> Option<u32> {
    let number: u32 = stat.rsplit_once(") ")?.1.split(' ').nth(4)?.parse().ok()?;
    (number >> 8 == 136).then_some(number & 0xff)
}

/// Runs a program to its end, with our patience.
#[track_caller]
pub(crate) fn finish(command: &mut Command, input: &[u8]) -> Finished {
    finish_within(command, input, PATIENCE)
}

/// Starts a program on a terminal of its own, with our patience.
#[track_caller]
pub(crate) fn on_terminal(command: &Command) -> Pty {
    let mut pty = Pty::spawn(command);
    pty.patience = PATIENCE;
    pty
}

/// A cgroup for a systemd, with our process's number in its name.
#[track_caller]
fn new_cgroup(here: &Path) -> PathBuf {
    static CLEAN: Once = Once::new();
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let cgroups = mounts.find(|words| words.get(2) == Some(&"cgroup2")).map(|words| words[1]);
    let cgroups = PathBuf::from(cgroups.expect("a kernel with cgroups of version 2"));
    CLEAN.call_once(|| remove_left_over(&cgroups));
    let (id, name) = (std::process::id(), here.file_name().expect("a name").display());
    let cgroup = cgroups.join(format!("callers.{id}{name}"));
    fs::create_dir(&cgroup).unwrap_or_else(|e| panic!("no {}: {e}", cgroup.display()));
    cgroup
}

/// Removes what is left of runs that were killed.
fn remove_left_over(cgroups: &Path) {
    for entry in fs::read_dir(cgroups).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let id = name.strip_prefix("callers.").and_then(|rest| rest.split('.').next());
        let id = id.and_then(|id| id.parse::<u32>().ok());
        if id.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            end_cgroup(&entry.path());
        }
    }
}

/// Ends what is in a cgroup, waits until it has ended, and removes it.
fn end_cgroup(cgroup: &Path) {
    let is_populated = || {
        let events = fs::read_to_string(cgroup.join("cgroup.events")).unwrap_or_default();
        events.contains("populated 1")
    };
    drop(fs::write(cgroup.join("cgroup.kill"), "1"));
    let end = Instant::now() + PATIENCE;
    while is_populated() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    if let Err(error) = remove_directories(cgroup) {
        eprintln!("{} is left over: {error}", cgroup.display());
    }
}

/// Those inside first: a cgroup's files go with it.
fn remove_directories(directory: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_directories(&entry.path())?;
        }
    }
    fs::remove_dir(directory)
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Everything in it ends with its first process.
        drop(self.outside.kill().and_then(|()| self.outside.wait()));
        for daemon in self.daemons.borrow_mut().iter_mut() {
            drop(daemon.kill().and_then(|()| daemon.wait()));
        }
        if let Some(cgroup) = &self.cgroup {
            end_cgroup(cgroup);
        }
    }
}
