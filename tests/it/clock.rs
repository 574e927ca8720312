//! A clock that was wrong for a day: what a login ten years ahead leaves behind, who
//! finds it, and that the remedy that each of them names works.

use crate::common::{
    ALICE_PASSWORD, AUTH_ERR, Answers, BOB_PASSWORD, Client, ClientRun, MAXTRIES, PATIENCE,
    SUCCESS, TotpOptions, World, code_at, enable, installed, secret, since_epoch,
};

/// Ten years, in seconds.
const AHEAD: u64 = 10 * 365 * 86_400;

fn world() -> World {
    let world = installed();
    world.pam_service("test", "auth required pam_onetime.so\n");
    world.pam_service("onetime-password", "auth required pam_unix.so nodelay\n");
    world
}

fn login_at(world: &World, time: u64, user: &str, answers: &[&str]) -> ClientRun {
    let client = Client::new(world, "test", user).option(&format!("time={time}"));
    client.run(&Answers::new(answers))
}

fn totp(world: &World, user: &str, time: u64) -> String {
    code_at(&secret(world, user), TotpOptions::default(), time)
}

/// The year of a time, as a log line or a finding has it.
fn year(time: u64) -> String {
    (1970 + time / 31_556_952).to_string()
}

#[track_caller]
fn names_the_way_out(text: &str, later: u64) {
    assert!(text.contains(&year(later)), "no date in: {text}");
    assert!(text.contains("onetimectl enable --new-secret"), "no remedy in: {text}");
    assert!(!text.contains(&later.to_string()[..6]), "seconds in: {text}");
}

#[test]
fn after_a_login_ten_years_ahead_log_doctor_verify_resync_and_repair_name_a_way_out_that_works() {
    let world = world();
    let now = since_epoch().as_secs();
    // In the middle of a step.
    let later = (now + AHEAD) / 30 * 30 + 15;
    enable(&world, "alice");
    let code = totp(&world, "alice", later);
    assert_eq!(login_at(&world, later, "alice", &[ALICE_PASSWORD, &code]).result(), SUCCESS);

    // The clock is right again.
    let refused = login_at(&world, now, "alice", &[ALICE_PASSWORD, &totp(&world, "alice", now)]);
    assert_eq!(refused.result(), AUTH_ERR);
    let line = world.wait_for_syslog(|line| line.text.contains("clock went back"), PATIENCE);
    names_the_way_out(&line.text, later);

    let doctor = world.onetimectl(&["doctor"]);
    let finding = doctor.stdout.lines().find(|line| line.contains("right codes are refused"));
    let finding = finding.unwrap_or_else(|| panic!("not found: {}", doctor.text()));
    assert!(finding.contains("alice") && finding.contains(&year(later)), "{finding}");
    assert!(doctor.stdout.contains("onetimectl enable --new-secret"), "{}", doctor.stdout);
    assert!(doctor.status.code() == Some(1), "{}", doctor.text());
    let json = world.onetimectl(&["--json", "doctor"]).stdout;
    assert!(json.contains("\"account-codes-ahead\""), "{json}");

    let code = |steps: i64| {
        let options = TotpOptions { offset_steps: steps, ..TotpOptions::default() };
        code_at(&secret(&world, "alice"), options, since_epoch().as_secs())
    };
    let verify = world.onetimectl(&["verify", "alice", &code(0)]);
    names_the_way_out(&verify.text(), later);
    let resync = world.onetimectl(&["resync", "alice", &code(-1), &code(0)]);
    names_the_way_out(&resync.text(), later);
    let repair = world.onetimectl(&["repair", "alice"]);
    assert!(repair.stdout.contains("onetimectl enable --new-secret"), "{}", repair.text());

    world.onetimectl(&["enable", "--new-secret", "alice"]).ok();
    let code = totp(&world, "alice", now);
    assert_eq!(login_at(&world, now, "alice", &[ALICE_PASSWORD, &code]).result(), SUCCESS);
    let doctor = world.onetimectl(&["doctor"]).stdout;
    assert!(!doctor.contains("right codes are refused"), "{doctor}");
}

#[test]
fn a_lock_of_a_clock_ten_years_ahead_ends_after_the_longest_lock_from_now() {
    let world = world();
    let now = since_epoch().as_secs() / 30 * 30 + 15;
    let later = now + AHEAD;
    enable(&world, "bob");
    let right = |time| totp(&world, "bob", time);
    assert_eq!(login_at(&world, now, "bob", &[BOB_PASSWORD, &right(now)]).result(), SUCCESS);
    // Ten locks in a row, so that the last one is of the longest kind.
    let mut time = later;
    for _ in 0..12 {
        while login_at(&world, time, "bob", &[BOB_PASSWORD, "000000"]).result() == AUTH_ERR {}
        time += 172_800;
    }
    let doctor = world.onetimectl(&["doctor"]).stdout;
    assert!(doctor.contains("limits.max_lockout") && doctor.contains("bob"), "{doctor}");
    assert!(doctor.contains("onetimectl unlock"), "{doctor}");

    let now = now + 60;
    assert_eq!(login_at(&world, now, "bob", &[BOB_PASSWORD, &right(now)]).result(), MAXTRIES);
    let line = world.wait_for_syslog(
        |line| {
            line.text.contains("locked")
                && line.text.contains(&format!("until {}", &year(now)[..3]))
        },
        PATIENCE,
    );
    assert!(!line.text.contains("unix time") && line.text.contains(" UTC "), "{}", line.text);
    // The longest lock is two days.
    let soon = now + 172_800;
    assert_eq!(login_at(&world, soon - 1, "bob", &[BOB_PASSWORD, "000000"]).result(), MAXTRIES);
    assert_eq!(login_at(&world, soon, "bob", &[BOB_PASSWORD, &right(soon)]).result(), SUCCESS);
}

#[test]
fn a_pending_user_whose_deadline_cannot_be_judged_is_refused_and_the_remedy_works() {
    let world = world();
    world.write("/etc/onetime/onetime.toml", b"[enrollment]\ndeadline = \"14d\"\n", 0o644);
    let later = since_epoch().as_secs();
    enable(&world, "alice");
    // Issued, as a login a year ago sees it, by a clock that was a year ahead.
    let now = later - 365 * 86_400;
    let refused = login_at(&world, now, "alice", &[ALICE_PASSWORD, ""]);
    assert_eq!(refused.result(), AUTH_ERR);
    let shown = secret(&world, "alice");
    assert!(!format!("{refused:?}").contains(&shown), "the secret was shown");
    let line = world.wait_for_syslog(|line| line.text.contains("deadline"), PATIENCE);
    assert!(line.text.contains("onetimectl enable --new-secret"), "{}", line.text);
    // By the clock of the issue all is well.
    assert_eq!(login_at(&world, later, "alice", &[ALICE_PASSWORD, ""]).result(), SUCCESS);
}
