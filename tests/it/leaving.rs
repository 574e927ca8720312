//! Moving out: what is exported is read by the real modules of other projects. The same
//! codes work there, codes that were used here do not, and what has no place there is said.

use std::os::unix::fs::MetadataExt;

use serde_json::Value;

use crate::common::{
    Finished, TotpOptions, World, activate, code, current_code, enable, hasty, hotp_code, secret,
};

const OATH: &str = "auth required pam_oath.so usersfile=/etc/users.oath window=5";

/// What `export` prints.
#[track_caller]
fn exported(world: &World, arguments: &[&str]) -> Finished {
    let run = world.onetimectl(&[&["export"], arguments].concat());
    assert!(run.success(), "{}", run.text());
    run
}

/// Whether pam_oath lets a user in with a code.
#[track_caller]
fn oath(world: &World, user: &str, code: &str) -> bool {
    world.pam_service("oath", &format!("{OATH} digits={}\n", code.len()));
    let run = world.pamtester("oath", user, &[code]);
    assert_eq!(run.prompts.len(), 1, "it is asked for a code: {}", run.output);
    run.success
}

/// Whether pam_google_authenticator lets a user in with a code.
#[track_caller]
fn google(world: &World, user: &str, code: &str) -> bool {
    world.pam_service("google", "auth required pam_google_authenticator.so\n");
    let run = world.pamtester("google", user, &[code]);
    assert_eq!(run.prompts.len(), 1, "it is asked for a code: {}", run.output);
    run.success
}

/// Writes the files of all users, and puts each where the module looks for it.
#[track_caller]
fn google_files(world: &World, users: &[&str]) -> Finished {
    let run = exported(world, &["--format", "google", "--output", "/root/files"]);
    for user in users {
        let home = format!("/home/{user}/.google_authenticator");
        world.run("cp", &["-p", &format!("/root/files/{user}"), &home]).ok();
    }
    run
}

/// A counter token of bob's whose codes 0 and 3 are used: counter 4 is the next.
#[track_caller]
fn bob_counts(world: &World, options: &[&str], digits: u32) -> String {
    world.onetimectl(&[&["enable", "bob", "--kind", "hotp"], options].concat()).ok();
    let secret = secret(world, "bob");
    for counter in [0, 3] {
        world.onetimectl(&["verify", "bob", &hotp_code(&secret, counter, digits)]).ok();
    }
    secret
}

#[test]
fn the_users_file_that_is_exported_lets_the_same_people_in_by_pam_oath_and_no_code_twice() {
    let world = hasty();
    let bob = bob_counts(&world, &["--digits", "8"], 8);
    let options = TotpOptions { digits: 7, period: 60, ..TotpOptions::default() };
    world.onetimectl(&["enable", "carol", "--digits", "7", "--period", "60"]).ok();
    let carol = secret(&world, "carol");
    let shown = |offset_steps| code(&carol, TotpOptions { offset_steps, ..options });
    let used = shown(0);
    world.onetimectl(&["verify", "carol", &used]).ok();
    enable(&world, "alice");
    let alice = secret(&world, "alice");

    let run = exported(&world, &["--format", "oath"]);
    assert!(run.stderr.contains("alice: is pending here"), "{}", run.text());
    world.write("/etc/users.oath", run.stdout.as_bytes(), 0o600);
    assert!(oath(&world, "alice", &current_code(&alice, 0)));
    for used in [0, 1, 2, 3] {
        assert!(!oath(&world, "bob", &hotp_code(&bob, used, 8)), "counter {used} was used here");
    }
    assert!(oath(&world, "bob", &hotp_code(&bob, 4, 8)));
    assert!(!oath(&world, "carol", &used), "it was used here");
    assert!(!oath(&world, "carol", &shown(-1)), "it is older than the last one");
    assert!(oath(&world, "carol", &shown(1)));
}

#[test]
fn the_files_that_are_exported_let_the_same_people_in_by_pam_google_authenticator() {
    let world = hasty();
    let bob = bob_counts(&world, &[], 6);
    enable(&world, "alice");
    let alice = secret(&world, "alice");
    let used = current_code(&alice, 0);
    world.onetimectl(&["verify", "alice", &used]).ok();

    google_files(&world, &["alice", "bob"]);
    assert!(!google(&world, "alice", &used), "it was used here");
    assert!(!google(&world, "alice", &current_code(&alice, -1)), "it is older than the last one");
    assert!(google(&world, "alice", &current_code(&alice, 1)));
    // In this order: there a wrong code moves the counter.
    assert!(google(&world, "bob", &hotp_code(&bob, 4, 6)));
    assert!(!google(&world, "bob", &hotp_code(&bob, 3, 6)), "it was used here");
}

#[test]
fn the_drift_of_a_clock_goes_along_to_pam_google_authenticator_and_is_named_for_pam_oath() {
    let world = hasty();
    world.onetimectl(&["enable", "alice", "--no-qr"]).ok();
    let alice = secret(&world, "alice");
    // The phone's clock is five steps ahead.
    let codes = [5, 6].map(|ahead| current_code(&alice, ahead));
    activate(&world, "alice");
    let run = world.onetimectl(&["resync", "alice", &codes[0], &codes[1]]);
    assert!(run.success(), "{}", run.text());

    // Of the second code: six, less what has passed since it was shown.
    let rows: Vec<Value> = world.onetimectl(&["--json", "token", "list", "alice"]).json();
    let drift = rows[0]["tokens"][0]["drift"].as_i64().expect("a number");
    assert!((2..=6).contains(&drift), "{rows:?}");

    google_files(&world, &["alice"]);
    let file = world.read_text("/root/files/alice");
    assert!(file.contains(&format!("\" TIME_SKEW {drift}\n")));
    assert!(!google(&world, "alice", &codes[1]), "it was used here");
    assert!(!google(&world, "alice", &current_code(&alice, 0)), "the window is around the drift");
    assert!(google(&world, "alice", &current_code(&alice, drift + 1)));
    let oath = exported(&world, &["--format", "oath", "alice"]);
    let note = format!("token 1: its clock is {drift} steps off; pam_oath needs window={drift}");
    assert!(oath.stderr.contains(&note), "{}", oath.text());
}

#[test]
fn what_is_exported_is_imported_as_the_same_tokens_with_the_same_codes_spent() {
    let world = hasty();
    bob_counts(&world, &[], 6);
    activate(&world, "alice");
    let all = || exported(&world, &["--format", "pskc"]).stdout;
    let before = all();
    for format in ["oath", "google", "pskc"] {
        let place = format!("/root/{format}");
        exported(&world, &["--format", format, "--output", &place]);
        let files = match format {
            "google" => vec![format!("{place}/alice"), format!("{place}/bob")],
            _ => vec![place],
        };
        world.onetimectl(&["disable", "--yes", "alice", "bob"]).ok();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        world.onetimectl(&[&["import", "--from", format], &files[..]].concat()).ok();
        // The issuer is this machine's again.
        assert_eq!(all(), before, "{format}");
    }
}

#[test]
fn what_has_no_place_in_another_modules_file_is_said_and_what_changes_codes_is_refused() {
    let world = hasty();
    activate(&world, "alice");
    world.onetimectl(&["recovery", "alice"]).ok();
    world.onetimectl(&["token", "add", "alice", "--digits", "8"]).ok();
    world.onetimectl(&["enable", "bob", "--algorithm", "SHA256"]).ok();
    world.onetimectl(&["enable", "carol", "--period", "90"]).ok();
    let google = world.onetimectl(&["export", "--format", "google", "--output", "/root/out"]);
    let oath = world.onetimectl(&["export", "--format", "oath"]);
    for (run, whats) in [
        (&google, ["alice: token 2 is left out for the file has one token", "a period of 90 s"]),
        (&oath, ["bob: cannot be exported so: token 1 is left out", "its period of 90 s"]),
    ] {
        assert_eq!(run.status.code(), Some(3), "{}", run.text());
        assert!(run.stderr.contains("alice: recovery codes are left out"), "{}", run.text());
        for what in ["bob: ", "SHA256", "carol: "].iter().chain(&whats[..1]) {
            assert!(run.stderr.contains(what), "{what}: {}", run.text());
        }
        assert!(!run.stderr.contains(&secret(&world, "alice")), "{}", run.stderr);
    }
    assert_eq!(oath.stdout.lines().filter(|line| line.contains("\talice\t")).count(), 2);
    assert!(!oath.stdout.contains("bob") && !world.exists("/root/out/bob"));
}

#[test]
fn an_exported_file_is_new_and_only_its_user_can_read_it() {
    let world = hasty();
    activate(&world, "alice");
    let directory = "umask 0; onetimectl export --format google -o /root/out";
    let run = world.run("sh", &["-c", directory]);
    assert!(run.stdout.contains("alice: written to /root/out/alice"), "{}", run.text());
    assert_eq!(world.metadata("/root/out").mode() & 0o777, 0o700);
    let file = world.metadata("/root/out/alice");
    assert_eq!((file.mode() & 0o7777, file.uid()), (0o400, 2001));
    let run = world.run("sh", &["-c", directory]);
    assert_eq!(run.status.code(), Some(1), "{}", run.text());
    assert!(run.stderr.contains("exists"), "{}", run.text());

    world.run("sh", &["-c", "umask 0; onetimectl export --format oath -o /root/users.oath"]).ok();
    let file = world.metadata("/root/users.oath");
    assert_eq!((file.mode() & 0o7777, file.uid()), (0o600, 0));

    world.run("mkdir", &["-m", "777", "/root/open"]).ok();
    let run = world.onetimectl(&["export", "--format", "google", "-o", "/root/open"]);
    assert!(run.stderr.contains("users other than root can write there"), "{}", run.text());
    assert!(!world.exists("/root/open/alice"));
    for (arguments, why) in [
        (&["--format", "google"][..], "name one USER, or --output DIRECTORY"),
        (&["--format", "google", "alice", "bob"], "name one USER, or --output DIRECTORY"),
    ] {
        let run = world.onetimectl(&[&["export"], arguments].concat());
        assert_eq!(run.status.code(), Some(2), "{}", run.text());
        assert!(run.stderr.contains(why), "{}", run.text());
    }
    let run = world.onetimectl(&["--json", "export", "--format", "oath"]);
    assert_eq!(run.status.code(), Some(2), "{}", run.text());
}
