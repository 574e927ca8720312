//! `onetimectl doctor` in real worlds: a machine set up as shipped is left in
//! peace, each fault that can be made in a world is named together with its
//! remedy, and looking changes nothing.

use std::fmt::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::common::{World, activate, conf, enable, installed, modules_directory, state_file};

/// A world with everything installed and sshd configured as README.md says. Without a
/// host key sshd would not say what is in force.
pub(crate) fn set_up() -> World {
    let world = installed();
    world.run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", HOST_KEY]).ok();
    world.write("/etc/ssh/sshd_config", SSHD_CONFIG.as_bytes(), 0o644);
    world
}

const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key";

pub(crate) const SSHD_CONFIG: &str =
    "UsePAM yes\nKbdInteractiveAuthentication yes\nPasswordAuthentication no\n";

/// A line of the report.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) result: String,
    pub(crate) what: String,
    pub(crate) remedy: String,
}

/// Whether something failed, and the report.
pub(crate) fn report(world: &World) -> (bool, Vec<Row>) {
    let run = world.onetimectl(&["doctor", "--json"]);
    let rows: serde_json::Value = run.json();
    let rows = rows.as_array().expect("an array").iter();
    let rows: Vec<_> = rows
        .map(|row| {
            assert_eq!(row.as_object().expect("of objects").len(), 6, "{row}");
            assert_eq!(row["version"], 1, "{row}");
            let [id, check, result, what, remedy] = ["id", "check", "result", "what", "remedy"]
                .map(|key| match &row[key] {
                    serde_json::Value::Null => String::new(),
                    text => text.as_str().expect("a string or null").to_owned(),
                });
            assert!(!id.is_empty() && !check.is_empty() && !what.is_empty(), "{row}");
            assert!(["ok", "warn", "fail"].contains(&result.as_str()), "{row}");
            assert_eq!(remedy.is_empty(), result == "ok", "{row}");
            Row { id, result, what, remedy }
        })
        .collect();
    let failed = rows.iter().any(|row| row.result == "fail");
    assert_eq!(run.status.code(), Some(i32::from(failed)), "{}", run.text());
    (failed, rows)
}

/// There is this finding, about this file, line, user or key, and its remedy names
/// this command or key.
#[track_caller]
pub(crate) fn named(world: &World, id: &str, what: &str, remedy: &str) {
    let (_, rows) = report(world);
    let found = rows
        .iter()
        .any(|row| row.id == id && row.what.contains(what) && row.remedy.contains(remedy));
    assert!(found, "{id}: {what}: {remedy}\n{rows:#?}");
}

fn set_mode(world: &World, path: &str, mode: u32) {
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(world.path(path), permissions).expect("the mode can be set");
}

#[test]
fn a_machine_set_up_as_shipped_has_no_fault() {
    let world = set_up();
    activate(&world, "alice");
    enable(&world, "bob");
    let (failed, rows) = report(&world);
    assert!(!failed, "{rows:#?}");
    let ok = |id: &str, what: &str| {
        rows.iter().any(|row| row.id == id && row.result == "ok" && row.what.contains(what))
    };
    for (id, what) in [
        ("pam-sound", "sshd"),
        ("sshd-sound", ""),
        ("password-service-sound", "onetime-password"),
        ("module-sound", "pam_onetime.so"),
        ("configuration-sound", "onetime.toml"),
        ("store-sound", "/var/lib/onetime"),
        ("accounts-sound", "2 without fault"),
        ("syslog-listens", "/dev/log"),
    ] {
        assert!(ok(id, what), "{id}: {rows:#?}");
    }
}

#[test]
fn the_table_has_a_column_for_each_and_the_remedy_below() {
    let world = set_up();
    world.remove("/etc/pam.d/onetime-password");
    let run = world.onetimectl(&["doctor"]);
    assert_eq!(run.status.code(), Some(1), "{}", run.text());
    let heading: Vec<_> =
        run.stdout.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(heading, ["CHECK", "RESULT", "WHAT"]);
    let lines: Vec<_> = run.stdout.lines().collect();
    let at = lines.iter().position(|line| line.contains("[password-service-missing]"));
    let at = at.unwrap_or_else(|| panic!("{}", run.stdout));
    assert!(lines[at].contains("fail") && lines[at + 1].contains("-> make it"), "{}", run.stdout);
    assert!(!run.stdout.contains('\u{1b}'), "colour without a terminal: {}", run.stdout);
}

#[test]
fn colour_is_for_terminals_of_who_has_not_declined_it() {
    let world = set_up();
    for (variable, coloured) in [("X=1", true), ("NO_COLOR=1", false), ("NO_COLOR=", true)] {
        let mut pty = world.pty("env", &[variable, "onetimectl", "doctor"]);
        assert!(pty.wait().success());
        let shown = String::from_utf8_lossy(&pty.transcript()).into_owned();
        assert_eq!(shown.contains("\u{1b}[32mok"), coloured, "{variable}: {shown}");
    }
}

#[test]
fn only_root_may_ask() {
    let world = set_up();
    let run = crate::common::finish(world.command_as("alice", "onetimectl").arg("doctor"), b"");
    assert_eq!(run.status.code(), Some(4), "{}", run.text());
}

/// What is in a directory: paths, kinds, owners, modes, sizes, times of change.
fn listing(world: &World, dir: &str) -> String {
    fn add(text: &mut String, path: &Path) {
        let there = path.symlink_metadata().expect("it can be looked at");
        let (mode, size) = (there.mode(), there.size());
        let times = [there.mtime(), there.mtime_nsec(), there.ctime(), there.ctime_nsec()];
        writeln!(text, "{} {mode:o} {} {size} {times:?}", path.display(), there.uid()).unwrap();
        // What is mounted there is the host's.
        if there.is_dir() && !path.ends_with("alternatives") {
            let mut below: Vec<_> =
                std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
            below.sort();
            below.iter().for_each(|path| add(text, path));
        }
    }
    let mut text = String::new();
    add(&mut text, &world.path(dir));
    text
}

#[test]
fn looking_changes_nothing_and_shows_no_secret() {
    let world = set_up();
    let secrets = [activate(&world, "alice"), enable(&world, "bob")];
    // Sound and broken alike.
    enable(&world, "carol");
    world.remove(&state_file("carol"));
    world.write("/var/lib/onetime/users/.new-x", b"x", 0o600);
    let dirs = ["/etc", "/var/lib", "/run"];
    let before = dirs.map(|dir| listing(&world, dir));
    for arguments in [&["doctor"][..], &["doctor", "--json"]] {
        let run = world.onetimectl(arguments);
        assert_eq!(run.status.code(), Some(1), "{}", run.text());
        assert!(secrets.iter().all(|secret| !run.text().contains(secret)), "{}", run.text());
    }
    assert_eq!(dirs.map(|dir| listing(&world, dir)), before);
}

#[test]
fn faults_of_stacks_are_named_wherever_the_line_stands() {
    let world = set_up();
    world.write(
        "/etc/pam.d/common-auth",
        b"auth [success=1 default=ignore] pam_unix.so nullok\nauth requisite pam_deny.so\nauth required pam_permit.so\n",
        0o644,
    );
    for (stack, id, what, remedy) in [
        (
            "auth required pam_onetime.so qr=png\n",
            "pam-arguments-refused",
            "test:1 argument qr",
            "",
        ),
        ("auth required pam_onetime.so config=/etc/x\n", "pam-arguments-refused", "/etc/x", ""),
        (
            "auth required pam_onetime.so\nauth required pam_onetime.so\n",
            "pam-listed-twice",
            "test",
            "take one",
        ),
        (
            "auth sufficient pam_unix.so\nauth required pam_onetime.so\n",
            "pam-code-skipped",
            "test:1 pam_unix.so",
            "in its place",
        ),
        (
            "auth sufficient pam_u2f.so\nauth required pam_onetime.so\n",
            "pam-factor-instead",
            "test:1 pam_u2f.so",
            "before it",
        ),
        ("auth sufficient pam_onetime.so\n", "pam-sufficient", "test:1", "required"),
        (
            "auth sufficient pam_onetime.so\nauth required pam_permit.so\n",
            "pam-code-overruled",
            "test:1",
            "required",
        ),
        (
            "auth required pam_onetime.so password=stack\n",
            "pam-password-unchecked",
            "test",
            "requisite",
        ),
        (
            "auth required pam_unix.so\nauth required pam_onetime.so password=stack\n",
            "pam-strangers-lock",
            "test:1 pam_unix.so",
            "requisite",
        ),
        (
            "auth required pam_onetime.so\n@include common-auth\n",
            "pam-password-twice",
            "common-auth:1 pam_unix.so",
            "take it out",
        ),
        (
            "auth required pam_onetime.so password=none\n",
            "pam-others-refused",
            "test",
            "pam_permit.so",
        ),
        (
            "auth required pam_onetime.so\nsession required pam_onetime.so\n",
            "pam-type-wrong",
            "test:2",
            "take the line out",
        ),
        (
            "auth required pam_onetime.so\nauth include nowhere\n",
            "pam-line-broken",
            "test:2 includes nowhere",
            "correct the line",
        ),
    ] {
        world.pam_service("test", stack);
        named(&world, id, what, remedy);
    }
    world
        .pam_service("test", "@include common-auth\nauth required pam_onetime.so password=stack\n");
    assert!(!report(&world).0, "pam_deny.so keeps strangers away here");
}

#[test]
fn libpam_agrees_with_what_is_said_of_stacks() {
    let world = set_up();
    activate(&world, "alice");
    // Each lets alice in without a code, or with a wrong one.
    for (stack, answers) in [
        (
            "auth sufficient pam_unix.so\nauth required pam_onetime.so\n",
            &[crate::common::ALICE_PASSWORD][..],
        ),
        (
            "auth [success=1 default=ignore] pam_unix.so\nauth required pam_onetime.so\nauth required pam_permit.so\n",
            &[crate::common::ALICE_PASSWORD],
        ),
        ("auth sufficient pam_onetime.so\nauth required pam_permit.so\n", &["wrong", "000000"]),
        (
            "auth optional pam_unix.so\nauth optional pam_onetime.so password=stack\nauth required pam_permit.so\n",
            &["wrong", "000000"],
        ),
    ] {
        world.pam_service("test", &format!("{stack}account required pam_permit.so\n"));
        let run = world.pamtester("test", "alice", answers);
        assert!(run.success, "{stack}{}", run.output);
        let (_, rows) = report(&world);
        let failed = rows.iter().any(|row| row.result == "fail" && row.what.contains("test:"));
        assert!(failed, "{stack}{rows:#?}");
    }
}

#[test]
fn what_libpam_refuses_is_not_said_to_be_let_in() {
    let world = set_up();
    activate(&world, "alice");
    for stack in [
        "auth required pam_onetime.so\nauth sufficient pam_unix.so use_first_pass\n",
        "auth sufficient pam_onetime.so\nauth requisite pam_deny.so\n",
        "auth [success=1 default=ignore] pam_onetime.so\nauth requisite pam_deny.so\nauth required pam_permit.so\n",
    ] {
        world.pam_service("test", &format!("{stack}account required pam_permit.so\n"));
        let run = world.pamtester("test", "alice", &[crate::common::ALICE_PASSWORD, "000000"]);
        assert!(!run.success, "{stack}{}", run.output);
        let (failed, rows) = report(&world);
        assert!(!failed, "{stack}{rows:#?}");
        world.onetimectl(&["unlock", "alice"]).ok();
    }
}

#[test]
fn faults_of_the_password_service_are_named() {
    let world = set_up();
    for (text, id, remedy) in [
        ("auth required pam_permit.so\n", "password-service-accepts-any", "required"),
        (
            "auth required pam_unix.so\nauth required pam_onetime.so\n",
            "password-service-recursion",
            "list only modules",
        ),
        ("@include sshd\n", "password-service-recursion", "list only modules"),
        ("auth required pam_deny.so\n", "password-service-checks-none", "pam_unix.so"),
        ("auth required pam_sss.so\n", "password-service-account-missing", "account required"),
        (
            "auth required pam_unix.so\naccount required pam_unix.so\naccount required pam_deny.so\n",
            "password-service-account-refuses",
            "look at what refuses",
        ),
        (
            "auth sufficient pam_unix.so\nauth required pam_sss.so\n",
            "password-service-asks-more",
            "use_first_pass",
        ),
        ("auth required pam_krb5.so\n", "password-service-asks-more", "defer_pwchange"),
    ] {
        world.pam_service("onetime-password", text);
        named(&world, id, "", remedy);
    }
    world.remove("/etc/pam.d/onetime-password");
    named(&world, "password-service-missing", "/etc/pam.d/onetime-password", "make it");
    world.write("/etc/onetime/onetime.toml", b"[password]\nservice = \"other-password\"\n", 0o644);
    named(&world, "password-service-missing", "/etc/pam.d/other-password", "make it");
}

#[test]
fn a_service_that_does_not_hear_of_an_expired_password_is_named_with_the_line_to_add() {
    let world = set_up();
    let directory = "auth required pam_sss.so\naccount required pam_sss.so\n";
    world.pam_service("onetime-password", directory);
    let (failed, rows) = report(&world);
    assert!(!failed, "as shipped, each service hears it: {rows:#?}");
    let deaf = conf("pam.d/su").replace("account   required    pam_onetime.so\n", "");
    world.pam_service("su", &deaf);
    named(&world, "pam-account-missing", "su: pam_sss.so", "account required pam_onetime.so");
    let optional = format!("account optional pam_onetime.so\n{deaf}");
    world.pam_service("su", &optional);
    named(&world, "pam-account-overruled", "su: ", "account required pam_onetime.so");
}

#[test]
fn faults_of_sshd_are_named() {
    let world = set_up();
    world.remove("/etc/ssh/sshd_config");
    named(&world, "sshd-config-unreadable", "sshd_config", "UsePAM yes");
    for (before, id, what, remedy) in [
        ("UsePAM no", "sshd-without-pam", "sshd_config:1", "UsePAM yes"),
        (
            "\nKbdInteractiveAuthentication no",
            "sshd-without-prompts",
            "sshd_config:2",
            "KbdInteractiveAuthentication yes",
        ),
        (
            "PasswordAuthentication yes",
            "sshd-password-method",
            "sshd_config:1",
            "PasswordAuthentication no",
        ),
        (
            "Match User bob\nPasswordAuthentication yes\nMatch all",
            "sshd-match-differs",
            "Match User bob",
            "meant to differ",
        ),
        (
            "Match Group sudo LocalPort 2222\nAuthenticationMethods publickey\nMatch all",
            "sshd-match-differs",
            "Match Group sudo LocalPort 2222",
            "meant to differ",
        ),
        (
            "Include sshd_config.d/*.conf",
            "sshd-without-pam",
            "sshd_config.d/x.conf:1",
            "UsePAM yes",
        ),
    ] {
        world.write("/etc/ssh/sshd_config.d/x.conf", b"UsePAM no\n", 0o644);
        world.write("/etc/ssh/sshd_config", format!("{before}\n{SSHD_CONFIG}").as_bytes(), 0o644);
        named(&world, id, what, remedy);
    }
    world.pam_service("sshd", &conf("pam.d/sshd-key"));
    world.write("/etc/ssh/sshd_config", SSHD_CONFIG.as_bytes(), 0o644);
    named(
        &world,
        "sshd-code-alone",
        "password=none",
        "AuthenticationMethods publickey,keyboard-interactive",
    );
    let both = format!("{SSHD_CONFIG}AuthenticationMethods publickey,keyboard-interactive\n");
    world.write("/etc/ssh/sshd_config", both.as_bytes(), 0o644);
    assert!(!report(&world).0);
}

#[test]
fn sshd_itself_says_what_is_in_force() {
    let world = set_up();
    let ids = |config: &str| -> Vec<_> {
        world.write("/etc/ssh/sshd_config", config.as_bytes(), 0o644);
        let rows = report(&world).1.into_iter();
        rows.map(|row| row.id).filter(|id| id.starts_with("sshd-")).collect()
    };
    // As a block sets what is in force anyway, no login differs.
    let same = format!("{SSHD_CONFIG}Match User bob\nPasswordAuthentication no\n");
    assert_eq!(ids(&same), ["sshd-sound"]);
    // The first of two blocks about a login holds.
    let two = "Match User bob\nPasswordAuthentication no\nMatch User bob LocalPort 22\n\
               PasswordAuthentication yes\n";
    assert_eq!(ids(&format!("{SSHD_CONFIG}{two}")), ["sshd-sound"]);
    assert_eq!(ids(&format!("{SSHD_CONFIG}NoSuchKeyword yes\n")), ["sshd-config-refused"]);
    let within = ids(&format!("{SSHD_CONFIG}Match User bob\nUsePAM no\n"));
    assert_eq!(within, ["sshd-config-refused", "sshd-match-differs"]);
}

#[test]
fn where_sshd_does_not_answer_its_files_are_read() {
    let world = set_up();
    world.write("/etc/ssh/sshd_config", format!("UsePAM no\n{SSHD_CONFIG}").as_bytes(), 0o644);
    world.remove("/run/sshd");
    named(&world, "sshd-not-asked", "/run/sshd", "start sshd");
    named(&world, "sshd-without-pam", "sshd_config:1", "UsePAM yes");
    world.run("mkdir", &["/run/sshd"]).ok();
    world.remove(HOST_KEY);
    named(&world, "sshd-not-asked", "host", "start sshd");
    named(&world, "sshd-without-pam", "sshd_config:1", "UsePAM yes");
    world.write("/etc/ssh/sshd_config", SSHD_CONFIG.as_bytes(), 0o644);
    assert!(!report(&world).0, "nothing of it has failed");
}

#[test]
fn faults_of_the_module_are_named() {
    let world = set_up();
    let dir = modules_directory().canonicalize().expect("the modules' directory is there");
    let module = format!("{}/pam_onetime.so", dir.display());
    set_mode(&world, &module, 0o666);
    named(&world, "module-exposed", "0666", "chmod go-w");
    set_mode(&world, &module, 0o644);
    world.run("chown", &["alice", &module]).ok();
    named(&world, "module-exposed", "uid 2001", "chown root:root");
    world.write(&module, b"#!/bin/sh\n", 0o644);
    named(&world, "module-not-loadable", "pam_onetime.so", "make install");
    world.remove(&module);
    named(&world, "module-missing", "pam_onetime.so", "make install");
}

#[test]
fn faults_of_the_configuration_are_named_and_the_rest_is_looked_at_all_the_same() {
    let world = set_up();
    world.write("/etc/onetime/onetime.toml", b"isuer = \"x\"\n", 0o644);
    named(&world, "configuration-refused", "isuer", "correct it");
    world.remove("/etc/onetime/onetime.toml");
    named(&world, "configuration-refused", "onetime.toml", "correct it");
    let (_, rows) = report(&world);
    assert!(rows.iter().any(|row| row.id.starts_with("clock-")), "{rows:#?}");
    world.write("/etc/onetime/onetime.toml", conf("onetime.toml").as_bytes(), 0o666);
    named(&world, "configuration-refused", "0666", "correct it");
}

#[test]
fn faults_of_the_store_are_named() {
    let world = set_up();
    enable(&world, "alice");
    set_mode(&world, "/var/lib/onetime/users", 0o755);
    named(&world, "store-dir-exposed", "/var/lib/onetime/users: has mode 0755", "chmod 700");
    set_mode(&world, "/var/lib/onetime/users", 0o700);
    set_mode(&world, "/var/lib/onetime/users/alice.toml", 0o644);
    named(&world, "store-file-exposed", "alice.toml: has mode 0644", "chmod 600");
    named(&world, "account-file-refused", "alice", "chmod 600");
    set_mode(&world, "/var/lib/onetime/users/alice.toml", 0o600);
    world.run("chown", &["bob", &state_file("alice")]).ok();
    named(&world, "store-file-exposed", "state/alice: is owned by uid 2002", "chown root:root");
    world.run("chown", &["root", &state_file("alice")]).ok();
    assert!(!report(&world).0);

    symlink("alice.toml", world.path("/var/lib/onetime/users/bob.toml")).expect("a link");
    named(&world, "store-entry-strange", "bob.toml: is a symbolic link", "find out who");
    world.remove("/var/lib/onetime/users/bob.toml");
    world.write("/var/lib/onetime/users/.new-abc", b"", 0o600);
    named(&world, "store-leftovers", "users/.new-abc", "onetimectl init");
    world.write("/var/lib/onetime/users/README", b"", 0o600);
    named(&world, "store-foreign-name", "users/README", "remove");

    set_mode(&world, "/var/lib", 0o777);
    named(&world, "store-path-exposed", "/var/lib: has mode 0777", "chmod go-w");
    set_mode(&world, "/var/lib", 0o755);
    world.remove("/var/lib/onetime/store.toml");
    named(&world, "store-missing", "/var/lib/onetime", "onetimectl init");
}

#[test]
fn faults_of_accounts_are_named() {
    let world = set_up();
    for user in ["alice", "bob", "carol"] {
        enable(&world, user);
    }
    world.onetimectl(&["enable", "--force", "gone"]).ok();
    named(&world, "account-user-unknown", ": gone", "onetimectl disable");
    world.remove(&state_file("alice"));
    named(&world, "account-state-damaged", ": alice", "onetimectl repair");
    world.write("/var/lib/onetime/users/bob.toml", b"nonsense", 0o600);
    named(&world, "account-record-damaged", ": bob", "--new-secret");
    world.remove("/var/lib/onetime/users/gone.toml");
    named(&world, "account-state-orphaned", ": gone", "repair");
    let passwd = world.read_text("/etc/passwd").replace("carol:x:2003", "carol:x:2013");
    world.write("/etc/passwd", passwd.as_bytes(), 0o644);
    named(&world, "account-uid-differs", ": carol", "onetimectl disable");
}

#[test]
fn a_deadline_that_has_passed_is_named() {
    let world = set_up();
    world.onetimectl(&["enable", "--deadline", "1s", "alice"]).ok();
    // It comes; looked for until then.
    let late = |rows: &[Row]| {
        rows.iter()
            .any(|row| row.id == "account-deadline-passed" && row.remedy.contains("--new-secret"))
    };
    assert!((0..1000).any(|_| late(&report(&world).1)));
}

#[test]
fn of_many_accounts_with_one_fault_each_is_named_in_one_row() {
    let world = set_up();
    for number in 0..2000 {
        world.write(&format!("/var/lib/onetime/users/u{number:04}.toml"), b"nonsense", 0o600);
    }
    let rows = report(&world).1;
    let rows: Vec<_> = rows.iter().filter(|row| row.id == "account-record-damaged").collect();
    let [row] = rows[..] else { panic!("{rows:#?}") };
    assert!((0..2000).all(|number| row.what.contains(&format!("u{number:04}"))), "{row:#?}");
}

#[test]
fn a_missing_log_is_named() {
    let world = set_up();
    world.remove("/dev/log");
    named(&world, "syslog-missing", "/dev/log is not there", "syslog");
    world.write("/dev/log", b"", 0o666);
    named(&world, "syslog-missing", "/dev/log is not a socket", "syslog");
}
