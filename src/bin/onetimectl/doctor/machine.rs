//! What the machine itself has to give: the module where libpam looks, a clock
//! that is right, a syslog, and SELinux out of the way.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use super::Finding;

/// Directories where libpam may look for modules.
fn module_dirs() -> Vec<PathBuf> {
    let below = |dir: &str| fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    let all = below("/usr/lib").chain(below("/lib")).chain(below("/usr")).chain(below("/"));
    let mut dirs: Vec<_> = all
        .map(|dir| dir.join("security"))
        .filter(|dir| dir.join("pam_unix.so").exists())
        .filter_map(|dir| dir.canonicalize().ok())
        .collect();
    dirs.sort();
    dirs.dedup();
    dirs
}

pub(super) fn check() -> Vec<Finding> {
    let mut findings = vec![module(), clock(), syslog()];
    findings.extend(selinux());
    findings
}

fn module() -> Finding {
    let name = "module";
    let Some(path) =
        module_dirs().into_iter().map(|dir| dir.join("pam_onetime.so")).find(|path| path.exists())
    else {
        return Finding::fail(name, "pam_onetime.so is not where pam_unix.so is", "make install");
    };
    let shown = path.display();
    match (fs::metadata(&path), fs::read(&path)) {
        (Ok(metadata), _) if metadata.uid() != 0 || metadata.mode() & 0o022 != 0 => Finding::fail(
            name,
            format!("{shown} can be written by others than root"),
            "chown root and chmod 644 it, and find out who has",
        ),
        (Ok(_), Ok(bytes)) if !bytes.starts_with(b"\x7fELF") => {
            Finding::fail(name, format!("{shown} is no library"), "make install")
        }
        (Ok(_), Ok(_)) => Finding::ok(name, format!("{shown}")),
        (Err(error), _) | (_, Err(error)) => {
            Finding::fail(name, format!("{shown}: {error}"), "make install")
        }
    }
}

fn clock() -> Finding {
    let name = "clock";
    let remedy =
        "totp codes need the time to be right within half a minute: timedatectl set-ntp true";
    let synchronized =
        ["/run/systemd/timesync/synchronized", "/run/chrony/chronyd.pid", "/run/ntpd.pid"];
    match pam_onetime::system::now() {
        Ok(now) if now.0 < 1_700_000_000 => Finding::fail(name, "is before 2023", remedy),
        Ok(_) if synchronized.iter().any(|path| fs::metadata(path).is_ok()) => {
            Finding::ok(name, "is being synchronized")
        }
        Ok(_) => Finding::warn(name, "nothing is seen to synchronize it", remedy),
        Err(error) => Finding::fail(name, error.to_string(), remedy),
    }
}

fn syslog() -> Finding {
    let socket = fs::metadata("/dev/log").is_ok_and(|metadata| metadata.file_type().is_socket());
    match socket {
        true => Finding::ok("syslog", "/dev/log is there"),
        false => Finding::warn(
            "syslog",
            "/dev/log is not there: logins leave no trace",
            "run systemd-journald, rsyslog or another syslog daemon",
        ),
    }
}

fn selinux() -> Option<Finding> {
    let enforcing = fs::read_to_string("/sys/fs/selinux/enforce").ok()?;
    let log = fs::read_to_string("/var/log/audit/audit.log").unwrap_or_default();
    let tail = log.lines().rev().take(10_000);
    let denied = tail.filter(|line| line.contains("denied") && line.contains("onetime")).count();
    Some(match (enforcing.trim(), denied) {
        ("1", 0) => Finding::ok("selinux", "enforcing, and no denial is on record"),
        ("1", denied) => Finding::fail(
            "selinux",
            format!("{denied} denials on record that name onetime"),
            "ausearch -m AVC -ts recent; restorecon -R /var/lib/onetime /etc/onetime",
        ),
        _ => Finding::ok("selinux", "not enforcing"),
    })
}
