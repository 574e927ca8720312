//! `onetimectl doctor` on the programs that use PAM: what each cannot do, where a secret is
//! shown, and ways in past PAM by their own configuration. What is said of a stack is what a
//! login on it meets.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::common::{
    ALICE_PASSWORD, AUTHINFO_UNAVAIL, Answers, BOB_PASSWORD, Client, ClientRun, Daemon, SUCCESS,
    World, activate, conf, enable, example_path, finish,
};
use crate::doctor::{Row, named, report, set_up};

/// The lines with this name.
fn of_id<'a>(rows: &'a [Row], id: &str) -> Vec<&'a Row> {
    rows.iter().filter(|row| row.id == id).collect()
}

#[track_caller]
fn not_named(world: &World, id: &str) {
    let (_, rows) = report(world);
    assert!(of_id(&rows, id).is_empty(), "{rows:#?}");
}

/// A login by a program that runs as the user, as screen lockers do.
fn as_the_user(world: &World, service: &str, user: &str, password: &str) -> ClientRun {
    let client = world.program(&example_path("pam_client"));
    let mut command = world.command_as(user, &client);
    command.args([service, user]);
    ClientRun::read(finish(&mut command, format!("{password}\n").as_bytes()))
}

#[test]
fn a_screen_locker_that_includes_login_never_unlocks_and_doctor_and_log_say_what_to_do() {
    let world = set_up();
    for (service, text) in [
        ("i3lock", "auth include login\n"),
        ("swaylock", "auth substack login\n"),
        ("xscreensaver", "@include login\n"),
        ("xsecurelock", "-auth include login\n"),
        ("screen", "auth required pam_onetime.so\n"),
        ("postgresql", "auth required pam_onetime.so prompt=combined\n"),
    ] {
        world.pam_service(service, text);
    }
    let (failed, rows) = report(&world);
    let found = of_id(&rows, "pam-without-root");
    assert!(failed && found.len() == 6, "{rows:#?}");
    for service in ["i3lock", "swaylock", "xscreensaver", "xsecurelock", "screen", "postgresql"] {
        let row = found.iter().find(|row| row.what.starts_with(&format!("{service}: ")));
        let row = row.unwrap_or_else(|| panic!("{service}: {rows:#?}"));
        assert!(row.result == "fail" && row.remedy.contains("conf/pam.d/password-only"), "{row:?}");
        let sound = of_id(&rows, "pam-sound");
        assert!(!sound.iter().any(|row| row.what.contains(service)), "{rows:#?}");
    }
    named(&world, "pam-without-root", "i3lock: login:", "password-only");
    named(&world, "pam-without-root", "runs as postgres, who", "password-only");
    // So it is, for who needs no code too.
    world.forget_syslog();
    let run = as_the_user(&world, "i3lock", "bob", BOB_PASSWORD);
    assert_eq!(run.result(), AUTHINFO_UNAVAIL, "{run:?}");
    let lines = world.syslog();
    let said = |what: &str| lines.iter().any(|line| line.text.contains(what));
    assert!(said("uid 2002 cannot read the store") && said("onetimed.socket"), "{lines:#?}");
    for service in ["i3lock", "swaylock", "xscreensaver", "xsecurelock", "screen"] {
        world.pam_service(service, &conf("pam.d/password-only"));
    }
    let run = as_the_user(&world, "i3lock", "bob", BOB_PASSWORD);
    assert_eq!(run.result(), SUCCESS, "{run:?}");
    world.remove("/etc/pam.d/postgresql");
    let (failed, rows) = report(&world);
    assert!(!failed && of_id(&rows, "pam-without-code").is_empty(), "{rows:#?}");
    let [locker] = of_id(&rows, "pam-locker")[..] else { panic!("{rows:#?}") };
    let all = "i3lock, screen, swaylock, xscreensaver, xsecurelock: ";
    assert!(locker.result == "ok" && locker.what.starts_with(all), "{locker:?}");
}

#[test]
fn where_onetimed_listens_doctor_fails_only_those_that_may_not_ask_and_names_who_cannot() {
    let world = set_up();
    world.pam_service("xscreensaver", "auth include login\naccount include login\n");
    let combined = "auth required pam_onetime.so prompt=combined\n";
    world.pam_service("postgresql", combined);
    named(&world, "pam-without-root", "xscreensaver: ", "systemctl enable --now onetimed.socket");
    let _daemon = Daemon::start(&world);
    for (path, mode, as_it_was) in
        [("socket", "660", "666"), ("", "750", "755"), ("", "777", "755")]
    {
        let path = format!("/run/onetime/{path}");
        world.run("chmod", &[mode, &path]).ok();
        named(&world, "onetimed-socket-mode", &format!("with mode 0{mode}"), "onetimed.socket");
        world.run("chmod", &[as_it_was, &path]).ok();
    }
    not_named(&world, "onetimed-socket-mode");
    let (_, rows) = report(&world);
    let [postgres] = of_id(&rows, "pam-without-root")[..] else { panic!("{rows:#?}") };
    assert!(postgres.what.contains("daemon.may_ask"), "{postgres:?}");
    let toml = world.read_text("/etc/onetime/onetime.toml");
    let may_ask = |user: &str, service: &str| {
        let section =
            format!("[daemon]\nmay_ask = [{{ user = {user:?}, services = [{service:?}] }}]\n");
        let entry = toml.replace("[daemon]\n", &section);
        world.write("/etc/onetime/onetime.toml", entry.as_bytes(), 0o644);
    };
    may_ask("postgres", "postgresql");
    not_named(&world, "pam-without-root");
    // There is no such account in this world.
    named(&world, "policy-may-ask-unknown", "no account postgres", "runs as");
    may_ask("root", "nowhere");
    named(&world, "policy-may-ask-root", "root is root", "take it out");
    named(&world, "policy-may-ask-service", "no file of the service nowhere", "/etc/pam.d");
}

/// Where systemd listens, the unit is judged by its text: looking starts nothing.
#[test]
fn doctor_judges_the_unit_of_onetimed_by_where_the_store_is_and_does_not_start_it() {
    let world = set_up();
    let unit = "/etc/systemd/system/onetimed.service";
    world.write(unit, include_bytes!("../../packaging/systemd/onetimed.service"), 0o644);
    let toml = world.read_text("/etc/onetime/onetime.toml");
    let elsewhere = toml.replace("#dir = \"/var/lib/onetime\"", "dir = \"/var/lib/elsewhere\"");
    assert_ne!(elsewhere, toml);
    world.write("/etc/onetime/onetime.toml", elsewhere.as_bytes(), 0o644);
    world.onetimectl(&["init"]).ok();
    not_named(&world, "unit-store-read-only");
    let listen = "import os, socket, sys
os.makedirs('/run/onetime', 0o755, exist_ok=True)
listener = socket.socket(socket.AF_UNIX)
listener.bind('/run/onetime/socket')
os.chmod('/run/onetime/socket', 0o666)
listener.listen()
print('ready', flush=True)
sys.stdin.readline()
listener.setblocking(False)
try:
    listener.accept()
    print('asked')
except BlockingIOError:
    print('nobody has asked')
";
    let mut systemd = world.command("python3");
    let pipes = systemd.args(["-c", listen]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut systemd = pipes.spawn().expect("python3 starts");
    let mut said =
        BufReader::new(systemd.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    assert_eq!(said.next().as_deref(), Some("ready"));
    let what = "onetimed.service keeps its program from writing into /var/lib/elsewhere";
    let remedy = "onetimed.service.d/onetime.conf with: [Service] and, on a line of its own, \
                  ReadWritePaths=-/var/lib/elsewhere";
    named(&world, "unit-store-read-only", what, remedy);
    let given = b"[Service]\nReadWritePaths=-/var/lib/elsewhere\n";
    world.write(&format!("{unit}.d/onetime.conf"), given, 0o644);
    not_named(&world, "unit-store-read-only");
    drop(systemd.stdin.take());
    assert_eq!(said.next().as_deref(), Some("nobody has asked"));
    assert!(systemd.wait().is_ok_and(|status| status.success()));
}

#[test]
fn a_program_that_gives_one_answer_to_every_prompt_fails_until_it_is_asked_once() {
    let world = set_up();
    for service in ["vsftpd", "openvpn", "sddm"] {
        world.pam_service(service, "auth required pam_onetime.so\n");
        let what = format!("{service}: {service}:1");
        named(&world, "pam-one-prompt", &what, "conf/pam.d/one-prompt");
    }
    assert!(report(&world).0);
    world.pam_service("one-prompt", &conf("pam.d/one-prompt"));
    for service in ["vsftpd", "openvpn", "sddm"] {
        world.pam_service(service, "auth include one-prompt\naccount include one-prompt\n");
    }
    let (failed, rows) = report(&world);
    assert!(!failed && of_id(&rows, "pam-one-prompt").is_empty(), "{rows:#?}");
    // IMAP sends the password again and again.
    world.pam_service("dovecot", "auth required pam_onetime.so prompt=combined\n");
    named(&world, "pam-repeats", "dovecot: dovecot:1 Dovecot asks again", "remember=12h");
    world.pam_service("dovecot", "auth required pam_onetime.so prompt=combined remember=12h\n");
    let (_, rows) = report(&world);
    assert!(!of_id(&rows, "pam-repeats").iter().any(|row| row.what.contains("dovecot")));
    world.pam_service("gdm-password", "auth required pam_onetime.so remember=1h\n");
    named(&world, "pam-remember-idle", "gdm-password:1 GDM", "take remember out");
}

#[test]
fn a_service_of_show_at_is_judged_by_what_its_program_does_with_texts() {
    let world = set_up();
    let config = |names: &str| {
        let text = format!("[enrollment]\nshow_at = [{names}]\n");
        world.write("/etc/onetime/onetime.toml", text.as_bytes(), 0o644);
    };
    for service in ["cockpit", "xdm", "polkit-1"] {
        world.pam_service(service, "auth required pam_onetime.so\n");
    }
    config("\"cockpit\", \"xdm\", \"polkit-1\", \"sshd\"");
    named(&world, "policy-show-at-unsafe", "cockpit (Cockpit writes every text", "--new-secret");
    named(&world, "policy-show-at-unsafe", "xdm (xdm stops", "show_at");
    named(&world, "policy-show-at-short", "polkit-1 (", "show_at");
    assert!(report(&world).0);
    config("\"sshd\", \"SSHD\", \"sshd-typo\"");
    named(&world, "policy-show-at-unknown", "SSHD, sshd-typo", "service=");
    assert!(!report(&world).0);
    // Nobody is pending, then somebody is.
    config("\"cron\"");
    not_named(&world, "policy-nothing-shown");
    enable(&world, "bob");
    named(&world, "policy-nothing-shown", "accounts are pending", "handout");
    config("\"sshd\"");
    not_named(&world, "policy-nothing-shown");
    config("");
    named(&world, "policy-nothing-shown", "no service shows them a key", "show_at");
}

#[test]
fn ways_in_past_pam_are_named_with_file_and_line_until_they_are_closed() {
    let world = set_up();
    let ours = "auth required pam_onetime.so prompt=combined\n";
    for service in ["proftpd", "dovecot", "smtp"] {
        world.pam_service(service, ours);
    }
    for id in ["proftpd-second-way", "dovecot-second-way", "saslauthd-cache"] {
        not_named(&world, id);
    }
    let write = |path: &str, text: &str| world.write(path, text.as_bytes(), 0o644);
    // As Debian ships them, or nearly so.
    write(
        "/etc/proftpd/proftpd.conf",
        "Include /etc/proftpd/conf.d/\n# AuthOrder mod_auth_pam.c*\n",
    );
    named(&world, "proftpd-second-way", "no AuthOrder in /etc/proftpd/proftpd.conf", "VirtualHost");
    write("/etc/proftpd/conf.d/auth", "\nAuthOrder mod_auth_unix.c\n");
    named(&world, "proftpd-second-way", "/etc/proftpd/conf.d/auth:2", "restart proftpd");
    write("/etc/proftpd/conf.d/auth", "AuthOrder mod_auth_pam.c* mod_auth_unix.c\n");
    not_named(&world, "proftpd-second-way");
    write("/etc/dovecot/dovecot.conf", "!include conf.d/*.conf\n!include_try local.conf\n");
    write(
        "/etc/dovecot/conf.d/10-auth.conf",
        "auth_cache_size = 1M\n!include auth-system.conf.ext\n",
    );
    let passdb = |args: &str| format!("passdb {{\n  driver = pam\n  args = {args}\n}}\n");
    write("/etc/dovecot/conf.d/auth-system.conf.ext", &passdb("cache_key=%u dovecot"));
    named(&world, "dovecot-second-way", "auth-system.conf.ext:3", "cache_key");
    write("/etc/dovecot/conf.d/auth-system.conf.ext", &passdb("dovecot"));
    not_named(&world, "dovecot-second-way");
    write("/etc/default/saslauthd", "MECHANISMS=\"pam\"\nOPTIONS=\"-c -m /run/saslauthd\"\n");
    named(&world, "saslauthd-cache", "/etc/default/saslauthd:2 (", "restart saslauthd");
    write("/etc/default/saslauthd", "OPTIONS=\"-m /run/saslauthd\"\n");
    not_named(&world, "saslauthd-cache");
    // What is too large, or no file, may say anything.
    not_named(&world, "program-config-unreadable");
    let large = "#\n".repeat(600_000);
    write("/etc/proftpd/conf.d/auth", &large);
    named(&world, "program-config-unreadable", "/etc/proftpd/conf.d/auth", "size");
    world.remove("/etc/proftpd/conf.d/auth");
    world.run("mkfifo", &["/etc/proftpd/conf.d/auth"]).ok();
    named(&world, "program-config-unreadable", "/etc/proftpd/conf.d/auth", "size");
    world.remove("/etc/proftpd/conf.d/auth");
    world.run("ln", &["-s", "../proftpd.conf", "/etc/proftpd/conf.d/loop"]).ok();
    named(&world, "program-config-unreadable", "/etc/proftpd/conf.d/", "includes itself");
}

#[test]
fn that_samba_asks_for_no_code_is_said_where_there_is_an_smbd() {
    let world = set_up();
    let config = "[global]\n  obey pam restrictions = yes\n";
    world.write("/etc/samba/smb.conf", config.as_bytes(), 0o644);
    world.write("/usr/local/sbin/smbd", b"#!/bin/sh\n", 0o755);
    named(&world, "samba-without-code", "/etc/samba/smb.conf:2", "valid users");
    world.remove("/usr/local/sbin/smbd");
    not_named(&world, "samba-without-code");
}

#[test]
fn administrators_without_a_code_are_named_where_polkit_asks_for_one() {
    let world = set_up();
    let rule =
        "polkit.addAdminRule(function(action, subject) {\n  return [\"unix-group:sudo\"];\n});\n";
    world.write("/etc/polkit-1/rules.d/40-debian-sudo.rules", rule.as_bytes(), 0o644);
    not_named(&world, "administrators-without-code");
    world.pam_service("polkit-1", "auth required pam_onetime.so\n");
    named(&world, "administrators-without-code", "alice (sudo): ", "onetimectl enable");
    enable(&world, "alice");
    named(&world, "administrators-without-code", "alice (sudo): ", "onetimectl enable");
    world.onetimectl(&["disable", "alice"]).ok();
    activate(&world, "alice");
    not_named(&world, "administrators-without-code");
    let groups = world.read_text("/etc/group").replace("sudo:x:27:alice", "sudo:x:27:alice,bob");
    world.write("/etc/group", groups.as_bytes(), 0o644);
    named(&world, "administrators-without-code", "code: bob (sudo): ", "out of the group");
    // Who has no record is refused there, or has no password.
    world.pam_service("polkit-1", "auth required pam_onetime.so missing=deny\n");
    not_named(&world, "administrators-without-code");
    world.pam_service("polkit-1", "auth required pam_onetime.so\n");
    world.run("sed", &["-i", "s/^bob:/bob:!/", "/etc/shadow"]).ok();
    not_named(&world, "administrators-without-code");
}

#[test]
fn all_services_that_share_a_finding_are_named() {
    let world = set_up();
    for number in 0..15 {
        world.pam_service(&format!("many{number:02}"), "auth required pam_onetime.so nonsense\n");
    }
    let (_, rows) = report(&world);
    let refused = of_id(&rows, "pam-arguments-refused");
    assert_eq!(refused.len(), 15, "each has a place of its own: {rows:#?}");
    for number in 0..15 {
        world.pam_service(&format!("many{number:02}"), "auth required pam_onetime.so\n");
    }
    let (_, rows) = report(&world);
    let sound = of_id(&rows, "pam-sound");
    assert!(sound.iter().any(|row| (0..15).all(|n| row.what.contains(&format!("many{n:02}")))));
    assert!(!rows.iter().any(|row| row.what.contains(" more")), "{rows:#?}");
}

/// The password once, and the same to each prompt that follows.
fn one_answer(world: &World, service: &str, user: &str, answer: &str) -> i32 {
    Client::new(world, service, user).run(&Answers::new(&[answer; 4])).result()
}

#[test]
fn what_doctor_says_of_one_prompt_is_what_such_a_program_meets() {
    let world = set_up();
    activate(&world, "alice");
    world.pam_service("vsftpd", "auth required pam_onetime.so\n");
    assert_eq!(one_answer(&world, "vsftpd", "bob", BOB_PASSWORD), SUCCESS);
    assert_ne!(one_answer(&world, "vsftpd", "alice", ALICE_PASSWORD), SUCCESS);
    named(&world, "pam-one-prompt", "vsftpd:1", "prompt=combined");
}
