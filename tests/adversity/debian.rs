//! A whole Debian, made by debootstrap, to log in to: its own libpam, programs, service
//! files and pam-auth-update. Each program runs in a mount namespace of its own, with the
//! machine's network and processes.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::common::{ALICE_PASSWORD, BOB_PASSWORD, Finished, Pty, conf, finish, finish_within};
use crate::common::{copy_file, copy_of_small_debian, module_path, tool_path, write_file};

/// A mirror may be slow, and other campaigns run beside this one.
const MAKING: Duration = Duration::from_secs(600);

/// Goes into the root `$1`, as `$2`; what follows is run there.
const ENTER: &str = r#"
root=$1 user=$2
shift 2
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
(cd /dev && cp -a null zero full random urandom tty ptmx "$root/dev/")
mkdir "$root/dev/pts" "$root/dev/shm"
mount --rbind /dev/pts "$root/dev/pts"
exec chroot $user "$root" "$@"
"#;

pub(crate) struct Debian {
    pub(crate) suite: &'static str,
    directory: TempDir,
}

impl Debian {
    /// A small system of this suite, with these packages.
    #[track_caller]
    pub(crate) fn make(suite: &'static str, packages: &[&str]) -> Self {
        let directory = tempfile::Builder::new()
            .prefix(suite)
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .unwrap_or_else(|e| panic!("no directory in {}: {e}", env!("CARGO_TARGET_TMPDIR")));
        copy_of_small_debian(suite, directory.path());
        let debian = Self { suite, directory };
        debian.install_packages(packages);
        debian
    }

    #[track_caller]
    pub(crate) fn install_packages(&self, packages: &[&str]) {
        let mut apt = self.command("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").args(["install", "--yes", "--quiet"]);
        apt.args(["--no-install-recommends", "-o", "Dpkg::Options::=--force-unsafe-io"]);
        finish_within(apt.args(packages), b"", MAKING).ok();
    }

    /// Puts there what `make install` would, a store, and two users whose shell says
    /// `Welcome` and ends; alice may use sudo.
    #[track_caller]
    pub(crate) fn install(&self) {
        let modules = self.run("sh", &["-c", "dirname /usr/lib/*/security/pam_unix.so"]).ok();
        self.copy(module_path(), &format!("{}/pam_onetime.so", modules.trim()), 0o644);
        self.copy(tool_path(), "/usr/local/sbin/onetimectl", 0o755);
        self.write("/etc/onetime/onetime.toml", &conf("onetime.toml"));
        self.write("/usr/share/pam-configs/onetime", &conf("pam-configs/onetime"));
        self.use_ours("onetime-password");
        self.run("onetimectl", &["init"]).ok();
        self.make_users();
    }

    /// Two users whose shell says `Welcome` and ends; alice may use sudo.
    #[track_caller]
    pub(crate) fn make_users(&self) {
        self.write("/usr/local/bin/welcome", "#!/bin/sh\necho Welcome, $(id -un).\n");
        self.run("chmod", &["755", "/usr/local/bin/welcome"]).ok();
        for (user, password) in [("alice", ALICE_PASSWORD), ("bob", BOB_PASSWORD)] {
            self.run("useradd", &["--create-home", "--shell", "/usr/local/bin/welcome", user]).ok();
            let mut chpasswd = self.command("chpasswd");
            finish(&mut chpasswd, format!("{user}:{password}\n").as_bytes()).ok();
        }
        self.write("/etc/sudoers.d/alice", "Defaults lecture=never\nalice ALL=(ALL:ALL) ALL\n");
        self.run("mkdir", &["-p", "/run/sshd", "/run/sudo"]).ok();
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path.trim_start_matches('/'))
    }

    #[track_caller]
    pub(crate) fn write(&self, path: &str, text: &str) {
        write_file(&self.path(path), text);
    }

    #[track_caller]
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|e| panic!("cannot read {path}: {e}"))
    }

    #[track_caller]
    pub(crate) fn copy(&self, from: &std::path::Path, to: &str, mode: u32) {
        copy_file(from, &self.path(to), mode);
    }

    /// Puts the service file that we ship in its place.
    #[track_caller]
    pub(crate) fn use_ours(&self, service: &str) {
        self.write(&format!("/etc/pam.d/{service}"), &conf(&format!("pam.d/{service}")));
    }

    /// A program there, run by root.
    pub(crate) fn command(&self, program: &str) -> Command {
        self.enter("--groups=0", program)
    }

    fn enter(&self, user: &str, program: &str) -> Command {
        let mut command = Command::new("unshare");
        command.env_clear().env("PATH", crate::common::PATH).env("TERM", "xterm");
        command.args(["--mount", "--propagation", "private", "--", "sh", "-euc", ENTER, "enter"]);
        command.arg(self.directory.path()).args([user, program]);
        command
    }

    #[track_caller]
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Finished {
        finish(self.command(program).args(arguments), b"")
    }

    /// On a terminal, by this user.
    #[track_caller]
    pub(crate) fn pty_as(&self, user: &str, program: &str, arguments: &[&str]) -> Pty {
        let id = self.run("id", &["-u", user]).ok();
        let user = format!("--userspec={0}:{0}", id.trim());
        Pty::spawn(self.enter(&user, program).args(arguments))
    }
}
