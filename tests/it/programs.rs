//! Logins by the programs that people log in with: sshd, su, sudo and login, each the
//! real one, with the service file that is shipped for it. What the user's terminal
//! shows is what is judged, with the QR code read from it as a phone would.

use crate::common::{
    ALICE_PASSWORD, PATIENCE, Pty, ROOT_PASSWORD, Sshd, World, activate, conf, current_code,
    decode_qr, enable, hasty, installed,
};

const PASSWORD: &str = "Password: ";
const SUDO_PASSWORD: &str = "[sudo] password for alice: ";
const CODE: &str = "One-time code: ";
const SET_UP: &str = "One-time code (Enter to skip): ";
const ON_NOW: &str = "One-time codes are on now";

/// What whoever is let in runs. Its output is not among what was typed.
const WELCOME: &str = "echo Welcome, $(id -un).";

/// A world whose sshd wants a key, then a code.
fn with_keys() -> World {
    let world = installed();
    world.pam_service("sshd", &conf("pam.d/sshd-key"));
    world
}

const KEY_THEN_CODE: &str = "AuthenticationMethods publickey,keyboard-interactive";

/// A login as the terminal showed it.
#[derive(Debug)]
struct Scene {
    admitted: bool,
    text: String,
    transcript: Vec<u8>,
}

impl Scene {
    /// Answers these prompts in turn, and no other: with one prompt more or less than
    /// these the test fails.
    #[track_caller]
    fn play(mut pty: Pty, script: &[(&str, &str)]) -> Self {
        for (prompt, answer) in script {
            pty.expect(*prompt);
            pty.send_line(answer);
        }
        let admitted = pty.wait().success();
        let text = pty.text();
        assert_eq!(admitted, text.contains("Welcome, "), "{text}");
        Self { admitted, text, transcript: pty.transcript() }
    }

    /// The terminal showed the QR code with this secret, and the key as one types it.
    #[track_caller]
    fn shows(&self, secret: &str) {
        let uri = decode_qr(&self.transcript, 80, 80);
        assert!(uri.starts_with("otpauth://totp/"), "{uri}");
        assert!(uri.contains(&format!("secret={secret}&")), "{uri}");
        assert!(self.text.contains(&in_fours(secret)), "{}", self.text);
    }

    /// The terminal showed neither a QR code nor any part of the key.
    #[track_caller]
    fn shows_nothing_of(&self, secret: &str) {
        assert!(!self.text.contains(['█', '▀', '▄', '#']), "{}", self.text);
        let part = in_fours(secret)
            .split(' ')
            .map(str::to_owned)
            .find(|part| self.text.contains(part.as_str()));
        assert_eq!(part, None, "{}", self.text);
    }
}

fn in_fours(secret: &str) -> String {
    let groups: Vec<_> = secret.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
    groups.join(" ")
}

/// alice logs in by ssh.
#[track_caller]
fn by_ssh(sshd: &Sshd<'_>, script: &[(&str, &str)]) -> Scene {
    Scene::play(sshd.ssh("alice", &[WELCOME]), script)
}

/// alice logs in by ssh, with a key.
#[track_caller]
fn by_key(sshd: &Sshd<'_>, key: &str, script: &[(&str, &str)]) -> Scene {
    Scene::play(sshd.ssh("alice", &["-i", key, WELCOME]), script)
}

/// bob becomes alice.
#[track_caller]
fn by_su(world: &World, script: &[(&str, &str)]) -> Scene {
    Scene::play(world.pty_as("bob", "su", &["alice", "-c", WELCOME]), script)
}

/// alice becomes root. sudo is told not to ask again after a failure, and not to
/// remember her.
#[track_caller]
fn by_sudo(world: &World, script: &[(&str, &str)]) -> Scene {
    let sudoers = "Defaults lecture=never, passwd_tries=1\n%sudo ALL=(ALL:ALL) ALL\n";
    world.write("/etc/sudoers", sudoers.as_bytes(), 0o440);
    Scene::play(world.pty_as("alice", "sudo", &["-k", "sh", "-c", WELCOME]), script)
}

/// alice at the console, with everything typed up to the code.
#[track_caller]
fn at_the_console(world: &World, prompt: &str, code: &str) -> Pty {
    let mut login = world.pty("login", &[]);
    login.expect("login: ");
    login.send_line("alice");
    login.expect(PASSWORD);
    login.send_line(ALICE_PASSWORD);
    login.expect(prompt);
    login.send_line(code);
    login
}

/// Waits for an audit line with this in it.
#[track_caller]
fn logged(world: &World, what: &str) -> String {
    world
        .wait_for_syslog(|line| line.tag == "pam_onetime" && line.text.contains(what), PATIENCE)
        .text
}

// --- sshd: password, then code ---

#[test]
fn by_ssh_a_disabled_user_gets_in_with_the_password_alone_and_the_log_says_from_where() {
    let world = installed();
    let sshd = Sshd::start(&world, "");
    let scene = by_ssh(&sshd, &[(PASSWORD, ALICE_PASSWORD)]);
    assert!(scene.admitted && scene.text.contains("Welcome, alice."), "{}", scene.text);
    let line = logged(&world, "service=sshd");
    let expected = "outcome=admitted user=alice service=sshd rhost=127.0.0.1 ";
    assert!(line.starts_with(expected), "{line}");
}

#[test]
fn by_ssh_a_pending_user_scans_the_qr_code_types_a_code_sees_that_it_is_on_and_gets_a_shell() {
    let world = installed();
    let secret = enable(&world, "alice");
    let sshd = Sshd::start(&world, "");
    let mut ssh = sshd.ssh("alice", &[]);
    ssh.expect(PASSWORD);
    ssh.send_line(ALICE_PASSWORD);
    ssh.expect(SET_UP);
    let uri = decode_qr(&ssh.transcript(), 80, 80);
    assert!(uri.contains(&format!("secret={secret}&")), "{uri}");
    assert!(ssh.text().contains(&format!("Key: {}", in_fours(&secret))), "{}", ssh.text());
    ssh.send_line(&current_code(&secret, 0));
    ssh.expect(ON_NOW);
    ssh.expect("$ ");
    ssh.send_line(WELCOME);
    ssh.expect("\nWelcome, alice.\n");
    ssh.send_line("exit");
    assert!(ssh.wait().success(), "{}", ssh.text());
}

#[test]
fn by_ssh_an_active_user_needs_password_and_a_fresh_code_and_sees_no_qr_code() {
    let world = hasty();
    let secret = enable(&world, "alice");
    let sshd = Sshd::start(&world, "");
    let first = current_code(&secret, 0);
    assert!(by_ssh(&sshd, &[(PASSWORD, ALICE_PASSWORD), (SET_UP, &first)]).admitted);

    let again = by_ssh(&sshd, &[(PASSWORD, ALICE_PASSWORD), (CODE, &first)]);
    assert!(!again.admitted, "the same code a second time: {}", again.text);
    again.shows_nothing_of(&secret);
    let next = by_ssh(&sshd, &[(PASSWORD, ALICE_PASSWORD), (CODE, &current_code(&secret, 1))]);
    assert!(next.admitted, "the next step's code: {}", next.text);
    next.shows_nothing_of(&secret);
}

#[test]
fn by_ssh_a_pending_user_may_press_enter_and_is_shown_the_same_qr_code_the_next_time() {
    let world = installed();
    let secret = enable(&world, "alice");
    let sshd = Sshd::start(&world, "");
    for _ in 0..2 {
        let scene = by_ssh(&sshd, &[(PASSWORD, ALICE_PASSWORD), (SET_UP, "")]);
        assert!(scene.admitted && !scene.text.contains(ON_NOW), "{}", scene.text);
        scene.shows(&secret);
    }
}

#[test]
fn by_ssh_a_pending_user_with_a_wrong_password_is_shown_nothing_and_asked_for_no_code() {
    let world = hasty();
    let secret = enable(&world, "alice");
    let sshd = Sshd::start(&world, "");
    let scene = by_ssh(&sshd, &[(PASSWORD, "wrong")]);
    assert!(!scene.admitted && !scene.text.contains("code"), "{}", scene.text);
    scene.shows_nothing_of(&secret);
}

#[test]
fn by_ssh_a_wrong_password_and_a_wrong_code_look_the_same() {
    let world = hasty();
    let secret = activate(&world, "alice");
    let sshd = Sshd::start(&world, "");
    let right = current_code(&secret, 0);
    let password_wrong = by_ssh(&sshd, &[(PASSWORD, "wrong"), (CODE, &right)]);
    let code_wrong = by_ssh(&sshd, &[(PASSWORD, ALICE_PASSWORD), (CODE, "000000")]);
    assert!(!password_wrong.admitted && !code_wrong.admitted);
    assert_eq!(password_wrong.text, code_wrong.text);
    let scene = by_ssh(&sshd, &[(PASSWORD, ALICE_PASSWORD), (CODE, &right)]);
    assert!(scene.admitted, "neither spent the code: {}", scene.text);
}

#[test]
fn by_ssh_a_locked_user_reads_why_unless_the_client_is_told_to_be_quiet() {
    let world = hasty();
    activate(&world, "alice");
    let sshd = Sshd::start(&world, "");
    for _ in 0..3 {
        world.onetimectl(&["verify", "alice", "000000"]);
    }
    let quiet = [&[][..], &["-o", "LogLevel=ERROR"], &["-q"]];
    for (options, is_read) in quiet.into_iter().zip([true, false, false]) {
        let ssh = sshd.ssh("alice", &[options, &[WELCOME]].concat());
        let scene = Scene::play(ssh, &[(PASSWORD, ALICE_PASSWORD), (CODE, "000000")]);
        assert!(!scene.admitted);
        assert_eq!(
            scene.text.contains("Too many wrong codes"),
            is_read,
            "{options:?}: {}",
            scene.text
        );
    }
}

#[test]
fn by_ssh_from_a_terminal_without_utf_8_the_key_alone_is_shown_with_qr_ascii() {
    let world = installed();
    let shipped = conf("pam.d/sshd");
    let ascii = shipped.replace("pam_onetime.so\n", "pam_onetime.so qr=ascii\n");
    assert_ne!(shipped, ascii);
    world.pam_service("sshd", &ascii);
    let secret = enable(&world, "alice");
    let sshd = Sshd::start(&world, "");
    let port = sshd.port.to_string();
    let mut ssh = world.command("ssh");
    ssh.args(["-p", &port, "alice@127.0.0.1", WELCOME]).env("LANG", "C");
    let scene = Scene::play(Pty::spawn(&ssh), &[(PASSWORD, ALICE_PASSWORD), (SET_UP, "")]);
    assert!(scene.admitted && scene.transcript.is_ascii(), "{}", scene.text);
    assert!(scene.text.contains(&in_fours(&secret)), "{}", scene.text);
}

#[test]
fn by_ssh_root_is_refused_where_sshd_permits_no_root_and_that_counts_as_no_failure() {
    let world = hasty();
    let secret = activate(&world, "root");
    let sshd = Sshd::start(&world, "PermitRootLogin no");
    let code = current_code(&secret, 0);
    let script = [(PASSWORD, ROOT_PASSWORD), (CODE, &*code)];
    let scene = Scene::play(sshd.ssh("root", &[WELCOME]), &script);
    assert!(!scene.admitted && scene.text.contains("Permission denied"), "{}", scene.text);
    let line = logged(&world, "service=sshd");
    assert!(line.starts_with("outcome=refused user=root ") && line.contains("INCORRECT"), "{line}");
    let status = world.onetimectl(&["--json", "status", "root"]).ok();
    assert!(status.contains("\"failures\": 0"), "{status}");
    world.onetimectl(&["verify", "root", &code]).ok();
}

#[test]
fn by_ssh_an_active_user_is_never_admitted_where_sshd_cannot_ask_for_a_code() {
    let world = hasty();
    let secret = activate(&world, "alice");
    let sshd = Sshd::start(&world, "PasswordAuthentication yes\nKbdInteractiveAuthentication no");
    let code = current_code(&secret, 0);
    for typed in [ALICE_PASSWORD, &code, &format!("{ALICE_PASSWORD}{code}")] {
        let scene = by_ssh(&sshd, &[("alice@127.0.0.1's password: ", typed)]);
        assert!(!scene.admitted && scene.text.contains("Permission denied"), "{}", scene.text);
    }
    // sshd answered the second question with the password as well.
    logged(&world, "the password was given in place of a code");
}

// --- sshd: key, then code ---

#[test]
fn by_key_an_active_user_is_asked_for_a_code_and_for_no_password() {
    let world = with_keys();
    let secret = activate(&world, "alice");
    let sshd = Sshd::start(&world, KEY_THEN_CODE);
    let key = sshd.make_key("alice");
    let wrong = by_key(&sshd, &key, &[(CODE, "000000")]);
    assert!(!wrong.admitted && !wrong.text.contains("assword"), "{}", wrong.text);
    let right = by_key(&sshd, &key, &[(CODE, &current_code(&secret, 0))]);
    assert!(right.admitted && !right.text.contains("assword"), "{}", right.text);
}

#[test]
fn where_a_key_is_needed_it_is_enough_without_a_record_and_nobody_is_asked_without_it() {
    let world = with_keys();
    let sshd = Sshd::start(&world, KEY_THEN_CODE);
    let key = sshd.make_key("alice");
    let scene = by_key(&sshd, &key, &[]);
    assert!(scene.admitted && !scene.text.contains("assword"), "{}", scene.text);
    logged(&world, "outcome=ignored user=alice service=sshd");

    let without_record = by_ssh(&sshd, &[]);
    activate(&world, "alice");
    let active = by_ssh(&sshd, &[]);
    for scene in [without_record, active] {
        assert!(!scene.admitted && !scene.text.contains("code"), "{}", scene.text);
        assert!(scene.text.contains("Permission denied (publickey)"), "{}", scene.text);
    }
}

#[test]
fn by_key_a_pending_user_is_shown_nothing_and_activates_with_a_secret_handed_out() {
    let world = with_keys();
    let secret = enable(&world, "alice");
    let sshd = Sshd::start(&world, KEY_THEN_CODE);
    let key = sshd.make_key("alice");
    let skipped = by_key(&sshd, &key, &[(SET_UP, "")]);
    assert!(skipped.admitted, "{}", skipped.text);
    skipped.shows_nothing_of(&secret);
    let activated = by_key(&sshd, &key, &[(SET_UP, &current_code(&secret, 0))]);
    assert!(activated.admitted && activated.text.contains(ON_NOW), "{}", activated.text);
    activated.shows_nothing_of(&secret);
    assert!(by_key(&sshd, &key, &[(CODE, &current_code(&secret, 1))]).admitted);
}

// --- su, sudo, login ---

#[test]
fn by_su_the_target_enrolls_and_from_then_on_needs_a_code() {
    let world = hasty();
    let secret = enable(&world, "alice");
    let script = [(PASSWORD, ALICE_PASSWORD), (SET_UP, &*current_code(&secret, 0))];
    let enrolled = by_su(&world, &script);
    assert!(enrolled.admitted && enrolled.text.contains("Welcome, alice."), "{}", enrolled.text);
    enrolled.shows(&secret);
    assert!(enrolled.text.contains(ON_NOW), "{}", enrolled.text);

    let wrong = by_su(&world, &[(PASSWORD, ALICE_PASSWORD), (CODE, "000000")]);
    assert!(!wrong.admitted, "{}", wrong.text);
    wrong.shows_nothing_of(&secret);
    let code = current_code(&secret, 1);
    let right = by_su(&world, &[(PASSWORD, ALICE_PASSWORD), (CODE, &code)]);
    assert!(right.admitted, "{}", right.text);
}

#[test]
fn by_sudo_a_pending_caller_is_shown_the_qr_code_and_that_it_is_on() {
    let world = hasty();
    let secret = enable(&world, "alice");
    let code = current_code(&secret, 0);
    let enrolled = by_sudo(&world, &[(SUDO_PASSWORD, ALICE_PASSWORD), (SET_UP, &code)]);
    assert!(enrolled.admitted && enrolled.text.contains("Welcome, root."), "{}", enrolled.text);
    enrolled.shows(&secret);
    assert!(enrolled.text.contains(ON_NOW), "{}", enrolled.text);
}

#[test]
fn by_sudo_an_active_caller_needs_a_code() {
    let world = hasty();
    let secret = activate(&world, "alice");
    let wrong = by_sudo(&world, &[(SUDO_PASSWORD, ALICE_PASSWORD), (CODE, "000000")]);
    assert!(!wrong.admitted, "{}", wrong.text);
    wrong.shows_nothing_of(&secret);
    let code = current_code(&secret, 0);
    let right = by_sudo(&world, &[(SUDO_PASSWORD, ALICE_PASSWORD), (CODE, &code)]);
    assert!(right.admitted && right.text.contains("Welcome, root."), "{}", right.text);
}

#[test]
fn at_the_console_a_user_enrolls_sees_it_after_the_last_prompt_and_then_needs_a_code() {
    let world = hasty();
    let secret = enable(&world, "alice");
    let mut login = at_the_console(&world, SET_UP, &current_code(&secret, 0));
    login.expect(ON_NOW);
    login.expect("$ ");
    let uri = decode_qr(&login.transcript(), 80, 80);
    assert!(uri.contains(&format!("secret={secret}&")), "{uri}");
    assert!(login.text().contains(&in_fours(&secret)), "{}", login.text());
    login.send_line("exit");
    login.wait();

    let mut login = at_the_console(&world, CODE, "000000");
    login.expect("Login incorrect");
    assert!(!login.text().contains(['█', '▀', '▄']), "{}", login.text());
    let mut login = at_the_console(&world, CODE, &current_code(&secret, 1));
    login.expect("$ ");
    login.send_line(WELCOME);
    login.expect("\nWelcome, alice.\n");
}
