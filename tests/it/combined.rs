//! Password and code in one answer (`prompt=combined`), through the real Linux-PAM: how
//! often the password service is asked, which pam_faillock(8) counts and so do
//! directories, and a first pass of an earlier module.

use crate::common::{
    ALICE_PASSWORD, AUTH_ERR, Answers, BOB_PASSWORD, CAROL_PASSWORD, Client, ClientRun, Event,
    SUCCESS, World, activate, current_code, enable, hotp_code, installed, secret,
};

const COMBINED: &str = "Password and one-time code together: ";

/// pam_exec.so runs it at each question, pam_faillock.so counts those that failed.
const COUNTED: &str = "\
auth required pam_exec.so quiet /usr/local/sbin/count
auth [success=1 default=bad] pam_unix.so nodelay
auth [default=die] pam_faillock.so authfail deny=1000 dir=/var/lib/faillock
auth required pam_permit.so
";

/// A world whose password service is counted, and which asks once for both.
fn counted_world(arguments: &str) -> World {
    let world = installed();
    world.write("/usr/local/sbin/count", b"#!/bin/sh\necho asked >>/var/lib/asked\n", 0o755);
    world.write("/var/lib/asked", b"", 0o600);
    world.write("/var/lib/faillock/README", b"", 0o600);
    world.pam_service("onetime-password", COUNTED);
    world.pam_service("test", &format!("auth required pam_onetime.so {arguments}\n"));
    world
}

fn login(world: &World, user: &str, answers: &[&str]) -> ClientRun {
    Client::new(world, "test", user).run(&Answers::new(answers))
}

/// How often the password service was asked, and how often it said no, since the last
/// time.
fn count(world: &World, user: &str) -> (usize, usize) {
    let asked = world.read_text("/var/lib/asked").lines().count();
    world.write("/var/lib/asked", b"", 0o600);
    let list = ["--user", user, "--dir", "/var/lib/faillock"];
    // Its name, and what the columns mean.
    let failed = world.run("faillock", &list).ok().lines().count().saturating_sub(2);
    world.run("faillock", &[&list[..], &["--reset"]].concat()).ok();
    (asked, failed)
}

fn prompts(run: &ClientRun) -> Vec<String> {
    run.dialogue()
        .into_iter()
        .filter_map(|event| match event {
            Event::Prompt(text) | Event::PromptEcho(text) => Some(text.clone()),
            _ => None,
        })
        .collect()
}

fn recovery_codes(world: &World, user: &str) -> Vec<String> {
    let text = world.onetimectl(&["recovery", user]).ok();
    text.lines().filter_map(|line| line.strip_prefix("    ")).map(str::to_owned).collect()
}

#[test]
fn one_answer_is_one_question_to_the_password_service_whoever_logs_in() {
    let world = counted_world("prompt=combined failures=1000");
    let alice = activate(&world, "alice");
    let carol = enable(&world, "carol");
    let [with_hyphens, without, spent, ..] = &recovery_codes(&world, "alice")[..] else {
        panic!("there are three codes and more");
    };
    let without = without.replace('-', "").to_lowercase();
    let code = current_code(&alice, 0);
    let pending = current_code(&carol, -1);
    for (user, password, end, result, failed) in [
        // Active.
        ("alice", ALICE_PASSWORD, code.as_str(), SUCCESS, 0),
        ("alice", ALICE_PASSWORD, &code, AUTH_ERR, 0),
        ("alice", ALICE_PASSWORD, "000000", AUTH_ERR, 0),
        ("alice", ALICE_PASSWORD, "", AUTH_ERR, 0),
        ("alice", "typo", &current_code(&alice, 1), AUTH_ERR, 1),
        ("alice", "typo", "000000", AUTH_ERR, 1),
        ("alice", "typo", "", AUTH_ERR, 1),
        ("alice", "", &current_code(&alice, 1), AUTH_ERR, 1),
        ("alice", ALICE_PASSWORD, with_hyphens, SUCCESS, 0),
        ("alice", ALICE_PASSWORD, with_hyphens, AUTH_ERR, 0),
        ("alice", ALICE_PASSWORD, &without, SUCCESS, 0),
        ("alice", ALICE_PASSWORD, &without, AUTH_ERR, 0),
        ("alice", "typo", spent, AUTH_ERR, 1),
        ("alice", ALICE_PASSWORD, "2345-6789-ABCD", AUTH_ERR, 0),
        // Disabled.
        ("bob", BOB_PASSWORD, "", SUCCESS, 0),
        ("bob", "typo", "", AUTH_ERR, 1),
        ("bob", "typo", "000000", AUTH_ERR, 1),
        ("bob", BOB_PASSWORD, "000000", AUTH_ERR, 1),
        // Pending.
        ("carol", CAROL_PASSWORD, "", SUCCESS, 0),
        ("carol", "typo", "", AUTH_ERR, 1),
        ("carol", "typo", &pending, AUTH_ERR, 1),
        ("carol", CAROL_PASSWORD, "000000", AUTH_ERR, 1),
    ] {
        let answer = format!("{password}{end}");
        let run = login(&world, user, &[&answer]);
        assert_eq!((run.result(), prompts(&run)), (result, vec![COMBINED.into()]), "{answer}");
        assert_eq!(count(&world, user), (1, failed), "{user} {answer}");
    }
    let answer = format!("{CAROL_PASSWORD}{}", current_code(&carol, 0));
    let run = login(&world, "carol", &[&answer]);
    assert_eq!((run.result(), count(&world, "carol")), (SUCCESS, (1, 0)), "{run:?}");
    let run = login(&world, "mallory", &["typo000000"]);
    assert_eq!((run.result(), prompts(&run)), (AUTH_ERR, vec![COMBINED.into()]));
    assert_eq!(count(&world, "mallory").0, 1);
}

#[test]
fn right_logins_of_a_user_whose_password_ends_in_digits_never_count_and_a_typo_counts_once() {
    let world = counted_world("prompt=combined");
    let secret = {
        world.onetimectl(&["enable", "alice", "--kind", "hotp"]).ok();
        secret(&world, "alice")
    };
    // alice-pw-4711 and a code of six digits: ten digits at the end.
    let typed = |counter| format!("{ALICE_PASSWORD}{}", hotp_code(&secret, counter, 6));
    for counter in 0..8 {
        assert_eq!(login(&world, "alice", &[&typed(counter)]).result(), SUCCESS, "{counter}");
    }
    assert_eq!(count(&world, "alice"), (8, 0));
    let typo = format!("x{}", typed(8));
    assert_eq!(login(&world, "alice", &[&typo]).result(), AUTH_ERR);
    assert_eq!(count(&world, "alice"), (1, 1));
    assert_eq!(login(&world, "alice", &[&typed(8)]).result(), SUCCESS, "it was not spent");
    assert_eq!(count(&world, "alice"), (1, 0));
}

#[test]
fn a_first_pass_for_both_is_one_question_and_so_is_the_answer_after_a_wrong_one() {
    let world = counted_world("");
    let first = "auth optional pam_exec.so expose_authtok quiet /bin/true\n";
    let stack = |option: &str| {
        let line = format!("auth required pam_onetime.so prompt=combined {option}\n");
        world.pam_service("test", &format!("{first}{line}"));
    };
    let secret = activate(&world, "alice");
    stack("try_first_pass");
    let right = |offset| format!("{ALICE_PASSWORD}{}", current_code(&secret, offset));
    // The first pass is right.
    let used = right(0);
    let run = login(&world, "alice", &[&used]);
    assert_eq!((run.result(), prompts(&run).len()), (SUCCESS, 1), "{run:?}");
    assert_eq!(count(&world, "alice"), (1, 0));
    // Its password is wrong; or it has no code, as what pam_unix.so asked for.
    for (wrong, failed) in [("typo000000", 1), (ALICE_PASSWORD, 0)] {
        let run = login(&world, "alice", &[wrong, &used]);
        assert_eq!((run.result(), prompts(&run).len()), (AUTH_ERR, 2), "used: {run:?}");
        assert_eq!(prompts(&run)[1], COMBINED);
        assert_eq!(count(&world, "alice"), (2, failed), "{wrong}");
    }
    let run = login(&world, "alice", &["typo000000", &right(1)]);
    assert_eq!((run.result(), prompts(&run).len()), (SUCCESS, 2), "{run:?}");
    assert_eq!(count(&world, "alice"), (2, 1));
    // Without it the first pass is taken as it is.
    for option in ["", "use_first_pass"] {
        stack(option);
        let run = login(&world, "alice", &["typo000000"]);
        assert_eq!((run.result(), prompts(&run).len()), (AUTH_ERR, 1), "{run:?}");
        assert_eq!(count(&world, "alice"), (1, 1));
    }
}
