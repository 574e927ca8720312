//! The package of onetimed in whole Debian systems whose systemd runs: installed, it listens
//! and judges a user's own login; upgraded, it is started anew and loses nothing; it stays
//! with the module while a stack needs both; removed and purged, it leaves nothing behind.

use std::time::Duration;

use crate::booted::Booted;
use crate::common::{
    ALICE_PASSWORD, BOB_PASSWORD, Finished, LOCKER, Pty, current_code, finish_within, preflight,
    secret_in,
};
use crate::debian::Debian;
use crate::doors;
use crate::repacked::{Repacked, built, package};

const OLDER: &str = "0.0.1-1";

/// What is in the package, beside what debhelper puts into each.
const FILES: [&str; 12] = [
    "/usr/sbin/onetimed",
    "/usr/bin/onetime",
    "/usr/lib/systemd/system/onetimed.socket",
    "/usr/lib/systemd/system/onetimed.service",
    "/usr/share/man/man1/onetime.1.gz",
    "/usr/share/man/man8/onetimed.8.gz",
    "/usr/share/bash-completion/completions/onetimed",
    "/usr/share/bash-completion/completions/onetime",
    "/usr/share/zsh/vendor-completions/_onetimed",
    "/usr/share/zsh/vendor-completions/_onetime",
    "/usr/share/fish/vendor_completions.d/onetimed.fish",
    "/usr/share/fish/vendor_completions.d/onetime.fish",
];

#[test]
fn onetimed_is_installed_judges_is_upgraded_and_goes_on_bookworm() {
    try_suite("bookworm");
}

#[test]
fn onetimed_is_installed_judges_is_upgraded_and_goes_on_trixie() {
    try_suite("trixie");
}

#[test]
fn onetimed_is_installed_judges_is_upgraded_and_goes_on_sid() {
    try_suite("sid");
}

fn try_suite(suite: &'static str) {
    let debian = make(suite);
    let booted = Booted::boot(&debian);
    let before = named_ours(&booted);
    needs_the_module_of_its_own_version(&booted);
    let secret = is_installed_and_listens(&booted);
    an_upgrade_starts_it_anew_and_loses_nothing(&booted, &secret);
    what_was_switched_off_stays_off(&booted);
    stays_with_the_module_while_a_service_lists_it(&booted);
    is_removed_and_comes_back(&booted);
    is_purged(&booted, &before);
}

/// A system with two users, and with the packages: those that were built, and an older version.
#[track_caller]
fn make(suite: &'static str) -> Debian {
    preflight();
    let debian = Debian::make(suite, &["systemd-sysv", "pamtester", "procps"]);
    debian.make_users();
    // It would keep services from being started.
    debian.run("rm", &["/usr/sbin/policy-rc.d"]).ok();
    let (module, daemon) = (Repacked::ours(), Repacked::of("onetimed"));
    for package in [&module, &daemon] {
        package.set("Version", OLDER);
    }
    let depends = format!("libpam-onetime (= {OLDER})");
    daemon.edit("DEBIAN/control", |control| {
        let own = control.split_once("libpam-onetime (").expect("it depends on the module").1;
        let own = own.split(')').next().unwrap_or_default();
        control.replace(&format!("libpam-onetime ({own})"), &depends)
    });
    for (file, name) in [
        (&module.build(), "older-module"),
        (&daemon.build(), "older-daemon"),
        (&package(), "module"),
        (&built("onetimed"), "daemon"),
    ] {
        debian.copy(file, &format!("/root/{name}.deb"), 0o644);
    }
    debian
}

/// A shell's words, which may take as long as packages do.
#[track_caller]
fn shell(booted: &Booted, words: &str) -> Finished {
    let mut shell = booted.command("env");
    shell.args(["DEBIAN_FRONTEND=noninteractive", "sh", "-euc", words]);
    finish_within(&mut shell, b"", Duration::from_secs(180))
}

#[track_caller]
fn apt(booted: &Booted, words: &str) -> Finished {
    let options = "-o Dpkg::Options::=--force-unsafe-io --yes --quiet --allow-downgrades";
    shell(booted, &format!("apt-get {options} {words}"))
}

#[track_caller]
fn install(booted: &Booted) {
    let run = apt(booted, "install /root/module.deb /root/daemon.deb");
    assert!(run.success(), "{}", run.text());
}

#[track_caller]
fn assert_listens(booted: &Booted) {
    let state = ["UnitFileState", "ActiveState"].map(|it| booted.property("onetimed.socket", it));
    assert_eq!(state, ["enabled", "active"]);
    let socket = booted.shell("stat -c '%F %a' /run/onetime /run/onetime/socket");
    assert_eq!(socket, "directory 755\nsocket 666\n");
}

#[track_caller]
fn alice_gets_in(booted: &Booted, code: &str) -> bool {
    booted.lets_in("alice", &[("Password:", ALICE_PASSWORD), (doors::CODE_PROMPT, code)])
}

/// Everything that is named as ours, but for the store.
#[track_caller]
fn named_ours(booted: &Booted) -> String {
    let names = "find / /run /dev/shm /tmp -xdev ! -path '/var/lib/onetime*' ! -path '/root/*' \
                 -name '*onetime*' | sort -u; grep -rl onetime /etc || true";
    booted.shell(names)
}

// --- installed ---

#[track_caller]
fn needs_the_module_of_its_own_version(booted: &Booted) {
    for module in ["true", "dpkg --install /root/older-module.deb"] {
        shell(booted, module).ok();
        let run = shell(booted, "dpkg --install /root/daemon.deb");
        assert!(!run.success(), "{}", run.text());
        assert!(run.stderr.contains("onetimed depends on libpam-onetime (= "), "{run:?}");
        assert!(!booted.run("test", &["-e", "/run/onetime/socket"]).success(), "it listens");
        shell(booted, "dpkg --purge onetimed").ok();
    }
    shell(booted, "dpkg --purge libpam-onetime").ok();
}

/// The older version; alice's secret, who is active then.
#[track_caller]
fn is_installed_and_listens(booted: &Booted) -> String {
    let run = apt(booted, "install /root/older-module.deb /root/older-daemon.deb");
    assert!(run.success(), "{}", run.text());
    assert_listens(booted);
    let main = booted.property("onetimed.service", "ActiveState");
    assert_eq!(main, "inactive", "nobody has asked yet");
    for file in FILES {
        booted.run("test", &["-s", file]).ok();
    }
    booted.shell("bash -n /usr/share/bash-completion/completions/onetimed");
    booted.shell("bash -n /usr/share/bash-completion/completions/onetime");

    booted.write("/etc/pam.d/locker", LOCKER);
    booted.shell("onetimectl enable alice");
    let secret = secret_in(&booted.shell("cat /var/lib/onetime/users/alice.toml"));
    booted.shell(&format!("onetimectl verify alice {}", current_code(&secret, -1)));
    booted.lets_bob_in();
    let main = booted.property("onetimed.service", "ActiveState");
    assert_eq!(main, "active");
    let status = booted.run("setpriv", &["--reuid=alice", "--clear-groups", "onetime", "status"]);
    assert!(status.ok().starts_with("One-time codes: on"));
    secret
}

// --- upgraded ---

/// In the middle of a login, which is refused, and whose code is still good.
#[track_caller]
fn an_upgrade_starts_it_anew_and_loses_nothing(booted: &Booted, secret: &str) {
    let used = current_code(secret, 0);
    assert!(alice_gets_in(booted, &used));
    let mut locker = booted.unlock("alice");
    locker.expect("Password:");
    locker.send_line(ALICE_PASSWORD);
    locker.expect(doors::CODE_PROMPT);
    let before = booted.property("onetimed.service", "MainPID");
    install(booted);
    assert_listens(booted);
    let code = current_code(secret, 1);
    locker.send_line(&code);
    assert!(!locker.wait().success(), "the older one has judged it");
    assert!(!alice_gets_in(booted, &used), "a code is used once");
    assert!(alice_gets_in(booted, &code));
    let after = booted.property("onetimed.service", "MainPID");
    assert_ne!(after, before);
    let program = booted.shell(&format!("readlink /proc/{after}/exe"));
    assert_eq!(program.trim(), "/usr/sbin/onetimed", "it is the new one");
    // And over itself.
    shell(booted, "dpkg --install /root/daemon.deb").ok();
    assert_listens(booted);
    booted.lets_bob_in();
}

/// And what systemd has given up is started.
#[track_caller]
fn what_was_switched_off_stays_off(booted: &Booted) {
    booted.shell("systemctl disable --now onetimed.socket");
    install(booted);
    shell(booted, "dpkg --install /root/daemon.deb").ok();
    let state = ["UnitFileState", "ActiveState"].map(|it| booted.property("onetimed.socket", it));
    assert_eq!(state, ["disabled", "inactive"]);
    booted.shell("systemctl enable --now onetimed.socket");
    assert_listens(booted);
}

// --- removed ---

/// apt would remove onetimed first.
#[track_caller]
fn stays_with_the_module_while_a_service_lists_it(booted: &Booted) {
    for remove in ["remove", "purge"] {
        let run = apt(booted, &format!("{remove} libpam-onetime"));
        assert!(!run.success(), "{}", run.text());
        assert!(run.text().contains("onetimed: not removed. pam_onetime.so is in use"), "{run:?}");
        assert!(run.text().contains("\n    /etc/pam.d/locker:1: "), "{run:?}");
        let query = "dpkg-query -W -f '${db:Status-Abbrev}' onetimed libpam-onetime";
        assert_eq!(booted.shell(query), "ii ii ");
        assert_listens(booted);
        booted.lets_bob_in();
    }
}

/// By itself it may go: programs of root's do without it.
#[track_caller]
fn is_removed_and_comes_back(booted: &Booted) {
    let main = booted.property("onetimed.service", "MainPID");
    let run = apt(booted, "remove onetimed");
    assert!(run.success(), "{}", run.text());
    assert!(!booted.run("test", &["-e", &format!("/proc/{main}")]).success(), "it runs");
    assert!(!booted.run("test", &["-e", "/run/onetime"]).success(), "its socket is there");
    assert_eq!(booted.property("onetimed.socket", "ActiveState"), "inactive");
    assert!(!booted.lets_in("bob", &[]));
    let log = booted.shell("journalctl --sync; journalctl -q --no-pager -o cat -t pam_onetime");
    assert!(log.contains("systemctl enable --now onetimed.socket"), "{log}");
    let mut root = booted.command("pamtester");
    let mut root = Pty::spawn(root.args(["locker", "bob", "authenticate"]));
    root.expect("Password:");
    root.send_line(BOB_PASSWORD);
    assert!(root.wait().success());

    install(booted);
    assert_listens(booted);
    booted.lets_bob_in();
}

#[track_caller]
fn is_purged(booted: &Booted, before: &str) {
    booted.shell("rm /etc/pam.d/locker; onetimectl profile enable --yes");
    // The stacks are free of the module before the daemon goes.
    let run = apt(booted, "purge onetimed libpam-onetime");
    assert!(run.success(), "{}", run.text());
    assert_eq!(named_ours(booted), before);
    assert!(booted.run("test", &["-e", "/var/lib/onetime/users/alice.toml"]).success());
    assert_eq!(booted.shell("systemctl list-units --failed --plain --no-legend '*onetime*'"), "");
}
