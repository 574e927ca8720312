//! What the password service says besides "right": that a password must be changed, that
//! an account may not be used, texts for the user. And what it may not do: ask for more
//! than the password, prove another user. With real modules, and with one that does what
//! no real one is at hand for.

use crate::common::{
    ALICE_PASSWORD, AUTH_ERR, AUTHINFO_UNAVAIL, Answers, Client, ClientRun, Event, MODULE_UNKNOWN,
    PATIENCE, PERM_DENIED, Pamtester, Pty, SERVICE_ERR, SUCCESS, World, activate, conf,
    current_code, enable, hasty, installed, odd_module,
};

const NEW_AUTHTOK_REQD: i32 = 12;
const ACCT_EXPIRED: i32 = 13;

/// A world whose password service has these lines, and a service `test` with the module's
/// two lines.
fn world_with(password_service: &str) -> World {
    let world = installed();
    world.pam_module("pam_odd.so", &odd_module());
    world.pam_service("onetime-password", password_service);
    world.pam_service(
        "test",
        "auth required pam_onetime.so\naccount required pam_onetime.so\naccount required pam_permit.so\n",
    );
    world
}

/// The line of a module that takes alice's password.
const RIGHT: &str = "hidden=Password:_ password=alice-pw-4711";

/// Authenticates and asks for the account, as applications do.
#[track_caller]
fn login(world: &World, service: &str, answers: &[&str]) -> ClientRun {
    let client = Client::new(world, service, "alice").option("authenticate").option("acct_mgmt");
    client.run(&Answers::new(answers))
}

fn results(run: &ClientRun) -> Vec<i32> {
    let results = run.events.iter().filter_map(|event| match event {
        Event::Result(_, number) => Some(*number),
        _ => None,
    });
    results.collect()
}

/// The texts that need no answer.
fn texts(run: &ClientRun) -> Vec<&Event> {
    let text = |event: &&Event| matches!(event, Event::Info(_) | Event::Error(_));
    run.events.iter().filter(text).collect()
}

#[track_caller]
fn logged(world: &World, what: &str) -> String {
    world
        .wait_for_syslog(|line| line.tag == "pam_onetime" && line.text.contains(what), PATIENCE)
        .text
}

fn never_logged(world: &World, what: &str) -> bool {
    !world.syslog().iter().any(|line| line.tag == "pam_onetime" && line.text.contains(what))
}

// --- what is told in the account phase ---

#[test]
fn a_password_that_must_be_changed_is_right_and_is_told_in_the_account_phase_once() {
    for (auth, account, phase) in [
        ("returns=12", "account required pam_permit.so", "authentication"),
        ("returns=0", "account required pam_odd.so returns=12", "account"),
        ("returns=12", "account required pam_odd.so returns=12", "both"),
        ("returns=12", "", "authentication, without account lines"),
    ] {
        let world = world_with(&format!("auth required pam_odd.so {RIGHT} {auth}\n{account}\n"));
        let secret = activate(&world, "alice");
        let client = Client::new(&world, "test", "alice");
        let client = client.option("authenticate").option("acct_mgmt").option("acct_mgmt");
        let code = current_code(&secret, 0);
        let run = client.run(&Answers::new(&[ALICE_PASSWORD, &code]));
        assert_eq!(results(&run), [SUCCESS, NEW_AUTHTOK_REQD, SUCCESS], "{phase}: {run:?}");
        logged(&world, "the password service says that the password must be changed");
    }
}

#[test]
fn whoever_is_let_in_hears_of_an_expired_password_disabled_pending_or_active() {
    let world = world_with(&format!("auth required pam_odd.so {RIGHT} returns=12\n"));
    let told = [SUCCESS, NEW_AUTHTOK_REQD];
    assert_eq!(results(&login(&world, "test", &[ALICE_PASSWORD])), told);
    let secret = enable(&world, "alice");
    assert_eq!(results(&login(&world, "test", &[ALICE_PASSWORD, ""])), told);
    let first = current_code(&secret, -1);
    assert_eq!(results(&login(&world, "test", &[ALICE_PASSWORD, &first])), told);
    let next = current_code(&secret, 0);
    assert_eq!(results(&login(&world, "test", &[ALICE_PASSWORD, &next])), told);
}

#[test]
fn an_account_that_the_password_service_refuses_is_refused_in_the_account_phase_each_time() {
    for (line, result) in [
        ("pam_odd.so returns=13", ACCT_EXPIRED),
        ("pam_odd.so returns=6", PERM_DENIED),
        ("pam_odd.so returns=9", AUTHINFO_UNAVAIL),
        ("pam_no_such_module.so", MODULE_UNKNOWN),
    ] {
        let lines =
            format!("auth required pam_odd.so {RIGHT} returns=12\naccount required {line}\n");
        let world = world_with(&lines);
        let client = Client::new(&world, "test", "alice").option("authenticate");
        let client = client.option("acct_mgmt").option("acct_mgmt");
        let run = client.run(&Answers::new(&[ALICE_PASSWORD]));
        assert_eq!(results(&run), [SUCCESS, result, result], "{line}: {run:?}");
        let line = logged(&world, "the password service refuses the account");
        assert!(line.contains(&format!("PAM result {result}")), "{line}");
    }
}

#[test]
fn the_account_line_alone_refuses_and_decides_nothing_where_nothing_was_noted() {
    let world = world_with("auth required pam_unix.so\naccount required pam_unix.so\n");
    world.pam_service("alone", "auth required pam_onetime.so\naccount required pam_onetime.so\n");
    assert_eq!(results(&login(&world, "alone", &[ALICE_PASSWORD])), [SUCCESS, PERM_DENIED]);
    assert_eq!(results(&login(&world, "test", &[ALICE_PASSWORD])), [SUCCESS, SUCCESS]);
    // Whoever has not authenticated here, with an ssh key for instance.
    let run = Client::new(&world, "test", "alice").option("acct_mgmt").run(&Answers::default());
    assert_eq!(run.result(), SUCCESS);
    let run = Client::new(&world, "alone", "alice").option("acct_mgmt").run(&Answers::default());
    assert_eq!(run.result(), PERM_DENIED);
    // A sufficient line does not skip the rest.
    let sufficient = "auth required pam_onetime.so\naccount sufficient pam_onetime.so\naccount required pam_deny.so\n";
    world.pam_service("sufficient", sufficient);
    let run = login(&world, "sufficient", &[ALICE_PASSWORD]);
    assert_eq!(results(&run), [SUCCESS, AUTH_ERR]);
}

#[test]
fn an_account_line_with_an_unknown_argument_refuses_and_is_named() {
    let world = world_with("auth required pam_unix.so\n");
    world.pam_service(
        "test",
        "auth required pam_onetime.so\naccount required pam_onetime.so passwrod=stack\naccount required pam_permit.so\n",
    );
    assert_eq!(results(&login(&world, "test", &[ALICE_PASSWORD])), [SUCCESS, SERVICE_ERR]);
    logged(&world, "account: argument passwrod: unknown");
}

#[test]
fn where_no_account_line_asks_for_what_was_noted_the_log_names_the_line_to_add() {
    let world = world_with(&format!("auth required pam_odd.so {RIGHT} returns=12\n"));
    world.pam_service("test", "auth required pam_onetime.so\naccount required pam_permit.so\n");
    assert_eq!(results(&login(&world, "test", &[ALICE_PASSWORD])), [SUCCESS, SUCCESS]);
    let line = logged(&world, "nothing has asked for it");
    assert!(line.starts_with("outcome=failed user=alice service=test"), "{line}");
    assert!(line.contains("account required pam_onetime.so"), "{line}");
}

#[test]
fn password_services_of_before_go_on_working_and_ask_nothing_of_the_account() {
    // In the worlds of tests `other` refuses everybody.
    for lines in [
        "auth required pam_unix.so nodelay\n",
        "auth required pam_unix.so nodelay\naccount required pam_deny.so\npassword required pam_deny.so\nsession required pam_deny.so\n",
    ] {
        let world = world_with(lines);
        let secret = activate(&world, "alice");
        let run = login(&world, "test", &[ALICE_PASSWORD, &current_code(&secret, 0)]);
        assert_eq!(results(&run), [SUCCESS, SUCCESS], "{lines}: {run:?}");
        assert!(never_logged(&world, "refuses the account"), "{lines}");
    }
}

#[test]
fn what_the_shadow_file_says_is_told_by_the_password_service_that_asks_it() {
    let world = world_with("auth required pam_unix.so\naccount required pam_unix.so\n");
    let code = [SUCCESS, NEW_AUTHTOK_REQD];
    change_shadow(&world, "0:0:99999:7:::");
    let run = login(&world, "test", &[ALICE_PASSWORD]);
    assert_eq!(results(&run), code, "{run:?}");
    let told = "You are required to change your password immediately (administrator enforced).";
    assert!(texts(&run).iter().any(|event| matches!(event, Event::Error(text) if text == told)));
    change_shadow(&world, "20000:0:99999:7::1:");
    assert_eq!(results(&login(&world, "test", &[ALICE_PASSWORD])), [SUCCESS, ACCT_EXPIRED]);
    // The shipped stacks ask pam_unix.so by themselves.
    world.pam_service("onetime-password", &conf("pam.d/onetime-password"));
    assert_eq!(results(&login(&world, "su", &[ALICE_PASSWORD])), [SUCCESS, ACCT_EXPIRED]);
}

/// alice's password is as old, and her account ends, as these fields say.
fn change_shadow(world: &World, fields: &str) {
    let shadow = world.read_text("/etc/shadow");
    let lines = shadow.lines().map(|line| match line.strip_prefix("alice:") {
        Some(rest) => {
            let (hash, _) = rest.split_once(':').expect("a hash");
            format!("alice:{hash}:{fields}\n")
        }
        None => format!("{line}\n"),
    });
    world.write("/etc/shadow", lines.collect::<String>().as_bytes(), 0o640);
}

#[test]
fn what_was_noted_of_one_user_is_not_told_of_another() {
    let world = world_with(&format!("auth required pam_odd.so {RIGHT} returns=12\n"));
    world.pam_service(
        "test",
        "auth required pam_onetime.so\naccount required pam_odd.so user=bob\naccount required pam_onetime.so\n",
    );
    assert_eq!(results(&login(&world, "test", &[ALICE_PASSWORD])), [SUCCESS, AUTH_ERR]);
    logged(&world, "the user name was changed after the authentication");
}

#[test]
fn a_login_that_fails_leaves_no_note_and_takes_back_the_one_of_before() {
    let world = world_with(&format!("auth required pam_odd.so {RIGHT} returns=12\n"));
    let client = Client::new(&world, "test", "alice");
    let client = client.option("authenticate").option("authenticate").option("acct_mgmt");
    let run = client.run(&Answers::new(&[ALICE_PASSWORD, ALICE_PASSWORD]));
    assert_eq!(results(&run), [SUCCESS, SUCCESS, NEW_AUTHTOK_REQD], "{run:?}");
    let run = client.run(&Answers::new(&[ALICE_PASSWORD, "wrong"]));
    assert_eq!(results(&run), [SUCCESS, AUTH_ERR, SUCCESS], "{run:?}");
    let secret = activate(&world, "alice");
    let code = current_code(&secret, 0);
    let run = client.run(&Answers::new(&[ALICE_PASSWORD, &code, ALICE_PASSWORD, &code]));
    assert_eq!(results(&run), [SUCCESS, AUTH_ERR, SUCCESS], "{run:?}");
    assert!(never_logged(&world, "nothing has asked"));
}

#[test]
fn with_password_stack_a_pending_user_hears_of_it_too_and_an_active_one_by_the_stack_alone() {
    let world = world_with(&format!("auth required pam_odd.so {RIGHT} returns=12\n"));
    world.pam_service(
        "test",
        "auth requisite pam_unix.so\nauth required pam_onetime.so password=stack\naccount required pam_onetime.so\naccount required pam_permit.so\n",
    );
    let secret = enable(&world, "alice");
    let told = [SUCCESS, NEW_AUTHTOK_REQD];
    assert_eq!(results(&login(&world, "test", &[ALICE_PASSWORD, ""])), told);
    world.onetimectl(&["verify", "alice", &current_code(&secret, -1)]).ok();
    let run = login(&world, "test", &[ALICE_PASSWORD, &current_code(&secret, 0)]);
    assert_eq!(results(&run), [SUCCESS, SUCCESS]);
}

/// The prompts of pam_unix.so for a password that has expired.
const NEW_OF_UNIX: [(&str, &str); 3] = [
    ("Current password: ", ALICE_PASSWORD),
    ("New password: ", "quite-Different-0815"),
    ("Retype new password: ", "quite-Different-0815"),
];

fn type_in(terminal: &mut Pty, script: &[(&str, &str)]) {
    for (prompt, answer) in script {
        terminal.expect(*prompt);
        terminal.send_line(answer);
    }
}

/// A world in which alice's password has expired, and the shipped services have her
/// change it by pam_unix.so.
fn expired_world() -> World {
    let world = world_with(&format!("auth required pam_odd.so {RIGHT} returns=12\n"));
    for service in ["login", "sudo"] {
        let lines = conf(&format!("pam.d/{service}"));
        world.pam_service(service, &format!("{lines}password required pam_unix.so\n"));
    }
    world
}

#[test]
fn at_the_console_an_active_user_whose_password_has_expired_changes_it_after_the_code() {
    let world = expired_world();
    let secret = activate(&world, "alice");
    let before = world.read_text("/etc/shadow");
    let mut login = world.pty("login", &[]);
    let code = current_code(&secret, 0);
    let script = [("login: ", "alice"), ("Password: ", ALICE_PASSWORD), ("One-time code: ", &code)];
    type_in(&mut login, &script);
    type_in(&mut login, &NEW_OF_UNIX);
    login.expect("$ ");
    assert_ne!(world.read_text("/etc/shadow"), before);
    login.send_line("exit");
    login.wait();
}

#[test]
fn by_sudo_a_caller_whose_password_has_expired_changes_it_before_anything_is_run() {
    let world = expired_world();
    let before = world.read_text("/etc/shadow");
    let mut sudo = world.pty_as("alice", "sudo", &["-k", "sh", "-c", "echo Welcome, $(id -un)."]);
    type_in(&mut sudo, &[("[sudo] password for alice: ", ALICE_PASSWORD)]);
    type_in(&mut sudo, &NEW_OF_UNIX);
    sudo.expect("Welcome, root.");
    assert!(sudo.wait().success(), "{}", sudo.text());
    assert_ne!(world.read_text("/etc/shadow"), before);
}

// --- texts ---

const TALKATIVE: &str = "auth required pam_odd.so info=before_the_prompt hidden=Password:_ \
     password=alice-pw-4711 error=expires_tomorrow\naccount required pam_odd.so info=last_login\n";

#[test]
fn texts_of_the_password_service_are_shown_after_the_verdict_and_only_when_it_is_success() {
    let world = world_with(TALKATIVE);
    let secret = activate(&world, "alice");
    let right = current_code(&secret, 0);
    for (password, code) in [("wrong", &*right), (ALICE_PASSWORD, "000000"), ("wrong", "000000")] {
        let run = login(&world, "test", &[password, code]);
        assert_eq!(texts(&run), [] as [&Event; 0], "{run:?}");
    }
    let run = login(&world, "test", &[ALICE_PASSWORD, &right]);
    let texts = [
        Event::Info("before_the_prompt".to_owned()),
        Event::Error("expires_tomorrow".to_owned()),
        Event::Info("last_login".to_owned()),
    ];
    assert_eq!(run.events[..2].iter().filter(|e| matches!(e, Event::Prompt(_))).count(), 2);
    assert_eq!(run.events[2..5], texts, "{run:?}");
    assert_eq!(run.events[5], Event::Result("authenticate".to_owned(), SUCCESS));
}

#[test]
fn texts_are_shown_with_password_and_code_in_one_answer_too_and_not_in_silence() {
    let world = world_with(TALKATIVE);
    world.pam_service("test", "auth required pam_onetime.so prompt=combined\n");
    let secret = activate(&world, "alice");
    let both = format!("{ALICE_PASSWORD}{}", current_code(&secret, 0));
    let run = Client::new(&world, "test", "alice").run(&Answers::new(&[&both]));
    assert_eq!(run.result(), SUCCESS);
    assert_eq!(texts(&run).len(), 3, "{run:?}");
    let both = format!("{ALICE_PASSWORD}{}", current_code(&secret, 1));
    let silent = Client::new(&world, "test", "alice").option("flags=32768");
    let run = silent.run(&Answers::new(&[&both]));
    assert_eq!((run.result(), texts(&run).len()), (SUCCESS, 0), "{run:?}");
}

#[test]
fn a_service_that_says_too_much_is_cut_short() {
    let world = world_with(&format!("auth required pam_odd.so {RIGHT} texts=100 returns=0\n"));
    let run = login(&world, "test", &[ALICE_PASSWORD]);
    assert_eq!(results(&run), [SUCCESS, SUCCESS]);
    let lengths: Vec<usize> = texts(&run)
        .into_iter()
        .map(|event| match event {
            Event::Info(text) => text.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(lengths, [1024; 16]);
}

#[test]
fn a_warning_of_pam_unix_reaches_the_user_by_the_real_pamtester() {
    let world = world_with("auth required pam_unix.so\naccount required pam_unix.so\n");
    let today = crate::common::since_epoch().as_secs() / 86_400;
    change_shadow(&world, &format!("{}:0:10:7:::", today - 8));
    let run = Pamtester::new(&world, "test", "alice").script(&[("Password:", ALICE_PASSWORD)]);
    assert!(run.success && run.output.contains("your password will expire in"), "{}", run.output);
}

// --- what is not answered ---

#[test]
fn whatever_is_asked_besides_the_first_hidden_prompt_is_not_answered_and_is_never_success() {
    for (words, asked) in [
        ("hidden=Password:_ hidden=New_password:_ returns=0", "New_password:_"),
        ("hidden=Password:_ hidden=New_password:_ anyway=0", "New_password:_"),
        ("hidden=Password:_ visible=Answer:_ anyway=0", "Answer:_"),
        ("hidden=Password:_ visible=Answer:_ anyway=12", "Answer:_"),
        ("visible=Answer:_ anyway=0", "Answer:_"),
        ("radio=Yes_or_no? anyway=0", "Yes_or_no?"),
        ("both=Twice:_ anyway=0", "Twice:_"),
        ("hidden=Password:_ visible=Answer:_ returns=7", "Answer:_"),
    ] {
        let world = world_with(&format!(
            "auth required pam_odd.so {words}\naccount required pam_permit.so\n"
        ));
        let secret = activate(&world, "alice");
        let code = current_code(&secret, 0);
        let run = login(&world, "test", &[ALICE_PASSWORD, &code]);
        assert_eq!(results(&run)[0], AUTH_ERR, "{words}: {run:?}");
        assert_eq!(texts(&run), [] as [&Event; 0], "{words}: {run:?}");
        let line = logged(&world, &format!("asked \\\"{asked}\\\""));
        assert!(line.starts_with("outcome=failed user=alice service=test"), "{line}");
        assert!(line.contains("use_first_pass") && line.contains("defer_pwchange"), "{line}");
        logged(&world, "could not verify the password (PAM result 19)");
    }
}

#[test]
fn a_second_module_that_asks_again_gets_no_answer_and_one_that_takes_the_first_gets_in() {
    let second = "auth sufficient pam_odd.so hidden=Password:_ returns=7\nauth required";
    let world = world_with(&format!("{second} pam_odd.so hidden=Password:_ returns=0\n"));
    assert_eq!(results(&login(&world, "test", &[ALICE_PASSWORD]))[0], AUTH_ERR);
    let first = "auth sufficient pam_unix.so nodelay\nauth required pam_unix.so use_first_pass\n";
    world.pam_service("onetime-password", first);
    assert_eq!(results(&login(&world, "test", &[ALICE_PASSWORD])), [SUCCESS, SUCCESS]);
}

#[test]
fn a_question_in_the_account_phase_refuses_the_login() {
    let lines = "auth required pam_unix.so\naccount required pam_odd.so hidden=New:_ anyway=0\n";
    let world = world_with(lines);
    assert_eq!(results(&login(&world, "test", &[ALICE_PASSWORD]))[0], AUTH_ERR);
    logged(&world, "asked \\\"New:_\\\"");
}

// --- who was proven ---

#[test]
fn a_password_service_that_proves_another_user_is_refused_and_the_log_says_so() {
    for lines in [
        format!("auth required pam_odd.so {RIGHT} user=bob\n"),
        format!("auth required pam_odd.so {RIGHT} user=nobody-here\n"),
        format!("auth required pam_odd.so user=bob {RIGHT} returns=12\n"),
        "auth required pam_unix.so\naccount required pam_odd.so user=bob\n".to_owned(),
    ] {
        let world = world_with(&lines);
        assert_eq!(results(&login(&world, "test", &[ALICE_PASSWORD]))[0], AUTH_ERR, "{lines}");
        logged(&world, "the password service proved another user");
    }
}

#[test]
fn another_name_of_the_same_person_is_the_same_person() {
    let world = world_with(&format!("auth required pam_odd.so {RIGHT} user=alicia\n"));
    let passwd = world.read_text("/etc/passwd");
    let both = format!("{passwd}alicia:x:2001:2001:Alice:/home/alice:/bin/sh\n");
    world.write("/etc/passwd", both.as_bytes(), 0o644);
    assert_eq!(results(&login(&world, "test", &[ALICE_PASSWORD])), [SUCCESS, SUCCESS]);
}

#[test]
fn a_password_service_with_our_account_line_is_not_in_the_way() {
    let world = hasty();
    world.pam_service(
        "onetime-password",
        "auth required pam_unix.so\naccount required pam_onetime.so\naccount required pam_unix.so\n",
    );
    assert_eq!(results(&login(&world, "su", &[ALICE_PASSWORD])), [SUCCESS, SUCCESS]);
}
