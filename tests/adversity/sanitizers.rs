//! Memory checked: whole logins of every kind in one process under Valgrind, which
//! reports each invalid access, each decision on uninitialised memory, and what the
//! module has lost when the process ends. The module is the one that is shipped.

use crate::common::{
    ALICE_PASSWORD, BOB_PASSWORD, CAROL_PASSWORD, Figures, Host, PATIENCE, Phone, World, enable,
    example, hasty, need, since_epoch, with_services_of_tests,
};

/// What Valgrind ends with if it has found something.
const FOUND: &str = "--error-exitcode=99";

/// A program of `examples/` under Valgrind.
fn checked(world: &World, name: &str) -> Host {
    need("valgrind", "valgrind");
    let program = example(world, name);
    let inside = program.get_args().last().expect("the program").to_owned();
    let mut valgrind = world.command("valgrind");
    valgrind.args(["--quiet", "--vgdb=no", "--log-file=/tmp/valgrind"]);
    valgrind.args([FOUND, "--track-origins=yes"]);
    // What is lost; not what the C library and its modules keep for good.
    valgrind.args(["--leak-check=full", "--errors-for-leak-kinds=definite,indirect,possible"]);
    valgrind.args(["--keep-debuginfo=yes", "--num-callers=30"]);
    valgrind.arg(inside);
    let mut host = Host::start(&mut valgrind);
    host.patience = 4 * PATIENCE;
    host
}

#[test]
fn valgrind_finds_nothing_in_logins_of_every_kind() {
    let world = hasty();
    let config = format!("{}recovery_codes = 3\n", with_services_of_tests(""));
    world.write("/etc/onetime/onetime.toml", config.as_bytes(), 0o644);
    for (service, arguments) in [
        ("key", "password=none"),
        ("debug", "debug prompt=combined"),
        ("uniform", "uniform=true missing=deny"),
        ("enrol", "missing=enrol"),
        ("unknown-argument", "no-such-argument"),
        ("no-config", "config=/etc/onetime/missing.toml"),
        ("broken-config", "config=/etc/onetime/broken.toml"),
    ] {
        world.pam_service(service, &format!("auth required pam_onetime.so {arguments}\n"));
    }
    world.write("/etc/onetime/broken.toml", b"[code]\ndigits = 99\n", 0o644);
    let phone = Phone::new(&enable(&world, "alice"));
    let step = since_epoch().as_secs() / 30 + 60;
    let code = |ahead: u64| phone.code(step + ahead);
    let wrong = (0..).map(|n| format!("{n:06}")).find(|it| (0..3).all(|n| code(n) != *it));
    let wrong = wrong.expect("there are other codes");
    let combined = format!("{ALICE_PASSWORD}{}", code(4));
    let logins: &[(u64, &str, &str, &[&str], i32)] = &[
        // Pending: the QR code is shown, and the code skipped, wrong, right.
        (0, "sshd", "alice", &[ALICE_PASSWORD, ""], 0),
        (0, "sshd", "alice", &["no", ""], 7),
        (0, "sshd", "alice", &[ALICE_PASSWORD, &wrong, "x", &code(0)], 0),
        // Active: spent, wrong, right, locked out, no answer.
        (0, "sshd", "alice", &[ALICE_PASSWORD, &code(0)], 7),
        (1, "sshd", "alice", &["no", &code(1)], 7),
        (1, "sshd", "alice", &[ALICE_PASSWORD, &wrong], 7),
        (1, "sshd", "alice", &[ALICE_PASSWORD, &code(1)], 0),
        (2, "key", "alice", &[&code(2)], 0),
        (2, "key", "alice", &[&code(2)], 7),
        (3, "sshd", "alice", &[ALICE_PASSWORD], 7),
        (3, "sshd", "alice", &[], 7),
        (3, "sshd", "alice", &[ALICE_PASSWORD, "ABCD-EFGH-JKMN"], 7),
        (4, "debug", "alice", &[&combined], 0),
        (5, "uniform", "bob", &[BOB_PASSWORD, "x"], 7),
        (5, "uniform", "nobody", &["x", "x"], 7),
        (5, "enrol", "carol", &[CAROL_PASSWORD, ""], 0),
        (5, "sshd", "bob", &[BOB_PASSWORD], 0),
        (5, "sshd", "nobody", &["x"], 7),
        (5, "unknown-argument", "alice", &[], 3),
        (5, "no-config", "alice", &[], 3),
        (5, "broken-config", "alice", &[], 3),
    ];
    let mut host = checked(&world, "pam_host");
    for (nth, (ahead, service, user, answers, result)) in logins.iter().enumerate() {
        let time = i64::try_from((step + ahead) * 30).ok();
        assert_eq!(host.login(time, service, user, answers), *result, "{nth} {user} by {service}");
    }
    let ended = host.end();
    let report = world.read_text("/tmp/valgrind");
    let version = world.run("valgrind", &["--version"]).ok();
    let mut figures = Figures::new("sanitizers", &["", "logins", "reports"]);
    figures.row(&[&version.trim(), &logins.len(), &report.matches(" at 0x").count()]);
    figures.publish();
    assert!(ended.success() && report.is_empty(), "{ended}: {report}");
}
