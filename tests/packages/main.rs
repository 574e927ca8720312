//! The Debian package in whole Debian systems, as an admin has it: installed, its profile
//! enabled, users enabled, logged in to by the real programs, upgraded, removed, purged;
//! and where pam-auth-update is silent. `make test-packages` builds the package first.

#[path = "../common/mod.rs"]
mod common;

#[path = "../adversity/booted.rs"]
mod booted;
mod daemon;
#[expect(dead_code, reason = "the campaigns use the rest of it")]
#[path = "../adversity/debian.rs"]
mod debian;
mod doors;
mod repacked;
mod scripts;
mod systemd;

use std::time::Duration;

use common::{Finished, current_code, finish_within, preflight};
use debian::Debian;
use doors::{Ssh, su_asks, su_asks_for_the_password_alone};
use repacked::{Repacked, package};

const PROGRAMS: [&str; 7] = [
    "openssh-client",
    "openssh-server",
    "sudo",
    "login",
    "cron",
    "pamtester",
    "systemd-standalone-sysusers",
];

const AUTH: &str = "/etc/pam.d/common-auth";

/// What polkit's sandboxed helper needs.
const DROP_IN: &str = "/usr/lib/systemd/system/polkit-agent-helper@.service.d/pam_onetime.conf";

#[test]
fn the_package_is_installed_asks_is_upgraded_and_goes_on_bookworm() {
    try_suite("bookworm", &[]);
}

#[test]
fn the_package_is_installed_asks_is_upgraded_and_goes_on_trixie() {
    try_suite("trixie", &["sudo-rs"]);
}

#[test]
fn the_package_is_installed_asks_is_upgraded_and_goes_on_sid() {
    try_suite("sid", &["sudo-rs"]);
}

fn try_suite(suite: &'static str, more: &[&str]) {
    let debian = make(suite, more);
    is_installed_and_changes_no_login(&debian);
    a_silent_pam_auth_update_is_not_believed(&debian);
    doors::enrolls_and_is_asked_by_each(&debian);
    assert_no_failure(&debian);
    an_upgrade_keeps_what_there_is(&debian);
    scripts::whatever_is_in_the_way(&debian);
    is_not_removed_while_a_service_lists_it_by_hand(&debian);
    is_removed_and_purged(&debian);
}

/// A system with two users, whose sshd asks by prompts.
#[track_caller]
fn make(suite: &'static str, more: &[&str]) -> Debian {
    preflight();
    let debian = Debian::make(suite, &[&PROGRAMS, more].concat());
    debian.make_users();
    debian.write("/etc/shells", "/bin/sh\n/usr/local/bin/welcome\n");
    debian.write(
        "/etc/ssh/sshd_config.d/00-onetime.conf",
        "UsePAM yes\nKbdInteractiveAuthentication yes\nPasswordAuthentication no\n",
    );
    debian.copy(&package(), "/root/package.deb", 0o644);
    debian
}

/// What is in force of what was installed on bookworm is in force on trixie.
#[test]
fn who_has_enrolled_on_bookworm_is_still_asked_when_it_has_become_trixie() {
    let debian = make("bookworm", &[]);
    assert!(apt(&debian, &["install", "/root/package.deb"]).success());
    debian.run("onetimectl", &["profile", "enable", "--yes"]).ok();
    doors::enrolls_and_is_asked_by_each(&debian);
    let sources = debian.read("/etc/apt/sources.list");
    debian.write("/etc/apt/sources.list", &sources.replace("bookworm", "trixie"));
    let script = "apt-get update --quiet && apt-get dist-upgrade --yes --quiet \
                  -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-unsafe-io";
    let mut upgrade = debian.command("sh");
    upgrade.env("DEBIAN_FRONTEND", "noninteractive").args(["-euc", script]);
    let run = finish_within(&mut upgrade, b"", Duration::from_secs(900));
    assert!(run.success(), "{}", run.text());
    assert!(debian.read("/etc/debian_version").starts_with("13"), "it is trixie");
    Ssh::start(&debian).lets_in(&current_code(&doors::secret(&debian), 0));
    doors::each_asks(&debian);
    assert_finds(&debian, "profile-in-force", "sshd");
    assert_no_failure(&debian);
    is_removed_and_purged(&debian);
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

    a_script_does_not_enable_it_where_a_program_cannot_ask(debian);
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

/// An admin is asked, or has said --yes.
fn a_script_does_not_enable_it_where_a_program_cannot_ask(debian: &Debian) {
    let before = debian.read(AUTH);
    debian.write("/etc/pam.d/sddm", "@include common-auth\n@include common-account\n");
    for order in [&["profile", "enable"][..], &["--json", "profile", "enable"]] {
        let run = debian.run("onetimectl", order);
        common::assert_ends(&run, 1, "not enabled: sddm cannot ask for a code");
        assert!(run.stderr.contains("\n  -> give each a file in /etc/pam.d without"), "{run:?}");
        assert_eq!(debian.read(AUTH), before, "nothing is changed");
    }
    let mut asked = debian.pty_as("root", "onetimectl", &["profile", "enable"]);
    asked.expect("have users refused in those that cannot ask? [y/N] ");
    asked.send_line("");
    asked.expect("Nothing changed.");
    assert_eq!(debian.read(AUTH), before, "nothing is changed");
    std::fs::remove_file(debian.path("/etc/pam.d/sddm")).expect("it is there");
}

// --- upgraded ---

/// From an older version, to which the system was set back before.
fn an_upgrade_keeps_what_there_is(debian: &Debian) {
    let toml = "issuer = \"ours.example\"\n";
    debian.write("/etc/onetime/onetime.toml", toml);
    let kept = || {
        let state = debian.run("sha256sum", &["/var/lib/onetime/state/alice"]).ok();
        (debian.read(AUTH), debian.read("/var/lib/onetime/users/alice.toml"), state)
    };
    let before = kept();
    let older = Repacked::ours();
    older.set("Version", "0.0.1-1");
    older.edit("etc/pam.d/onetime-password", |text| format!("# older\n{text}"));
    older.remove_conffile("/etc/fail2ban/jail.d/pam-onetime.conf");
    debian.copy(&older.build(), "/root/older.deb", 0o644);
    let run = apt(debian, &["install", "--allow-downgrades", "/root/older.deb"]);
    assert!(run.success(), "{}", run.text());
    assert!(debian.read("/etc/pam.d/onetime-password").starts_with("# older"));
    assert_eq!(kept(), before);
    su_asks(debian);
    let before = kept();
    let run = apt(debian, &["install", "/root/package.deb"]);
    assert!(run.success(), "{}", run.text());
    assert!(!run.text().contains("libpam-onetime: "), "nothing is to be said: {}", run.text());
    assert!(!debian.read("/etc/pam.d/onetime-password").starts_with("# older"));
    assert!(debian.path("/etc/fail2ban/jail.d/pam-onetime.conf").exists());
    // And over itself.
    assert!(install(debian).success());
    assert_eq!(debian.read("/etc/onetime/onetime.toml"), toml);
    assert_eq!(kept(), before);
    assert!(debian.run("onetimectl", &["list", "--active"]).ok().contains("alice"));
    su_asks(debian);
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
    su_asks_for_the_password_alone(debian);

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
    // But not what it is mounted on.
    assert!(install(debian).success());
    let purge = "mount -t tmpfs -o mode=700 tmpfs /var/lib/onetime; onetimectl init; \
                 dpkg --purge libpam-onetime; test -z \"$(ls -A /var/lib/onetime)\"";
    let said = debian.run("sh", &["-euc", purge]);
    assert!(said.success() && said.stderr.contains("is left, and is empty"), "{said:?}");
}
