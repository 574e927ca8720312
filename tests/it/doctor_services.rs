//! `onetimectl doctor` on services beside the one that was set up: whatever lets in
//! without a code has a line, and libpam agrees with what is said of a stack.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::common::{ALICE_PASSWORD, World, activate, current_code, modules_directory};
use crate::doctor::{Row, SSHD_CONFIG, named, report, set_up};

/// A stack as Debian has it.
const COMMON_AUTH: &str = "auth [success=1 default=ignore] pam_unix.so nullok\n\
                           auth requisite pam_deny.so\nauth required pam_permit.so\n";

fn with_common_auth() -> World {
    let world = set_up();
    world.pam_service("common-auth", COMMON_AUTH);
    world
}

/// The lines with this name.
fn of_id<'a>(rows: &'a [Row], id: &str) -> Vec<&'a Row> {
    rows.iter().filter(|row| row.id == id).collect()
}

#[test]
fn a_twin_that_asks_for_no_code_has_a_line_of_its_own_and_as_shipped_it_asks() {
    let world = with_common_auth();
    activate(&world, "alice");
    let (failed, rows) = report(&world);
    assert!(!failed && of_id(&rows, "pam-without-code").is_empty(), "{rows:#?}");
    // In a daemon's, pam_rootok.so would let in whoever comes.
    let (own, rootok) = ("@include common-auth\n", "auth sufficient pam_rootok.so\n");
    for (twin, text) in
        [("sudo-i", own.to_owned()), ("su-l", [rootok, own].concat()), ("remote", own.to_owned())]
    {
        world.pam_service(twin, &text);
        let what = format!("{twin}: a password alone lets in: common-auth:1 pam_unix.so");
        named(&world, "pam-without-code", &what, &format!("/etc/pam.d/{twin}"));
    }
    let (failed, rows) = report(&world);
    assert_eq!(of_id(&rows, "pam-without-code").len(), 3, "{rows:#?}");
    assert!(!failed && of_id(&rows, "pam-without-code").iter().all(|row| row.result == "warn"));
}

#[test]
fn an_sshd_that_an_update_put_back_is_a_failure_while_accounts_are_active() {
    let world = with_common_auth();
    world.pam_service("sshd", "@include common-auth\naccount required pam_unix.so\n");
    named(&world, "pam-without-code", "sshd: a password alone", "/etc/pam.d/sshd");
    assert!(!report(&world).0, "nobody has a code");
    activate(&world, "alice");
    let what = "the service sshd, where a password alone lets in: common-auth:1 pam_unix.so";
    named(&world, "sshd-without-code", what, "/etc/pam.d/sshd");
    assert!(report(&world).0);
    // Who must have a key types nothing.
    let keys = format!("{SSHD_CONFIG}AuthenticationMethods publickey\n");
    world.write("/etc/ssh/sshd_config", keys.as_bytes(), 0o644);
    let (failed, rows) = report(&world);
    assert!(!failed, "{rows:#?}");
}

#[test]
fn no_service_at_all_is_a_failure_while_accounts_are_active() {
    let world = set_up();
    for service in world.list("/etc/pam.d") {
        let text = world.read_text(&format!("/etc/pam.d/{service}"));
        if text.lines().any(|line| line.starts_with("auth") && line.contains("pam_onetime.so")) {
            world.remove(&format!("/etc/pam.d/{service}"));
        }
    }
    named(&world, "pam-unused", "no service uses", "Set up");
    assert!(!report(&world).0, "nobody has a code");
    activate(&world, "alice");
    named(&world, "pam-unused-by-accounts", "accounts are active", "Set up");
    assert!(report(&world).0);
}

#[test]
fn whatever_module_lets_in_past_ours_is_named_and_libpam_lets_in() {
    let world = set_up();
    activate(&world, "alice");
    let ours = "auth required pam_onetime.so\n";
    let over = "[success=1 default=ignore]";
    for (stack, answers, id, what) in [
        (
            format!("auth sufficient pam_succeed_if.so user = alice\n{ours}"),
            &[][..],
            "pam-code-skipped",
            "no password and no code is asked: test:1 pam_succeed_if.so",
        ),
        (
            format!("auth sufficient pam_localuser.so\n{ours}"),
            &[],
            "pam-code-skipped",
            "test:1 pam_localuser.so",
        ),
        (
            format!("auth sufficient pam_exec.so quiet /bin/true\n{ours}"),
            &[],
            "pam-code-skipped",
            "test:1 pam_exec.so",
        ),
        (
            format!("auth {over} pam_localuser.so\n{ours}auth required pam_permit.so\n"),
            &[],
            "pam-code-skipped",
            "test:1 pam_localuser.so",
        ),
        (
            format!("auth [success=done default=bad] pam_usertype.so isregular\n{ours}"),
            &[],
            "pam-code-skipped",
            "test:1 pam_usertype.so",
        ),
        (
            format!(
                "auth requisite pam_unix.so\nauth {over} pam_succeed_if.so user = alice\n\
                 auth required pam_onetime.so password=stack\n"
            ),
            &[ALICE_PASSWORD],
            "pam-condition-instead",
            "test:2 pam_succeed_if.so",
        ),
        (
            format!("auth required pam_localuser.so\nauth [default=1] pam_deny.so\n{ours}"),
            &[],
            "pam-code-skipped",
            "test:2 pam_deny.so",
        ),
        (
            "auth [success=ok auth_err=bad default=ignore] pam_onetime.so config=/none\n\
             auth required pam_permit.so\n"
                .to_owned(),
            &[],
            "pam-arguments-refused",
            "/none",
        ),
    ] {
        world.pam_service("test", &format!("{stack}account required pam_permit.so\n"));
        let run = world.pamtester("test", "alice", answers);
        assert!(run.success, "{stack}{}", run.output);
        named(&world, id, what, "");
    }
    world.pam_service("test", "auth sufficient pam_rootok.so\nauth required pam_onetime.so\n");
    assert!(!report(&world).0, "root needs no code");
}

#[test]
fn what_is_said_of_a_stack_is_what_libpam_does_for_any_results_of_its_modules() {
    let world = set_up();
    // Returns what its argument says.
    let debug = world.read(&format!("{}/pam_debug.so", modules_directory().display()));
    let vendor = modules_directory().canonicalize().unwrap().join("pam_vendor.so");
    world.write(&vendor.display().to_string(), &debug, 0o644);
    world.write("/usr/local/sbin/asked", b"#!/bin/sh\necho ASKED\nexit $1\n", 0o755);
    let mut number = 20_261_128_u32;
    let mut pick = |choices: &[&'static str]| {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        choices[(number >> 16) as usize % choices.len()]
    };
    let mut seen = BTreeSet::new();
    for _ in 0..60 {
        let lines: Vec<(&str, &str)> = (0..4)
            .map(|line| {
                let control = pick(&[
                    "required",
                    "requisite",
                    "sufficient",
                    "optional",
                    "[success=1 default=ignore]",
                    "[success=2 user_unknown=ignore default=die]",
                    "[default=1]",
                    "[success=done user_unknown=1 default=bad]",
                    "[success=ok ignore=1 default=reset]",
                ]);
                let module = if line == 2 {
                    "pam_onetime.so"
                } else {
                    pick(&["pam_vendor.so", "pam_permit.so", "pam_deny.so", "pam_rootok.so"])
                };
                (control, module)
            })
            .collect();
        let (skips, overrules) = said(&world, &lines);
        let libpam = done(&world, &lines);
        assert_eq!((skips, overrules), libpam, "skipped, overruled: {lines:#?}");
        seen.insert(libpam);
    }
    assert_eq!(seen.len(), 4, "each of the four has been tried");
}

/// Whether doctor says that the stack skips our module, and that it overrules it.
fn said(world: &World, lines: &[(&str, &str)]) -> (bool, bool) {
    let stack: String =
        lines.iter().map(|(control, module)| format!("auth {control} {module}\n")).collect();
    world.pam_service("test", &stack);
    let rows = report(world).1;
    let says = |ids: &[&str]| {
        rows.iter().any(|row| ids.contains(&row.id.as_str()) && row.what.starts_with("test: "))
    };
    (says(&["pam-code-skipped", "pam-condition-instead"]), says(&["pam-code-overruled"]))
}

/// The same as libpam does it, with every result of the other modules.
fn done(world: &World, lines: &[(&str, &str)]) -> (bool, bool) {
    let mut stacks = vec![String::new()];
    for (control, module) in lines {
        let variants: Vec<String> = match *module {
            "pam_onetime.so" => (0..2)
                .map(|code| format!("pam_exec.so quiet stdout /usr/local/sbin/asked {code}"))
                .collect(),
            "pam_vendor.so" => ["success", "ignore", "auth_err", "user_unknown"]
                .map(|result| format!("pam_vendor.so auth={result}"))
                .into(),
            // pamtester is root's, whom our stack is not about.
            "pam_rootok.so" => vec!["pam_deny.so".to_owned()],
            module => vec![module.to_owned()],
        };
        let longer = |stack: &String| {
            variants
                .iter()
                .map(|module| format!("{stack}auth {control} {module}\n"))
                .collect::<Vec<_>>()
        };
        stacks = stacks.iter().flat_map(longer).collect();
    }
    let mut script = String::new();
    for (number, stack) in stacks.iter().enumerate() {
        world.pam_service(&format!("try{number}"), stack);
        writeln!(
            script,
            "if shown=$(pamtester try{number} alice authenticate 2>&1 </dev/null)\n\
             then case $shown in *ASKED*) echo asked {number};; *) echo past {number};; esac; fi"
        )
        .expect("a string takes what is written");
    }
    let run = world.run("sh", &["-c", &script]);
    for number in 0..stacks.len() {
        world.remove(&format!("/etc/pam.d/try{number}"));
    }
    let admitted = |how: &str| {
        run.stdout
            .lines()
            .filter_map(|line| line.strip_prefix(how)?.trim().parse::<usize>().ok())
            .map(|number| stacks[number].clone())
            .collect::<Vec<_>>()
    };
    let refused = admitted("asked").into_iter().any(|stack| stack.contains("asked 1"));
    (!admitted("past").is_empty(), refused)
}

#[test]
fn what_packagers_and_pam_auth_update_leave_there_is_no_service() {
    let world = with_common_auth();
    for ending in ["pam-old", "dpkg-old", "dpkg-dist", "rpmsave", "ucf-dist", "bak"] {
        world.pam_service(&format!("sudo.{ending}"), "@include common-auth\n");
    }
    world.pam_service("sudo~", "@include common-auth\n");
    let rows = report(&world).1;
    assert!(of_id(&rows, "pam-without-code").is_empty(), "{rows:#?}");
}

#[test]
fn programs_that_never_ask_make_one_line_and_no_alarm() {
    let world = with_common_auth();
    for service in ["cron", "atd", "lightdm-greeter"] {
        world.pam_service(service, "@include common-auth\n");
    }
    let rows = report(&world).1;
    assert!(of_id(&rows, "pam-without-code").is_empty(), "{rows:#?}");
    let [row] = of_id(&rows, "pam-never-asked")[..] else { panic!("{rows:#?}") };
    assert!(row.result == "ok" && row.what.starts_with("atd, cron, lightdm-greeter: "), "{row:?}");
}

#[test]
fn a_line_for_a_group_without_members_is_no_alarm_until_somebody_is_in_it() {
    let world = set_up();
    // As lightdm and sddm ship it.
    let line = "auth sufficient pam_succeed_if.so user ingroup nopasswdlogin\n";
    world.pam_service("lightdm", &format!("{line}auth required pam_onetime.so\n"));
    assert!(!report(&world).0, "there is no such group");
    let groups = world.read_text("/etc/group");
    world.write("/etc/group", format!("{groups}nopasswdlogin:x:900:\n").as_bytes(), 0o644);
    assert!(!report(&world).0, "nobody is in it");
    world.write("/etc/group", format!("{groups}nopasswdlogin:x:900:bob\n").as_bytes(), 0o644);
    named(&world, "pam-code-skipped", "lightdm:1 pam_succeed_if.so", "exempt_groups");
}

#[test]
fn a_unit_that_makes_the_store_read_only_is_named_until_a_drop_in_gives_it_back() {
    let world = set_up();
    let unit = "/etc/systemd/system/polkit-agent-helper@.service";
    let text = "[Service]\nExecStart=/usr/lib/polkit-1/polkit-agent-helper-1 --socket-activated\n\
                ProtectSystem=strict\n";
    world.write(unit, text.as_bytes(), 0o644);
    let rows = report(&world).1;
    assert!(of_id(&rows, "unit-store-read-only").is_empty(), "polkit asks for no code: {rows:#?}");
    world.pam_service("polkit-1", "auth required pam_onetime.so\n");
    let what = format!("ProtectSystem=strict ({unit}:3)");
    let remedy = "/etc/systemd/system/polkit-agent-helper@.service.d/onetime.conf";
    named(&world, "unit-store-read-only", &what, remedy);
    named(&world, "unit-store-read-only", "", "ReadWritePaths=-/var/lib/onetime");
    let given = b"[Service]\nReadWritePaths=-/var/lib/onetime\n";
    world.write(&format!("{unit}.d/onetime.conf"), given, 0o644);
    let rows = report(&world).1;
    assert!(of_id(&rows, "unit-store-read-only").is_empty(), "{rows:#?}");
}

#[test]
fn a_login_on_a_read_only_store_says_how_a_unit_lets_it_write() {
    let world = set_up();
    let secret = activate(&world, "alice");
    let store = "/var/lib/onetime";
    world.run("mount", &["--bind", store, store]).ok();
    world.run("mount", &["-o", "remount,bind,ro", store]).ok();
    let code = current_code(&secret, 0);
    let run = world.pamtester("sudo", "alice", &[ALICE_PASSWORD, &code]);
    assert!(!run.success, "{}", run.output);
    let line =
        world.wait_for_syslog(|line| line.text.contains("outcome=failed"), crate::common::PATIENCE);
    assert!(line.text.contains("ReadWritePaths=-/var/lib/onetime"), "{}", line.text);
    world.run("umount", &[store]).ok();
}

#[test]
fn the_file_that_the_unit_of_sshd_names_is_the_one_that_is_judged() {
    let world = set_up();
    let text =
        b"[Service]\nEnvironmentFile=-/etc/default/ssh\nExecStart=/usr/sbin/sshd -D $SSHD_OPTS\n";
    world.write("/etc/systemd/system/ssh.service", text, 0o644);
    assert!(!report(&world).0);
    world.write("/etc/default/ssh", b"SSHD_OPTS='-f /etc/ssh/mine'\n", 0o644);
    world.write("/etc/ssh/mine", format!("UsePAM no\n{SSHD_CONFIG}").as_bytes(), 0o644);
    named(&world, "sshd-without-pam", "/etc/ssh/mine:1", "in /etc/ssh/mine:1: UsePAM yes");
}

#[test]
fn the_line_that_decides_is_named_where_a_later_one_says_the_right_thing() {
    let world = set_up();
    // As Debian ships it, with README's lines below.
    let config = format!(
        "Include /etc/ssh/sshd_config.d/*.conf\nKbdInteractiveAuthentication no\n{SSHD_CONFIG}"
    );
    world.write("/etc/ssh/sshd_config", config.as_bytes(), 0o644);
    let remedy = "in /etc/ssh/sshd_config:2: KbdInteractiveAuthentication yes";
    named(&world, "sshd-without-prompts", "/etc/ssh/sshd_config:2", remedy);
    // As README says.
    world.write("/etc/ssh/sshd_config.d/00-onetime.conf", SSHD_CONFIG.as_bytes(), 0o644);
    assert!(!report(&world).0);
}

#[test]
fn an_sshd_that_does_not_answer_is_not_waited_for() {
    let world = set_up();
    world.run("mkfifo", &["/etc/ssh/nobody-writes"]).ok();
    let config = format!("{SSHD_CONFIG}Include /etc/ssh/nobody-writes\n");
    world.write("/etc/ssh/sshd_config", config.as_bytes(), 0o644);
    named(&world, "sshd-not-asked", "no answer within 5 seconds", "sshd -T");
}

#[test]
fn a_line_that_libpam_cannot_follow_is_named_and_libpam_refuses() {
    let world = set_up();
    activate(&world, "alice");
    for (text, id, what) in [
        ("auht required pam_onetime.so\n", "pam-line-broken", "test: test:1 begins with none of"),
        ("auth mandatory pam_unix.so\n", "pam-service-broken", "test: test:1"),
        ("auth required /opt/pam_onetime.so\n", "pam-module-missing", "test: test:1"),
        (
            "auth required pam_gone.so\nauth sufficient pam_unix.so\n",
            "pam-service-broken",
            "test:1",
        ),
    ] {
        world.pam_service("test", &format!("{text}account required pam_permit.so\n"));
        named(&world, id, what, "correct");
        let run = world.pamtester("test", "alice", &[ALICE_PASSWORD, "000000"]);
        assert!(!run.success, "{text}{}", run.output);
    }
}

#[test]
fn a_module_by_its_path_is_looked_at_as_libpam_loads_it() {
    let world = set_up();
    world.write("/root/security/pam_onetime.so", b"#!/bin/sh\n", 0o666);
    world.pam_service("test", "auth required /root/security/pam_onetime.so\n");
    named(&world, "module-exposed", "/root/security/pam_onetime.so", "chmod go-w");
    named(&world, "module-not-loadable", "/root/security/pam_onetime.so", "make install");
}

#[test]
fn a_login_service_that_verifies_passwords_is_a_failure_and_hides_no_hole() {
    let world = with_common_auth();
    activate(&world, "alice");
    let config = b"[password]\nservice = \"su-l\"\n";
    world.write("/etc/onetime/onetime.toml", config, 0o644);
    world.pam_service("su-l", "@include common-auth\n");
    named(&world, "password-service-shared", "su-l verifies passwords", "password.service");
    named(&world, "pam-without-code", "su-l: a password alone lets in", "/etc/pam.d/su-l");
    assert!(report(&world).0);
}
