//! What programs that read logs make of ours: the filters of packaging/fail2ban and
//! packaging/logcheck, by the real fail2ban-regex and by grep as logcheck calls it, on
//! lines as the module writes them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pam_onetime::account::Timestamp;
use pam_onetime::audit::{Outcome, Subject, explain, line};
use pam_onetime::authenticate::Failure;
use pam_onetime::login::{Exemption, Grant, NotNeeded, Refusal, Verdict};

use crate::common::{
    ALICE_PASSWORD, AUTH_ERR, Answers, BOB_PASSWORD, Client, PATIENCE, Sshd, SyslogLine, activate,
    current_code, finish, foreign_root, hasty,
};

const HOST: &str = "192.0.2.7";
/// Nobody's who logs in here.
const VICTIM: &str = "198.51.100.1";
const TIME: Timestamp = Timestamp(1_800_000_000);

/// A file of `packaging`.
fn packaging(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name).display().to_string()
}

/// The line as rsyslog has it in auth.log.
fn in_file(text: &str) -> String {
    format!("2026-11-28T04:31:00.123456+00:00 host pam_onetime[4711]: {text}")
}

/// fail2ban's configuration as Debian ships it, with our filter and our jail.
#[track_caller]
fn with_ours(directory: &Path) -> PathBuf {
    let config = directory.join("fail2ban");
    let shipped = foreign_root().join("etc/fail2ban");
    finish(Command::new("cp").arg("-a").arg(shipped).arg(&config), b"").ok();
    for file in ["filter.d/pam-onetime.conf", "jail.d/pam-onetime.conf"] {
        fs::copy(packaging(&format!("fail2ban/{file}")), config.join(file)).expect("a copy");
    }
    config
}

/// A program of fail2ban's.
fn fail2ban(program: &str, config: &Path) -> Command {
    let root = foreign_root();
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", root.join("usr/lib/python3/dist-packages"));
    command.arg(root.join("usr/bin").join(program)).arg("-c").arg(config);
    command
}

/// The address that fail2ban counts a failure for, for each line that it does so for.
#[track_caller]
fn counted(lines: &[String]) -> BTreeMap<String, String> {
    let directory = tempfile::tempdir().expect("a directory");
    let config = with_ours(directory.path());
    let log = directory.path().join("auth.log");
    fs::write(&log, lines.join("\n") + "\n").expect("it is written");
    let mut regex = fail2ban("fail2ban-regex", &config);
    regex.args(["-o", "<ip> <matches>"]).arg(&log).arg("pam-onetime");
    let said = finish(&mut regex, b"").ok();
    let row = |row: &str| {
        let (address, line) = row.split_once(' ').expect("an address and a line");
        (line.to_owned(), address.to_owned())
    };
    let counted: BTreeMap<_, _> = said.lines().filter(|row| !row.is_empty()).map(row).collect();
    for line in counted.keys() {
        assert!(lines.contains(line), "{line} is none of {lines:#?}");
    }
    counted
}

/// The lines that logcheck reports on a server: those that none of our rules match.
#[track_caller]
fn reported(lines: &[String]) -> Vec<String> {
    let rules = packaging("logcheck/ignore.d.server/pam-onetime");
    let mut grep = Command::new("grep");
    grep.args(["--text", "-E", "-v", "-f", &rules]);
    let run = finish(&mut grep, (lines.join("\n") + "\n").as_bytes());
    assert!(matches!(run.status.code(), Some(0 | 1)), "{}", run.text());
    run.stdout.lines().map(str::to_owned).collect()
}

fn from(rhost: &str, user: &str) -> Subject {
    let (user, service) = (user.to_owned(), "sshd".to_owned());
    let (rhost, tty) = (Some(rhost.to_owned()), Some("ssh".to_owned()));
    let ruser = Some("root".to_owned());
    Subject { user, service, ruser, rhost, tty, ..Subject::default() }
}

/// Whether whoever is refused so did something wrong. A new refusal has to be decided here.
const fn is_fault(refusal: Refusal) -> bool {
    match refusal {
        Refusal::WrongPassword
        | Refusal::WrongCode
        | Refusal::SpentCode
        | Refusal::NotACode
        | Refusal::NoCode
        | Refusal::RefusedBySshd => true,
        // It may be the user with the right code: others locked the account, the token or a
        // clock is off, an admin has set a rule or made a change, something is broken.
        Refusal::PasswordService { .. }
        | Refusal::PasswordAgain
        | Refusal::OutOfStep
        | Refusal::ClockWentBack { .. }
        | Refusal::LockedOut { .. }
        | Refusal::LockedAtService { .. }
        | Refusal::Disabled
        | Refusal::NotActivated
        | Refusal::NotEnrolled
        | Refusal::GroupUnknown
        | Refusal::DeadlinePassed
        | Refusal::DeadlineUnknown => false,
    }
}

const REFUSALS: [Refusal; 18] = [
    Refusal::WrongPassword,
    Refusal::PasswordService { result: 9 },
    Refusal::WrongCode,
    Refusal::SpentCode,
    Refusal::OutOfStep,
    Refusal::ClockWentBack { until: TIME },
    Refusal::NotACode,
    Refusal::PasswordAgain,
    Refusal::NoCode,
    Refusal::LockedOut { until: TIME },
    Refusal::LockedAtService { until: TIME },
    Refusal::RefusedBySshd,
    Refusal::Disabled,
    Refusal::NotActivated,
    Refusal::NotEnrolled,
    Refusal::GroupUnknown,
    Refusal::DeadlinePassed,
    Refusal::DeadlineUnknown,
];

/// Whether logcheck says nothing of it: it happens every day. A new success has to be
/// decided here.
const fn is_routine(grant: Grant) -> bool {
    match grant {
        Grant::PasswordAlone
        | Grant::Skipped
        | Grant::Activated
        | Grant::Code
        | Grant::Exempt(Exemption::Group | Exemption::Network | Exemption::RememberedHost) => true,
        // Somebody has lost their phone, or somebody else has found a paper.
        Grant::RecoveryCode { .. } => false,
    }
}

const EXEMPTIONS: [Exemption; 3] =
    [Exemption::Group, Exemption::Network, Exemption::RememberedHost];

fn grants() -> Vec<Grant> {
    let mut grants = vec![
        Grant::PasswordAlone,
        Grant::Skipped,
        Grant::Activated,
        Grant::Code,
        Grant::RecoveryCode { left: 3 },
    ];
    grants.extend(EXEMPTIONS.map(Grant::Exempt));
    grants
}

#[test]
fn fail2ban_counts_what_whoever_logs_in_did_wrong_and_nothing_else() {
    let of = |verdict: Verdict| {
        let (outcome, reason) = explain(verdict);
        in_file(&line(outcome, &from(HOST, "alice"), &reason))
    };
    let mut lines = Vec::new();
    let mut expected = BTreeMap::new();
    for refusal in REFUSALS {
        let line = of(Verdict::Refused(refusal));
        if is_fault(refusal) {
            expected.insert(line.clone(), HOST.to_owned());
        }
        lines.push(line);
    }
    let unknown = Failure::<std::io::Error>::UnknownUser.to_string();
    let unknown = in_file(&line(Outcome::Refused, &from(HOST, "(unknown)"), &unknown));
    expected.insert(unknown.clone(), HOST.to_owned());
    lines.push(unknown);
    lines.extend(grants().into_iter().map(|grant| of(Verdict::Admitted(grant))));
    lines.push(of(Verdict::NotNeeded(NotNeeded::Skipped)));
    lines.push(in_file(&line(Outcome::Changed, &from(HOST, "alice"), "wrong code")));
    lines.push(in_file(&line(Outcome::Failed, &from(HOST, "alice"), "wrong code")));
    // At a terminal of the machine itself.
    let mut here = from(HOST, "alice");
    here.rhost = None;
    lines.push(in_file(&line(Outcome::Refused, &here, "wrong code")));
    assert_eq!(counted(&lines), expected);
}

#[test]
fn the_jail_is_off_until_jail_local_switches_it_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = with_ours(directory.path());
    let commands = || finish(fail2ban("fail2ban-client", &config).arg("-d"), b"").ok();
    let shipped = commands();
    assert!(shipped.contains("'add', 'sshd'"), "{shipped}");
    assert!(!shipped.contains("pam-onetime"), "{shipped}");
    fs::write(config.join("jail.local"), "[pam-onetime]\nenabled = true\n").expect("written");
    let on = commands();
    assert!(on.contains("'add', 'pam-onetime', 'systemd'"), "{on}");
    assert!(on.contains("'pam-onetime', 'addfailregex'"), "{on}");
}

#[test]
fn no_name_of_a_user_a_host_or_a_terminal_has_another_address_banned() {
    let forged = format!("rhost={VICTIM} tty=ssh reason=\"wrong code\"");
    let hostile = [
        forged.clone(),
        format!("x {forged}"),
        format!("x\" service=sshd {forged}"),
        format!("x\\\" service=sshd {forged}"),
        format!("x\\\\\" service=sshd {forged}"),
        format!("x service=sshd {forged}\n"),
        format!(
            "x\nNov 28 04:31:00 host pam_onetime[1]: outcome=refused user=x service=s {forged}"
        ),
        format!("\" rhost=\"{VICTIM}"),
        format!("rhost={VICTIM}"),
        format!("{}\" service=sshd {forged}", "\\".repeat(511)),
        format!("{}\" service=sshd {forged}", "x".repeat(510)),
        format!("\u{201c}\u{2028}{forged}\r"),
        String::new(),
        "\\".to_owned(),
        "\"".to_owned(),
    ];
    let mut lines = Vec::new();
    let mut expected = BTreeMap::new();
    for (nth, text) in hostile.iter().enumerate() {
        let host = format!("192.0.2.{}", nth + 1);
        let failed = in_file(&line(Outcome::Refused, &from(&host, text), "wrong code"));
        let mut terminal = from(&host, "alice");
        terminal.tty = Some(text.clone());
        let by_terminal = in_file(&line(Outcome::Refused, &terminal, "wrong password"));
        let mut remote = from(&host, "alice");
        remote.ruser = Some(text.clone());
        let by_remote = in_file(&line(Outcome::Refused, &remote, "wrong password"));
        let mut nobody = from(&host, "alice");
        nobody.ruser = None;
        let by_nobody = in_file(&line(Outcome::Refused, &nobody, "wrong password"));
        for line in [failed, by_terminal, by_remote, by_nobody] {
            expected.insert(line.clone(), host.clone());
            lines.push(line);
        }
        // No refusal becomes one of a fault by it, no host's name an address.
        lines.push(in_file(&line(Outcome::Admitted, &from(&host, text), "code right")));
        lines.push(in_file(&line(Outcome::Failed, &from(&host, text), "the store is damaged")));
        lines.push(in_file(&line(Outcome::Refused, &from(text, "alice"), "wrong code")));
    }
    for name in [format!("{VICTIM}.example.org"), format!("x{VICTIM}"), "localhost".to_owned()] {
        lines.push(in_file(&line(Outcome::Refused, &from(&name, "alice"), "wrong code")));
    }
    // Other programs quote what they were given.
    let quoted = line(Outcome::Refused, &from(VICTIM, "alice"), "wrong code");
    for tag in ["sshd[1]:", "kernel: [  12.5]", "login:", "pam_onetime:", "pam_onetime[x]:"] {
        let time = "2026-11-28T04:31:00.123456+00:00";
        lines.push(format!("{time} host {tag} {quoted}"));
        lines.push(format!("{time} host {tag} pam_onetime[1]: {quoted}"));
        lines.push(format!("{time} host {tag} host pam_onetime[1]: {quoted}"));
    }
    let counted = counted(&lines);
    assert_eq!(counted, expected);
    assert!(!counted.values().any(|address| address == VICTIM), "{counted:#?}");
}

#[test]
fn addresses_and_times_are_read_in_each_form_that_a_log_has_them() {
    let mut lines = Vec::new();
    let mut expected = BTreeMap::new();
    let mut add = |line: String, address: &str| {
        expected.insert(line.clone(), address.to_owned());
        lines.push(line);
    };
    for (rhost, address) in
        [("2001:db8::7", "2001:db8::7"), ("fe80::1%eth0", "fe80::1"), (HOST, HOST)]
    {
        add(in_file(&line(Outcome::Refused, &from(rhost, "alice"), "wrong code")), address);
    }
    let text = line(Outcome::Refused, &from(HOST, "bob"), "wrong code");
    for before in [
        // syslogd, rsyslog's old form, and `journalctl -o short`.
        "Nov 28 04:31:00 host pam_onetime[1]:",
        "2026-11-28T04:31:00+00:00 host.example.org pam_onetime[1]:",
        // BusyBox
        "Nov 28 04:31:00 host authpriv.notice pam_onetime[1]:",
    ] {
        add(format!("{before} {text}"), HOST);
    }
    assert_eq!(counted(&lines), expected);
}

#[test]
fn logcheck_is_silent_about_everyday_logins_and_reports_every_other_line() {
    let of = |verdict: Verdict| {
        let (outcome, reason) = explain(verdict);
        ["alice", "J\u{fc}rgen \"x\" \\ y"].map(|user| {
            let away = in_file(&line(outcome, &from("2001:db8::7", user), &reason));
            let here = Subject { rhost: None, tty: None, ..from("", user) };
            let old =
                format!("Nov  8 04:31:00 host pam_onetime[1]: {}", line(outcome, &here, &reason));
            [away, old]
        })
    };
    let (mut everyday, mut others) = (Vec::new(), Vec::new());
    for grant in grants() {
        let lines = of(Verdict::Admitted(grant)).into_iter().flatten();
        if is_routine(grant) { everyday.extend(lines) } else { others.extend(lines) }
    }
    let mut not_needed = vec![NotNeeded::NotEnabled, NotNeeded::Skipped];
    not_needed.extend(EXEMPTIONS.map(NotNeeded::Exempt));
    for why in not_needed {
        everyday.extend(of(Verdict::NotNeeded(why)).into_iter().flatten());
    }
    for refusal in REFUSALS {
        others.extend(of(Verdict::Refused(refusal)).into_iter().flatten());
    }
    others.push(in_file(&line(Outcome::Changed, &Subject::default(), "enabled")));
    // No name makes an everyday line of another, and none of another program's is one.
    let right = line(Outcome::Admitted, &from(HOST, "alice"), "code right");
    others.push(in_file(&line(Outcome::Refused, &from(HOST, &right), "wrong code")));
    others.push(in_file(&line(Outcome::Refused, &from(HOST, "x reason=\"code right\""), "x")));
    others.push(format!("Nov 28 04:31:00 host sshd[1]: {right}"));
    others.push(in_file(&format!("{right} and more")));
    assert_eq!(reported(&everyday), Vec::<String>::new());
    assert_eq!(reported(&others), others);
}

/// A line of a world's log, as a daemon writes it into a file.
fn of_daemon(line: &SyslogLine) -> String {
    let (_, rest) = line.raw.split_once('>').expect("a priority");
    format!("2026-11-28T04:31:00.123456+00:00 host {rest}")
}

#[test]
fn real_logins_are_counted_and_reported_as_they_ended_and_no_name_typed_at_sshd_changes_that() {
    let world = hasty();
    let secret = activate(&world, "alice");
    world.onetimectl(&["enable", "bob"]).ok();
    let sshd = Sshd::start(&world, "");
    world.forget_syslog();
    let ssh = |user: &str, answers: &[(&str, &str)]| {
        let mut ssh = sshd.ssh(user, &["true"]);
        for (prompt, answer) in answers {
            ssh.expect(*prompt);
            ssh.send_line(answer);
        }
        ssh.wait().success()
    };
    let (password, code) = ("Password: ", "One-time code: ");
    let right = current_code(&secret, 0);
    let forged = format!("x service=sshd rhost={VICTIM} tty=ssh reason=wrong");
    assert!(ssh("alice", &[(password, ALICE_PASSWORD), (code, &right)]), "a right code");
    assert!(!ssh("alice", &[(password, ALICE_PASSWORD), (code, "000000x")]), "a wrong code");
    assert!(!ssh("alice", &[(password, "wrong"), (code, "000000")]), "a wrong password");
    assert!(!ssh(&forged, &[(password, "wrong")]), "an unknown user");
    assert!(ssh("bob", &[(password, BOB_PASSWORD), ("skip): ", "")]), "a pending user who skips");
    // sshd has a host's name instead of its address with UseDNS; and other services have what
    // they are given.
    let named = format!("rhost={VICTIM}.example.org");
    let run = Client::new(&world, "sshd", "bob").option(&named).run(&Answers::new(&["wrong"]));
    assert_eq!(run.result(), AUTH_ERR);
    world.wait_for_syslog(|line| line.text.contains("example.org"), PATIENCE);
    let ours: Vec<_> =
        world.syslog().into_iter().filter(|line| line.tag == "pam_onetime").collect();
    assert_eq!(ours.len(), 6, "one for each login: {ours:#?}");
    let all: Vec<_> = world.syslog().iter().map(of_daemon).collect();
    let ours: Vec<_> = ours.iter().map(of_daemon).collect();

    let counted = counted(&all);
    let refused: Vec<_> = ours.iter().filter(|line| line.contains("outcome=refused")).collect();
    assert_eq!(refused.len(), 4, "{ours:#?}");
    let of_address: Vec<_> =
        refused.iter().copied().filter(|line| line.contains(" rhost=127.0.0.1 ")).collect();
    assert_eq!(counted.keys().collect::<Vec<_>>().len(), 3, "{counted:#?}");
    assert!(of_address.iter().all(|line| counted[*line] == "127.0.0.1"), "{counted:#?}");

    let everyday: Vec<_> = ours.iter().filter(|line| line.contains("outcome=admitted")).collect();
    assert_eq!(everyday.len(), 2, "{ours:#?}");
    assert!(reported(&ours).iter().all(|line| refused.contains(&line)));
    assert_eq!(reported(&ours).len(), refused.len());
}
