//! Policies whose answers are missing, partial or misspelt, through the real Linux-PAM
//! and the real C library: a second source of users and groups (libnss-extrausers, in the
//! place of a directory) that is there, is down, or is not installed at all.

use std::path::Path;

use crate::common::{
    ALICE_PASSWORD, AUTH_ERR, AUTHINFO_UNAVAIL, Answers, BOB_PASSWORD, CAROL_PASSWORD, Client,
    ClientRun, Event, PATIENCE, SUCCESS, World, activate, conf, current_code, installed,
    modules_directory,
};
use crate::doctor::{named, report, set_up};

/// Where libnss-extrausers reads.
const DIRECTORY: &str = "/var/lib/extrausers";

/// A world with a directory in which bob is a member of the group staff, and in which
/// staff is required to have a record.
#[track_caller]
fn world_with_directory(sources: &str) -> World {
    let library = Path::new("/usr/lib/libnss_extrausers.so.2");
    assert!(library.exists(), "missing: libnss_extrausers; apt-get install libnss-extrausers");
    let world = installed();
    world.pam_service("onetime-password", "auth required pam_unix.so nodelay\n");
    world.pam_service("test", "auth required pam_onetime.so require_groups=staff\n");
    let nsswitch = world.read_text("/etc/nsswitch.conf");
    let lines = nsswitch.lines().map(|line| match line.split_once(':') {
        Some((map @ ("passwd" | "group"), _)) => format!("{map}: {sources}\n"),
        _ => format!("{line}\n"),
    });
    world.write("/etc/nsswitch.conf", lines.collect::<String>().as_bytes(), 0o644);
    world.write(&format!("{DIRECTORY}/passwd"), b"", 0o644);
    world.write(&format!("{DIRECTORY}/shadow"), b"", 0o640);
    world.write(&format!("{DIRECTORY}/group"), b"staff:x:5000:bob\n", 0o644);
    world
}

fn login(world: &World, user: &str, answers: &[&str]) -> i32 {
    Client::new(world, "test", user).run(&Answers::new(answers)).result()
}

#[track_caller]
fn logged(world: &World, what: &str) -> String {
    let ours =
        |line: &crate::common::SyslogLine| line.tag == "pam_onetime" && line.text.contains(what);
    world.wait_for_syslog(ours, PATIENCE).text
}

const NOT_FOUND_OUT: &str = "whether a code is required cannot be found out";

#[test]
fn a_directory_that_is_down_does_not_let_in_those_whom_a_policy_may_require() {
    // The C library reports a source that is down only where it is the last.
    for (sources, fault) in [
        ("files extrausers", "require_groups: staff: it cannot be looked up: ENOENT"),
        ("extrausers files", "require_groups: staff: there is no such group"),
    ] {
        let world = world_with_directory(sources);
        let secret = activate(&world, "alice");
        assert_eq!(login(&world, "bob", &[BOB_PASSWORD]), AUTH_ERR, "{sources}");
        logged(&world, "not enabled, but a code is required");
        assert_eq!(login(&world, "carol", &[CAROL_PASSWORD]), SUCCESS, "{sources}");

        world.remove(DIRECTORY);
        for (user, password) in [("bob", BOB_PASSWORD), ("carol", CAROL_PASSWORD)] {
            world.forget_syslog();
            assert_eq!(login(&world, user, &[password]), AUTH_ERR, "{user} {sources}");
            logged(&world, fault);
            assert!(logged(&world, NOT_FOUND_OUT).contains("outcome=failed"));
        }
        // Who has a code gets in by it, and not without.
        let code = current_code(&secret, 0);
        assert_eq!(login(&world, "alice", &[ALICE_PASSWORD, ""]), AUTH_ERR);
        assert_eq!(login(&world, "alice", &[ALICE_PASSWORD, &code]), SUCCESS, "{sources}");
    }
}

#[test]
fn a_member_by_the_list_of_the_group_is_one_also_where_the_list_of_the_user_is_shorter() {
    let world = world_with_directory("files extrausers");
    // As while a directory comes back: its groups are known, what users are in is not.
    let nsswitch = world.read_text("/etc/nsswitch.conf") + "initgroups: files\n";
    world.write("/etc/nsswitch.conf", nsswitch.as_bytes(), 0o644);
    assert!(!world.run("id", &["-nG", "bob"]).ok().contains("staff"), "the list is shorter");
    assert_eq!(login(&world, "bob", &[BOB_PASSWORD]), AUTH_ERR);
    logged(&world, "not enabled, but a code is required");
    assert_eq!(login(&world, "carol", &[CAROL_PASSWORD]), SUCCESS);
}

#[test]
fn a_group_that_does_not_exist_requires_a_record_of_everybody_and_exempts_nobody() {
    let world = world_with_directory("files");
    let secret = activate(&world, "alice");
    for (arguments, named) in [
        ("require_groups=no-such-group", "require_groups: no-such-group: there is no such group"),
        ("require_groups=adm,no-such-group", "require_groups: no-such-group"),
        // Names of groups differ by case.
        ("require_groups=Staff", "require_groups: Staff"),
    ] {
        world.forget_syslog();
        world.pam_service("test", &format!("auth required pam_onetime.so {arguments}\n"));
        assert_eq!(login(&world, "carol", &[CAROL_PASSWORD]), AUTH_ERR, "{arguments}");
        logged(&world, named);
        logged(&world, NOT_FOUND_OUT);
        assert_eq!(login(&world, "carol", &["wrong"]), AUTH_ERR);
        logged(&world, "reason=\"wrong password\"");
    }
    world.pam_service("test", "auth required pam_onetime.so exempt_groups=no-such-group\n");
    assert_eq!(login(&world, "carol", &[CAROL_PASSWORD]), SUCCESS, "she needs no record");
    logged(&world, "exempt_groups: no-such-group: there is no such group");
    assert_eq!(login(&world, "alice", &[ALICE_PASSWORD]), AUTH_ERR, "she is asked for a code");
    let code = current_code(&secret, 0);
    assert_eq!(login(&world, "alice", &[ALICE_PASSWORD, &code]), SUCCESS);
}

#[test]
fn a_source_that_is_not_installed_is_like_one_that_is_down() {
    let world = world_with_directory("files absent");
    assert_eq!(login(&world, "carol", &[CAROL_PASSWORD]), AUTH_ERR);
    logged(&world, "require_groups: staff: there is no such group");
    // A group that is known is answered for.
    world.pam_service("test", "auth required pam_onetime.so require_groups=sudo\n");
    assert_eq!(login(&world, "carol", &[CAROL_PASSWORD]), SUCCESS);
    assert_eq!(login(&world, "alice", &[ALICE_PASSWORD]), AUTH_ERR);
    logged(&world, "not enabled, but a code is required");
}

#[test]
fn a_user_who_cannot_be_looked_up_meets_the_prompts_of_one_who_is_unknown() {
    let world = world_with_directory("files extrausers");
    let seen = |world: &World| -> Vec<Event> {
        let run: ClientRun = Client::new(world, "test", "mallory").run(&Answers::new(&["x"]));
        run.dialogue().into_iter().cloned().collect()
    };
    let unknown = seen(&world);
    world.remove(DIRECTORY);
    assert_eq!(seen(&world), unknown);
    logged(&world, "the user database cannot be read");
    assert_eq!(login(&world, "mallory", &["x"]), AUTHINFO_UNAVAIL);
}

#[test]
fn a_password_service_without_a_file_of_its_own_is_refused_though_other_would_accept() {
    let world = installed();
    world.pam_service("other", "auth required pam_permit.so\naccount required pam_permit.so\n");
    world.pam_service("onetime-password", "auth required pam_unix.so nodelay\n");
    world.pam_service("emptied", "");
    world.pam_service("half", "# auth required pam_unix.so\naccount required pam_unix.so\n");
    let refused = |service: &str| {
        world.forget_syslog();
        world.pam_service("test", &format!("auth required pam_onetime.so service={service}\n"));
        for password in [ALICE_PASSWORD, "wrong"] {
            assert_eq!(login(&world, "alice", &[password]), AUTH_ERR, "{service}");
        }
        let why = "no file with auth lines in pam.d for the password service";
        let ours = |text: &str| text.contains(why) && text.contains(service);
        let line = world.wait_for_syslog(|line| ours(&line.text), PATIENCE).text;
        assert!(line.contains("correct password.service"), "{line}");
    };
    refused("onetime-pasword");
    refused("emptied");
    refused("half");
    // Lines that another file has are no lines where it has none.
    world.pam_service("includes-half", "auth include half\n@include emptied\n");
    refused("includes-half");
    // libpam reads the name in small letters, wherever it comes from.
    world.pam_service("test", "auth required pam_onetime.so service=OneTime-Password\n");
    assert_eq!(login(&world, "alice", &[ALICE_PASSWORD]), SUCCESS);
    assert_eq!(login(&world, "alice", &["wrong"]), AUTH_ERR);
    // The shipped one, removed.
    world.remove("/etc/pam.d/onetime-password");
    refused("onetime-password");
}

#[test]
fn a_password_service_of_the_vendor_counts_where_this_libpam_looks_for_it() {
    let world = installed();
    world.remove("/etc/pam.d/onetime-password");
    world.pam_service("test", "auth required pam_onetime.so\naccount required pam_permit.so\n");
    world.pam_service("other", "auth required pam_permit.so\naccount required pam_permit.so\n");
    let modules = modules_directory();
    let libpam = modules.parent().expect("it is in one").join("libpam.so.0");
    // What the world has of its own below /usr is bound anew on what is laid over it.
    let on_usr = "mount -t tmpfs tmpfs /root; mkdir /root/upper /root/work /root/modules; \
                  mount --bind \"$1\" /root/modules; mount -t overlay overlay -o \
                  lowerdir=/usr,upperdir=/root/upper,workdir=/root/work /usr; \
                  mount --bind /root/modules \"$1\"; mkdir -p /usr/etc/pam.d; \
                  echo 'auth required pam_unix.so nodelay' >/usr/etc/pam.d/onetime-password";
    world.run("sh", &["-euc", on_usr, "sh", &modules.display().to_string()]).ok();
    assert_eq!(login(&world, "alice", &[ALICE_PASSWORD]), AUTH_ERR, "this libpam does not look");
    // As that of SUSE: the two names are of one length.
    let suse = "sed 's#/usr/lib/pam.d#/usr/etc/pam.d#g' \"$1\" >/root/libpam; \
                chmod 755 /root/libpam; mount --bind /root/libpam \"$(readlink -f \"$1\")\"";
    world.run("sh", &["-euc", suse, "sh", &libpam.display().to_string()]).ok();
    assert_eq!(login(&world, "alice", &[ALICE_PASSWORD]), SUCCESS);
    assert_eq!(login(&world, "alice", &["wrong"]), AUTH_ERR);
}

/// Where none is configured it is the name of the machine that the tests run on, of which
/// doctor may say that many have it.
const ISSUER: &str = "issuer = \"host.example.org\"";

#[test]
fn doctor_names_policies_that_cannot_be_applied_and_policies_that_are_none() {
    let world = set_up();
    let shipped = conf("onetime.toml").replace(&format!("#{ISSUER}"), ISSUER);
    for (id, key, line, what, remedy) in [
        (
            "policy-required-group-unknown",
            "require_groups",
            "[\"no-such\"]",
            "no-such",
            "create it",
        ),
        ("policy-exempt-group-unknown", "exempt_groups", "[\"no-such\"]", "no-such", "create it"),
        ("policy-network-wide", "exempt_networks", "[\"::ffff:0:0/96\"]", "0.0.0.0/0", "your own"),
        ("policy-no-limits", "failures", "0", "failures = 0", "failures = 3"),
        ("policy-limits-weak", "max_lockout", "60", "max_lockout = 60:", "period"),
        (
            "policy-secret-shown",
            "show_without_password",
            "true",
            "/etc/onetime/onetime.toml",
            "false",
        ),
    ] {
        let changed: String = shipped
            .lines()
            .map(|text| match text.starts_with(&format!("#{key} = ")) {
                true => format!("{key} = {line}\n"),
                false => format!("{text}\n"),
            })
            .collect();
        assert_ne!(changed, shipped, "{key}");
        world.write("/etc/onetime/onetime.toml", changed.as_bytes(), 0o644);
        named(&world, id, what, remedy);
    }
    world.write("/etc/onetime/onetime.toml", shipped.as_bytes(), 0o644);
    assert!(report(&world).1.iter().all(|row| !row.id.starts_with("policy-")));
    // By the line of a service, which is named.
    let line = "auth required pam_onetime.so require_groups=no-such,sudo failures=0\n";
    world.pam_service("sudo", &format!("{line}account required pam_unix.so\n"));
    named(&world, "policy-required-group-unknown", "sudo: require_groups: no-such", "correct");
    named(&world, "policy-no-limits", "sudo: failures = 0", "failures = 3");
}

#[test]
fn doctor_says_that_a_group_cannot_be_looked_up_where_its_source_is_down() {
    let world = world_with_directory("files extrausers");
    world.write("/etc/onetime/onetime.toml", ISSUER.as_bytes(), 0o644);
    let line = "auth required pam_onetime.so require_groups=staff\n";
    world.pam_service("test", &format!("{line}account required pam_unix.so\n"));
    assert!(report(&world).1.iter().all(|row| !row.id.starts_with("policy-")));
    world.remove(DIRECTORY);
    let what = "test: require_groups: staff: it cannot be looked up";
    named(&world, "policy-required-group-unknown", what, "nsswitch.conf(5)");
}
