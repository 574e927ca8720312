//! `onetime`: what users see and change of their own accounts, by the real `onetimed`.

use std::path::Path;

use serde_json::{Value, json};

use crate::common::{
    ALICE_PASSWORD, BOB_PASSWORD, Daemon, Finished, PATIENCE, Pty, World, activate, current_code,
    decode_qr, enable, finish, hasty, secret,
};

/// The service at which alice's codes are tried: that of a program of root's.
const DOOR: &str = "auth required pam_onetime.so\n";

const EVERYTHING: &[&str] = &["recovery", "renew"];

/// Users may do this.
fn with(permitted: &[&str]) -> World {
    let world = hasty();
    world.pam_service("door", DOOR);
    for what in permitted {
        set(&world, &format!("#{what} = false"), &format!("{what} = true"));
    }
    world
}

/// Puts a line of the configuration in the place of the one that is shipped.
#[track_caller]
fn set(world: &World, shipped: &str, line: &str) {
    let config = world.read_text("/etc/onetime/onetime.toml");
    let changed = config.replace(shipped, line);
    assert_ne!(changed, config, "{shipped}");
    world.write("/etc/onetime/onetime.toml", changed.as_bytes(), 0o644);
}

fn program(world: &World) -> String {
    world.program(Path::new(env!("CARGO_BIN_EXE_onetime")))
}

/// `onetime` without a terminal.
#[track_caller]
fn onetime(world: &World, user: &str, arguments: &[&str]) -> Finished {
    finish(world.command_as(user, &program(world)).args(arguments), b"")
}

#[track_caller]
fn status(world: &World, user: &str) -> Value {
    let said = onetime(world, user, &["status", "--json"]).ok();
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// `onetime VERB` of alice's on a terminal, once password and code are given.
#[track_caller]
fn begin(world: &World, verb: &str, password: &str, code: &str) -> Pty {
    let mut terminal = world.pty_as("alice", &program(world), &[verb]);
    terminal.expect("Password:");
    terminal.send_line(password);
    terminal.expect("One-time code:");
    terminal.send_line(code);
    terminal
}

/// Whether alice gets in by this code.
#[track_caller]
fn admits(world: &World, code: &str) -> bool {
    let script = [("Password:", ALICE_PASSWORD), ("One-time code:", code)];
    world.pamtester_script("door", "alice", &script).success
}

#[track_caller]
fn logged(world: &World, reason: &str) -> String {
    world.wait_for_syslog(|line| line.text.contains(reason), PATIENCE).text
}

/// The secret of the QR code that was shown.
#[track_caller]
fn shown_secret(terminal: &Pty) -> String {
    let uri = decode_qr(&terminal.transcript(), 80, 80);
    let (_, rest) = uri.split_once("secret=").expect("a secret");
    rest.split('&').next().expect("its end").to_owned()
}

const PENDING_PROMPT: &str = "paper; older ones no longer work then:";
const NEW_CODE: &str = "Code that the new app shows:";

#[test]
fn users_see_what_there_is_to_say_of_their_own_account_and_of_no_other() {
    let world = with(&[]);
    let _daemon = Daemon::start(&world);
    let off = json!({ "version": 1, "otp": false, "activated": false,
                      "recovery_codes_left": null, "locked_until": null });
    assert_eq!(status(&world, "alice"), off);
    enable(&world, "alice");
    assert_eq!(status(&world, "alice")["activated"], false);
    world.onetimectl(&["disable", "alice"]).ok();
    activate(&world, "alice");
    world.onetimectl(&["recovery", "alice", "--yes"]).ok();
    for _ in 0..3 {
        assert!(!admits(&world, "000000"));
    }
    let said = status(&world, "alice");
    assert_eq!((&said["otp"], &said["activated"]), (&json!(true), &json!(true)));
    assert_eq!(said["recovery_codes_left"], 8);
    let listed: Vec<Value> = world.onetimectl(&["--json", "status", "alice"]).json();
    assert_eq!(said["locked_until"], listed[0]["locked_until"]);
    assert!(said["locked_until"].is_string(), "{said}");
    let text = onetime(&world, "alice", &["status"]).ok();
    assert!(text.contains("8 left") && text.contains("Locked"), "{text}");
    assert_eq!(status(&world, "bob"), off);
}

#[test]
fn new_recovery_codes_are_valid_once_they_are_kept_and_the_old_ones_no_longer() {
    let world = with(EVERYTHING);
    let _daemon = Daemon::start(&world);
    let secret = activate(&world, "alice");
    let old = world.onetimectl(&["recovery", "alice", "--yes"]).ok();
    let codes = |text: &str| -> Vec<String> {
        let pattern = regex::Regex::new(r"(?m)^    ([A-Za-z0-9-]+)\s*$").expect("a pattern");
        pattern.captures_iter(text).map(|found| found[1].to_owned()).collect()
    };
    let old = codes(&old);
    let mut terminal = begin(&world, "recovery", ALICE_PASSWORD, &current_code(&secret, 0));
    terminal.expect(PENDING_PROMPT);
    let new = codes(&terminal.text());
    assert_eq!((old.len(), new.len()), (8, 8), "{}", terminal.text());
    // Not before they are kept.
    assert!(!admits(&world, &new[0]) && admits(&world, &old[0]));
    terminal.send_line("");
    terminal.expect("These recovery codes are valid now.");
    assert!(terminal.wait().success());
    assert!(!admits(&world, &old[1]) && admits(&world, &new[0]));
    let line = logged(&world, "the user has issued new recovery codes");
    assert!(line.contains("outcome=changed user=alice service=onetime ruser=alice"), "{line}");
}

#[test]
fn a_new_phone_takes_the_place_of_the_old_one_once_it_has_shown_a_right_code() {
    let world = with(EVERYTHING);
    let _daemon = Daemon::start(&world);
    let old = activate(&world, "alice");
    let mut terminal = begin(&world, "renew", ALICE_PASSWORD, &current_code(&old, 0));
    terminal.expect(NEW_CODE);
    let new = shown_secret(&terminal);
    assert!(new != old && secret(&world, "alice") == old, "nothing is stored yet");
    terminal.send_line("000000");
    terminal.expect("Wrong code.");
    assert_eq!(secret(&world, "alice"), old);
    let code = current_code(&new, 0);
    terminal.send_line(&code);
    terminal.expect("The new app is in force");
    assert!(terminal.wait().success());
    assert_eq!(secret(&world, "alice"), new);
    assert!(!admits(&world, &code), "the code that has proven it is used");
    assert!(!admits(&world, &current_code(&old, 1)), "the old one is gone");
    assert!(admits(&world, &current_code(&new, 1)));
    let line = logged(&world, "the user has exchanged the token");
    assert!(line.contains("outcome=changed user=alice service=onetime ruser=alice"), "{line}");
}

#[test]
fn a_renewal_that_is_interrupted_leaves_the_old_token_and_nothing_of_the_new() {
    let world = with(EVERYTHING);
    let daemon = Daemon::start(&world);
    let old = activate(&world, "alice");
    let mut code = current_code(&old, 0);
    for by_the_user in [true, false] {
        let mut terminal = begin(&world, "renew", ALICE_PASSWORD, &code);
        terminal.expect(NEW_CODE);
        let new = shown_secret(&terminal);
        if by_the_user {
            // The end of what is typed.
            terminal.send(b"\x04");
            logged(&world, "renew: nothing was changed");
        } else {
            // systemd ends the process of the change, too.
            world.run("pkill", &["-KILL", "-P", &daemon.id().to_string()]).ok();
            terminal.send_line(&current_code(&new, 0));
        }
        assert!(!terminal.wait().success());
        assert_eq!(secret(&world, "alice"), old);
        assert!(!admits(&world, &current_code(&new, 0)));
        // The old one works on: it begins the next renewal.
        code = current_code(&old, 1);
    }
}

#[test]
fn nothing_is_shown_or_changed_without_password_and_code() {
    let world = with(EVERYTHING);
    let _daemon = Daemon::start(&world);
    let old = activate(&world, "alice");
    let record = world.read("/var/lib/onetime/users/alice.toml");
    for verb in ["recovery", "renew"] {
        for (password, code) in [("wrong", &*current_code(&old, 0)), (ALICE_PASSWORD, "000000")] {
            let mut terminal = begin(&world, verb, password, code);
            assert!(!terminal.wait().success());
            let text = terminal.text();
            assert!(text.contains("refused") && !text.contains('█'), "{text}");
        }
    }
    assert!(!admits(&world, "000000"));
    // Three wrong codes: the right one does not help.
    let mut terminal = begin(&world, "renew", ALICE_PASSWORD, &current_code(&old, 0));
    assert!(!terminal.wait().success());
    let text = terminal.text();
    assert!(text.contains("Too many wrong codes") && text.contains("locked"), "{text}");
    assert_eq!(world.read("/var/lib/onetime/users/alice.toml"), record);
}

#[test]
fn what_the_administrator_does_not_permit_is_refused_before_anything_is_asked() {
    let world = with(&["recovery"]);
    let _daemon = Daemon::start(&world);
    activate(&world, "alice");
    let mut terminal = world.pty_as("alice", &program(&world), &["renew"]);
    assert!(!terminal.wait().success());
    let text = terminal.text();
    assert!(text.contains("self_service.renew") && !text.contains("Password"), "{text}");
    let line = logged(&world, "self_service.renew");
    assert!(line.contains("outcome=refused user=alice"), "{line}");
}

#[test]
fn secrets_are_shown_on_a_terminal_alone_and_only_to_who_has_an_account() {
    let world = with(EVERYTHING);
    let _daemon = Daemon::start(&world);
    activate(&world, "alice");
    for verb in ["recovery", "renew"] {
        let run = onetime(&world, "alice", &[verb]);
        assert!(!run.success() && run.stderr.contains("terminal"), "{}", run.text());
    }
    let mut terminal = world.pty_as("bob", &program(&world), &["renew"]);
    terminal.expect("Password:");
    terminal.send_line(BOB_PASSWORD);
    assert!(!terminal.wait().success());
    assert!(!terminal.text().contains('█'));
    logged(&world, "nothing can be changed");
    assert!(!world.exists("/var/lib/onetime/users/bob.toml"));
}

#[test]
fn who_needs_no_code_at_logins_needs_one_to_change_an_account() {
    let world = with(EVERYTHING);
    set(&world, "#exempt_groups = []", "exempt_groups = [\"alice\"]");
    let _daemon = Daemon::start(&world);
    let old = activate(&world, "alice");
    let run = world.pamtester_script("door", "alice", &[("Password:", ALICE_PASSWORD)]);
    assert!(run.success, "exempt: {}", run.output);
    let mut terminal = begin(&world, "renew", ALICE_PASSWORD, &current_code(&old, 0));
    terminal.expect(NEW_CODE);
}

#[test]
fn a_token_that_was_exchanged_meanwhile_or_is_one_of_several_is_not_replaced() {
    let world = with(EVERYTHING);
    let _daemon = Daemon::start(&world);
    let old = activate(&world, "alice");
    let mut terminal = begin(&world, "renew", ALICE_PASSWORD, &current_code(&old, 0));
    terminal.expect(NEW_CODE);
    let shown = shown_secret(&terminal);
    world.onetimectl(&["enable", "alice", "--new-secret", "--yes"]).ok();
    let issued = secret(&world, "alice");
    terminal.send_line(&current_code(&shown, 0));
    assert!(!terminal.wait().success());
    assert_eq!(secret(&world, "alice"), issued);
    world.onetimectl(&["verify", "alice", &current_code(&issued, -1)]).ok();
    world.onetimectl(&["token", "add", "alice"]).ok();
    let mut terminal = begin(&world, "renew", ALICE_PASSWORD, &current_code(&issued, 0));
    assert!(!terminal.wait().success());
    logged(&world, "there are several tokens");
}
