//! Passwords that a directory or a KDC wants changed: with a real sssd and a real MIT KDC,
//! by su, ssh and the PAM client, up to the new password.

use crate::common::{
    ALICE_PASSWORD, AUTH_ERR, Answers, Client, Event, Kdc, PATIENCE, Pty, SUCCESS, Sshd, Sssd,
    World, activate, current_code, hasty, odd_module, with_foreign,
};

const NEW_AUTHTOK_REQD: i32 = 12;
const NEW_PASSWORD: &str = "quite-Different-0815";

/// What the directory's modules are under every type that asks them.
fn services(world: &World, module: &str, password_service: &str) {
    world.pam_service("onetime-password", password_service);
    let lines = format!(
        "auth required pam_onetime.so\naccount required pam_onetime.so\n\
         account required pam_permit.so\npassword required {module}\nsession required pam_permit.so\n"
    );
    for service in ["test", "su", "sshd"] {
        world.pam_service(service, &lines);
    }
}

/// A world with a directory that wants alice to change her password, as long as she is in
/// the file EXPIRED. sssd's proxy answers the first question of its password lines with
/// the present one, which pam_unix.so does not ask root for.
fn sssd_world() -> World {
    let world = hasty();
    with_foreign(&world);
    world.pam_module("pam_odd.so", &odd_module());
    let directory = format!(
        "auth requisite pam_unix.so nodelay\n\
         auth [success=ignore default=1] pam_listfile.so item=user sense=allow onerr=fail file={EXPIRED}\n\
         auth required pam_debug.so auth=new_authtok_reqd\n\
         account required pam_permit.so\n\
         password required pam_odd.so hidden=Current:_\npassword required pam_unix.so\n"
    );
    world.pam_service("directory", &directory);
    world.write(EXPIRED, b"alice\n", 0o600);
    services(&world, "pam_sss.so", "auth required pam_sss.so\naccount required pam_sss.so\n");
    world
}

const EXPIRED: &str = "/etc/expired";

/// A world with a KDC that wants alice to change her password.
fn kdc_world() -> World {
    let world = hasty();
    with_foreign(&world);
    let lines = "auth required pam_krb5.so defer_pwchange\naccount required pam_krb5.so\n";
    services(&world, "pam_krb5.so", lines);
    world
}

fn results(world: &World, service: &str, answers: &[&str]) -> Vec<i32> {
    let client = Client::new(world, service, "alice").option("authenticate").option("acct_mgmt");
    let run = client.run(&Answers::new(answers));
    let results = run.events.iter().filter_map(|event| match event {
        Event::Result(_, number) => Some(*number),
        _ => None,
    });
    results.collect()
}

/// Answers these prompts in turn.
fn type_in(terminal: &mut Pty, script: &[(&str, &str)]) {
    for (prompt, answer) in script {
        terminal.expect(*prompt);
        terminal.send_line(answer);
    }
}

/// What becomes of a password, as su's user and sshd's see it.
const NEW_OF_KERBEROS: [(&str, &str); 3] = [
    ("Current Kerberos password: ", ALICE_PASSWORD),
    ("Enter new Kerberos password: ", NEW_PASSWORD),
    ("Retype new Kerberos password: ", NEW_PASSWORD),
];

const TOLD: [i32; 2] = [SUCCESS, NEW_AUTHTOK_REQD];
const WELCOME: &str = "echo Welcome, $(id -un).";

#[test]
fn sssd_s_new_password_is_asked_for_by_the_application_with_password_verify_as_with_stack() {
    let world = sssd_world();
    let _sssd = Sssd::start(&world);
    assert_eq!(results(&world, "test", &[ALICE_PASSWORD]), TOLD);
    let secret = activate(&world, "alice");
    let code = current_code(&secret, 0);
    assert_eq!(results(&world, "test", &[ALICE_PASSWORD, &code]), TOLD);
    world.pam_service(
        "stack",
        "auth requisite pam_sss.so\nauth required pam_onetime.so password=stack\n\
         account required pam_onetime.so\naccount required pam_sss.so\n",
    );
    let code = current_code(&secret, 1);
    assert_eq!(results(&world, "stack", &[ALICE_PASSWORD, &code]), TOLD);
    assert_eq!(results(&world, "test", &["wrong", "000000"])[0], AUTH_ERR);
}

#[test]
fn by_su_a_user_of_sssd_who_must_change_the_password_does_and_gets_in() {
    let world = sssd_world();
    let _sssd = Sssd::start(&world);
    let before = world.read_text("/etc/shadow");
    let mut su = world.pty_as("bob", "su", &["alice", "-c", WELCOME]);
    type_in(&mut su, &[("Password: ", ALICE_PASSWORD)]);
    su.expect("Password expired. Change your password now.");
    su.expect("Current Password: ");
    // The proxy has the present one checked as in a login, which would say once more that
    // it must be changed.
    world.write(EXPIRED, b"", 0o600);
    su.send_line(ALICE_PASSWORD);
    let new = [("New Password: ", NEW_PASSWORD), ("Reenter new Password: ", NEW_PASSWORD)];
    type_in(&mut su, &new);
    su.expect("Welcome, alice.");
    assert!(su.wait().success(), "{}", su.text());
    assert_ne!(world.read_text("/etc/shadow"), before, "the directory has a new password");
    assert_eq!(results(&world, "test", &[ALICE_PASSWORD])[0], AUTH_ERR);
    assert_eq!(results(&world, "test", &[NEW_PASSWORD]), [SUCCESS, SUCCESS]);
}

#[test]
fn a_kdc_that_wants_a_new_password_is_not_given_the_old_one() {
    let world = kdc_world();
    let kdc = Kdc::start(&world, ALICE_PASSWORD);
    let lines = "auth required pam_krb5.so\naccount required pam_krb5.so\n";
    world.pam_service("onetime-password", lines);
    assert_eq!(results(&world, "test", &[ALICE_PASSWORD]), [SUCCESS, SUCCESS]);
    kdc.kadmin("modprinc +needchange alice");
    let keys = kdc.kadmin("getprinc alice");
    assert!(keys.contains("REQUIRES_PWCHANGE"), "{keys}");
    // pam_krb5 asks for the new one in the middle of the authentication.
    assert_eq!(results(&world, "test", &[ALICE_PASSWORD])[0], AUTH_ERR);
    assert_eq!(kdc.kadmin("getprinc alice"), keys, "nothing has changed");
    let line = world.wait_for_syslog(|line| line.text.contains("asked "), PATIENCE).text;
    assert!(line.contains("Enter new password"), "{line}");
    assert!(line.contains("pam_krb5.so needs defer_pwchange"), "{line}");
}

#[test]
fn by_su_a_user_of_a_kdc_who_must_change_the_password_does_and_gets_in() {
    let world = kdc_world();
    let kdc = Kdc::start(&world, ALICE_PASSWORD);
    kdc.kadmin("modprinc +needchange alice");
    assert_eq!(results(&world, "test", &[ALICE_PASSWORD]), TOLD);
    assert_eq!(results(&world, "test", &["wrong"])[0], AUTH_ERR);
    assert!(kdc.kadmin("getprinc alice").contains("REQUIRES_PWCHANGE"));
    let mut su = world.pty_as("bob", "su", &["alice", "-c", WELCOME]);
    type_in(&mut su, &[("Password: ", ALICE_PASSWORD)]);
    type_in(&mut su, &NEW_OF_KERBEROS);
    su.expect("Welcome, alice.");
    assert!(su.wait().success(), "{}", su.text());
    assert!(!kdc.kadmin("getprinc alice").contains("REQUIRES_PWCHANGE"));
    assert_eq!(results(&world, "test", &[NEW_PASSWORD]), [SUCCESS, SUCCESS]);
    assert_eq!(results(&world, "test", &[ALICE_PASSWORD])[0], AUTH_ERR);
}

#[test]
fn by_ssh_an_active_user_of_a_kdc_changes_the_password_after_the_code() {
    let world = kdc_world();
    let kdc = Kdc::start(&world, ALICE_PASSWORD);
    kdc.kadmin("modprinc +needchange alice");
    let secret = activate(&world, "alice");
    let sshd = Sshd::start(&world, "");
    let mut ssh = sshd.ssh("alice", &[WELCOME]);
    let code = current_code(&secret, 0);
    type_in(&mut ssh, &[("Password: ", ALICE_PASSWORD), ("One-time code: ", &code)]);
    type_in(&mut ssh, &NEW_OF_KERBEROS);
    ssh.expect("Welcome, alice.");
    assert!(ssh.wait().success(), "{}", ssh.text());
    assert!(!kdc.kadmin("getprinc alice").contains("REQUIRES_PWCHANGE"));
    let code = current_code(&secret, 1);
    assert_eq!(results(&world, "test", &[NEW_PASSWORD, &code]), [SUCCESS, SUCCESS]);
}
