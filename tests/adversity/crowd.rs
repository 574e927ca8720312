//! 64 callers of `onetimed` at the same moment, round after round: six users' own programs,
//! as many of each as one user is given; a service's account, for others; and root's. Each
//! code lets one of them in, whoever that is, and nobody is kept out for lack of a slot.

use std::fmt::Write as _;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use pam_onetime::account::TokenId;

use crate::by_onetimed::is_idle;
use crate::common::{
    ALICE_PASSWORD, AUTH_ERR, Daemon, Figures, Host, LOCKER, SUCCESS, World, example, extent,
    hotp_code, secret, status_of, until, with_locker,
};
use crate::snapshot::Snapshot;

/// Users with programs of their own; more come in by the service alone.
const OWN: usize = 6;
/// How many connections one user is given.
const EACH: usize = 8;
/// How many the service asks for at once.
const SERVED: usize = 14;
/// Programs of root's, which ask for the first user and read the store themselves.
const ROOTS: usize = 2;
/// For how long a connection counts after its beginning.
const COUNTS: Duration = Duration::from_millis(100);
/// By how much the listener may have grown, in KiB, once they have all gone.
const GROWN: u64 = 1024;

/// What a caller types for a code.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Typed {
    Right,
    Wrong,
    Spent,
}

struct Caller {
    host: Host,
    service: &'static str,
    /// Whom it asks for, by number.
    user: usize,
    typed: Typed,
}

/// What the listener has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Footprint {
    descriptors: usize,
    /// KiB.
    resident: u64,
}

impl Footprint {
    fn of(daemon: &Daemon) -> Self {
        let proc = format!("/proc/{}", daemon.id());
        let resident = status_of(daemon.id(), "VmRSS").expect("it lives");
        let number = resident.trim_end_matches(" kB");
        let descriptors = std::fs::read_dir(format!("{proc}/fd")).expect("it lives").count();
        Self { descriptors, resident: number.parse().expect("a number") }
    }
}

fn name(user: usize) -> String {
    format!("user{user}")
}

/// A world with all these users, each with a counter, the first code of which is spent;
/// bob's account is that of a service. Their secrets.
#[track_caller]
fn populated() -> (World, Vec<String>) {
    let world = with_locker();
    world.pam_service("service", LOCKER);
    let config = "[limits]\nfailures = 0\n\
                  [daemon]\nmay_ask = [{ user = \"bob\", services = [\"service\"] }]\n";
    world.write("/etc/onetime/onetime.toml", config.as_bytes(), 0o644);
    let [mut passwd, mut shadow, mut group] =
        ["/etc/passwd", "/etc/shadow", "/etc/group"].map(|path| world.read_text(path));
    let alice = shadow.lines().find_map(|line| line.strip_prefix("alice:")).expect("alice");
    let alice = alice.to_owned();
    for user in 0..OWN + SERVED {
        let (uid, user) = (10_000 + user, name(user));
        writeln!(passwd, "{user}:x:{uid}:{uid}::/:/bin/sh").expect("a string takes it");
        writeln!(shadow, "{user}:{alice}").expect("a string takes it");
        writeln!(group, "{user}:x:{uid}:").expect("a string takes it");
    }
    for (path, text, mode) in [
        ("/etc/passwd", passwd, 0o644),
        ("/etc/shadow", shadow, 0o640),
        ("/etc/group", group, 0o644),
    ] {
        world.write(path, text.as_bytes(), mode);
    }
    let secrets = (0..OWN + SERVED).map(|user| {
        let user = name(user);
        world.onetimectl(&["enable", &user, "--kind", "hotp"]).ok();
        let secret = secret(&world, &user);
        world.onetimectl(&["verify", &user, &hotp_code(&secret, 0, 6)]).ok();
        secret
    });
    let secrets = secrets.collect();
    (world, secrets)
}

/// All 64.
#[track_caller]
fn callers(world: &World) -> Vec<Caller> {
    drop(example(world, "pam_host"));
    let caller = |mut command: Command, service, user, typed| Caller {
        host: Host::start(&mut command),
        service,
        user,
        typed,
    };
    let mut all = Vec::new();
    for user in 0..OWN {
        for nth in 0..EACH {
            let typed =
                [Typed::Wrong, Typed::Wrong, Typed::Spent].get(nth).unwrap_or(&Typed::Right);
            let command = world.command_as(&name(user), "pam_host");
            all.push(caller(command, "locker", user, *typed));
        }
    }
    for nth in 0..SERVED {
        let command = world.command_as("bob", "pam_host");
        all.push(caller(command, "service", OWN + nth, Typed::Right));
    }
    for _ in 0..ROOTS {
        all.push(caller(world.command("pam_host"), "locker", 0, Typed::Right));
    }
    assert_eq!(all.len(), 64);
    all
}

/// One round: what each was told.
#[track_caller]
fn round(callers: &mut [Caller], secrets: &[String], counter: u64) -> Vec<i32> {
    thread::scope(|scope| {
        let logins: Vec<_> = callers
            .iter_mut()
            .map(|caller| {
                let secret = &secrets[caller.user];
                scope.spawn(move || {
                    let code = match caller.typed {
                        Typed::Right => hotp_code(secret, counter, 6),
                        Typed::Spent => hotp_code(secret, counter - 1, 6),
                        // No code has a letter in it.
                        Typed::Wrong => "00000x".to_owned(),
                    };
                    let user = name(caller.user);
                    let answers = [ALICE_PASSWORD, &code];
                    caller.host.login(None, caller.service, &user, &answers)
                })
            })
            .collect();
        logins.into_iter().map(|login| login.join().expect("it ends")).collect()
    })
}

/// Waits until no slot is taken any more, nor counts.
#[track_caller]
fn rest(daemon: &Daemon) {
    until("every login ends", || is_idle(daemon));
    thread::sleep(2 * COUNTS);
}

#[test]
fn of_64_callers_at_once_each_code_lets_one_in_and_nobody_is_kept_out() {
    let (world, secrets) = populated();
    let daemon = Daemon::start(&world);
    let mut callers = callers(&world);
    let rounds = extent(6, 100);
    let (mut admitted, mut longest) = (0, Duration::ZERO);
    let mut footprints = vec![Footprint::of(&daemon)];
    for counter in 1..=rounds {
        let began = Instant::now();
        let results = round(&mut callers, &secrets, counter);
        longest = longest.max(began.elapsed());
        let mut of = vec![0; secrets.len()];
        for (caller, result) in callers.iter().zip(&results) {
            let (user, right) = (name(caller.user), caller.typed == Typed::Right);
            let refused = *result == AUTH_ERR;
            assert!(refused || (right && *result == SUCCESS), "{user} at {counter}: {result}");
            of[caller.user] += usize::from(*result == SUCCESS);
        }
        assert!(of.iter().all(|let_in| *let_in == 1), "at {counter}: {of:?}");
        admitted += of.len();
        rest(&daemon);
        footprints.push(Footprint::of(&daemon));
    }
    let opened = Snapshot::of(&world).opened();
    for user in 0..secrets.len() {
        let account = opened.account(&name(user)).expect("a good account").expect("enabled");
        assert_eq!(account.state.token(TokenId::FIRST).next.0, rounds + 1, "{}", name(user));
    }
    let (first, last) = (footprints[0], footprints[footprints.len() - 1]);
    let logins = 64 * rounds;
    let longest = longest.as_secs_f64();
    let mut figures = Figures::new("crowd", &["", "figure"]);
    figures.row(&[&"logins, 64 at once", &logins]);
    figures.row(&[&"must succeed", &(secrets.len() as u64 * rounds)]);
    figures.row(&[&"succeeded", &admitted]);
    figures.row(&[&"64 logins, in s, at most", &format!("{longest:.2}")]);
    figures.row(&[
        &"descriptors of onetimed, before and after",
        &format!("{} {}", first.descriptors, last.descriptors),
    ]);
    figures.row(&[
        &"resident memory of onetimed in KiB, before and after",
        &format!("{} {}", first.resident, last.resident),
    ]);
    figures.publish();
    for footprint in footprints {
        assert_eq!(footprint.descriptors, first.descriptors);
        assert!(footprint.resident <= first.resident + GROWN, "{footprint:?}");
    }
}
