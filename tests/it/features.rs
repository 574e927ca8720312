//! What administrators configure, through the real Linux-PAM: each policy of
//! onetime.toml and each argument that has one, and what `token`, `recovery` and
//! `resync` do to a login.

use std::time::{Duration, Instant};

use crate::common::{
    ALICE_PASSWORD, AUTH_ERR, Answers, BOB_PASSWORD, Client, ClientRun, Event, PATIENCE,
    PERM_DENIED, SUCCESS, World, activate, current_code, decode_qr, enable, finish, hotp_code,
    installed, secret,
};

const PASSWORD: &str = "Password:";
const CODE: &str = "One-time code:";
const SET_UP: &str = "One-time code (Enter to skip):";

/// An installed world with a service `test` whose module line has these arguments.
fn world_with(arguments: &str) -> World {
    let world = installed();
    world.pam_service("test", &format!("auth required pam_onetime.so {arguments}\n"));
    world.pam_service("onetime-password", "auth required pam_unix.so nodelay\n");
    world
}

fn login(world: &World, user: &str, answers: &[&str]) -> ClientRun {
    Client::new(world, "test", user).run(&Answers::new(answers))
}

fn prompts(run: &ClientRun) -> Vec<String> {
    let text = |event: &&Event| match event {
        Event::Prompt(text) | Event::PromptEcho(text) => Some(text.trim().to_owned()),
        _ => None,
    };
    run.dialogue().iter().filter_map(text).collect()
}

fn told(run: &ClientRun, what: &str) -> bool {
    run.events.iter().any(|event| match event {
        Event::Info(text) | Event::Error(text) => text.contains(what),
        _ => false,
    })
}

#[track_caller]
fn logged(world: &World, what: &str) {
    world.wait_for_syslog(|line| line.tag == "pam_onetime" && line.text.contains(what), PATIENCE);
}

/// Sends text to a verb's standard input.
fn onetimectl_with(world: &World, arguments: &[&str], input: &str) -> crate::common::Finished {
    finish(world.command("onetimectl").args(arguments), input.as_bytes())
}

// --- hotp, drift, resynchronization ---

#[test]
fn a_counter_token_far_ahead_comes_back_by_two_codes_in_two_logins_if_configured() {
    let world = world_with("resync=100");
    world.onetimectl(&["enable", "alice", "--kind", "hotp"]).ok();
    let secret = secret(&world, "alice");
    let at = |counter| hotp_code(&secret, counter, 6);
    assert_eq!(login(&world, "alice", &[ALICE_PASSWORD, &at(0)]).result(), SUCCESS);
    assert_eq!(login(&world, "alice", &[ALICE_PASSWORD, &at(60)]).result(), AUTH_ERR);
    logged(&world, "code of a counter far ahead");
    assert_eq!(login(&world, "alice", &[ALICE_PASSWORD, &at(61)]).result(), SUCCESS);
}

#[test]
fn resync_finds_a_counter_token_again_and_spends_both_codes() {
    let world = world_with("");
    world.onetimectl(&["enable", "alice", "--kind", "hotp"]).ok();
    let secret = secret(&world, "alice");
    let at = |counter| hotp_code(&secret, counter, 6);
    assert_eq!(login(&world, "alice", &[ALICE_PASSWORD, &at(0)]).result(), SUCCESS);
    assert_eq!(login(&world, "alice", &[ALICE_PASSWORD, &at(500)]).result(), AUTH_ERR);
    assert_eq!(world.onetimectl(&["resync", "alice", &at(500), &at(502)]).status.code(), Some(1));
    world.onetimectl(&["resync", "alice", &at(500), &at(501)]).ok();
    assert_eq!(login(&world, "alice", &[ALICE_PASSWORD, &at(501)]).result(), AUTH_ERR);
    assert_eq!(login(&world, "alice", &[ALICE_PASSWORD, &at(502)]).result(), SUCCESS);
}

#[test]
fn resync_sets_the_drift_of_a_clock_and_status_shows_it() {
    let world = world_with("");
    let secret = activate(&world, "alice");
    let at = |offset| current_code(&secret, offset);
    assert_eq!(login(&world, "alice", &[ALICE_PASSWORD, &at(6)]).result(), AUTH_ERR);
    let codes = format!("{}\n{}\n", at(5), at(6));
    onetimectl_with(&world, &["resync", "alice"], &codes).ok();
    let status = world.onetimectl(&["--json", "status", "alice"]).ok();
    assert!(status.contains("\"drift\": 6"), "{status}");
    assert!(world.onetimectl(&["status", "alice"]).ok().contains("+6"));
    assert_eq!(login(&world, "alice", &[ALICE_PASSWORD, &at(7)]).result(), SUCCESS);
    let far = world.onetimectl(&["resync", "alice", &at(30), &at(31)]);
    assert!(far.stderr.contains("31 codes off"), "{}", far.text());
}

// --- several tokens ---

#[test]
fn a_code_of_any_token_logs_in_and_a_removed_one_no_longer_does() {
    let world = world_with("");
    let phone = activate(&world, "alice");
    let key = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    onetimectl_with(&world, &["token", "add", "alice", "--kind", "hotp", "--stdin"], key).ok();
    let list = world.onetimectl(&["token", "list", "alice"]).ok();
    assert!(list.contains("1  totp") && list.contains("2  hotp"), "{list}");
    assert!(!list.contains(&phone) && !list.contains(key), "{list}");
    let enter = |code: &str| login(&world, "alice", &[ALICE_PASSWORD, code]).result();
    assert_eq!(enter(&hotp_code(key, 0, 6)), SUCCESS);
    assert_eq!(enter(&current_code(&phone, 0)), SUCCESS);
    assert_eq!(enter(&hotp_code(key, 0, 6)), AUTH_ERR, "spent");
    assert_eq!(enter(&hotp_code(key, 1, 6)), SUCCESS);
    world.onetimectl(&["token", "remove", "alice", "1"]).ok();
    assert_eq!(enter(&current_code(&phone, 1)), AUTH_ERR, "the phone is out");
    assert_eq!(enter(&hotp_code(key, 2, 6)), SUCCESS);
    let last = world.onetimectl(&["token", "remove", "alice", "2"]);
    assert!(!last.success() && last.stderr.contains("the only token"), "{}", last.text());
    // The place of the removed one is free, and fresh.
    world.onetimectl(&["token", "add", "alice"]).ok();
    let record = world.read_text("/var/lib/onetime/users/alice.toml");
    let new = record.split("secret = \"").nth(1).and_then(|rest| rest.split('"').next());
    let code = current_code(new.expect("the first token's secret"), -1);
    assert_eq!(enter(&code), SUCCESS, "{record}");
}

#[test]
fn a_user_has_four_tokens_at_most_and_a_pending_one_is_shown_them_all() {
    let world = world_with("");
    enable(&world, "alice");
    for _ in 0..3 {
        world.onetimectl(&["token", "add", "alice"]).ok();
    }
    let fifth = world.onetimectl(&["token", "add", "alice"]);
    assert!(fifth.stderr.contains("has 4 tokens already"), "{}", fifth.text());
    let run = login(&world, "alice", &[ALICE_PASSWORD, ""]);
    let count = |what: &str| {
        let is_one = |event: &&Event| matches!(event, Event::Info(text) if text.contains(what));
        run.events.iter().filter(is_one).count()
    };
    // Each key is a text of its own, below its QR code.
    assert_eq!([count("\u{2588}"), count("Key: "), count("")], [4, 4, 8]);
}

// --- recovery codes ---

#[test]
fn a_recovery_code_logs_in_once_is_reported_logged_and_counted() {
    let world = world_with("");
    activate(&world, "alice");
    let shown = world.onetimectl(&["recovery", "alice"]).ok();
    let codes: Vec<_> = shown.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert_eq!(codes.len(), 8, "{shown}");
    let record = world.read_text("/var/lib/onetime/users/alice.toml");
    for code in &codes {
        assert!(!record.contains(code) && !record.contains(&code.replace('-', "")), "{record}");
    }
    let run = login(&world, "alice", &[ALICE_PASSWORD, &codes[0].to_lowercase()]);
    assert_eq!(run.result(), SUCCESS, "{run:?}");
    assert!(told(&run, "You used a recovery code; 7 are left."), "{run:?}");
    logged(&world, "recovery code right, 7 left");
    assert_eq!(login(&world, "alice", &[ALICE_PASSWORD, codes[0]]).result(), AUTH_ERR);
    assert_eq!(login(&world, "alice", &["wrong", codes[1]]).result(), AUTH_ERR);
    let status = world.onetimectl(&["--json", "status", "alice"]).ok();
    assert!(status.contains("\"recovery_codes_left\": 7"), "{status}");
    // New ones: the old ones are worth nothing, and the secret stays.
    let before = secret(&world, "alice");
    world.onetimectl(&["recovery", "alice"]).ok();
    assert_eq!(secret(&world, "alice"), before);
    assert_eq!(login(&world, "alice", &[ALICE_PASSWORD, codes[1]]).result(), AUTH_ERR);
}

#[test]
fn recovery_codes_are_issued_with_the_secret_or_at_activation_and_shown_once() {
    let world = world_with("recovery_codes=3");
    let enabled = world.onetimectl(&["enable", "bob", "--recovery"]).ok();
    assert_eq!(enabled.lines().filter(|line| line.starts_with("    ")).count(), 8, "{enabled}");
    let secret = enable(&world, "alice");
    let run = login(&world, "alice", &[ALICE_PASSWORD, &current_code(&secret, -1)]);
    let Some(Event::Info(text)) = run.dialogue().into_iter().next_back() else { panic!("{run:?}") };
    let codes: Vec<_> = text.split("\\n    ").skip(1).collect();
    assert_eq!(codes.len(), 3, "{text}");
    let again = login(&world, "alice", &[ALICE_PASSWORD, codes[2]]);
    assert_eq!(again.result(), SUCCESS, "{again:?}");
    assert!(!told(&again, codes[0]), "{again:?}");
    // Bob has his: none are issued over them.
    let bobs = crate::common::secret(&world, "bob");
    let run = login(&world, "bob", &[BOB_PASSWORD, &current_code(&bobs, -1)]);
    assert_eq!(run.result(), SUCCESS);
    assert!(!told(&run, "recovery"), "{run:?}");
}

// --- remembered hosts, exemptions, duties ---

#[test]
fn a_host_is_remembered_after_a_code_for_its_service_only() {
    let world = world_with("remember=1h");
    world.pam_service("second", "auth required pam_onetime.so remember=1h\n");
    let secret = activate(&world, "alice");
    let from = |service: &str, host: &str, answers: &[&str]| {
        Client::new(&world, service, "alice")
            .option(&format!("rhost={host}"))
            .run(&Answers::new(answers))
    };
    let first = from("test", "192.0.2.7", &[ALICE_PASSWORD, &current_code(&secret, 0)]);
    assert_eq!(first.result(), SUCCESS);
    let second = from("test", "192.0.2.7", &[ALICE_PASSWORD]);
    assert_eq!((second.result(), prompts(&second).len()), (SUCCESS, 1), "{second:?}");
    logged(&world, "no code needed (remembered host)");
    assert_eq!(from("test", "192.0.2.7", &["wrong"]).result(), AUTH_ERR);
    assert_eq!(prompts(&from("test", "192.0.2.8", &[ALICE_PASSWORD, ""])).len(), 2);
    assert_eq!(prompts(&from("second", "192.0.2.7", &[ALICE_PASSWORD, ""])).len(), 2);
    world.onetimectl(&["enable", "alice", "--new-secret"]).ok();
    let anew = from("test", "192.0.2.7", &[ALICE_PASSWORD, ""]);
    assert_eq!(prompts(&anew).len(), 2, "nothing is remembered of the old secret: {anew:?}");
}

#[test]
fn groups_are_exempt_or_required_as_configured() {
    // alice is in the group sudo.
    let world = world_with("exempt_groups=sudo");
    world.pam_service("strict", "auth required pam_onetime.so require_groups=sudo,adm\n");
    activate(&world, "alice");
    assert_eq!(login(&world, "alice", &[ALICE_PASSWORD]).result(), SUCCESS);
    logged(&world, "no code needed (exempt_groups)");
    assert_eq!(login(&world, "alice", &["wrong"]).result(), AUTH_ERR);
    world.onetimectl(&["disable", "alice", "--yes"]).ok();
    let strict = |user, password| {
        Client::new(&world, "strict", user).run(&Answers::new(&[password])).result()
    };
    assert_eq!(strict("alice", ALICE_PASSWORD), AUTH_ERR);
    logged(&world, "not enabled, but a code is required");
    assert_eq!(strict("bob", BOB_PASSWORD), SUCCESS);
}

#[test]
fn networks_are_exempt_where_the_remote_host_is_an_address() {
    let world =
        world_with("exempt_networks=192.0.2.0/24,2001:db8::/32,::ffff:10.0.0.0/104,fe80::/10");
    activate(&world, "alice");
    let asked = |host: &str| {
        let client = Client::new(&world, "test", "alice").option(&format!("rhost={host}"));
        prompts(&client.run(&Answers::new(&[ALICE_PASSWORD, ""]))).len() == 2
    };
    assert!(!asked("192.0.2.200") && !asked("2001:db8::1"));
    logged(&world, "no code needed (exempt_networks)");
    assert!(!asked("10.1.2.3") && !asked("fe80::1%eth0"));
    assert!(asked("198.51.100.1") && asked("192.0.2.1.example.org"));
}

#[test]
fn a_user_without_a_record_is_denied_or_enrolled_at_login_as_configured() {
    let world = world_with("missing=deny");
    world.pam_service("enrol", "auth required pam_onetime.so missing=enrol\n");
    world.pam_service(
        "key",
        "auth required pam_onetime.so password=none missing=enrol\nauth required pam_permit.so\n",
    );
    world.pam_service("nullok", "auth required pam_onetime.so nullok\n");
    assert_eq!(login(&world, "bob", &[BOB_PASSWORD]).result(), AUTH_ERR);
    let nullok = Client::new(&world, "nullok", "bob").run(&Answers::new(&[BOB_PASSWORD]));
    assert_eq!(nullok.result(), SUCCESS);
    let wrong = Client::new(&world, "enrol", "bob").run(&Answers::new(&["wrong"]));
    assert_eq!((wrong.result(), wrong.dialogue().len()), (AUTH_ERR, 1), "{wrong:?}");
    assert!(!world.exists("/var/lib/onetime/users/bob.toml"), "nothing was issued");
    let key = Client::new(&world, "key", "bob").run(&Answers::default());
    assert_eq!(key.result(), AUTH_ERR, "no password was verified: {key:?}");
    let run = world.pamtester_script("enrol", "bob", &[(PASSWORD, BOB_PASSWORD), (SET_UP, "")]);
    assert!(run.success && decode_qr(&run.transcript, 80, 60).contains(&secret(&world, "bob")));
    logged(&world, "enabled at login");
    let code = current_code(&secret(&world, "bob"), -1);
    let run = world.pamtester_script("enrol", "bob", &[(PASSWORD, BOB_PASSWORD), (SET_UP, &code)]);
    assert!(run.success, "the same secret as before: {}", run.output);
}

// --- enrollment policy ---

#[test]
fn enrolment_can_be_required_or_switched_off_at_login() {
    let world = world_with("at_login=required");
    world.pam_service("off", "auth required pam_onetime.so at_login=off\n");
    let secret = enable(&world, "alice");
    let again = "Wrong code. First one-time code from your app:";
    let required = "First one-time code from your app:";
    let script = [(PASSWORD, ALICE_PASSWORD), (required, ""), (again, ""), (again, "")];
    let run = world.pamtester_script("test", "alice", &script);
    assert!(!run.success && run.output.contains('█'), "{}", run.output);
    let off = Client::new(&world, "off", "alice").run(&Answers::new(&[ALICE_PASSWORD]));
    assert_eq!((off.result(), off.dialogue().len()), (SUCCESS, 1), "{off:?}");
    let code = current_code(&secret, -1);
    assert!(
        world
            .pamtester_script("test", "alice", &[(PASSWORD, ALICE_PASSWORD), (required, &code)])
            .success
    );
}

#[test]
fn a_deadline_is_shown_and_after_it_a_pending_user_is_refused() {
    let world = world_with("");
    world.onetimectl(&["enable", "alice", "--deadline", "14d"]).ok();
    let run = login(&world, "alice", &[ALICE_PASSWORD, ""]);
    assert_eq!(run.result(), SUCCESS);
    assert!(told(&run, "Set it up before 20") && told(&run, " UTC; after that"), "{run:?}");
    world.onetimectl(&["enable", "bob", "--deadline", "1s"]).ok();
    let start = Instant::now();
    // The event waited for is the clock's next second.
    while login(&world, "bob", &[BOB_PASSWORD, ""]).result() == SUCCESS {
        assert!(start.elapsed() < Duration::from_secs(10), "the deadline does not come");
    }
    let late = login(&world, "bob", &[BOB_PASSWORD, ""]);
    assert_eq!((late.result(), late.dialogue().len()), (AUTH_ERR, 1), "{late:?}");
    logged(&world, "not activated before the deadline");
    world.onetimectl(&["enable", "bob", "--new-secret", "--deadline", "none"]).ok();
    assert_eq!(login(&world, "bob", &[BOB_PASSWORD, ""]).result(), SUCCESS);
}

// --- one prompt, first pass ---

#[test]
fn password_and_code_can_be_one_answer() {
    let world = world_with("prompt=combined");
    let stack =
        "auth required pam_onetime.so prompt=combined\nauth required pam_unix.so use_first_pass\n";
    world.pam_service("handed-on", stack);
    let secret = activate(&world, "alice");
    let both = |offset| format!("{ALICE_PASSWORD}{}", current_code(&secret, offset));
    let run = login(&world, "alice", &[&both(0)]);
    assert_eq!(run.result(), SUCCESS, "{run:?}");
    assert_eq!(prompts(&run), ["Password and one-time code together:"]);
    for wrong in [
        &both(0),
        ALICE_PASSWORD,
        &format!("wrong{}", current_code(&secret, 1)),
        &current_code(&secret, 1),
        "",
    ] {
        assert_eq!(login(&world, "alice", &[wrong]).result(), AUTH_ERR, "{wrong}");
    }
    let run = Client::new(&world, "handed-on", "alice").run(&Answers::new(&[&both(1)]));
    assert_eq!(run.result(), SUCCESS, "pam_unix got the password alone: {run:?}");
    assert_eq!(login(&world, "bob", &[BOB_PASSWORD]).result(), SUCCESS, "not enabled");
    assert_eq!(login(&world, "mallory", &[BOB_PASSWORD]).result(), AUTH_ERR);
    let recovery = world.onetimectl(&["recovery", "alice"]).ok();
    let code = recovery.lines().find_map(|line| line.strip_prefix("    ")).expect("a code");
    let run = login(&world, "alice", &[&format!("{ALICE_PASSWORD}{code}")]);
    assert_eq!(run.result(), SUCCESS, "{run:?}");
}

#[test]
fn a_code_of_any_length_that_an_account_has_can_end_the_one_answer() {
    let world = world_with("prompt=combined");
    activate(&world, "alice");
    let key = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let add = ["token", "add", "alice", "--kind", "hotp", "--digits", "8", "--stdin"];
    onetimectl_with(&world, &add, key).ok();
    let phone = current_code(&secret(&world, "alice"), 0);
    for code in [hotp_code(key, 0, 8), phone] {
        let run = login(&world, "alice", &[&format!("{ALICE_PASSWORD}{code}")]);
        assert_eq!(run.result(), SUCCESS, "{code}: {run:?}");
    }
}

#[test]
fn a_pending_user_enrolls_by_one_answer_too() {
    let world = world_with("prompt=combined");
    let secret = enable(&world, "alice");
    let run = login(&world, "alice", &[ALICE_PASSWORD]);
    assert_eq!((run.result(), prompts(&run).len()), (SUCCESS, 1), "{run:?}");
    assert!(told(&run, "account alice"), "the QR code is shown: {run:?}");
    let both = format!("{ALICE_PASSWORD}{}", current_code(&secret, -1));
    assert_eq!(login(&world, "alice", &[&both]).result(), SUCCESS);
    assert_eq!(login(&world, "alice", &[ALICE_PASSWORD]).result(), AUTH_ERR, "active now");
}

#[test]
fn first_pass_means_what_it_means_in_linux_pam() {
    let world = world_with("use_first_pass");
    let secret = activate(&world, "alice");
    let stack = |first: &str, option: &str| {
        world.pam_service(
            "chain",
            &format!("auth {first} pam_unix.so nodelay\nauth required pam_onetime.so {option}\n"),
        );
    };
    let chain =
        |answers: &[&str]| Client::new(&world, "chain", "alice").run(&Answers::new(answers));
    // Nobody has asked, and it must not.
    let run = login(&world, "alice", &[&current_code(&secret, 0)]);
    assert_eq!((run.result(), prompts(&run)), (AUTH_ERR, vec![CODE.to_owned()]), "{run:?}");
    stack("required", "use_first_pass");
    let run = chain(&[ALICE_PASSWORD, &current_code(&secret, 0)]);
    assert_eq!((run.result(), prompts(&run).len()), (SUCCESS, 2), "{run:?}");
    // The first password is wrong: it asks again, or takes it as it is.
    stack("optional", "try_first_pass");
    let run = chain(&["wrong", ALICE_PASSWORD, &current_code(&secret, 1)]);
    assert_eq!(prompts(&run).len(), 3, "{run:?}");
    assert_eq!(run.result(), SUCCESS);
    stack("optional", "");
    let run = chain(&["wrong", "000000"]);
    assert_eq!((run.result(), prompts(&run).len()), (AUTH_ERR, 2), "{run:?}");
}

// --- no telling who exists ---

/// What somebody without the password sees: prompts, texts, result, and the time
/// without the delay that libpam adds.
fn seen_by_a_stranger(world: &World, user: &str) -> (ClientRun, Duration) {
    let client = Client::new(world, "test", user);
    let start = Instant::now();
    let run = client.run(&Answers::new(&["wrong", "000000"]));
    (run, start.elapsed())
}

#[test]
fn uniform_shows_a_stranger_the_same_whoever_is_named() {
    let world = world_with("uniform=true");
    enable(&world, "carol");
    activate(&world, "alice");
    let (expected, _) = seen_by_a_stranger(&world, "alice");
    assert_eq!(prompts(&expected), [PASSWORD, CODE]);
    // Active, pending, disabled, unknown; and a right password makes no difference
    // for an active user with a wrong code.
    for user in ["carol", "bob", "mallory"] {
        let (run, _) = seen_by_a_stranger(&world, user);
        assert_eq!(run.events, expected.events, "{user}");
    }
    let right = login(&world, "alice", &[ALICE_PASSWORD, "000000"]);
    assert_eq!(right.events, expected.events);
    // A damaged account does not stand out either.
    world.remove("/var/lib/onetime/state/carol");
    let damaged = login(&world, "carol", &[crate::common::CAROL_PASSWORD, ""]);
    assert_eq!(prompts(&damaged), [PASSWORD, CODE], "{damaged:?}");
    assert_ne!(damaged.result(), SUCCESS);
    world.onetimectl(&["enable", "carol", "--new-secret"]).ok();
    // Users who need no code answer what they like, and get in.
    assert_eq!(login(&world, "bob", &[BOB_PASSWORD, ""]).result(), SUCCESS);
    let pending = world.pamtester("test", "carol", &[crate::common::CAROL_PASSWORD, ""]);
    assert!(pending.success && pending.output.contains('█'), "{}", pending.output);
}

#[test]
fn uniform_takes_a_stranger_about_as_long_whoever_is_named() {
    let world = world_with("uniform=true");
    activate(&world, "alice");
    let users = ["alice", "bob", "mallory"];
    // In turn, so that a busy machine slows all of them alike.
    let mut times = users.map(|_| Vec::new());
    for _ in 0..15 {
        for (user, times) in users.iter().zip(&mut times) {
            times.push(seen_by_a_stranger(&world, user).1);
        }
    }
    let medians = times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    let (least, most) = (medians.iter().min(), medians.iter().max());
    let (least, most) = (*least.expect("three"), *most.expect("three"));
    println!("{users:?}: {medians:?}");
    // libpam's own delay after a failure, off here, is 1 to 3 s.
    assert!(most < least * 2 + Duration::from_millis(50), "{users:?}: {medians:?}");
}

/// How long after the answer before it each prompt and the refusal came, in microseconds.
fn steps_of_a_stranger(world: &World, user: &str) -> Vec<u64> {
    let client = Client::new(world, "test", user).option("watch=1");
    let run = client.run(&Answers::new(&["wrong", "000000"]));
    assert_eq!(prompts(&run), [PASSWORD, CODE], "{user}");
    assert_eq!(run.result(), AUTH_ERR, "{user}");
    run.stderr.lines().map(|line| line.parse().expect("a number")).collect()
}

#[test]
fn under_uniform_each_answer_of_the_machine_comes_at_a_beat_whoever_is_named() {
    let world = world_with("uniform=true");
    activate(&world, "alice");
    enable(&world, "carol");
    let users = ["alice", "bob", "carol", "mallory"];
    let mut steps = users.map(|_| [(); 3].map(|()| Vec::new()));
    for _ in 0..5 {
        for (user, steps) in users.iter().zip(&mut steps) {
            let taken = steps_of_a_stranger(&world, user);
            assert_eq!(taken.len(), 3, "two prompts and a result: {taken:?}");
            steps.iter_mut().zip(taken).for_each(|(step, taken)| step.push(taken));
        }
    }
    for (user, steps) in users.iter().zip(&mut steps) {
        for step in steps {
            step.sort_unstable();
            // No sooner than the beat; how much later is up to how busy the machine is.
            assert!(step[0] >= 200_000, "{user}: {step:?}");
        }
    }
    let medians = steps.map(|steps| steps.map(|step| step[step.len() / 2]));
    println!("{users:?}: {medians:?}");
    for step in 0..3 {
        let times = medians.map(|medians| medians[step] % 200_000);
        let (least, most) = (times.iter().min(), times.iter().max());
        let apart = most.expect("four") - least.expect("four");
        assert!(apart < 50_000, "step {step}: {users:?}: {medians:?}");
    }
}

#[test]
fn without_uniform_only_those_who_are_active_are_asked() {
    let world = world_with("");
    activate(&world, "alice");
    assert_eq!(prompts(&seen_by_a_stranger(&world, "alice").0), [PASSWORD, CODE]);
    assert_eq!(prompts(&seen_by_a_stranger(&world, "bob").0), [PASSWORD]);
}

// --- texts ---

#[test]
fn users_are_spoken_to_in_the_configured_language() {
    for (language, prompt, text) in [
        ("de", "Einmalcode (Eingabetaste", "Schlüssel: "),
        ("fr", "Code à usage unique (Entrée", "Clé : "),
        ("zh", "一次性验证码（", "密钥："),
    ] {
        let world = world_with(&format!("language={language}"));
        enable(&world, "alice");
        let run = login(&world, "alice", &[ALICE_PASSWORD, ""]);
        assert!(prompts(&run).iter().any(|shown| shown.starts_with(prompt)), "{run:?}");
        assert!(told(&run, text), "{run:?}");
        assert_eq!(run.result(), SUCCESS);
    }
}

#[test]
fn silence_is_honoured_unless_configured_otherwise() {
    let world = world_with("honour_silent=false");
    enable(&world, "alice");
    let silent = |service: &str| {
        Client::new(&world, service, "alice")
            .option("flags=32768")
            .run(&Answers::new(&[ALICE_PASSWORD, ""]))
    };
    assert!(told(&silent("test"), "account alice"));
    assert!(!told(&silent("sshd"), "account alice"));
}

#[test]
fn others_who_decide_are_needed_where_no_code_is() {
    // PAM_IGNORE alone lets nobody in, whatever the reason for it.
    for arguments in
        ["password=none", "password=none exempt_groups=sudo", "password=none at_login=off"]
    {
        let world = world_with(arguments);
        enable(&world, "alice");
        if arguments == "password=none" {
            world.onetimectl(&["disable", "alice", "--yes"]).ok();
        }
        assert_eq!(login(&world, "alice", &[]).result(), PERM_DENIED, "{arguments}");
    }
}
