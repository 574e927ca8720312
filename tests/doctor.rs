//! `onetimectl doctor` on machines that are well, and on machines with one fault.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::{World, activate, conf, enable, installed};

/// A machine on which all is well, as far as a world has it.
fn healthy() -> World {
    let world = installed();
    world.remove("/etc/pam.d/sshd-key");
    let sshd = "UsePAM yes\nKbdInteractiveAuthentication yes\nPasswordAuthentication no\n";
    world.write("/etc/ssh/sshd_config", sshd.as_bytes(), 0o600);
    enable(&world, "alice");
    activate(&world, "bob");
    world
}

fn findings(world: &World) -> (i32, Vec<serde_json::Value>) {
    let run = world.onetimectl(&["--json", "doctor"]);
    let findings =
        serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {}", run.text()));
    (run.status.code().expect("it ends by itself"), findings)
}

/// Spoils a healthy machine and sees that doctor names it and what to do.
#[track_caller]
fn named(spoil: &str, result: &str, what: &str, remedy: &str) {
    let world = healthy();
    world.run("sh", &["-euc", spoil]).ok();
    let (code, findings) = findings(&world);
    let found = findings.iter().find(|finding| {
        let has =
            |key: &str, part: &str| finding[key].as_str().is_some_and(|text| text.contains(part));
        has("result", result) && has("what", what) && has("remedy", remedy)
    });
    assert!(found.is_some(), "{spoil}: {findings:#?}");
    assert_eq!(
        code,
        i32::from(findings.iter().any(|finding| finding["result"] == "fail")),
        "{findings:#?}"
    );
}

#[test]
fn a_machine_as_readme_sets_it_up_has_no_fault() {
    let world = healthy();
    let (code, findings) = findings(&world);
    let faults: Vec<_> = findings.iter().filter(|finding| finding["result"] == "fail").collect();
    assert!(faults.is_empty(), "{faults:#?}");
    assert_eq!(code, 0);
    for check in [
        "configuration",
        "pam.d/sshd",
        "pam.d/onetime-password",
        "sshd_config",
        "module",
        "clock",
        "syslog",
        "store",
        "accounts",
    ] {
        let found = findings.iter().find(|finding| finding["check"] == check);
        let found = found.unwrap_or_else(|| panic!("{check} was not checked: {findings:#?}"));
        let mut keys: Vec<_> = found.as_object().expect("an object").keys().collect();
        keys.sort_unstable();
        assert_eq!(keys, ["check", "remedy", "result", "what"]);
    }
    let table = world.onetimectl(&["doctor"]).ok();
    assert!(table.starts_with("RESULT") && table.contains("pam.d/sshd"), "{table}");
    let secret = common::secret(&world, "alice");
    assert!(!table.contains(&secret));
}

#[test]
fn doctor_changes_nothing() {
    let world = healthy();
    let listing = || world.run("find", &["/etc", "/var/lib", "-printf", "%p %m %u %T@ %s\n"]).ok();
    let before = listing();
    world.onetimectl(&["doctor"]).ok();
    assert_eq!(listing(), before);
}

#[test]
fn faults_of_the_stacks_are_named() {
    named(
        "sed -i 's/pam_onetime.so/pam_onetime.so pasword=stack/' /etc/pam.d/sshd",
        "fail",
        "pasword: unknown",
        "pam_onetime(8)",
    );
    named(
        "sed -i 's/required  pam_onetime.so/sufficient pam_onetime.so/' /etc/pam.d/sshd",
        "fail",
        "what follows is skipped",
        "required",
    );
    named(
        "sed -i '/pam_unix.so/d' /etc/pam.d/stack",
        "fail",
        "a pending user gets in without",
        "password=verify",
    );
    named("rm /etc/pam.d/onetime-password", "fail", "is missing", "conf/pam.d/onetime-password");
    named(
        "echo 'auth include sshd' > /etc/pam.d/onetime-password",
        "fail",
        "every password is refused",
        "conf/pam.d",
    );
    named(
        "rm /etc/pam.d/sshd /etc/pam.d/su /etc/pam.d/sudo /etc/pam.d/login /etc/pam.d/stack",
        "warn",
        "no service uses",
        "keep a root shell open",
    );
}

#[test]
fn faults_of_sshd_are_named_also_in_included_files() {
    named(
        "sed -i 's/UsePAM yes/UsePAM no/' /etc/ssh/sshd_config",
        "fail",
        "never asks PAM",
        "UsePAM yes",
    );
    named(
        "mkdir -p /etc/ssh/sshd_config.d; echo KbdInteractiveAuthentication no > /etc/ssh/sshd_config.d/a.conf; sed -i '1i Include /etc/ssh/sshd_config.d/*.conf' /etc/ssh/sshd_config",
        "fail",
        "never be asked for",
        "KbdInteractiveAuthentication yes",
    );
    let key = conf("pam.d/sshd-key");
    assert!(key.contains("password=none"), "{key}");
    named(
        "sed -i 's/pam_onetime.so/pam_onetime.so password=none/' /etc/pam.d/sshd",
        "fail",
        "a code alone, or nothing at all",
        "AuthenticationMethods",
    );
}

#[test]
fn faults_of_configuration_module_and_syslog_are_named() {
    named("echo '[code' > /etc/onetime/onetime.toml", "fail", "line 1", "every login is refused");
    named("echo 'winow = 1' >> /etc/onetime/onetime.toml", "fail", "winow", "onetime.toml(5)");
    named(
        "chmod 666 $(find /usr/lib /lib -name pam_onetime.so 2>/dev/null | head -1)",
        "fail",
        "can be written by others",
        "chmod 644",
    );
    named(
        "rm $(find /usr/lib /lib -name pam_onetime.so 2>/dev/null | head -1)",
        "fail",
        "is not where pam_unix.so is",
        "make install",
    );
    named("rm /dev/log", "warn", "/dev/log is not there", "syslog daemon");
}

#[test]
fn faults_of_the_store_and_its_accounts_are_named() {
    named("rm /var/lib/onetime/store.toml", "fail", "store.toml is missing", "nobody can log in");
    named("chmod 755 /var/lib/onetime", "fail", "has mode 0755", "nobody can log in");
    named(
        "rm /var/lib/onetime/state/bob",
        "fail",
        "the state is missing (onetimectl repair",
        "cannot log in",
    );
    named(
        "sed -i s/SHA1/SHA256/ /var/lib/onetime/users/alice.toml",
        "fail",
        "checksum does not match",
        "cannot log in",
    );
    named(
        "sed -i s/alice:x:2001/alice:x:2901/ /etc/passwd",
        "fail",
        "alice has uid 2901",
        "cannot log in",
    );
    named(
        "sed -i /^alice/d /etc/passwd",
        "warn",
        "1 records are of users whom this system does not know",
        "disable",
    );
    named("touch /var/lib/onetime/users/.new-x", "warn", "has left", "onetimectl init");
}
