//! The drop-in of packaging/systemd, in a running systemd: logins in the sandbox that polkit
//! ships, with it and without it, with a store and without one.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::booted::Booted;
use crate::common::{
    ALICE_PASSWORD, AUTHINFO_UNAVAIL, BOB_PASSWORD, SUCCESS, current_code, example_path, finish,
    secret_in,
};
use crate::debian::Debian;

/// polkit's unit.
const HELPER: &str = "/usr/lib/systemd/system/polkit-agent-helper@.service";
/// Where our drop-in for it is installed.
pub(crate) const DROP_IN: &str =
    "/usr/lib/systemd/system/polkit-agent-helper@.service.d/pam_onetime.conf";
/// Sandboxed as the helper is, but it logs in by itself.
const UNIT: &str = "sandboxed.service";

fn packaging(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

pub(crate) fn drop_in() -> String {
    packaging("polkit-agent-helper@.service.d/pam_onetime.conf")
}

/// What the shipped unit says, but for what makes it a helper of polkit's.
fn sandboxed(helper: &str) -> String {
    let keeps = |line: &&str| {
        let key = line.split('=').next().unwrap_or_default();
        !["ExecStart", "StandardInput", "StandardOutput", "StandardError", "Type"].contains(&key)
    };
    let (before, _) = helper.split_once("[Service]").expect("a section");
    let section = helper[before.len()..].lines().skip(1).take_while(|line| !line.starts_with('['));
    let settings: Vec<_> = section.filter(keeps).collect();
    assert!(settings.contains(&"ProtectSystem=strict"), "{helper}");
    format!(
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\n{}\nType=oneshot\n\
         ExecStart=/usr/local/bin/pam_client $SERVICE $WHO\n\
         EnvironmentFile=/etc/sandboxed\nStandardInput=file:/etc/answers\n\
         StandardOutput=truncate:/etc/said\n",
        settings.join("\n")
    )
}

/// How the unit ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// With the result of the login.
    Login(i32),
    /// It was not started: systemd's status.
    NotStarted(String),
}

/// Has a user log in within the sandbox.
#[track_caller]
fn log_in(booted: &Booted, service: &str, user: &str, answers: &[&str]) -> Ended {
    booted.write("/etc/sandboxed", &format!("SERVICE={service}\nWHO={user}\n"));
    booted.write("/etc/answers", &(answers.join("\n") + "\n"));
    booted.write("/etc/said", "");
    booted.shell(&format!("systemctl start {UNIT} || true"));
    let status = booted.shell(&format!("systemctl show -P ExecMainStatus {UNIT}"));
    let said = booted.run("cat", &["/etc/said"]).stdout;
    let result = said.lines().find_map(|line| line.strip_prefix("result authenticate "));
    match result.and_then(|result| result.trim().parse().ok()) {
        Some(result) => Ended::Login(result),
        None => Ended::NotStarted(status.trim().to_owned()),
    }
}

/// Puts our drop-in, or another text in its place, beside the unit.
#[track_caller]
fn put_beside(booted: &Booted, text: Option<&str>) {
    let folder = format!("/etc/systemd/system/{UNIT}.d");
    booted.shell(&format!("rm -rf {folder}; mkdir {folder}"));
    if let Some(text) = text {
        booted.write(&format!("{folder}/pam_onetime.conf"), text);
    }
    booted.shell("systemctl daemon-reload");
}

/// `debian` has what is shipped and our drop-in, polkit, systemd, and the users alice and bob.
#[track_caller]
pub(crate) fn try_in_systemd(debian: &Debian) {
    let ours = drop_in();
    let helper = debian.read(HELPER);
    debian.write(&format!("/etc/systemd/system/{UNIT}"), &sandboxed(&helper));
    let mut install = Command::new("install");
    install.args(["-m", "755"]).arg(example_path("pam_client"));
    finish(install.arg(debian.path("/usr/local/bin/pam_client")), b"").ok();
    debian.write("/etc/pam.d/asks", "auth required pam_onetime.so\n");
    debian.write("/etc/pam.d/plain", "auth required pam_unix.so\n");
    debian.run("onetimectl", &["enable", "alice", "--new-secret"]).ok();
    let secret = secret_in(&debian.read("/var/lib/onetime/users/alice.toml"));
    debian.run("onetimectl", &["verify", "alice", &current_code(&secret, -1)]).ok();

    let booted = Booted::boot(debian);
    // In force for polkit's own unit, and for nothing else.
    let shown = booted.shell(
        "systemctl show -P ReadWritePaths polkit-agent-helper@1.service; \
         systemctl show -P DropInPaths polkit-agent-helper@1.service",
    );
    assert_eq!(shown, format!("-/var/lib/onetime\n{DROP_IN}\n"));
    let alice = || {
        let code = current_code(&secret, 0);
        log_in(&booted, "asks", "alice", &[ALICE_PASSWORD, &code])
    };
    let bob = |service: &str| log_in(&booted, service, "bob", &[BOB_PASSWORD]);
    put_beside(&booted, None);
    assert_eq!(alice(), Ended::Login(AUTHINFO_UNAVAIL), "the store is read-only");
    assert_eq!(bob("asks"), Ended::Login(SUCCESS), "who has no record writes nothing");
    put_beside(&booted, Some(&ours));
    assert_eq!(alice(), Ended::Login(SUCCESS));
    assert_eq!(bob("asks"), Ended::Login(SUCCESS));

    of_root_alone(&booted);

    // Without a store nobody gets in by the module, and everybody by services without it.
    booted.shell("mv /var/lib/onetime /var/lib/elsewhere");
    assert_eq!(bob("asks"), Ended::Login(AUTHINFO_UNAVAIL), "no store is not: nobody is enabled");
    assert_eq!(bob("plain"), Ended::Login(SUCCESS));
    let without_dash = ours.replace("=-/", "=/");
    put_beside(&booted, Some(&without_dash));
    assert_eq!(bob("plain"), Ended::NotStarted("226".to_owned()), "226/NAMESPACE");

    // The example for sshd is the same, for a unit that an admin has hardened.
    let example = packaging("examples/ssh.service.d/pam_onetime.conf");
    let settings = |text: &str| {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(settings(&example), settings(&ours));
}

/// fail2ban reads of the journal what root's processes wrote there: any user may write lines
/// in the module's name.
#[track_caller]
fn of_root_alone(booted: &Booted) {
    let filter =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/fail2ban/filter.d/pam-onetime.conf");
    let filter = fs::read_to_string(filter).expect("the filter");
    let matches = filter.lines().find_map(|line| line.strip_prefix("journalmatch = "));
    let matches = matches.expect("what it reads of the journal");
    booted.shell("setpriv --reuid=65534 --clear-groups -- logger -t pam_onetime forged");
    let lines = |which: &str| {
        booted.shell(&format!("journalctl --sync; journalctl -q --no-pager -o cat {which}"))
    };
    assert!(lines("SYSLOG_IDENTIFIER=pam_onetime").contains("forged"));
    let read = lines(matches);
    assert!(read.contains("code right") && !read.contains("forged"), "{read}");
}
