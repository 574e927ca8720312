//! Who somebody is: users who are renamed, who have a second name or another uid, whose
//! uid somebody else has got, as real tools make them; and what an admin does then.

use std::collections::BTreeSet;

use crate::common::{
    ALICE_PASSWORD, CAROL_PASSWORD, PATIENCE, Pty, Sssd, TotpOptions, World, activate, assert_ends,
    code_at, current_code, enable, finish, installed, secret, since_epoch, state_file,
    with_foreign,
};
use serde_json::{Value, json};

const PASSWORD: &str = "Password:";
const CODE: &str = "One-time code:";
const RENAME: &str = "onetimectl rename OLD NEW";

/// A login by password alone.
#[track_caller]
fn needs_no_code(world: &World, user: &str, password: &str) -> bool {
    world.pamtester_script("sshd", user, &[(PASSWORD, password)]).success
}

/// A login by password and code.
#[track_caller]
fn serves(world: &World, user: &str, code: &str) -> bool {
    world.pamtester_script("sshd", user, &[(PASSWORD, ALICE_PASSWORD), (CODE, code)]).success
}

/// The code of this step and of the next: both are good for as long as a test takes.
#[track_caller]
fn codes(key: &str) -> [String; 2] {
    let now = since_epoch().as_secs();
    [0, 30].map(|later| code_at(key, TotpOptions::default(), now + later))
}

/// Refused after the right password, and why.
#[track_caller]
fn refused(world: &World, user: &str, password: &str, reason: &str) {
    assert!(!needs_no_code(world, user, password), "{user} is admitted");
    let mine = format!("user={user} ");
    world.wait_for_syslog(
        |line| {
            line.tag == "pam_onetime"
                && line.text.contains(&mine)
                && line.text.contains("outcome=failed")
                && line.text.contains(reason)
        },
        PATIENCE,
    );
}

/// The names of what doctor finds wrong, with what it says.
#[track_caller]
fn findings(world: &World) -> Vec<(String, String)> {
    let rows: Value = world.onetimectl(&["--json", "doctor"]).json();
    let rows = rows.as_array().expect("an array").iter();
    let word = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let wrong = rows.filter(|row| row["result"] != "ok");
    wrong.map(|row| (word(row, "id"), word(row, "what") + " -> " + &word(row, "remedy"))).collect()
}

#[track_caller]
fn doctor_names(world: &World, id: &str, words: &[&str]) {
    let found = findings(world);
    let of_id = found.iter().find(|(name, _)| name == id);
    let (_, text) = of_id.unwrap_or_else(|| panic!("no {id}: {found:?}"));
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
}

#[track_caller]
fn edit_passwd(world: &World, from: &str, to: &str) {
    for file in ["/etc/passwd", "/etc/shadow"] {
        let text = world.read_text(file);
        let mode = if file == "/etc/passwd" { 0o644 } else { 0o640 };
        let lines = text.lines().map(|line| match line.strip_prefix(from) {
            Some(rest) => format!("{to}{rest}\n"),
            None => format!("{line}\n"),
        });
        world.write(file, lines.collect::<String>().as_bytes(), mode);
    }
}

/// A user of this name, uid and password of alice's.
#[track_caller]
fn add_twin(world: &World, user: &str, uid: &str) {
    world.run("useradd", &["-o", "-M", "-u", uid, user]).ok();
    let alice = world.read_text("/etc/shadow");
    let hash = alice.lines().find_map(|line| line.strip_prefix("alice:")).expect("alice's line");
    let hash = hash.split(':').next().unwrap_or_default().to_owned();
    world.run("usermod", &["-p", &hash, user]).ok();
}

#[test]
fn who_is_renamed_is_refused_until_the_record_is_renamed_too_and_no_code_serves_twice() {
    let world = installed();
    let key = activate(&world, "alice");
    let [used, next] = codes(&key);
    assert!(serves(&world, "alice", &used));
    world.run("usermod", &["-l", "alicia", "alice"]).ok();
    refused(&world, "alicia", ALICE_PASSWORD, RENAME);
    doctor_names(&world, "account-renamed", &["alice is now alicia", RENAME]);
    assert!(!findings(&world).iter().any(|(id, _)| id == "account-user-unknown"));

    let said = world.onetimectl(&["rename", "alice", "alicia"]).ok();
    assert!(said.contains("alicia: renamed; it was alice"), "{said}");
    world.wait_for_syslog(|line| line.text.contains("the account was that of alice"), PATIENCE);
    assert_eq!(secret(&world, "alicia"), key);
    assert!(!world.exists(&state_file("alice")));
    let ids: BTreeSet<_> = findings(&world).into_iter().map(|(id, _)| id).collect();
    assert!(!ids.iter().any(|id| id.starts_with("account-")), "{ids:?}");

    assert!(!serves(&world, "alicia", &used), "it was used by the old name");
    assert!(serves(&world, "alicia", &next));
    // The name is free for somebody else.
    world.run("useradd", &["-M", "-N", "alice"]).ok();
    enable(&world, "alice");
}

#[test]
fn who_is_called_by_a_name_in_full_from_now_on_is_refused_and_then_renamed() {
    let world = installed();
    let key = activate(&world, "alice");
    edit_passwd(&world, "alice:", "alice@example.org:");
    refused(&world, "alice@example.org", ALICE_PASSWORD, RENAME);
    doctor_names(&world, "account-renamed", &["alice is now alice@example.org"]);
    world.onetimectl(&["rename", "alice", "alice@example.org"]).ok();
    assert!(serves(&world, "alice@example.org", &current_code(&key, 0)));
}

#[test]
fn a_second_name_with_the_uid_of_a_record_is_neither_admitted_nor_enabled() {
    let world = installed();
    let key = activate(&world, "alice");
    add_twin(&world, "second", "2001");
    refused(&world, "second", ALICE_PASSWORD, "the record for that uid is alice's");
    for args in [&["enable", "second"][..], &["enable", "--new-secret", "second"]] {
        let run = world.onetimectl(args);
        assert_ends(&run, 1, "the record for that uid is alice's");
        assert!(run.stderr.contains(RENAME), "{}", run.stderr);
    }
    doctor_names(&world, "account-second-name", &["second beside alice (uid 2001)"]);
    assert!(serves(&world, "alice", &current_code(&key, 0)));
}

#[test]
fn a_second_name_is_not_enrolled_at_login_either() {
    let world = installed();
    activate(&world, "alice");
    add_twin(&world, "second", "2001");
    world.write("/etc/onetime/onetime.toml", b"[login]\nmissing = \"enrol\"\n", 0o644);
    refused(&world, "second", ALICE_PASSWORD, RENAME);
    assert!(!world.exists("/var/lib/onetime/users/second.toml"));
    assert!(!world.exists(&state_file("second")));
}

#[test]
fn who_gets_the_uid_of_somebody_gone_is_refused_until_the_old_name_is_disabled() {
    let world = installed();
    activate(&world, "alice");
    add_twin(&world, "newcomer", "2001");
    world.run("sed", &["-i", "/^alice:/d", "/etc/passwd"]).ok();
    refused(&world, "newcomer", ALICE_PASSWORD, "onetimectl disable OLD");
    doctor_names(&world, "account-renamed", &["onetimectl disable OLD"]);
    world.onetimectl(&["disable", "--yes", "alice"]).ok();
    assert!(needs_no_code(&world, "newcomer", ALICE_PASSWORD));
}

#[test]
fn who_gets_another_uid_is_refused_until_the_record_is_bound_to_it() {
    let world = installed();
    let key = activate(&world, "alice");
    let [used, next] = codes(&key);
    assert!(serves(&world, "alice", &used));
    world.run("usermod", &["-u", "2071", "alice"]).ok();
    refused(&world, "alice", ALICE_PASSWORD, "onetimectl rebind");
    doctor_names(&world, "account-uid-differs", &["onetimectl rebind"]);
    let rebound: Value = world.onetimectl(&["--json", "rebind", "alice"]).json();
    let sound = json!({ "version": 1, "error": null, "remedy": null });
    let row = |mut row: Value, more: Value| {
        row.as_object_mut().expect("an object").extend(more.as_object().expect("one").clone());
        row
    };
    let expected = json!({ "user": "alice", "result": "rebound", "uid": 2071 });
    assert_eq!(rebound[0], row(expected, sound.clone()));
    assert!(!serves(&world, "alice", &used));
    assert!(serves(&world, "alice", &next));
    let again: Value = world.onetimectl(&["--json", "rebind", "alice"]).json();
    assert_eq!(again[0], row(json!({ "user": "alice", "result": "unchanged" }), sound));
    // The old uid is anybody's.
    world.run("usermod", &["-u", "2001", "carol"]).ok();
    assert!(needs_no_code(&world, "carol", CAROL_PASSWORD));
}

#[test]
fn a_record_made_by_force_is_bound_to_the_first_who_logs_in_by_its_name() {
    let world = installed();
    world.onetimectl(&["enable", "--force", "later"]).ok();
    doctor_names(&world, "account-user-unknown", &["for whoever gets that name: later"]);
    let record = "/var/lib/onetime/users/later.toml";
    assert!(world.read_text(record).contains("\nuid = \"any\"\n"));
    add_twin(&world, "later", "2070");
    let set_up = "One-time code (Enter to skip):";
    let code = current_code(&secret(&world, "later"), 0);
    let wrong = world.pamtester_script("sshd", "later", &[(PASSWORD, "wrong")]);
    assert!(!wrong.success && world.read_text(record).contains("\nuid = \"any\"\n"));
    let script = [(PASSWORD, ALICE_PASSWORD), (set_up, code.as_str())];
    assert!(world.pamtester_script("sshd", "later", &script).success);
    assert!(world.read_text(record).contains("\nuid = 2070\n"));
    // Somebody else who gets the name does not get the account.
    world.run("usermod", &["-u", "2072", "later"]).ok();
    refused(&world, "later", ALICE_PASSWORD, "the record is for uid 2070");
    add_twin(&world, "former", "2070");
    refused(&world, "former", ALICE_PASSWORD, RENAME);
}

#[test]
fn an_index_that_cannot_be_read_refuses_who_has_no_record_and_nobody_else() {
    let world = installed();
    let key = activate(&world, "alice");
    let index = "/var/lib/onetime/uids";
    world.run("chmod", &["755", index]).ok();
    refused(&world, "carol", CAROL_PASSWORD, "has mode 0755");
    doctor_names(&world, "store-dir-exposed", &["/var/lib/onetime/uids"]);
    world.run("chmod", &["700", index]).ok();
    world.write(&format!("{index}/2003"), b"nonsense", 0o600);
    refused(&world, "carol", CAROL_PASSWORD, "onetimectl init");
    world.remove(index);
    refused(&world, "carol", CAROL_PASSWORD, "uids");
    assert!(serves(&world, "alice", &current_code(&key, 0)));
    doctor_names(&world, "store-incomplete", &["uids", "onetimectl init"]);
    world.onetimectl(&["init"]).ok();
    assert!(needs_no_code(&world, "carol", CAROL_PASSWORD));
    world.run("usermod", &["-l", "alicia", "alice"]).ok();
    refused(&world, "alicia", ALICE_PASSWORD, RENAME);
}

#[test]
fn a_store_from_before_the_index_works_as_it_did_until_init_and_doctor_says_so() {
    let world = installed();
    activate(&world, "alice");
    add_twin(&world, "second", "2001");
    world.remove("/var/lib/onetime/uids");
    world.write("/var/lib/onetime/store.toml", b"format = 1\n", 0o600);
    assert!(needs_no_code(&world, "second", ALICE_PASSWORD));
    doctor_names(&world, "store-index-missing", &["onetimectl init"]);
    world.onetimectl(&["enable", "second"]).ok();
    world.onetimectl(&["init"]).ok();
    doctor_names(&world, "account-uid-shared", &["alice and second (uid 2001)"]);
    world.onetimectl(&["disable", "--yes", "second"]).ok();
    refused(&world, "second", ALICE_PASSWORD, RENAME);
}

#[test]
fn doctor_names_records_that_the_index_lacks_and_entries_that_are_damaged() {
    let world = installed();
    enable(&world, "alice");
    world.remove("/var/lib/onetime/uids/2001");
    doctor_names(&world, "account-not-indexed", &["alice", "onetimectl init"]);
    world.write("/var/lib/onetime/uids/2001", b"nonsense", 0o600);
    doctor_names(&world, "store-index-damaged", &["uids/2001", "onetimectl init"]);
    // The account goes all the same, and what is left is still named.
    let run = world.onetimectl(&["disable", "alice"]);
    assert_ends(&run, 1, "alice: the record is gone, but its name is still in the index by uid");
    assert!(run.stderr.contains("onetimectl init"), "{}", run.stderr);
    assert!(!world.exists(&state_file("alice")));
    world.wait_for_syslog(|line| line.text.contains("disabled: the secret was"), PATIENCE);
    doctor_names(&world, "store-index-damaged", &["uids/2001", "onetimectl init"]);
    world.write("/var/lib/onetime/uids/README", b"", 0o600);
    doctor_names(&world, "store-foreign-name", &["uids/README"]);
    world.remove("/var/lib/onetime/uids/README");
    world.onetimectl(&["init"]).ok();
    let wrong: Vec<_> = findings(&world).into_iter().map(|(id, _)| id).collect();
    assert!(!wrong.iter().any(|id| id.contains("index") || id.starts_with("store-")), "{wrong:?}");
}

#[test]
fn rename_and_rebind_say_what_keeps_them_and_what_to_do() {
    let world = installed();
    enable(&world, "alice");
    enable(&world, "bob");
    let secret_before = secret(&world, "alice");
    for (args, said, remedy) in [
        (&["rename", "alice", "bob"][..], "has another uid", "--force"),
        (&["rename", "--force", "alice", "bob"], "bob has a record already", "disable"),
        (&["rename", "alice", "nosuch"], "this system knows no such user", "--force"),
        (&["rename", "alice", "alice"], "the name that the account has", "rebind"),
        (&["rename", "carol", "alice"], "carol is not enabled", "onetimectl enable"),
        (&["rebind", "carol"], "carol: not enabled", "onetimectl enable"),
        (&["rebind", "nosuch"], "this system knows no such user", "onetimectl disable"),
    ] {
        let run = world.onetimectl(args);
        assert_ends(&run, 1, said);
        assert!(run.stderr.contains(remedy), "{}", run.stderr);
    }
    assert_eq!(secret(&world, "alice"), secret_before);
    // By the admin's word, to a name that is to come.
    let renamed: Value =
        world.onetimectl(&["--json", "rename", "--force", "alice", "alicia"]).json();
    assert_eq!((&renamed[0]["user"], &renamed[0]["old"]), (&json!("alicia"), &json!("alice")));
    assert_eq!(secret(&world, "alicia"), secret_before);
}

// --- names that are not UTF-8 ---

/// A command line in which each name is in Latin-1, as the shell writes it.
fn with_bytes(world: &World, script: &str) -> std::process::Command {
    let mut command = world.command("sh");
    command.args(["-c", &format!("B=$(printf 'b\\374cher'); C=$(printf 'b\\375cher'); {script}")]);
    command
}

/// Adds a line to passwd and shadow, whose name is bytes, with alice's password.
#[track_caller]
fn append_bytes(world: &World, name: &[u8], uid: u32) {
    for (path, mode) in [("/etc/passwd", 0o644), ("/etc/shadow", 0o640)] {
        let mut all = world.read(path);
        let alice = all.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"alice:"));
        let alice = String::from_utf8(alice.expect("alice's line").to_vec()).expect("text");
        all.extend_from_slice(name);
        all.extend(format!(":{}\n", alice.replacen("2001", &uid.to_string(), 1)).bytes());
        world.write(path, &all, mode);
    }
}

/// Logs in by these answers; whether it succeeded.
#[track_caller]
fn bytes_log_in(world: &World, name: &str, answers: &[(&str, &str)]) -> bool {
    let script = format!("exec pamtester sshd \"{name}\" authenticate");
    let mut pty = Pty::spawn(&with_bytes(world, &script));
    for (prompt, answer) in answers {
        pty.expect(*prompt);
        pty.send_line(answer);
    }
    pty.wait().success()
}

#[test]
fn a_user_whose_name_is_not_utf_8_logs_in_as_others_do_and_is_not_taken_for_another() {
    let world = installed();
    append_bytes(&world, b"b\xFCcher", 2060);
    assert!(bytes_log_in(&world, "$B", &[(PASSWORD, ALICE_PASSWORD)]));
    let line = world.wait_for_syslog(|line| line.text.contains("outcome=admitted"), PATIENCE).text;
    assert!(line.contains("user=\"b\\xFCcher\""), "{line}");
    assert!(!bytes_log_in(&world, "$B", &[(PASSWORD, "wrong")]));
    assert!(!bytes_log_in(&world, "$C", &[(PASSWORD, ALICE_PASSWORD)]), "there is no such user");
}

#[test]
fn a_user_whose_name_is_not_utf_8_is_enabled_and_disabled_by_the_bytes_or_by_what_json_says() {
    let world = installed();
    // Both are the same to whoever makes text of them with loss.
    for (name, uid) in [(b"b\xFCcher", 2060), (b"b\xFDcher", 2061)] {
        append_bytes(&world, name, uid);
    }
    let run = |script: &str| finish(&mut with_bytes(&world, script), b"");
    let said = run("onetimectl enable \"$B\"").ok();
    assert!(said.contains("b\\xFCcher: enabled"), "{said}");
    let key = secret(&world, "b%FCcher");
    run(&format!("onetimectl verify \"$B\" {}", current_code(&key, -1))).ok();
    let code = current_code(&key, 0);
    assert!(bytes_log_in(&world, "$B", &[(PASSWORD, ALICE_PASSWORD), (CODE, &code)]));
    assert!(bytes_log_in(&world, "$C", &[(PASSWORD, ALICE_PASSWORD)]), "another user");
    let list = run("onetimectl list").ok();
    let [header, row] = list.lines().collect::<Vec<_>>()[..] else { panic!("{list}") };
    assert!(row.starts_with("b\\xFCcher  yes "), "{list}");
    assert_eq!(header.find("OTP"), row.find("yes"), "{list}");
    assert!(!findings(&world).iter().any(|(id, _)| id.starts_with("account-")));

    let list: Value = world.onetimectl(&["--json", "list"]).json();
    let name = list[0]["user"].as_str().expect("a name");
    world.onetimectl(&["disable", "--yes", name]).ok();
    assert!(bytes_log_in(&world, "$B", &[(PASSWORD, ALICE_PASSWORD)]));
}

#[test]
fn a_second_name_that_is_not_utf_8_is_refused_too_and_the_account_can_be_given_it() {
    let world = installed();
    let key = activate(&world, "alice");
    append_bytes(&world, b"b\xFCcher", 2001);
    assert!(!bytes_log_in(&world, "$B", &[(PASSWORD, ALICE_PASSWORD)]));
    world.wait_for_syslog(|line| line.text.contains(RENAME), PATIENCE);
    finish(&mut with_bytes(&world, "onetimectl rename alice \"$B\""), b"").ok();
    let code = current_code(&key, 0);
    assert!(bytes_log_in(&world, "$B", &[(PASSWORD, ALICE_PASSWORD), (CODE, &code)]));
    refused(&world, "alice", ALICE_PASSWORD, "b\\\\xFCcher's");
}

// --- a directory that calls users by other names ---

#[test]
fn whom_a_real_sssd_calls_by_the_name_in_full_is_refused_until_renamed_also_by_the_short_one() {
    let world = installed();
    let key = activate(&world, "alice");
    with_foreign(&world);
    // pam_unix.so would ask sssd, in whose own process it is, for the hash.
    let check = format!("#!/bin/sh\ntest \"$(tr -d '\\0')\" = {ALICE_PASSWORD}\n");
    world.write("/etc/check-password", check.as_bytes(), 0o755);
    let exec = "auth required pam_exec.so expose_authtok quiet /etc/check-password\n";
    world.pam_service("directory", &format!("{exec}account required pam_permit.so\n"));
    let lines = "auth required pam_sss.so\naccount required pam_sss.so\n";
    world.pam_service("onetime-password", lines);
    let names = "default_domain_suffix = directory\n";
    let _sssd = Sssd::start_with(&world, names, "use_fully_qualified_names = true\n");
    let nsswitch = "passwd: sss files\ngroup: files\nshadow: files\n";
    world.write("/etc/nsswitch.conf", nsswitch.as_bytes(), 0o644);
    let known = world.run("getent", &["passwd", "alice"]).ok();
    assert!(known.starts_with("alice@directory:"), "{known}");

    for name in ["alice", "alice@directory"] {
        world.forget_syslog();
        assert!(!needs_no_code(&world, name, ALICE_PASSWORD), "{name} is admitted");
        let line = world.wait_for_syslog(|line| line.text.contains(RENAME), PATIENCE).text;
        assert!(line.contains("user=alice@directory "), "{line}");
    }
    doctor_names(&world, "account-alias", &["alice is alice@directory", RENAME]);
    world.onetimectl(&["rename", "alice", "alice@directory"]).ok();
    let [used, next] = codes(&key);
    assert!(serves(&world, "alice", &used));
    assert!(!serves(&world, "alice@directory", &used));
    assert!(serves(&world, "alice@directory", &next));
}
