//! The Debian package in whole Debian systems, as an admin has it: installed, its profile
//! enabled, users enabled, logged in to by the real programs, upgraded, removed, purged;
//! and where pam-auth-update is silent. `make test-packages` builds the package first.

mod common;

#[expect(dead_code, reason = "the campaigns use the rest of it")]
#[path = "adversity/debian.rs"]
mod debian;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::{ALICE_PASSWORD, BOB_PASSWORD, Finished, Pty, current_code, finish_within, preflight};
use debian::Debian;
use regex::Regex;

const PROGRAMS: [&str; 6] =
    ["openssh-server", "sudo", "login", "cron", "pamtester", "systemd-standalone-sysusers"];

const CODE_PROMPT: &str = "One-time code: ";
const AUTH: &str = "/etc/pam.d/common-auth";

#[test]
fn the_package_is_installed_asks_is_upgraded_and_goes_on_bookworm() {
    try_suite("bookworm");
}

fn try_suite(suite: &'static str) {
    preflight();
    let debian = Debian::make(suite, &PROGRAMS);
    debian.make_users();
    debian.write("/etc/shells", "/bin/sh\n/usr/local/bin/welcome\n");
    debian.write(
        "/etc/ssh/sshd_config.d/00-onetime.conf",
        "UsePAM yes\nKbdInteractiveAuthentication yes\nPasswordAuthentication no\n",
    );
    is_installed_and_changes_no_login(&debian);
    a_silent_pam_auth_update_is_not_believed(&debian);
    every_door_asks(&debian);
    an_upgrade_keeps_what_there_is(&debian);
    is_not_removed_while_a_service_lists_it_by_hand(&debian);
    is_removed_and_purged(&debian);
}

/// The package that was built.
#[track_caller]
fn package() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("deb");
    let files = fs::read_dir(&dir).into_iter().flatten().flatten().map(|file| file.path());
    let mut files = files.filter(|file| file.extension().is_some_and(|ending| ending == "deb"));
    files.next().unwrap_or_else(|| panic!("no package in {}: make test-packages", dir.display()))
}

#[track_caller]
fn apt(debian: &Debian, arguments: &[&str]) -> Finished {
    let mut apt = debian.command("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").args(["--yes", "--quiet"]);
    finish_within(apt.args(arguments), b"", Duration::from_secs(120))
}

/// By dpkg, also over itself.
#[track_caller]
fn install(debian: &Debian) -> Finished {
    let mut dpkg = debian.command("dpkg");
    dpkg.args(["--force-unsafe-io", "--install", "/root/package.deb"]);
    finish_within(&mut dpkg, b"", Duration::from_secs(60))
}

#[track_caller]
fn pam_auth_update(debian: &Debian, arguments: &[&str]) -> Finished {
    let mut update = debian.command("pam-auth-update");
    let run = common::finish(update.env("DEBIAN_FRONTEND", "noninteractive").args(arguments), b"");
    assert!(run.success(), "{}", run.text());
    run
}

/// The findings of doctor, as name and text.
#[track_caller]
fn findings(debian: &Debian) -> Vec<[String; 3]> {
    let rows: serde_json::Value = debian.run("onetimectl", &["doctor", "--json"]).json();
    let rows = rows.as_array().expect("an array").iter();
    let texts = |row: &serde_json::Value| {
        ["id", "result", "what"].map(|key| row[key].as_str().unwrap_or_default().to_owned())
    };
    rows.map(texts).collect()
}

#[track_caller]
fn assert_finds(debian: &Debian, id: &str, what: &str) {
    let found = findings(debian);
    assert!(found.iter().any(|row| row[0] == id && row[2].contains(what)), "{id}: {found:#?}");
}

#[track_caller]
fn assert_no_failure(debian: &Debian) {
    let found = findings(debian);
    assert!(found.iter().all(|row| row[1] != "fail"), "{found:#?}");
}

fn has_module(debian: &Debian) -> bool {
    debian.run("sh", &["-c", "test -e /usr/lib/*/security/pam_onetime.so"]).success()
}

// --- installed ---

fn is_installed_and_changes_no_login(debian: &Debian) {
    debian.copy(&package(), "/root/package.deb", 0o644);
    let before = debian.read(AUTH);
    let run = apt(debian, &["install", "/root/package.deb"]);
    let said = run.text();
    assert!(run.success(), "{said}");
    assert!(said.contains("no login asks for a code yet"), "{said}");
    assert!(said.contains("make these ask for a code: "), "{said}");
    assert!(said.contains("and these never ask: cron"), "{said}");
    assert_eq!(debian.read(AUTH), before, "the profile is off");
    assert!(has_module(debian));
    for file in [
        "/usr/sbin/onetimectl",
        "/usr/share/man/man8/onetimectl.8.gz",
        "/usr/share/man/man8/pam_onetime.8.gz",
        "/usr/share/man/man5/onetime.toml.5.gz",
        "/usr/share/bash-completion/completions/onetimectl",
        "/usr/share/zsh/vendor-completions/_onetimectl",
        "/usr/share/fish/vendor_completions.d/onetimectl.fish",
        "/usr/share/pam-configs/onetime",
        "/var/lib/onetime/store.toml",
    ] {
        assert!(debian.path(file).exists(), "{file}");
    }
    let conffiles = debian.run("dpkg-query", &["-W", "-f", "${Conffiles}", "libpam-onetime"]).ok();
    let names: Vec<_> =
        conffiles.lines().filter_map(|line| line.trim().split(' ').next()).collect();
    let names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).collect();
    let of_others = [
        "/etc/apparmor.d/abstractions/onetime",
        "/etc/fail2ban/filter.d/pam-onetime.conf",
        "/etc/fail2ban/jail.d/pam-onetime.conf",
        "/etc/logcheck/ignore.d.server/pam-onetime",
    ];
    let ours = ["/etc/onetime/onetime.toml", "/etc/pam.d/onetime-password"];
    assert_eq!(names, [&of_others[..], &ours].concat());
    // debconf is not asked by this package.
    assert!(!debian.path("/var/lib/dpkg/info/libpam-onetime.templates").exists());
    assert_no_failure(debian);
    assert_finds(debian, "profile-off", "sshd");
}

// --- pam-auth-update ---

/// Where files were edited by hand it changes nothing and reports success: doctor and the
/// package say so.
fn a_silent_pam_auth_update_is_not_believed(debian: &Debian) {
    let shipped = debian.read(AUTH);
    let first = "# here are the per-package modules (the \"Primary\" block)\n";
    assert!(shipped.contains(first), "{shipped}");
    let edited = shipped.replace(first, &format!("{first}auth\toptional\tpam_faildelay.so\n"));
    debian.write(AUTH, &edited);
    let run = pam_auth_update(debian, &["--enable", "onetime"]);
    assert!(run.stderr.contains("not updating"), "{run:?}");
    assert_eq!(debian.read(AUTH), edited, "nothing is changed");
    let line = edited.lines().position(|line| line.contains("faildelay")).expect("it is there");
    let named = format!("{AUTH}:{}", line + 1);
    assert_finds(debian, "profile-edited", &named);
    let run = debian.run("onetimectl", &["profile", "enable", "--yes"]);
    common::assert_ends(&run, 1, "pam-auth-update has not done it");
    assert!(run.stdout.contains(&named), "{run:?}");
    assert_eq!(debian.read(AUTH), edited, "nothing is changed");
    let run = install(debian);
    assert!(run.success(), "{}", run.text());
    assert!(run.stderr.contains(&named) && run.stderr.contains("profile-edited"), "{run:?}");

    pam_auth_update(debian, &["--enable", "onetime", "--force"]);
    assert!(debian.read(AUTH).contains("pam_onetime.so"));
    assert_finds(debian, "profile-in-force", "sshd");
    assert_no_failure(debian);

    debian.run("onetimectl", &["profile", "disable"]).ok();
    assert!(!debian.read(AUTH).contains("pam_onetime.so"));
    let shown = debian.run("onetimectl", &["profile", "enable", "--yes"]).ok();
    for (row, service) in [(" by common-auth", "sudo-i"), ("never ask", "cron")] {
        let mut rows = shown.lines();
        assert!(rows.any(|line| line.contains(row) && line.contains(service)), "{shown}");
    }

    // Chosen, and taken out by hand since: an upgrade puts it back where it can.
    let enabled = debian.read(AUTH);
    let of_line = |line: &&str| line.contains("pam_onetime.so");
    let line = enabled.split_inclusive('\n').find(of_line).expect("its line").to_owned();
    debian.write(AUTH, &enabled.replace(&line, ""));
    assert_finds(debian, "profile-not-in-force", AUTH);
    assert!(install(debian).success());
    assert_eq!(debian.read(AUTH), enabled);
    debian.write(AUTH, &enabled.replace(&line, &format!("# {line}")));
    let run = install(debian);
    assert!(run.success() && run.stderr.contains("profile-not-in-force"), "{run:?}");
    debian.write(AUTH, &enabled);
    debian.run("onetimectl", &["profile", "enable", "--yes"]).ok();
}

// --- logins ---

/// Who logs in to what, as whom; each asks for alice's password.
const DOORS: [(&str, &str, &[&str]); 8] = [
    ("alice", "sudo", &["-k", "-u", "bob", "/usr/local/bin/welcome"]),
    ("alice", "sudo", &["-k", "-i", "-u", "bob"]),
    ("bob", "su", &["alice"]),
    ("bob", "su", &["-l", "alice"]),
    ("root", "login", &["alice"]),
    ("root", "login", &["-h", "host.invalid", "alice"]),
    ("alice", "chsh", &["-s", "/usr/local/bin/welcome"]),
    ("alice", "chfn", &["-h", "1"]),
];

/// alice enrolls by ssh, and is asked for a code from then on, wherever she logs in.
fn every_door_asks(debian: &Debian) {
    debian.run("onetimectl", &["enable", "alice"]).ok();
    let record = debian.read("/var/lib/onetime/users/alice.toml");
    let line = record.lines().find_map(|line| line.strip_prefix("secret = "));
    let secret = line.expect("the record has a secret").trim_matches('"').to_owned();
    let mut ssh = Ssh::start(debian);
    let mut first = ssh.client();
    first.send_line(ALICE_PASSWORD);
    let shown = first.expect("One-time code (Enter to skip): ");
    assert!(shown.contains(&secret[..4]), "the key is shown: {shown}");
    first.send_line(&current_code(&secret, -1));
    first.expect("Welcome, alice.");
    let mut second = ssh.client();
    second.send_line(ALICE_PASSWORD);
    let shown = second.expect(CODE_PROMPT);
    assert!(!shown.contains(&secret[..4]), "the key is not shown any more");
    second.send_line("");
    assert_refused(&mut second);
    let mut third = ssh.client();
    third.send_line(ALICE_PASSWORD);
    third.expect(CODE_PROMPT);
    third.send_line(&current_code(&secret, 0));
    third.expect("Welcome, alice.");

    let refusal = Regex::new("One-time code: |[Ss]orry|[Ff]ailure|incorrect").expect("a pattern");
    for (user, program, arguments) in DOORS {
        let mut door = debian.pty_as(user, program, arguments);
        door.expect(password_prompt());
        door.send_line(ALICE_PASSWORD);
        door.expect(CODE_PROMPT);
        // Who does not know the password does not come to the code.
        let mut door = debian.pty_as(user, program, arguments);
        door.expect(password_prompt());
        door.send_line("wrong");
        let said = door.expect(refusal.clone());
        assert!(!said.contains("code"), "{program} {arguments:?}: {said}");
    }
    // Who has no record needs no code; nor do programs that use common-account alone.
    let mut su = debian.pty_as("alice", "su", &["-", "bob"]);
    su.expect(password_prompt());
    su.send_line(BOB_PASSWORD);
    su.expect("Welcome, bob.");
    debian.run("pamtester", &["cron", "alice", "acct_mgmt"]).ok();
    assert_no_failure(debian);
}

fn password_prompt() -> Regex {
    Regex::new("[Pp]assword.*: ").expect("a valid pattern")
}

/// A client that is asked again for the password.
#[track_caller]
fn assert_refused(pty: &mut Pty) {
    let said = pty.expect(Regex::new("Password: |Permission denied|Welcome").expect("a pattern"));
    assert!(!said.contains("Welcome"), "{said}");
}

/// sshd there, on a port of its own.
struct Ssh {
    _daemon: Pty,
    port: String,
}

impl Ssh {
    #[track_caller]
    fn start(debian: &Debian) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let port = listener.local_addr().expect("it has an address").port().to_string();
        drop(listener);
        let mut daemon = debian.pty_as("root", "/usr/sbin/sshd", &["-D", "-e", "-p", &port]);
        daemon.expect("Server listening on");
        Self { _daemon: daemon, port }
    }

    /// alice's client, which has been asked for her password.
    #[track_caller]
    fn client(&mut self) -> Pty {
        let mut client = Command::new("ssh");
        client.env_clear().env("PATH", common::PATH).env("TERM", "xterm");
        client.args(["-F", "none", "-o", "StrictHostKeyChecking=no", "-p", &self.port]);
        client.args(["-o", "UserKnownHostsFile=/dev/null", "-o", "IdentityAgent=none"]);
        let mut ssh = Pty::spawn(client.arg("alice@127.0.0.1"));
        ssh.expect("Password: ");
        ssh
    }
}

// --- upgraded ---

fn an_upgrade_keeps_what_there_is(debian: &Debian) {
    let toml = "issuer = \"ours.example\"\n";
    debian.write("/etc/onetime/onetime.toml", toml);
    let before = (debian.read(AUTH), debian.read("/var/lib/onetime/users/alice.toml"));
    let run = install(debian);
    assert!(run.success(), "{}", run.text());
    assert!(!run.text().contains("libpam-onetime: "), "nothing is to be said: {}", run.text());
    assert_eq!(debian.read("/etc/onetime/onetime.toml"), toml);
    assert_eq!((debian.read(AUTH), debian.read("/var/lib/onetime/users/alice.toml")), before);
    assert!(debian.run("onetimectl", &["list", "--active"]).ok().contains("alice"));
    let mut su = debian.pty_as("bob", "su", &["-l", "alice"]);
    su.expect(password_prompt());
    su.send_line(ALICE_PASSWORD);
    su.expect(CODE_PROMPT);
}

// --- removed ---

/// Nothing is changed then, and the lines are named.
fn is_not_removed_while_a_service_lists_it_by_hand(debian: &Debian) {
    let (enabled, sshd) = (debian.read(AUTH), debian.read("/etc/pam.d/sshd"));
    let end = "# end of pam-auth-update config";
    let other = "auth\toptional\tpam_faildelay.so\n";
    let own = "auth required pam_onetime.so password=none\n";
    for (file, text, named) in [
        ("/etc/pam.d/sshd", format!("{own}{sshd}"), "/etc/pam.d/sshd:1: "),
        (AUTH, format!("{own}{enabled}"), "/etc/pam.d/common-auth:1: "),
        // pam-auth-update does not take its own line out of this one.
        (AUTH, enabled.replace(end, &format!("{other}{end}")), "/etc/pam.d/common-auth:"),
    ] {
        let before = debian.read(file);
        debian.write(file, &text);
        for purge in ["remove", "purge"] {
            let run = apt(debian, &[purge, "libpam-onetime"]);
            assert!(!run.success(), "{}", run.text());
            assert!(run.text().contains("not removed. pam_onetime.so is in use here"), "{run:?}");
            assert!(run.text().contains(&format!("\n    {named}")), "{run:?}");
            assert_eq!(debian.read(file), text);
            assert!(has_module(debian) && debian.read(AUTH).contains("requisite\tpam_onetime.so"));
        }
        debian.write(file, &before);
        let status = debian.run("dpkg-query", &["-W", "-f", "${Status}", "libpam-onetime"]).ok();
        assert!(status.ends_with(" ok installed"), "{status}");
    }
}

fn is_removed_and_purged(debian: &Debian) {
    let run = apt(debian, &["remove", "libpam-onetime"]);
    assert!(run.success(), "{}", run.text());
    assert!(!has_module(debian));
    let lists = ["-rl", "pam_onetime", "/etc/pam.d"];
    let left = debian.run("grep", &lists).stdout;
    assert_eq!(left.trim(), "/etc/pam.d/onetime-password", "a comment in the conffile");
    let mut su = debian.pty_as("bob", "su", &["-l", "alice"]);
    su.expect(password_prompt());
    su.send_line(ALICE_PASSWORD);
    su.expect("Welcome, alice.");

    let run = apt(debian, &["purge", "libpam-onetime"]);
    assert!(run.success(), "{}", run.text());
    assert!(run.text().contains("/var/lib/onetime is left: it holds the secrets"), "{run:?}");
    assert!(debian.path("/var/lib/onetime/users/alice.toml").exists());
    for file in ["/etc/onetime", "/etc/pam.d/onetime-password", "/usr/libexec/pam-onetime"] {
        assert!(!debian.path(file).exists(), "{file}");
    }

    // A store that holds nothing goes too.
    assert!(install(debian).success());
    debian.run("onetimectl", &["disable", "--yes", "alice"]).ok();
    assert!(apt(debian, &["purge", "libpam-onetime"]).success());
    assert!(!debian.path("/var/lib/onetime").exists());
}
