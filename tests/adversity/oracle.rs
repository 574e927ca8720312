//! No oracle: who guesses learns from a refused login neither which factor was wrong
//! nor, under `uniform`, whether there is such a user. Transcripts are the same to the
//! letter, also through a real ssh; how long they take is compared as distributions.

use std::thread;
use std::time::{Duration, Instant};

use crate::common::{
    ALICE_PASSWORD, AUTH_ERR, Answers, Client, ClientRun, Figures, Sshd, World, activate, conf,
    current_code, enable, extent, installed,
};

const WRONG_PASSWORD: &str = "not-her-password";
const WRONG_CODE: &str = "000000";

/// What somebody tries.
#[derive(Clone)]
struct Case {
    name: &'static str,
    user: &'static str,
    password: &'static str,
    code: String,
}

/// alice is active, bob has no account, carol is pending, and nobody has heard of mallory.
struct Place {
    world: World,
    cases: Vec<Case>,
}

impl Place {
    #[track_caller]
    fn new(arguments: &str) -> Self {
        let world = installed();
        // No lock: it would be shown to a user who has the password (SECURITY.md), and is
        // another test's business. Failures are counted all the same.
        let module = format!("pam_onetime.so failures=1000 {arguments}");
        world.pam_service("sshd", &conf("pam.d/sshd").replace("pam_onetime.so", &module));
        let secret = activate(&world, "alice");
        enable(&world, "carol");
        let spent = current_code(&secret, 0);
        let run = login(&world, "alice", ALICE_PASSWORD, &spent);
        assert_eq!(run.result(), 0, "{run:?}");
        let right = current_code(&secret, 1);
        let case =
            |name, user, password, code: &str| Case { name, user, password, code: code.to_owned() };
        let mut cases = vec![
            case("wrong password, wrong code", "alice", WRONG_PASSWORD, WRONG_CODE),
            case("wrong password, right code", "alice", WRONG_PASSWORD, &right),
            case("right password, wrong code", "alice", ALICE_PASSWORD, WRONG_CODE),
            case("right password, spent code", "alice", ALICE_PASSWORD, &spent),
            case("right password, no code", "alice", ALICE_PASSWORD, ""),
        ];
        if arguments.contains("uniform") {
            cases.push(case("no account", "bob", WRONG_PASSWORD, WRONG_CODE));
            cases.push(case("pending account", "carol", WRONG_PASSWORD, WRONG_CODE));
            cases.push(case("no such user", "mallory", WRONG_PASSWORD, WRONG_CODE));
        }
        Self { world, cases }
    }

    #[track_caller]
    fn attempt(&self, case: &Case) -> ClientRun {
        login(&self.world, case.user, case.password, &case.code)
    }
}

#[track_caller]
fn login(world: &World, user: &str, password: &str, code: &str) -> ClientRun {
    Client::new(world, "sshd", user).run(&Answers::new(&[password, code]))
}

#[test]
fn a_refused_login_shows_neither_factor_nor_under_uniform_the_user() {
    let columns = [
        "configuration",
        "login",
        "logins",
        "same transcript",
        "recognized by the first",
        "chance",
    ];
    let mut figures = Figures::new("oracle", &columns);
    for arguments in ["", "uniform=true"] {
        let place = Place::new(arguments);
        let times = place.times(extent(5, 40));
        let (first, others) = times.split_first().expect("there are cases");
        for (case, times) in place.cases.iter().skip(1).zip(others) {
            let told = told_apart(first, times);
            let bound = by_chance(first.len(), times.len());
            assert!(
                told - 0.5 <= bound,
                "{arguments} {}: {told:.2}\n{first:?}\n{times:?}",
                case.name
            );
            let configuration = if arguments.is_empty() { "as shipped" } else { arguments };
            figures.row(&[
                &configuration,
                &case.name,
                &times.len(),
                &"yes",
                &format!("{:.0} %", told * 100.0),
                &format!("50 to {:.0} %", (0.5 + bound) * 100.0),
            ]);
        }
    }
    figures.publish();
}

impl Place {
    /// How long so many logins of each case take, in turn and side by side. Each is
    /// refused, with the same words in the same order.
    #[track_caller]
    fn times(&self, count: usize) -> Vec<Vec<Duration>> {
        let expected = self.attempt(&self.cases[0]).events;
        let mut times = vec![Vec::new(); self.cases.len()];
        for _ in 0..count {
            let round: Vec<Duration> = thread::scope(|scope| {
                let runs: Vec<_> = self
                    .cases
                    .iter()
                    .map(|case| {
                        let expected = &expected;
                        scope.spawn(move || {
                            let start = Instant::now();
                            let run = self.attempt(case);
                            assert_eq!(run.result(), AUTH_ERR, "{}", case.name);
                            assert_eq!(&run.events, expected, "{}", case.name);
                            start.elapsed()
                        })
                    })
                    .collect();
                runs.into_iter().map(|run| run.join().expect("it came to its end")).collect()
            });
            times.iter_mut().zip(round).for_each(|(times, time)| times.push(time));
        }
        times
    }
}

/// How often a guess is right which of two logins is which, by the time they take: the
/// statistic of Mann and Whitney, as a share. One half is no better than a coin.
fn told_apart(one: &[Duration], other: &[Duration]) -> f64 {
    let pairs = one.iter().flat_map(|a| other.iter().map(move |b| a.cmp(b)));
    let (mut longer, mut all) = (0.0, 0.0);
    for order in pairs {
        all += 1.0;
        longer += match order {
            std::cmp::Ordering::Less => 0.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Greater => 1.0,
        };
    }
    0.5 + f64::abs(longer / all - 0.5)
}

/// How far from one half that can be by chance: four standard deviations.
fn by_chance(one: usize, other: usize) -> f64 {
    let [n, m] = [one, other].map(|count| f64::from(u32::try_from(count).expect("a few")));
    (4.0 * ((n + m + 1.0) / (12.0 * n * m)).sqrt()).min(0.49)
}

#[test]
fn the_statistic_recognizes_distributions_that_differ() {
    let slow = |from: u64| (0..60).map(|at| Duration::from_millis(from + at)).collect::<Vec<_>>();
    assert!(told_apart(&slow(0), &slow(0)) - 0.5 <= by_chance(60, 60));
    assert!(told_apart(&slow(0), &slow(30)) - 0.5 > by_chance(60, 60));
    assert!(told_apart(&slow(100)[..8], &slow(0)[..8]) - 0.5 > by_chance(8, 8));
}

#[test]
fn ssh_shows_the_same_whichever_factor_was_wrong() {
    let place = Place::new("");
    let sshd = Sshd::start(&place.world, "");
    let shown = |case: &Case| {
        let mut ssh = sshd.ssh(case.user, &["-o", "NumberOfPasswordPrompts=1", "true"]);
        ssh.expect("Password: ");
        ssh.send_line(case.password);
        ssh.expect("One-time code: ");
        ssh.send_line(&case.code);
        assert!(!ssh.wait().success(), "{}", case.name);
        ssh.text()
    };
    let expected = shown(&place.cases[0]);
    assert!(expected.contains("Permission denied"), "{expected}");
    for case in &place.cases[1..] {
        assert_eq!(shown(case), expected, "{}", case.name);
    }
}
