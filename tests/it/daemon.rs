//! Programs that are not root's: their logins, which `onetimed` judges.

use serde_json::{Value, json};

use crate::common::{
    ALICE_PASSWORD, BOB_PASSWORD, Daemon, LOCKER, PATIENCE, Pamtester, PamtesterRun, World,
    activate, current_code, enable, until, with_locker,
};

/// alice's own program asks for alice.
#[track_caller]
fn unlock(world: &World, script: &[(&str, &str)]) -> PamtesterRun {
    Pamtester::new(world, "locker", "alice").run_by("alice").script(script)
}

#[track_caller]
fn logged(world: &World, reason: &str) -> String {
    world.wait_for_syslog(|line| line.text.contains(reason), PATIENCE).text
}

#[test]
fn a_users_own_program_unlocks_by_password_and_code_and_by_nothing_less() {
    let world = with_locker();
    let _daemon = Daemon::start(&world);
    let secret = activate(&world, "alice");
    let code = current_code(&secret, 0);
    let right = [("Password:", ALICE_PASSWORD), ("One-time code:", &code)];
    let run = unlock(&world, &right);
    assert!(run.success, "{}", run.output);
    let line = logged(&world, "code right");
    assert!(line.contains("user=alice service=locker ruser=alice"), "{line}");
    assert!(!unlock(&world, &right).success, "a code is used once");
    let next = current_code(&secret, 1);
    for (password, code) in [(ALICE_PASSWORD, "000000"), ("wrong", &*next), (ALICE_PASSWORD, "")] {
        let run = unlock(&world, &[("Password:", password), ("One-time code:", code)]);
        assert!(!run.success, "{password}, {code}: {}", run.output);
    }
    assert!(unlock(&world, &[("Password:", ALICE_PASSWORD), ("One-time code:", &next)]).success);
}

#[test]
fn a_users_own_program_needs_no_code_of_who_is_not_enabled() {
    let world = with_locker();
    let _daemon = Daemon::start(&world);
    assert!(unlock(&world, &[("Password:", ALICE_PASSWORD)]).success);
    assert!(!unlock(&world, &[("Password:", "wrong")]).success);
}

#[test]
fn a_pending_user_is_not_shown_a_key_by_a_program_of_which_nobody_knows_where_it_goes() {
    let world = with_locker();
    let _daemon = Daemon::start(&world);
    let secret = enable(&world, "alice");
    let run =
        unlock(&world, &[("Password:", ALICE_PASSWORD), ("One-time code (Enter to skip):", "")]);
    assert!(run.success && !run.output.contains(&secret[..8]), "{}", run.output);
    let code = current_code(&secret, 0);
    let script = [("Password:", ALICE_PASSWORD), ("One-time code (Enter to skip):", &*code)];
    assert!(unlock(&world, &script).success);
    logged(&world, "first code right: activated");
}

#[test]
fn nobody_asks_for_others() {
    let world = with_locker();
    let _daemon = Daemon::start(&world);
    enable(&world, "alice");
    for user in ["alice", "root", "nobody", "no-such-user"] {
        let run = Pamtester::new(&world, "locker", user).run_by("bob").answers(&[BOB_PASSWORD]);
        assert!(!run.success && run.prompts.is_empty(), "{user}: {}", run.output);
    }
    let line = logged(&world, "its own user alone");
    assert!(line.contains("ruser=bob") && line.contains("outcome=refused"), "{line}");
}

#[test]
fn without_onetimed_a_program_that_is_not_roots_is_refused_and_the_log_says_how_to_start_it() {
    let world = with_locker();
    let run = unlock(&world, &[]);
    assert!(!run.success, "{}", run.output);
    let line = logged(&world, "cannot read the store");
    assert!(line.contains("systemctl enable --now onetimed.socket"), "{line}");
    assert!(line.contains("reason=\"uid "), "{line}");
}

#[test]
fn onetimed_that_ends_in_the_middle_of_a_login_refuses_it_and_loses_nothing() {
    let world = with_locker();
    let daemon = Daemon::start(&world);
    let secret = activate(&world, "alice");
    let mut locker = world.pty_as("alice", "pamtester", &["locker", "alice", "authenticate"]);
    locker.expect("Password:");
    locker.send_line(ALICE_PASSWORD);
    locker.expect("One-time code:");
    // systemd ends the process of the login, too.
    world.run("pkill", &["-KILL", "-P", &daemon.id().to_string()]).ok();
    drop(daemon);
    locker.send_line(&current_code(&secret, 0));
    assert!(!locker.wait().success());
    logged(&world, "ended the connection");
    let _daemon = Daemon::start(&world);
    let code = current_code(&secret, 0);
    assert!(unlock(&world, &[("Password:", ALICE_PASSWORD), ("One-time code:", &code)]).success);
}

#[test]
fn a_process_that_is_killed_while_it_waits_for_a_connection_is_followed_by_another() {
    let world = with_locker();
    let daemon = Daemon::start(&world);
    for _ in 0..3 {
        let mut waiting = String::new();
        // The only one may also be that of the login before, about to end.
        until("one process waits, and is killed", || {
            let [only] = &daemon.children()[..] else { return false };
            waiting.clone_from(only);
            world.run("kill", &["-KILL", only]).success()
        });
        assert!(unlock(&world, &[("Password:", ALICE_PASSWORD)]).success);
        assert!(!daemon.children().contains(&waiting));
    }
    let waiting = daemon.children();
    drop(daemon);
    let is_left = |id: &String| std::fs::exists(format!("/proc/{id}")).expect("/proc");
    until("none is left when onetimed has ended", || !waiting.iter().any(is_left));
}

#[test]
fn onetimed_ends_when_nobody_asks_and_its_socket_is_gone() {
    let world = with_locker();
    let daemon = Daemon::start_with(&world, &["--idle=1"]);
    assert!(unlock(&world, &[("Password:", ALICE_PASSWORD)]).success);
    let (success, said) = daemon.wait();
    assert!(success && said.is_empty(), "{said}");
    assert!(!world.exists("/run/onetime/socket"));
}

/// bob's account is that of a service, and may ask for anybody there.
fn with_service() -> World {
    let world = with_locker();
    world.pam_service("database", LOCKER);
    let config = world.read_text("/etc/onetime/onetime.toml");
    let may_ask = "may_ask = [{ user = \"bob\", services = [\"database\"] }]";
    let permitted = config.replace("#may_ask = []", may_ask);
    assert_ne!(permitted, config);
    world.write("/etc/onetime/onetime.toml", permitted.as_bytes(), 0o644);
    world
}

/// Through bob's service.
#[track_caller]
fn log_in_there(world: &World, code: &str) -> PamtesterRun {
    let script = [("Password:", ALICE_PASSWORD), ("One-time code:", code)];
    Pamtester::new(world, "database", "alice").run_by("bob").script(&script)
}

#[test]
fn wrong_codes_through_a_service_lock_the_user_there_and_nowhere_else() {
    let world = with_service();
    let daemon = Daemon::start(&world);
    let secret = activate(&world, "alice");
    for _ in 0..3 {
        assert!(!log_in_there(&world, "000000").success);
    }
    drop(daemon);
    locked_there_and_nowhere_else_is_what_status_says(&world);
    let _daemon = Daemon::start(&world);
    let run = log_in_there(&world, &current_code(&secret, 0));
    assert!(!run.success && run.output.contains("Too many wrong codes"), "{}", run.output);
    let line = logged(&world, "by the account that asks");
    assert!(line.contains("ruser=bob") && line.contains("onetimectl unlock"), "{line}");
    // Neither is the code spent nor the user locked.
    let code = current_code(&secret, 0);
    let run = unlock(&world, &[("Password:", ALICE_PASSWORD), ("One-time code:", &code)]);
    assert!(run.success, "{}", run.output);
    let run = world.onetimectl(&["unlock", "alice"]);
    assert!(run.stdout.contains("one service's account"), "{}", run.stdout);
    assert_eq!(status(&world)["services"], json!([]));
    let run = log_in_there(&world, &current_code(&secret, 1));
    assert!(run.success, "{}", run.output);
}

fn status(world: &World) -> Value {
    world.onetimectl(&["--json", "status", "alice"]).json::<Value>()[0].take()
}

#[track_caller]
fn locked_there_and_nowhere_else_is_what_status_says(world: &World) {
    let row = status(world);
    assert_eq!((&row["failures"], &row["locked_until"]), (&json!(0), &Value::Null), "{row}");
    let [there] = row["services"].as_array().expect("an array").as_slice() else {
        panic!("{row}");
    };
    assert_eq!((&there["account"], there["locked_until"].is_string()), (&json!("bob"), true));
    let said = world.onetimectl(&["status", "alice"]).ok();
    assert!(said.contains("0; bob: locked until 2"), "{said}");
    for list in [&["list", "--locked"][..], &["list", "--csv", "--columns", "user,services"]] {
        let said = world.onetimectl(list).ok();
        assert!(said.contains("alice") && said.contains("bob: locked until 2"), "{said}");
    }
}

#[test]
fn a_wrong_code_through_a_service_is_in_status_until_it_is_forgotten() {
    let world = with_service();
    let _daemon = Daemon::start(&world);
    activate(&world, "alice");
    assert!(!log_in_there(&world, "000000").success);
    let there = json!([{ "account": "bob", "failures": 1, "locked_until": null }]);
    assert_eq!(status(&world)["services"], there);
    assert!(world.onetimectl(&["status", "alice"]).ok().contains("0; bob: 1"));
    world.onetimectl(&["unlock", "alice"]).ok();
    assert_eq!(status(&world)["services"], json!([]));
    let counted = "/var/lib/onetime/services/alice.toml";
    world.write(counted, b"damaged", 0o600);
    let run = world.onetimectl(&["status", "alice"]);
    assert!(!run.success() && run.stderr.contains(counted), "{}{}", run.stdout, run.stderr);
}

#[test]
fn who_is_locked_is_locked_at_a_service_too_and_a_disabled_user_leaves_nothing_there() {
    let world = with_service();
    let _daemon = Daemon::start(&world);
    let secret = activate(&world, "alice");
    assert!(!log_in_there(&world, "000000").success);
    let counted = "/var/lib/onetime/services/alice.toml";
    assert!(world.exists(counted));
    for _ in 0..3 {
        let script = [("Password:", ALICE_PASSWORD), ("One-time code:", "000000")];
        assert!(!unlock(&world, &script).success);
    }
    assert!(!log_in_there(&world, &current_code(&secret, 0)).success);
    let line = logged(&world, "locked after too many wrong codes, until");
    assert!(line.contains("service=database ruser=bob"), "{line}");
    world.write(counted, b"damaged", 0o600);
    let found = world.onetimectl(&["doctor"]).stdout;
    assert!(found.contains("account-services-damaged"), "{found}");
    world.onetimectl(&["disable", "alice"]).ok();
    assert!(!world.exists(counted));
}
