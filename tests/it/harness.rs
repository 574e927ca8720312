//! Tests of the harness itself, which need no pam_onetime.so: before a test may say
//! that a login failed because of the module, logins without it must work here.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use crate::common::{
    ALICE_PASSWORD, BOB_PASSWORD, PATIENCE, Pamtester, Pty, Screen, Sshd, Theme, TotpOptions,
    World, code_at, decode_qr, hotp_code, wait_within,
};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

const PAM_UNIX: &str = "\
auth required pam_unix.so nodelay
account required pam_unix.so
password required pam_unix.so
session required pam_unix.so
";
const QR_TEXT: &str =
    "otpauth://totp/host:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=host";

fn world_with(services: &[&str]) -> World {
    let world = World::without_module();
    for service in services {
        world.pam_service(service, PAM_UNIX);
    }
    world
}

#[test]
fn pamtester_lets_alice_in_with_her_password() {
    let run = world_with(&["test"]).pamtester("test", "alice", &[ALICE_PASSWORD]);
    assert!(run.success, "{}", run.output);
    assert_eq!(run.result, "successfully authenticated");
    assert_eq!(run.prompts, ["Password:"]);
    assert_eq!(run.left_over, [""; 0]);
}

#[test]
fn pamtester_refuses_alice_with_a_wrong_password() {
    let run = world_with(&["test"]).pamtester("test", "alice", &["wrong", "not asked for"]);
    assert!(!run.success, "{}", run.output);
    assert_eq!(run.result, "Authentication failure");
    assert_eq!(run.left_over, ["not asked for"]);
}

#[test]
fn a_service_without_a_file_is_refused() {
    let run = World::without_module().pamtester("test", "alice", &[ALICE_PASSWORD]);
    assert!(!run.success, "{}", run.output);
}

#[test]
fn a_script_takes_items_operations_and_the_prompts_in_turn() {
    let world = world_with(&["test"]);
    let run = Pamtester::new(&world, "test", "alice")
        .item("rhost=192.0.2.7")
        .item("tty=pts/3")
        .operation("authenticate(PAM_SILENT)")
        .operation("acct_mgmt")
        .operation("setcred(PAM_ESTABLISH_CRED)")
        .script(&[("Password: ", ALICE_PASSWORD)]);
    assert!(run.success, "{}", run.output);
}

#[test]
#[should_panic(expected = "prompt \"Code: \" expected, \"Password:\" seen")]
fn a_script_fails_if_the_prompt_is_another() {
    world_with(&["test"]).pamtester_script("test", "alice", &[("Code: ", ALICE_PASSWORD)]);
}

#[test]
#[should_panic(expected = "nobody asked for [\"123456\"]")]
fn a_script_fails_if_an_answer_is_left_over() {
    let script = [("Password: ", ALICE_PASSWORD), ("Code: ", "123456")];
    world_with(&["test"]).pamtester_script("test", "alice", &script);
}

#[test]
#[should_panic(expected = "no answer is left")]
fn a_script_fails_if_one_more_answer_is_wanted() {
    world_with(&["test"]).pamtester_script("test", "alice", &[]);
}

#[test]
fn what_happens_in_a_world_stays_in_it() {
    let snapshot = || {
        let mut files: Vec<_> = fs::read_dir("/etc/pam.d")
            .expect("the host has /etc/pam.d")
            .map(|entry| entry.expect("an entry can be read").path())
            .chain(["/etc/passwd", "/etc/shadow", "/etc/sudoers"].map(Into::into))
            .map(|file| (fs::read(&file).ok(), file))
            .collect();
        files.sort();
        let log = fs::symlink_metadata("/dev/log").ok().map(|log| (log.ino(), log.ctime()));
        (files, log, Path::new("/var/lib/onetime").exists(), Path::new("/etc/onetime").exists())
    };
    let before = snapshot();
    let world = world_with(&["test", "sshd"]);
    for file in ["/etc/passwd", "/etc/shadow", "/etc/sudoers", "/etc/onetime/config.toml"] {
        world.write(file, b"spoilt", 0o600);
    }
    world.run("mkdir", &["/var/lib/onetime"]).ok();
    world.run("logger", &["a line"]).ok();
    assert!(!world.run("touch", &["/usr/bin/not-ours"]).success());
    assert_eq!(before, snapshot());
}

#[test]
#[should_panic(expected = "leads through a link with an absolute target")]
fn a_path_that_would_lead_out_of_the_world_is_refused() {
    let world = World::without_module();
    world.run("ln", &["-s", "/tmp", "/etc/elsewhere"]).ok();
    world.write("/etc/elsewhere/file", b"", 0o600);
}

#[test]
fn the_store_may_be_made_by_root_on_a_real_disk() {
    let world = World::without_module();
    assert!(!world.exists("/var/lib/onetime"));
    for directory in ["/", "/var", "/var/lib"] {
        let metadata = world.metadata(directory);
        assert_eq!((metadata.uid(), metadata.mode() & 0o022), (0, 0), "{directory}");
    }
    let kind = world.run("stat", &["--file-system", "--format=%T", "/var/lib"]).ok();
    assert_ne!(kind.trim(), "tmpfs");
}

#[test]
fn files_in_a_world_are_seen_from_both_sides() {
    let world = World::without_module();
    world.write("/etc/onetime/deep/file", b"text", 0o640);
    assert_eq!(world.run("cat", &["/etc/onetime/deep/file"]).ok(), "text");
    assert_eq!(world.metadata("/etc/onetime/deep/file").mode() & 0o7777, 0o640);
    world.run("sh", &["-c", "echo more >>/etc/onetime/deep/file"]).ok();
    assert_eq!(world.read_text("/etc/onetime/deep/file"), "textmore\n");
    assert_eq!(world.list("/etc/onetime"), ["deep"]);
    world.remove("/etc/onetime");
    assert!(!world.exists("/etc/onetime"));
}

#[test]
fn the_devices_of_a_world_work() {
    let script = "echo x >/dev/null; head -c1 /dev/zero /dev/random /dev/urandom >/dev/null; \
                  echo x >/dev/shm/x; tty; echo shown >/dev/tty; script -qec 'echo inner' /dev/null";
    let world = World::without_module();
    let mut pty = world.pty("sh", &["-euc", script]);
    assert!(pty.wait().success(), "{}", pty.text());
    assert!(pty.text().starts_with("/dev/pts/"), "{}", pty.text());
    assert!(pty.text().ends_with("shown\ninner\n"), "{}", pty.text());
}

#[test]
fn a_world_goes_when_nothing_holds_it_any_more() {
    let world = World::without_module();
    let root = world.path("/");
    assert!(root.exists());
    drop(world);
    assert!(!root.exists());
}

#[test]
fn a_failed_login_is_seen_in_syslog() {
    let world = world_with(&["test"]);
    world.pamtester("test", "bob", &["wrong"]);
    let line = world.wait_for_syslog(|line| line.text.contains("authentication failure"), PATIENCE);
    assert_eq!((line.facility(), line.severity()), (10, 5), "{line:?}");
    assert_eq!(line.tag, "pamtester");
    assert!(line.text.starts_with("pam_unix(test:auth): "), "{line:?}");
    world.run("logger", &["-p", "user.info", "a line of its own"]).ok();
    world.wait_for_syslog(|line| line.text == "a line of its own", PATIENCE);
    assert!(world.syslog().len() >= 2);
}

#[test]
fn alice_logs_in_by_ssh_with_her_password() {
    let world = world_with(&["sshd"]);
    let sshd = Sshd::start(&world, "");
    let mut ssh = sshd.ssh("alice", &["id", "-un"]);
    ssh.expect("Password:");
    ssh.send_line(ALICE_PASSWORD);
    ssh.expect("\nalice\n");
    assert!(ssh.wait().success(), "{}", sshd.log());
}

#[test]
fn ssh_with_a_wrong_password_is_refused() {
    let world = world_with(&["sshd"]);
    let mut sshd = Sshd::start(&world, "");
    let mut ssh = sshd.ssh("alice", &["id", "-un"]);
    ssh.expect("Password:");
    ssh.send_line("wrong");
    ssh.expect("Permission denied");
    assert!(!ssh.wait().success());
    sshd.expect_log("Failed keyboard-interactive/pam for alice");
}

#[test]
fn alice_logs_in_by_ssh_with_a_key_to_a_shell() {
    let world = world_with(&["sshd"]);
    let sshd = Sshd::start(&world, "AuthenticationMethods publickey");
    let key = sshd.make_key("alice");
    let mut ssh = sshd.ssh("alice", &["-i", &key]);
    ssh.expect("$ ");
    ssh.send_line("tty && id -un");
    ssh.expect("\nalice\n");
    ssh.send_line("exit");
    assert!(ssh.wait().success(), "{}", sshd.log());
}

#[test]
fn bob_becomes_alice_by_su() {
    let world = world_with(&["su"]);
    let mut su = world.pty_as("bob", "su", &["alice", "-c", "id -un"]);
    su.expect("Password: ");
    su.send_line(ALICE_PASSWORD);
    su.expect("\nalice\n");
    assert!(su.wait().success());
}

#[test]
fn alice_becomes_root_by_sudo_and_bob_does_not() {
    let world = world_with(&["sudo"]);
    let mut sudo = world.pty_as("alice", "sudo", &["id", "-un"]);
    sudo.expect("password for alice: ");
    sudo.send_line(ALICE_PASSWORD);
    sudo.expect("\nroot\n");
    assert!(sudo.wait().success());

    let mut sudo = world.pty_as("bob", "sudo", &["id", "-un"]);
    sudo.expect("password for bob: ");
    sudo.send_line(BOB_PASSWORD);
    sudo.expect("bob is not in the sudoers file");
    assert!(!sudo.wait().success());
}

#[test]
fn bob_logs_in_at_a_terminal_by_login() {
    let world = world_with(&["login"]);
    let mut login = world.pty("login", &[]);
    login.expect("login: ");
    login.send_line("bob");
    login.expect("Password: ");
    login.send_line(BOB_PASSWORD);
    login.expect("$ ");
    login.send_line("id -un");
    login.expect("\nbob\n");
    login.send_line("exit");
    assert!(login.wait().success(), "{}", login.text());
}

#[test]
fn a_program_may_be_killed_that_never_ends() {
    let world = World::without_module();
    let mut child = world.command("sleep").arg("1000").spawn().expect("sleep starts");
    assert!(wait_within(&mut child, Duration::from_millis(50)).is_none());
    child.kill().expect("our own child can be killed");
    assert!(wait_within(&mut child, PATIENCE).is_some_and(|status| !status.success()));
}

#[test]
#[should_panic(expected = "the terminal showed:\nhere")]
fn a_missed_expectation_shows_the_terminal() {
    let world = World::without_module();
    world.pty("echo", &["here"]).expect("elsewhere");
}

#[test]
fn a_terminal_gives_text_without_colours_and_knows_its_size() {
    let world = World::without_module();
    let script = r"stty size; printf '\033[1;31mred\033[0m\n'; exit 3";
    let mut pty = Pty::spawn_sized(world.command("sh").args(["-c", script]), 120, 50);
    pty.expect("50 120\nred\n");
    assert_eq!(pty.wait().code(), Some(3));
    assert!(pty.transcript().contains(&0x1b));
}

#[test]
fn a_terminal_that_a_program_hangs_up_and_opens_again_is_still_read() {
    let vhangup = if cfg!(target_arch = "aarch64") { 58 } else { 153 };
    let script = format!(
        "trap '' HUP; terminal=$(tty); echo before; perl -e 'syscall({vhangup})'; \
         echo after >$terminal; exit 3"
    );
    let world = World::without_module();
    let mut pty = world.pty("sh", &["-c", &script]);
    pty.expect("before\n");
    pty.expect("after\n");
    assert_eq!(pty.wait().code(), Some(3));
}

#[test]
fn a_code_drawn_in_half_blocks_is_read_from_the_screen() {
    let code = QrCode::new(QR_TEXT).expect("the text fits a QR code");
    let drawing =
        code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    let shown = format!("Scan this:\n{drawing}\nthen type the code: ");
    assert_eq!(decode_qr(shown.as_bytes(), 80, 40), QR_TEXT);
    // 24 rows show the lower half only, which no camera can read.
    assert_eq!(Screen::show(shown.as_bytes(), 80, 15).qr_codes(Theme::Dark), [""; 0]);
}

#[test]
fn a_code_drawn_in_ascii_is_read_from_a_light_screen() {
    let code = QrCode::new(QR_TEXT).expect("the text fits a QR code");
    let drawing = code.render::<&str>().dark_color("##").light_color("  ").build();
    let screen = Screen::show(drawing.as_bytes(), 120, 60);
    assert_eq!(screen.qr_codes(Theme::Light), [QR_TEXT]);
}

#[test]
fn oathtool_gives_the_codes_of_the_standards() {
    // RFC 4226, appendix D, and RFC 6238, appendix B.
    let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    assert_eq!(hotp_code(secret, 9, 6), "520489");
    let options = TotpOptions { digits: 8, ..TotpOptions::default() };
    assert_eq!(code_at(secret, options, 59), "94287082");
    let next = TotpOptions { offset_steps: 1, ..options };
    assert_eq!(code_at(secret, next, 29), "94287082");
}

#[test]
fn a_program_that_fails_is_reported_with_its_words() {
    let run = World::without_module().run("ls", &["/no/such/place"]);
    assert!(!run.success());
    assert!(run.stderr.contains("/no/such/place"), "{}", run.text());
}
