//! Whole logins through the real Linux-PAM, each in a world of its own: what is
//! shown, what is asked, who gets in, what is logged.

use std::process::Stdio;
use std::time::Instant;

use crate::common::{
    ALICE_PASSWORD, AUTH_ERR, AUTHINFO_UNAVAIL, Answers, Client, Event, MAXTRIES, PATIENCE,
    PERM_DENIED, Pamtester, SERVICE_ERR, SUCCESS, Screen, Theme, TotpOptions, World, activate,
    code, current_code, decode_qr, enable, finish, hasty, installed, secret, state_file,
};

const PASSWORD: &str = "Password:";
const CODE: &str = "One-time code:";
const SET_UP: &str = "One-time code (Enter to skip):";
const AGAIN: &str = "Wrong code. One-time code (Enter to skip):";

/// A world with a service `test` of these lines, besides the shipped ones.
fn world_with(stack: &str) -> World {
    let world = installed();
    world.pam_service("test", stack);
    world
}

/// Waits for an audit line with this in it.
#[track_caller]
fn logged(world: &World, what: &str) -> String {
    world
        .wait_for_syslog(|line| line.tag == "pam_onetime" && line.text.contains(what), PATIENCE)
        .text
}

// --- the life of an account ---

#[test]
fn a_disabled_user_logs_in_with_the_password_alone() {
    let world = installed();
    let run = world.pamtester_script("sshd", "alice", &[(PASSWORD, ALICE_PASSWORD)]);
    assert!(run.success, "{}", run.output);
    let run = world.pamtester_script("sshd", "alice", &[(PASSWORD, "wrong")]);
    assert!(!run.success, "{}", run.output);
}

#[test]
fn a_pending_user_is_shown_the_same_qr_code_and_key_at_every_login_and_may_skip() {
    let world = installed();
    let secret = enable(&world, "alice");
    let groups: Vec<_> = secret.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
    for _ in 0..3 {
        let run =
            world.pamtester_script("sshd", "alice", &[(PASSWORD, ALICE_PASSWORD), (SET_UP, "")]);
        assert!(run.success, "{}", run.output);
        let uri = decode_qr(&run.transcript, 80, 60);
        assert!(uri.starts_with("otpauth://totp/") && uri.contains(":alice?"), "{uri}");
        assert!(uri.contains(&format!("secret={secret}&issuer=")), "{uri}");
        assert!(run.output.contains(&groups.join(" ")), "{}", run.output);
        assert!(run.output.contains("account alice"), "{}", run.output);
    }
    assert!(world.onetimectl(&["status", "alice"]).ok().contains("no"));
}

#[test]
fn the_first_right_code_activates_and_from_then_on_a_code_is_needed_and_nothing_is_shown() {
    let world = installed();
    let secret = enable(&world, "alice");
    let first = current_code(&secret, -1);
    let run =
        world.pamtester_script("sshd", "alice", &[(PASSWORD, ALICE_PASSWORD), (SET_UP, &first)]);
    assert!(run.success && run.output.contains("One-time codes are on now"), "{}", run.output);

    let run = world.pamtester_script("sshd", "alice", &[(PASSWORD, ALICE_PASSWORD), (CODE, "")]);
    assert!(!run.success, "{}", run.output);
    assert!(!run.output.contains('█') && !run.output.contains(&secret[..4]), "{}", run.output);
    let run =
        world.pamtester_script("sshd", "alice", &[(PASSWORD, ALICE_PASSWORD), (CODE, &first)]);
    assert!(!run.success, "the same code again: {}", run.output);
    let now = current_code(&secret, 0);
    let run = world.pamtester_script("sshd", "alice", &[(PASSWORD, ALICE_PASSWORD), (CODE, &now)]);
    assert!(run.success, "{}", run.output);
}

#[test]
fn a_wrong_first_code_is_asked_again_at_most_three_times_in_all() {
    let world = hasty();
    let secret = enable(&world, "alice");
    let script =
        [(PASSWORD, ALICE_PASSWORD), (SET_UP, "000000"), (AGAIN, "abc"), (AGAIN, "000000")];
    let run = world.pamtester_script("sshd", "alice", &script);
    assert!(!run.success, "{}", run.output);

    let right = current_code(&secret, 0);
    let script = [(PASSWORD, ALICE_PASSWORD), (SET_UP, "000000"), (AGAIN, &right)];
    assert!(world.pamtester_script("sshd", "alice", &script).success);
}

#[test]
fn a_pending_user_with_a_wrong_password_sees_what_a_disabled_one_sees() {
    let world = installed();
    enable(&world, "alice");
    let pending = world.pamtester_script("sshd", "alice", &[(PASSWORD, "wrong")]);
    let disabled = world.pamtester_script("sshd", "bob", &[(PASSWORD, "wrong")]);
    assert!(!pending.success && !disabled.success);
    assert_eq!(pending.output, disabled.output);
}

#[test]
fn an_active_user_sees_the_same_whichever_factor_is_wrong() {
    let world = hasty();
    let secret = activate(&world, "alice");
    let right = current_code(&secret, 0);
    let outputs: Vec<_> =
        [("wrong", right.as_str()), (ALICE_PASSWORD, "000000"), ("wrong", "000000")]
            .into_iter()
            .map(|(password, code)| {
                let run =
                    world.pamtester_script("sshd", "alice", &[(PASSWORD, password), (CODE, code)]);
                assert!(!run.success, "{}", run.output);
                run.output
            })
            .collect();
    assert_eq!(outputs[0], outputs[1]);
    assert_eq!(outputs[1], outputs[2]);
    let run =
        world.pamtester_script("sshd", "alice", &[(PASSWORD, ALICE_PASSWORD), (CODE, &right)]);
    assert!(run.success, "the code was not spent by a wrong password: {}", run.output);
}

#[test]
fn disable_lifts_the_requirement_and_enable_issues_a_different_secret() {
    let world = installed();
    let old = activate(&world, "alice");
    world.onetimectl(&["disable", "alice", "--yes"]).ok();
    let run = world.pamtester_script("sshd", "alice", &[(PASSWORD, ALICE_PASSWORD)]);
    assert!(run.success, "{}", run.output);
    let new = enable(&world, "alice");
    assert_ne!(old, new);
    let script = [(PASSWORD, ALICE_PASSWORD), (SET_UP, &current_code(&old, 0)), (AGAIN, "")];
    let run = world.pamtester_script("sshd", "alice", &script);
    assert!(run.success, "the old phone's code is wrong, but skipping is allowed: {}", run.output);
    assert!(decode_qr(&run.transcript, 80, 80).contains(&new));
}

#[test]
fn every_kind_of_token_logs_in_with_the_codes_that_oathtool_computes() {
    use crate::common::Algorithm::{Sha1, Sha256, Sha512};
    let world = installed();
    for (arguments, algorithm, digits, period) in [
        (vec!["--algorithm", "SHA256", "--digits", "8", "--period", "60"], Sha256, 8, 60),
        (vec!["--algorithm", "sha512", "--digits", "7", "--period", "15"], Sha512, 7, 15),
        (vec!["--period", "300"], Sha1, 6, 300),
    ] {
        world.onetimectl(&[vec!["enable", "alice", "--new-secret"], arguments].concat()).ok();
        let secret = secret(&world, "alice");
        let options = |offset_steps| TotpOptions { algorithm, digits, period, offset_steps };
        let first = code(&secret, options(0));
        let run = world.pamtester_script(
            "sshd",
            "alice",
            &[(PASSWORD, ALICE_PASSWORD), (SET_UP, &first)],
        );
        assert!(run.success, "{}", run.output);
        let uri = decode_qr(&run.transcript, 80, 80);
        assert!(uri.contains(&format!("{period}")) || period == 30, "{uri}");
        let second = code(&secret, options(1));
        let run =
            world.pamtester_script("sshd", "alice", &[(PASSWORD, ALICE_PASSWORD), (CODE, &second)]);
        assert!(run.success, "{}", run.output);
    }
}

#[test]
fn a_counter_token_logs_in_within_the_look_ahead_window_and_a_failure_does_not_move_it() {
    let world = hasty();
    world.onetimectl(&["enable", "alice", "--kind", "hotp"]).ok();
    let secret = secret(&world, "alice");
    let at = |counter| crate::common::hotp_code(&secret, counter, 6);
    let login = |prompt, code: &str| {
        world
            .pamtester_script("sshd", "alice", &[(PASSWORD, ALICE_PASSWORD), (prompt, code)])
            .success
    };
    assert!(login(SET_UP, &at(0)));
    assert!(!login(CODE, &at(0)), "spent");
    assert!(login(CODE, &at(5)), "four presses that nobody saw");
    assert!(!login(CODE, &at(17)), "beyond the window");
    assert!(login(CODE, &at(6)), "the failures did not move the counter");
}

#[test]
fn the_qr_code_can_be_for_a_light_screen_or_left_out_by_an_argument() {
    let world = world_with("auth required pam_onetime.so qr=utf8-light\n");
    world.pam_service("none", "auth required pam_onetime.so qr=none\n");
    let secret = enable(&world, "alice");
    let run = world.pamtester_script("test", "alice", &[(PASSWORD, ALICE_PASSWORD), (SET_UP, "")]);
    let read = Screen::show(&run.transcript, 80, 80).qr_codes(Theme::Light);
    assert!(read.len() == 1 && read[0].contains(&secret), "{read:?}: {}", run.output);
    let run = world.pamtester_script("none", "alice", &[(PASSWORD, ALICE_PASSWORD), (SET_UP, "")]);
    assert!(!run.output.contains("##") && !run.output.contains('█'), "{}", run.output);
    assert!(run.output.contains(&secret[..4]), "the key is shown: {}", run.output);
}

#[test]
fn silence_shows_nothing_and_still_asks() {
    let world = installed();
    let secret = enable(&world, "alice");
    let run = Pamtester::new(&world, "sshd", "alice")
        .operation("authenticate(PAM_SILENT)")
        .script(&[(PASSWORD, ALICE_PASSWORD), (SET_UP, "")]);
    assert!(run.success, "{}", run.output);
    assert!(!run.output.contains('█') && !run.output.contains(&secret[..4]), "{}", run.output);
}

#[test]
fn prompt_and_echo_can_be_set_for_one_service() {
    let world =
        world_with("auth required pam_onetime.so [prompt=Your token, please: ] echo=true\n");
    let secret = activate(&world, "alice");
    let code = current_code(&secret, 0);
    let run = Client::new(&world, "test", "alice").run(&Answers::new(&[ALICE_PASSWORD, &code]));
    let prompt = Event::PromptEcho("Your token, please: ".to_owned());
    assert!(run.events.contains(&prompt), "{run:?}");
    assert_eq!(run.result(), SUCCESS);
}

// --- password modes ---

#[test]
fn with_password_stack_a_user_without_a_record_is_ignored_and_the_stack_decides() {
    let world = hasty();
    assert!(world.pamtester_script("stack", "alice", &[(PASSWORD, ALICE_PASSWORD)]).success);
    assert!(!world.pamtester_script("stack", "alice", &[(PASSWORD, "wrong")]).success);
    for mode in ["stack", "none"] {
        world.pam_service("alone", &format!("auth required pam_onetime.so password={mode}\n"));
        let run = Client::new(&world, "alone", "alice").run(&Answers::default());
        assert_eq!(run.result(), PERM_DENIED, "nobody else has checked anything: {run:?}");
        let sufficient =
            format!("auth sufficient pam_onetime.so password={mode}\nauth required pam_deny.so\n");
        world.pam_service("sufficient", &sufficient);
        let run = Client::new(&world, "sufficient", "alice").run(&Answers::default());
        assert_ne!(run.result(), SUCCESS, "PAM_IGNORE does not skip what follows: {run:?}");
    }
}

#[test]
fn with_password_stack_a_pending_user_is_shown_the_secret_only_after_the_password_was_verified() {
    // `required` goes on after a failure: this module is called all the same.
    let world =
        world_with("auth required pam_unix.so\nauth required pam_onetime.so password=stack\n");
    let secret = enable(&world, "alice");
    let run = world.pamtester_script("test", "alice", &[(PASSWORD, ALICE_PASSWORD), (SET_UP, "")]);
    assert!(run.success && decode_qr(&run.transcript, 80, 60).contains(&secret), "{}", run.output);
    let run = world.pamtester_script("test", "alice", &[(PASSWORD, "wrong")]);
    assert!(!run.success && !run.output.contains('█'), "{}", run.output);
    // Nobody has asked for a password: nothing is shown.
    world.pam_service(
        "bare",
        "auth required pam_permit.so\nauth required pam_onetime.so password=stack\n",
    );
    let run = world.pamtester_script("bare", "alice", &[(SET_UP, "")]);
    assert!(run.success && !run.output.contains('█'), "{}", run.output);
}

#[test]
fn with_password_none_the_secret_is_shown_only_if_the_configuration_says_so() {
    let world =
        world_with("auth required pam_onetime.so password=none\nauth required pam_permit.so\n");
    world.pam_service("open", "auth required pam_onetime.so password=none show_without_password=true\nauth required pam_permit.so\n");
    let secret = enable(&world, "alice");
    let run = world.pamtester_script("test", "alice", &[(SET_UP, "")]);
    assert!(run.success && !run.output.contains('█'), "{}", run.output);
    let run = world.pamtester_script("open", "alice", &[(SET_UP, "")]);
    assert!(run.success && decode_qr(&run.transcript, 80, 60).contains(&secret), "{}", run.output);
    // Whoever got the secret otherwise can activate here.
    let run = world.pamtester_script("test", "alice", &[(SET_UP, &current_code(&secret, -1))]);
    assert!(run.success, "{}", run.output);
    assert!(!world.pamtester_script("test", "alice", &[(CODE, "")]).success);
    assert!(world.pamtester_script("test", "alice", &[(CODE, &current_code(&secret, 0))]).success);
}

#[test]
fn the_password_is_handed_on_to_later_modules_and_taken_from_earlier_ones() {
    let world =
        world_with("auth required pam_onetime.so\nauth required pam_unix.so use_first_pass\n");
    world.pam_service("after", "auth required pam_unix.so\nauth required pam_onetime.so\n");
    let secret = activate(&world, "alice");
    for (service, offset) in [("test", 0), ("after", 1)] {
        let script = [(PASSWORD, ALICE_PASSWORD), (CODE, &current_code(&secret, offset))];
        let run = world.pamtester_script(service, "alice", &script);
        assert!(run.success, "{service}: {}", run.output);
    }
}

#[test]
fn a_password_service_that_includes_this_module_is_refused_and_does_not_recurse() {
    let world = installed();
    world.pam_service("onetime-password", "auth required pam_onetime.so\n");
    let run = Client::new(&world, "sshd", "alice").run(&Answers::new(&[ALICE_PASSWORD]));
    assert_eq!(run.result(), AUTH_ERR, "{run:?}");
    let said = |text: &str| world.wait_for_syslog(|line| line.text.contains(text), PATIENCE);
    said("the password service includes pam_onetime.so");
    said("the password service could not verify the password (PAM result 3)");
}

#[test]
fn a_blank_password_is_accepted_only_where_the_application_allows_it() {
    let world = installed();
    let shadow = world.read_text("/etc/shadow");
    let blank = shadow.lines().map(|line| match line.split_once(':') {
        Some(("alice", _)) => "alice::20000:0:99999:7:::\n".to_owned(),
        _ => format!("{line}\n"),
    });
    world.write("/etc/shadow", blank.collect::<String>().as_bytes(), 0o640);
    world.pam_service("onetime-password", "auth required pam_unix.so nullok\n");
    world.pam_service("test", "auth required pam_onetime.so\n");
    let run = Client::new(&world, "test", "alice").run(&Answers::new(&[""]));
    assert_eq!(run.result(), SUCCESS, "{run:?}");
    let disallow = Client::new(&world, "test", "alice").option("flags=1");
    assert_eq!(disallow.run(&Answers::new(&[""])).result(), AUTH_ERR);
}

/// libpam makes it half as long or half as long again, at random, for the nested
/// transaction and for the outer one: 2 s at least.
fn delay_by_8_seconds(world: &World) {
    let stack = "auth optional pam_faildelay.so delay=8000000\nauth required pam_unix.so nodelay\n";
    world.pam_service("onetime-password", stack);
}

#[test]
fn the_delay_after_a_wrong_password_does_not_come_before_the_code_prompt() {
    let world = installed();
    delay_by_8_seconds(&world);
    activate(&world, "alice");
    let mut pty = world.pty("pamtester", &["sshd", "alice", "authenticate"]);
    pty.expect(PASSWORD);
    let start = Instant::now();
    pty.send_line("wrong");
    pty.expect(CODE);
    let prompted = start.elapsed();
    pty.send_line("000000");
    assert!(!pty.wait().success());
    let refused = start.elapsed();
    assert!(refused.as_secs() >= 2, "the delay is kept: {refused:?}");
    assert!(prompted * 2 < refused, "the prompt came after {prompted:?} of {refused:?}");
}

#[test]
fn a_right_password_with_a_wrong_code_waits_as_long_as_a_wrong_password() {
    let world = installed();
    activate(&world, "alice");
    delay_by_8_seconds(&world);
    let start = Instant::now();
    assert!(
        !world
            .pamtester_script("sshd", "alice", &[(PASSWORD, ALICE_PASSWORD), (CODE, "000000")])
            .success
    );
    assert!(start.elapsed().as_secs() >= 2, "{:?}", start.elapsed());
}

// --- the other hooks ---

#[test]
fn setcred_and_account_succeed_after_a_login_also_as_the_only_auth_module() {
    let world = world_with("auth required pam_onetime.so\naccount required pam_unix.so\n");
    let secret = activate(&world, "alice");
    let run = Client::new(&world, "test", "alice")
        .option("authenticate")
        .option("acct_mgmt")
        .option("setcred")
        .run(&Answers::new(&[ALICE_PASSWORD, &current_code(&secret, 0)]));
    let results: Vec<_> =
        run.events.iter().filter(|event| matches!(event, Event::Result(..))).collect();
    let ok = |operation: &str| Event::Result(operation.to_owned(), SUCCESS);
    assert_eq!(results, [&ok("authenticate"), &ok("acct_mgmt"), &ok("setcred")]);
}

#[test]
fn listed_wrongly_under_account_session_or_password_the_module_fails() {
    let world = world_with("auth required pam_permit.so\naccount required pam_onetime.so\n");
    let run = Client::new(&world, "test", "alice").option("acct_mgmt").run(&Answers::default());
    assert_eq!(run.result(), PERM_DENIED, "nothing was noted, and nobody else decides: {run:?}");
    for (kind, operation) in [("session", "open_session"), ("password", "chauthtok")] {
        world.pam_service("test", &format!("{kind} required pam_onetime.so\n"));
        let run = Pamtester::new(&world, "test", "alice").operation(operation).answers(&[]);
        assert!(!run.success && run.result.contains("Module is unknown"), "{}", run.output);
    }
}

// --- arguments and configuration ---

#[test]
fn an_unknown_or_malformed_argument_refuses_the_login_and_is_named_in_the_log() {
    for (argument, named) in [
        ("passwrod=stack", "argument passwrod: unknown"),
        ("password=maybe", "argument password: unknown variant `maybe`, expected one of `verify`"),
        (
            "window=11",
            "argument window: invalid value: integer `11`, expected a whole number from 0 to 10",
        ),
        ("debug debug", "argument debug: given twice"),
        ("config=onetime.toml", "argument config: must be an absolute path"),
    ] {
        let world = world_with(&format!("auth required pam_onetime.so {argument}\n"));
        let run = Client::new(&world, "test", "alice").run(&Answers::new(&[ALICE_PASSWORD]));
        assert_eq!(run.result(), SERVICE_ERR, "{argument}: {run:?}");
        assert_eq!(run.dialogue(), [] as [&Event; 0], "nothing is asked");
        let line = logged(&world, named);
        assert!(line.starts_with("outcome=failed"), "{line}");
    }
}

#[test]
fn a_configuration_that_is_wrong_missing_or_writable_by_others_refuses_the_login() {
    let world = hasty();
    let login =
        || Client::new(&world, "sshd", "alice").run(&Answers::new(&[ALICE_PASSWORD])).result();
    for (text, mode, named) in [
        ("[code]\nwindw = 2\n", 0o644, "/etc/onetime/onetime.toml: line 2: "),
        ("[code]\ndigits = 9\n", 0o644, "digits"),
        ("issuer = \"x\"\n", 0o666, "has mode 0666"),
        ("\u{0}", 0o644, "line 1: "),
    ] {
        world.write("/etc/onetime/onetime.toml", text.as_bytes(), mode);
        assert_eq!(login(), SERVICE_ERR, "{text}");
        logged(&world, named);
        let tool = world.onetimectl(&["status"]);
        assert_eq!(tool.status.code(), Some(1));
        assert!(tool.stderr.contains(named), "{}", tool.stderr);
    }
    world.remove("/etc/onetime/onetime.toml");
    assert_eq!(login(), SERVICE_ERR);
    world.write("/etc/onetime/onetime.toml", b"", 0o644);
    assert_eq!(login(), SUCCESS, "an empty configuration is the default one");
}

#[test]
fn another_configuration_can_be_named_by_argument() {
    let world = world_with("auth required pam_onetime.so config=/etc/onetime/other.toml\n");
    world.write("/etc/onetime/other.toml", b"[store]\ndir = \"/var/lib/other\"\n", 0o644);
    world.onetimectl(&["--config", "/etc/onetime/other.toml", "init"]).ok();
    activate(&world, "alice");
    assert!(world.pamtester_script("test", "alice", &[(PASSWORD, ALICE_PASSWORD)]).success);
}

// --- the log ---

#[test]
fn each_login_logs_one_line_to_authpriv() {
    let world = installed();
    let secret = activate(&world, "alice");
    let answers = Answers::new(&[ALICE_PASSWORD, &current_code(&secret, 0)]);
    let client = Client::new(&world, "sshd", "alice").option("rhost=192.0.2.7").option("tty=ssh");
    assert_eq!(client.run(&answers).result(), SUCCESS);
    assert_eq!(client.run(&answers).result(), AUTH_ERR);
    world.wait_for_syslog(|line| line.text.contains("already used"), PATIENCE);
    let lines: Vec<_> = world
        .syslog()
        .into_iter()
        .filter(|line| line.tag == "pam_onetime" && line.text.contains("service=sshd"))
        .collect();
    let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "outcome=admitted user=alice service=sshd rhost=192.0.2.7 tty=ssh reason=\"code right\"",
            "outcome=refused user=alice service=sshd rhost=192.0.2.7 tty=ssh reason=\"code already used\"",
        ]
    );
    let severities: Vec<_> = lines.iter().map(|line| (line.facility(), line.severity())).collect();
    assert_eq!(severities, [(10, 6), (10, 5)]);
}

#[test]
fn no_line_of_any_program_holds_a_secret_a_password_or_a_code_even_with_debug() {
    let world = world_with("auth required pam_onetime.so debug\naccount required pam_unix.so\n");
    let secret = enable(&world, "alice");
    let codes = [current_code(&secret, -1), current_code(&secret, 0)];
    for (password, code) in [
        (ALICE_PASSWORD, &codes[0]),
        (ALICE_PASSWORD, &codes[1]),
        (ALICE_PASSWORD, &codes[1]),
        ("s3cret-typo", &codes[1]),
    ] {
        world.pamtester("test", "alice", &[password, code]);
    }
    world.onetimectl(&["status", "alice"]).ok();
    let typed_as_name = world.pamtester("test", ALICE_PASSWORD, &["x"]);
    assert!(!typed_as_name.success);
    world.wait_for_syslog(|line| line.text.contains("reason=\"unknown user\""), PATIENCE);
    let lines = world.syslog();
    assert!(lines.iter().any(|line| line.text.starts_with("debug ")), "{lines:?}");
    for line in lines.iter().filter(|line| !line.text.contains("unknown user")) {
        for hidden in [secret.as_str(), ALICE_PASSWORD, "s3cret-typo", &codes[0], &codes[1]] {
            // pam_unix names a user who does not exist.
            assert!(!line.text.contains(hidden) || line.tag == "pamtester", "{line:?}");
        }
    }
}

#[test]
fn what_sshd_sends_for_a_user_it_refuses_is_no_code_not_counted_and_named() {
    let world = installed();
    activate(&world, "alice");
    let junk = b"\x08\n\r\x7fINCORRECT";
    let run = Client::new(&world, "sshd", "alice").run(&Answers::default().bytes(junk).bytes(junk));
    assert_eq!(run.result(), AUTH_ERR);
    logged(&world, "sshd had refused this user");
    let run =
        Client::new(&world, "sshd", "alice").run(&Answers::new(&[ALICE_PASSWORD]).bytes(junk));
    assert_eq!(run.result(), AUTH_ERR);
    let status = world.onetimectl(&["--json", "status", "alice"]).ok();
    assert!(status.contains("\"failures\": 0"), "{status}");
}

// --- hostile users, answers, applications ---

#[test]
fn an_unknown_user_meets_the_password_prompt_and_is_refused_in_every_mode() {
    let world = world_with("auth required pam_onetime.so password=stack\n");
    world.pam_service(
        "permissive",
        "auth required pam_onetime.so password=none\nauth required pam_permit.so\n",
    );
    let run = Client::new(&world, "sshd", "mallory").run(&Answers::new(&["x"]));
    assert_eq!(run.dialogue(), [&Event::Prompt("Password: ".to_owned())]);
    assert_eq!(run.result(), AUTH_ERR);
    for service in ["test", "permissive"] {
        let run = Client::new(&world, service, "mallory").run(&Answers::new(&["x"]));
        assert_eq!(run.result(), AUTH_ERR, "{service}");
    }
}

#[test]
fn hostile_user_names_are_refused_and_touch_no_file() {
    let world = hasty();
    let before = [
        world.list("/var/lib"),
        world.list("/var/lib/onetime"),
        world.list("/var/lib/onetime/users"),
    ];
    let long = "x".repeat(10_000);
    for user in
        ["../../x", "a/b", "alice\nroot", "%", "%2e", "", ".", "alice ", "ALICE", long.as_str()]
    {
        let run = Client::new(&world, "sshd", user).run(&Answers::new(&["alice", ALICE_PASSWORD]));
        // pam_start refuses some by itself; an empty one makes libpam ask for the name.
        if !user.is_empty() {
            assert_ne!(run.result(), SUCCESS, "{user:?}");
        }
    }
    let after = [
        world.list("/var/lib"),
        world.list("/var/lib/onetime"),
        world.list("/var/lib/onetime/users"),
    ];
    assert_eq!(before, after);
    for line in world.syslog() {
        assert!(!line.text.contains('\n'), "{line:?}");
    }
}

#[test]
fn a_user_name_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let world = hasty();
    for name in [&b"\xff\xfealice"[..], b"ali\x80ce", b"alice\xc3"] {
        let mut client = Client::new(&world, "sshd", "placeholder").command();
        let arguments: Vec<_> = client
            .get_args()
            .map(
                |word| if word == "placeholder" { std::ffi::OsStr::from_bytes(name) } else { word },
            )
            .map(std::ffi::OsStr::to_owned)
            .collect();
        client = std::process::Command::new(client.get_program());
        let run = crate::common::ClientRun::read(finish(client.args(arguments), b"x\nx\n"));
        assert_eq!(run.result(), AUTH_ERR, "{run:?}");
    }
    logged(&world, "outcome=refused");
}

#[test]
fn hostile_answers_are_refused() {
    let world = hasty();
    let secret = activate(&world, "alice");
    let right = current_code(&secret, 0);
    let mut long = right.clone().into_bytes();
    long.resize(10_000, b' ');
    for answer in [
        b"\xff\xfe\x80".to_vec(),
        "１２３４５６".into(),
        format!("{right}\n").into_bytes(),
        format!("{right}\x01").into_bytes(),
        vec![b'1'; 1 << 20],
        long,
        b"%n%n%n%n".to_vec(),
        b"'; DROP".to_vec(),
    ] {
        let run = Client::new(&world, "sshd", "alice")
            .run(&Answers::new(&[ALICE_PASSWORD]).bytes(&answer));
        assert_eq!(run.result(), AUTH_ERR, "{:?}", answer.get(..20));
    }
    for password in [vec![b'x'; 1 << 20], b"\xff\xfe".to_vec(), b"\n".to_vec()] {
        let run = Client::new(&world, "sshd", "alice")
            .run(&Answers::default().bytes(&password).line(&right));
        assert_eq!(run.result(), AUTH_ERR);
    }
    let run = Client::new(&world, "sshd", "alice").run(&Answers::new(&[ALICE_PASSWORD, &right]));
    assert_eq!(run.result(), SUCCESS, "none of them spent the code or locked the account");
}

#[test]
fn a_conversation_that_fails_or_gives_no_answer_is_a_refusal() {
    let world = hasty();
    activate(&world, "alice");
    for answers in [
        vec![],
        vec!["null"],
        vec!["nothing"],
        vec!["error"],
        vec![ALICE_PASSWORD],
        vec![ALICE_PASSWORD, "null"],
        vec![ALICE_PASSWORD, "nothing"],
        vec![ALICE_PASSWORD, "error"],
    ] {
        let run = Client::new(&world, "sshd", "alice").run(&Answers::new(&answers));
        assert_eq!(run.result(), AUTH_ERR, "{answers:?}: {run:?}");
    }
}

#[test]
fn a_user_name_changed_during_the_login_is_a_refusal() {
    let world = installed();
    let secret = activate(&world, "alice");
    let answers = Answers::new(&[ALICE_PASSWORD, "user=bob", &current_code(&secret, 0)]);
    let run = Client::new(&world, "sshd", "alice").run(&answers);
    assert_eq!(run.result(), AUTH_ERR, "{run:?}");
    logged(&world, "the user name was changed");
}

#[test]
fn a_login_leaves_no_descriptor_open_and_says_nothing_on_stdout_or_stderr() {
    let world = installed();
    let secret = activate(&world, "alice");
    // pam_unix would leave the C library's connection to syslog open.
    for (verifier, code, result) in [
        ("deny", "000000", AUTH_ERR),
        ("permit", "000000", AUTH_ERR),
        ("permit", &*current_code(&secret, 0), SUCCESS),
    ] {
        world.pam_service("onetime-password", &format!("auth required pam_{verifier}.so\n"));
        let run = Client::new(&world, "sshd", "alice").run(&Answers::new(&[ALICE_PASSWORD, code]));
        assert_eq!(run.result(), result);
        let [(before, after)] = run.descriptors[..] else { panic!("{run:?}") };
        assert_eq!(before, after);
        assert_eq!(run.stderr, "");
    }
}

#[test]
fn the_environment_of_the_caller_changes_nothing_and_is_followed_nowhere() {
    let world = installed();
    let secret = activate(&world, "alice");
    let names = [
        "TMPDIR",
        "TZ",
        "HOME",
        "XDG_CONFIG_HOME",
        "TZDIR",
        "LOGNAME",
        "ONETIME_CONFIG",
        "RUST_BACKTRACE",
    ];
    let mut client = Client::new(&world, "sshd", "alice");
    for name in names {
        client = client.variable(name, "/evil/place");
    }
    let inner = client.command();
    let mut traced = world.command("strace");
    traced.args(["-f", "-e", "trace=%file", "-o", "/tmp/trace"]);
    // What `inner` runs inside of the world: all after nsenter's own arguments.
    let words: Vec<_> = inner.get_args().skip_while(|word| *word != "--").skip(1).collect();
    traced.args(words);
    traced.envs(names.map(|name| (name, "/evil/place")));
    let answers = format!("{ALICE_PASSWORD}\n{}\n", current_code(&secret, 0));
    let output = finish(&mut traced, answers.as_bytes()).ok();
    assert!(output.contains("result authenticate 0"), "{output}");
    let trace = world.read_text("/tmp/trace");
    assert!(trace.contains("onetime.toml"), "the trace shows the login");
    // The C library itself follows TZ once, in its own syslog(3), for pam_unix.
    let followed: Vec<_> = trace.lines().filter(|line| line.contains("/evil/place")).collect();
    assert!(
        followed.iter().all(|line| !line.contains("O_WRONLY") && !line.contains("onetime")),
        "{followed:?}"
    );
}

// --- a store that cannot be trusted ---

/// Spoils the store of a world with a pending and an active account, and sees that
/// nobody gets in who could need a code, that nothing is shown, and what is logged.
#[track_caller]
fn spoiled(script: &str, named: &str) {
    let world = hasty();
    let secrets = [enable(&world, "alice"), activate(&world, "bob")];
    let spoil = format!("cd /var/lib/onetime; umask 077; {script}");
    world.run("sh", &["-euc", &spoil]).ok();
    for (user, password, secret) in
        [("alice", ALICE_PASSWORD, &secrets[0]), ("bob", crate::common::BOB_PASSWORD, &secrets[1])]
    {
        let run = Client::new(&world, "sshd", user)
            .run(&Answers::new(&[password, &current_code(secret, 0)]));
        assert_eq!(run.result(), AUTHINFO_UNAVAIL, "{user}: {run:?}");
        assert_eq!(run.dialogue(), [&Event::Prompt("Password: ".to_owned())], "{user}");
        let line = logged(&world, &format!("user={user} service=sshd"));
        assert!(line.starts_with("outcome=failed ") && line.contains(named), "{line}");
    }
}

#[test]
fn a_store_without_its_marker_is_not_mounted_and_refuses_everybody() {
    spoiled("rm store.toml", "store.toml is missing");
    spoiled("rm -r /var/lib/onetime", "store.toml is missing");
    spoiled("cd /; rm -r /var/lib/onetime/*", "store.toml is missing");
    spoiled("echo format = 2 > store.toml", "not a store of format 1");
}

#[test]
fn a_disabled_user_is_refused_too_when_the_store_is_not_there() {
    let world = installed();
    world.remove("/var/lib/onetime");
    let run =
        Client::new(&world, "sshd", "carol").run(&Answers::new(&[crate::common::CAROL_PASSWORD]));
    assert_eq!(run.result(), AUTHINFO_UNAVAIL);
}

#[test]
fn a_missing_damaged_or_foreign_state_is_refused_and_never_fresh() {
    spoiled("rm state/*", "the state is missing");
    spoiled("for f in state/*; do : > $f; done", "8192 bytes");
    spoiled("for f in state/*; do truncate -s 512 $f; done", "8192 bytes");
    spoiled("for f in state/*; do head -c 8192 /dev/zero > $f; done", "neither slot is valid");
    spoiled("cp state/alice x; cp state/bob state/alice; cp x state/bob; rm x", "another issue");
}

#[test]
fn a_damaged_record_is_refused() {
    spoiled("for f in users/*; do : > $f; done", "damaged record");
    spoiled("for f in users/*; do sed -i s/SHA1/SHA256/ $f; done", "its checksum does not match");
    spoiled("for f in users/*; do truncate -s 100 $f; done", "damaged record");
    spoiled(
        "cp users/alice.toml x; mv users/bob.toml users/alice.toml; mv x users/bob.toml",
        "another user's",
    );
    spoiled("for f in users/*; do head -c 70000 /dev/zero > $f; done", "has 70000 bytes");
}

#[test]
fn a_recreated_user_does_not_inherit_a_secret() {
    let world = installed();
    activate(&world, "alice");
    let passwd = world.read_text("/etc/passwd").replace("alice:x:2001:", "alice:x:2901:");
    world.write("/etc/passwd", passwd.as_bytes(), 0o644);
    let run = Client::new(&world, "sshd", "alice").run(&Answers::new(&[ALICE_PASSWORD, "000000"]));
    assert_eq!(run.result(), AUTHINFO_UNAVAIL, "{run:?}");
    logged(&world, "the record is for uid 2001, but alice has uid 2901");
    let status = world.onetimectl(&["status", "alice"]);
    assert!(status.stderr.contains("uid 2901"), "{}", status.text());
}

#[test]
fn a_login_works_and_a_code_serves_once_on_a_full_disk() {
    let world = installed();
    let secret = activate(&world, "alice");
    world
        .run(
            "sh",
            &[
                "-euc",
                "
        cp -a /var/lib/onetime /root/copy
        mount -t tmpfs -o mode=700,size=64k tmpfs /var/lib/onetime
        cp -a /root/copy/. /var/lib/onetime/
        head -c 1m /dev/zero > /var/lib/onetime/fill || true
        test $(stat -f -c %f /var/lib/onetime) = 0",
            ],
        )
        .ok();
    let code = current_code(&secret, 0);
    let login = || {
        Client::new(&world, "sshd", "alice").run(&Answers::new(&[ALICE_PASSWORD, &code])).result()
    };
    assert_eq!(login(), SUCCESS);
    assert_eq!(login(), AUTH_ERR);
    let tool = world.onetimectl(&["enable", "bob"]);
    assert!(!tool.success() && tool.stderr.contains("No space left"), "{}", tool.text());
    assert!(world.onetimectl(&["status", "bob"]).ok().contains("no"), "nothing was half issued");
}

#[test]
fn a_read_only_store_refuses_an_active_user_and_says_why() {
    let world = installed();
    let secret = activate(&world, "alice");
    world.run("sh", &["-euc", "mount --bind /var/lib/onetime /var/lib/onetime; mount -o remount,bind,ro /var/lib/onetime"]).ok();
    let run = Client::new(&world, "sshd", "alice")
        .run(&Answers::new(&[ALICE_PASSWORD, &current_code(&secret, 0)]));
    assert_eq!(run.result(), AUTHINFO_UNAVAIL);
    logged(&world, "Read-only file system");
}

#[test]
fn a_lockout_is_shown_only_to_a_user_who_knows_the_password() {
    let world = hasty();
    let secret = activate(&world, "alice");
    let login = |password, code: &str| {
        Client::new(&world, "sshd", "alice").run(&Answers::new(&[password, code]))
    };
    for _ in 0..10 {
        assert_eq!(login("wrong", "000000").result(), AUTH_ERR);
    }
    for _ in 0..3 {
        assert_eq!(
            login(ALICE_PASSWORD, "000000").result(),
            AUTH_ERR,
            "the ten before did not count"
        );
    }
    let right = current_code(&secret, 0);
    let locked = login(ALICE_PASSWORD, &right);
    assert_eq!(locked.result(), MAXTRIES, "{locked:?}");
    let told = Event::Error("Too many wrong codes. Try again later.".to_owned());
    assert!(locked.events.contains(&told), "{locked:?}");
    let stranger = login("wrong", &right);
    assert_eq!(stranger.result(), AUTH_ERR);
    assert!(!stranger.events.contains(&told), "{stranger:?}");
    assert!(world.onetimectl(&["status", "alice"]).ok().contains("locked until"));
    world.onetimectl(&["unlock", "alice"]).ok();
    assert_eq!(login(ALICE_PASSWORD, &right).result(), SUCCESS);
}

// --- many at once ---

#[test]
fn of_64_simultaneous_logins_with_one_code_exactly_one_is_admitted() {
    let world = hasty();
    let secret = activate(&world, "alice");
    let client = Client::new(&world, "sshd", "alice");
    let mut logins: Vec<_> = (0..64)
        .map(|_| {
            let mut command = client.command();
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            command.spawn().expect("pam_client starts")
        })
        .collect();
    // All of them stand at the code prompt before the first gets its code.
    let mut outputs: Vec<_> = logins
        .iter_mut()
        .map(|login| {
            use std::io::{BufRead, BufReader, Write};
            let stdin = login.stdin.as_mut().expect("a pipe");
            writeln!(stdin, "{ALICE_PASSWORD}").expect("it listens");
            let mut output = BufReader::new(login.stdout.take().expect("a pipe"));
            for prompt in ["prompt Password: \n", "prompt One-time code: \n"] {
                let mut line = String::new();
                output.read_line(&mut line).expect("it speaks");
                assert_eq!(line, prompt);
            }
            output
        })
        .collect();
    let code = current_code(&secret, 0);
    for login in &mut logins {
        use std::io::Write;
        writeln!(login.stdin.as_mut().expect("a pipe"), "{code}").expect("it listens");
    }
    let results: Vec<String> = logins
        .iter_mut()
        .zip(&mut outputs)
        .map(|(login, output)| {
            let mut rest = String::new();
            std::io::Read::read_to_string(output, &mut rest).expect("it speaks");
            login.wait().expect("our own child");
            rest.lines()
                .find_map(|line| line.strip_prefix("result authenticate "))
                .unwrap_or("?")
                .to_owned()
        })
        .collect();
    let admitted = results.iter().filter(|result| *result == "0").count();
    let refused = results.iter().filter(|result| *result == "7" || *result == "11").count();
    assert_eq!((admitted, refused), (1, 63), "{results:?}");
    assert_eq!(world.metadata(&state_file("alice")).len(), 8192);
}
