//! A whole Debian whose systemd runs: its units, with their sandboxes. In namespaces of its
//! own, on a layer over the root that is thrown away; it changes nothing of the machine.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::common::{BOB_PASSWORD, Finished, PATIENCE, Pty, finish};
use crate::debian::Debian;

/// From a shell to systemd, in the root `$1`, with an empty directory `$3` for what changes.
/// systemd is in a cgroup of its own, `$2`, before the namespaces are made, or it would run
/// in the machine's. /proc/sys and /sys are read-only:
/// it sets no sysctl of the machine and starts no udev. Mounts are shared, or those that are
/// made for services would not be seen.
const BOOT: &str = r#"
echo $$ >"$2/cgroup.procs"
exec setsid setpriv --pdeathsig KILL -- unshare --mount --pid --fork --kill-child=KILL \
    --uts --ipc --net --cgroup --propagation private sh -euc '
lower=$1 here=$2
mount -t tmpfs -o size=1g tmpfs "$here"
mkdir "$here/upper" "$here/work" "$here/root"
mount -t overlay -o "lowerdir=$lower,upperdir=$here/upper,workdir=$here/work" overlay "$here/root"
cd "$here/root"
mount -t proc proc proc
mount -o bind,ro proc/sys proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
for name in null zero full random urandom tty; do
    : >dev/$name
    mount --bind /dev/$name dev/$name
done
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=1777 tmpfs tmp
pivot_root . mnt
cd /
umount -l /mnt
mount --make-rshared /
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /sbin/init
' boot "$1" "$3"
"#;

pub(crate) struct Booted {
    /// unshare(1), with which everything in it ends.
    outside: Child,
    /// systemd.
    init: u32,
    cgroup: PathBuf,
    _here: TempDir,
}

impl Booted {
    /// Boots a Debian that has systemd-sysv, and waits until it runs.
    #[track_caller]
    pub(crate) fn boot(debian: &Debian) -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
        let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let cgroups = mounts.find(|words| words.get(2) == Some(&"cgroup2")).map(|words| words[1]);
        let cgroups = PathBuf::from(cgroups.expect("a kernel with cgroups of version 2"));
        let root = debian.path("/");
        let name = root.file_name().expect("a name").display().to_string();
        let cgroup = cgroups.join(format!("onetime-{name}"));
        fs::create_dir(&cgroup).unwrap_or_else(|e| panic!("no cgroup {}: {e}", cgroup.display()));
        let mut boot = Command::new("sh");
        let here = tempfile::tempdir().expect("a directory");
        boot.args(["-euc", BOOT, "boot"]).arg(&root).arg(&cgroup).arg(here.path());
        let quiet = boot.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let outside = quiet.spawn().expect("a shell starts");
        let mut booted = Self { outside, init: 0, cgroup, _here: here };
        booted.until("it runs", |booted| {
            let id = booted.outside.id();
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
            let first = children.unwrap_or_default();
            booted.init = first.split(' ').next().and_then(|id| id.parse().ok()).unwrap_or(0);
            let state = booted.run("systemctl", &["is-system-running"]).stdout;
            matches!(state.trim(), "running" | "degraded")
        });
        booted
    }

    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < end, "{what}: not after {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// A program in it, by root.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.env_clear().env("PATH", crate::common::PATH).env("TERM", "xterm");
        command.args(["--target", &self.init.to_string(), "--all", "--root", "--wd", "--"]);
        command.args(["env", "-i", &format!("PATH={}", crate::common::PATH), "TERM=xterm"]);
        command.arg(program);
        command
    }

    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Finished {
        finish(self.command(program).args(arguments), b"")
    }

    /// Writes a file, in a directory that is there.
    #[track_caller]
    pub(crate) fn write(&self, path: &str, text: &str) {
        let place = format!("/proc/{}/root{path}", self.init);
        fs::write(place, text).unwrap_or_else(|e| panic!("cannot write {path}: {e}"));
    }

    #[track_caller]
    pub(crate) fn shell(&self, script: &str) -> String {
        self.run("sh", &["-euc", script]).ok()
    }

    /// A property of a unit.
    #[track_caller]
    pub(crate) fn property(&self, unit: &str, name: &str) -> String {
        self.shell(&format!("systemctl show -P {name} {unit}")).trim().to_owned()
    }

    /// A user's own program, which asks for that user, by the service `locker`.
    #[track_caller]
    pub(crate) fn unlock(&self, user: &str) -> Pty {
        let mut command = self.command("setpriv");
        command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--init-groups"]);
        Pty::spawn(command.args(["pamtester", "locker", user, "authenticate", "acct_mgmt"]))
    }

    /// Answers its prompts, and says whether that lets in.
    #[track_caller]
    pub(crate) fn lets_in(&self, user: &str, answers: &[(&str, &str)]) -> bool {
        let mut locker = self.unlock(user);
        for (prompt, answer) in answers {
            locker.expect(*prompt);
            locker.send_line(answer);
        }
        locker.wait().success()
    }

    /// bob has no record.
    #[track_caller]
    pub(crate) fn lets_bob_in(&self) {
        assert!(self.lets_in("bob", &[("Password:", BOB_PASSWORD)]));
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        // Everything in it ends with its first process.
        drop(self.outside.kill().and_then(|()| self.outside.wait()));
        let directories =
            format!("find {} -depth -type d -exec rmdir {{}} +", self.cgroup.display());
        let gone = || Command::new("sh").args(["-c", &directories]).status();
        let end = Instant::now() + Duration::from_secs(5);
        while !gone().is_ok_and(|status| status.success()) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
