//! run0 and pkexec in a whole sid whose systemd runs, with the package and its profile: the
//! helper of polkit 127 and later logs in within a sandbox, which our drop-in opens for the
//! store. pkexec has an agent of its own beside it: its own one cannot ask anybody there
//! (polkit, issue 686).

use regex::Regex;

use crate::booted::Booted;
use crate::common::{Pty, current_code, finish, preflight};
use crate::debian::Debian;
use crate::repacked::package;
use crate::{apt, doors};

const PROGRAMS: [&str; 10] = [
    "systemd-sysv",
    "dbus",
    "libpam-systemd",
    "polkitd",
    "pkexec",
    "openssh-client",
    "openssh-server",
    "sudo",
    "iproute2",
    "procps",
];

/// Whoever asks for something has to prove that it is them.
const SELF: &str =
    "polkit.addRule(function(action, subject) { return polkit.Result.AUTH_SELF; });\n";

/// An agent for this shell, which says when it is there; then pkexec.
const PKEXEC: &str = r#"#!/bin/sh
mkfifo "$HOME/ready"
pkttyagent --process $$ --notify-fd 9 9>"$HOME/ready" &
cat "$HOME/ready"
rm "$HOME/ready"
pkexec id -u
kill $!
"#;

/// How somebody becomes root, who has logged in with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Run0,
    Pkexec,
}

impl Way {
    const ALL: [Self; 2] = [Self::Run0, Self::Pkexec];

    const fn command(self) -> &'static str {
        match self {
            Self::Run0 => "run0 --background= id -u",
            Self::Pkexec => "/usr/local/bin/with-agent",
        }
    }

    /// A session of a user, who has been asked for the password.
    #[track_caller]
    fn start(self, booted: &Booted, user: &str) -> Pty {
        let mut ssh = booted.command("ssh");
        ssh.args([
            "-tt",
            "-i",
            "/root/key",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "LogLevel=ERROR",
        ]);
        let mut ssh = Pty::spawn(ssh.arg(format!("{user}@127.0.0.1")).arg(self.command()));
        answer(booted, &mut ssh, user, "Password: ", &password(user));
        ssh
    }
}

/// The terminal of the user `$1` shows nothing of what is typed: the agent reads.
const READS: &str = r#"
until for tty in $(find /dev/pts -user "$1"); do stty -a -F "$tty"; done | grep -q -e ' -echo '; do
    sleep 0.05
done
"#;

/// Types an answer when it is read: an agent throws away what was typed before.
#[track_caller]
fn answer(booted: &Booted, pty: &mut Pty, user: &str, prompt: &str, text: &str) {
    pty.expect(prompt);
    booted.run("timeout", &["20", "sh", "-c", READS, "sh", user]).ok();
    pty.send_line(text);
}

fn password(user: &str) -> String {
    format!("{user}-pw-4711")
}

#[track_caller]
fn becomes_root(pty: &mut Pty) {
    pty.expect(Regex::new(r"(?m)^0$").expect("a pattern"));
}

#[track_caller]
fn is_refused(pty: &mut Pty) {
    let said = pty.expect(Regex::new("(?i)AUTHENTICATION FAILED|not auth").expect("a pattern"));
    assert!(!said.lines().any(|line| line == "0"), "{said}");
}

#[test]
fn run0_and_pkexec_ask_for_a_code_in_a_running_systemd_of_sid() {
    preflight();
    let debian = Debian::make("sid", &PROGRAMS);
    debian.copy(&package(), "/root/package.deb", 0o644);
    let run = apt(&debian, &["install", "/root/package.deb"]);
    assert!(run.success(), "{}", run.text());
    debian.run("onetimectl", &["profile", "enable", "--yes"]).ok();
    debian.run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", "/root/key"]).ok();
    for user in ["dora", "pia", "ada"] {
        debian.run("useradd", &["--create-home", "--shell", "/bin/sh", user]).ok();
        let mut chpasswd = debian.command("chpasswd");
        finish(&mut chpasswd, format!("{user}:{}\n", password(user)).as_bytes()).ok();
        let key = format!("install -D -m 644 /root/key.pub /home/{user}/.ssh/authorized_keys");
        debian.run("sh", &["-euc", &key]).ok();
    }
    debian.write("/etc/polkit-1/rules.d/10-self.rules", SELF);
    debian.write("/usr/local/bin/with-agent", PKEXEC);
    debian.run("chmod", &["755", "/usr/local/bin/with-agent"]).ok();
    debian.run("onetimectl", &["enable", "pia", "ada"]).ok();
    let secret = doors::secret_of(&debian, "ada");
    debian.run("onetimectl", &["verify", "ada", &current_code(&secret, -1)]).ok();

    let booted = Booted::boot(&debian);
    booted.shell("ip link set lo up; systemctl start ssh");
    let shown = booted.shell("systemctl show -P DropInPaths polkit-agent-helper@1.service");
    assert_eq!(shown.trim(), crate::DROP_IN);
    for (way, step) in Way::ALL.into_iter().zip([0, 1]) {
        let mut dora = way.start(&booted, "dora");
        becomes_root(&mut dora);
        let mut pia = way.start(&booted, "pia");
        answer(&booted, &mut pia, "pia", "One-time code (Enter to skip): ", "");
        becomes_root(&mut pia);
        let mut ada = way.start(&booted, "ada");
        answer(&booted, &mut ada, "ada", doors::CODE_PROMPT, "");
        is_refused(&mut ada);
        let mut ada = way.start(&booted, "ada");
        answer(&booted, &mut ada, "ada", doors::CODE_PROMPT, &current_code(&secret, step));
        becomes_root(&mut ada);
    }
    let log = booted.shell("journalctl --sync; journalctl -q --no-pager -o cat -t pam_onetime");
    for user in ["dora", "pia", "ada"] {
        let lines =
            log.lines().filter(|line| line.contains(&format!("user={user} service=polkit-1")));
        assert!(lines.count() >= 2, "{user}: {log}");
    }
}
