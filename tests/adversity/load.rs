//! Load: many processes log in many accounts at once, in virtual time, with right,
//! wrong and spent codes, and several of them with one code at the same moment. A
//! model of the accounts says what must happen to each login; it must, and at the end
//! the store must hold what the model holds.

use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{
    Figures, Host, Phone, TotpOptions, World, code_at, extent, finish_within, hotp_code, installed,
    since_epoch,
};

/// Processes that race with one code.
const RACERS: usize = 8;

/// Of so many accounts oathtool confirms a code.
const CONFIRMED: usize = 50;

/// Seconds of a time step; what a round takes in virtual time.
const STEP: u64 = 30;
const ROUND: u64 = 3 * STEP;

/// What onetime.toml(5) says of windows.
const WINDOW: u64 = 1;
const LOOK_AHEAD: u64 = 10;
const MAX_DRIFT: i64 = 10;

/// An account as it must be.
struct Account {
    name: String,
    secret: String,
    phone: Phone,
    by_time: bool,
    active: bool,
    /// The first step or counter whose code is not spent.
    next: u64,
    drift: i64,
    failures: u64,
    last_login: Option<u64>,
}

impl Account {
    /// The steps whose codes are looked at.
    fn window(&self, now: u64) -> RangeInclusive<u64> {
        if self.by_time {
            let centre = (now / STEP).saturating_add_signed(self.drift);
            centre - WINDOW..=centre + WINDOW
        } else {
            self.next.saturating_sub(LOOK_AHEAD)..=self.next + LOOK_AHEAD
        }
    }

    /// Whether this code must let in now; the account as it is then.
    fn expect(&mut self, code: &str, now: u64) -> bool {
        let shown = |step: &u64| self.phone.code(*step) == code;
        match self.window(now).rev().find(shown) {
            Some(step) if step >= self.next => {
                self.next = step + 1;
                if self.by_time {
                    let ahead = step.cast_signed() - (now / STEP).cast_signed();
                    self.drift = ahead.clamp(-MAX_DRIFT, MAX_DRIFT);
                }
                self.active = true;
                self.last_login = Some(now);
                true
            }
            Some(_) => false,
            None => {
                self.failures += u64::from(self.active);
                false
            }
        }
    }

    /// A code that is not spent; none if all that are accepted now are.
    fn right(&self, now: u64, chance: &mut Chance) -> Option<String> {
        let fresh: Vec<u64> = self.window(now).filter(|step| *step >= self.next).collect();
        (!fresh.is_empty()).then(|| self.phone.code(fresh[chance.below(fresh.len())]))
    }

    /// A code that no step of the window shows.
    fn wrong(&self, now: u64, chance: &mut Chance) -> String {
        loop {
            let code = format!("{:06}", chance.below(1_000_000));
            if self.window(now).all(|step| self.phone.code(step) != code) {
                return code;
            }
        }
    }
}

/// The same sequence each time (SplitMix64), so that a failure comes again.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from(mixed >> 33).expect("31 bits") % bound
    }
}

/// A kind of login, and how many there were.
#[derive(Default)]
struct LoginKind {
    logins: AtomicUsize,
    expected: AtomicUsize,
    succeeded: AtomicUsize,
}

#[derive(Default)]
struct Tally {
    right: LoginKind,
    wrong: LoginKind,
    replayed: LoginKind,
    raced: LoginKind,
}

impl LoginKind {
    fn note(&self, expected: bool, succeeded: bool) {
        self.logins.fetch_add(1, Ordering::Relaxed);
        self.expected.fetch_add(usize::from(expected), Ordering::Relaxed);
        self.succeeded.fetch_add(usize::from(succeeded), Ordering::Relaxed);
    }
}

/// The work of all processes.
struct Campaign {
    accounts: Vec<Mutex<Account>>,
    processes: usize,
    rounds: u64,
    /// Of one process in one round, besides its race.
    logins: usize,
    begin: u64,
    barrier: Barrier,
    races: Vec<Mutex<Race>>,
    tally: Tally,
    faults: Mutex<Vec<String>>,
}

/// One account, and who wants in.
#[derive(Default)]
struct Race {
    account: usize,
    right: String,
    wrong: String,
    /// How many of the racers have the wrong code.
    wrongs: usize,
    succeeded: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Campaign {
    /// Whether libpam let them in.
    fn login(&self, host: &mut Host, now: u64, user: &str, code: &str) -> bool {
        let results = host.tell(&format!("login {now} load {user} {code}"));
        match results.as_deref() {
            Some([0]) => true,
            Some([7]) => false,
            _ => {
                self.fault(format!("{user} at {now}: {results:?}"));
                false
            }
        }
    }

    /// Told at the end: whoever fails at once leaves the others waiting at the barrier.
    fn fault(&self, what: String) {
        lock(&self.faults).push(what);
    }

    /// What one of the processes does.
    fn work(&self, process: usize, host: &mut Host) {
        let mut chance = Chance(process as u64);
        for round in 0..self.rounds {
            let now = self.begin + round * ROUND;
            self.race(process, round, now, host, &mut chance);
            let mut left = self.logins;
            while left > 0 {
                let own = self.accounts.len() / self.processes;
                let nth = chance.below(own) * self.processes + process;
                // Somewhere within the step.
                let now = now + chance.below(30) as u64;
                left -= self.alone(&mut lock(&self.accounts[nth]), now, left, host, &mut chance);
            }
        }
    }

    /// One or two logins to an account that is nobody else's at this time.
    fn alone(
        &self,
        account: &mut Account,
        now: u64,
        left: usize,
        host: &mut Host,
        chance: &mut Chance,
    ) -> usize {
        let mut try_it = |account: &mut Account, kind: &LoginKind, code: &str| {
            let expected = account.expect(code, now);
            let succeeded = self.login(host, now, &account.name, code);
            if succeeded != expected {
                self.fault(format!("{} at {now}: must succeed: {expected}", account.name));
            }
            kind.note(expected, succeeded);
        };
        let tally = &self.tally;
        if account.active && chance.below(4) == 0 {
            let code = account.wrong(now, chance);
            try_it(account, &tally.wrong, &code);
            return 1;
        }
        match account.right(now, chance) {
            Some(code) => {
                try_it(account, &tally.right, &code);
                if left == 1 || chance.below(3) > 0 {
                    return 1;
                }
                try_it(account, &tally.replayed, &code);
                2
            }
            None => {
                let code = account.phone.code(account.next - 1);
                try_it(account, &tally.replayed, &code);
                1
            }
        }
    }

    /// Several processes with one code at the same moment, and some with a wrong one:
    /// one of them gets in, and each wrong code is counted.
    fn race(&self, process: usize, round: u64, now: u64, host: &mut Host, chance: &mut Chance) {
        let group = process / RACERS;
        let leads = process.is_multiple_of(RACERS);
        // Nobody is alone with an account any more.
        self.barrier.wait();
        if leads {
            let groups = self.processes / RACERS;
            // The same for all groups but for its last part: no account twice.
            let nth = Chance(round).below(self.accounts.len() / groups) * groups + group;
            let account = lock(&self.accounts[nth]);
            let right = account.right(now, chance).expect("a new round, a new code");
            let wrongs = if account.active { RACERS / 4 } else { 0 };
            let wrong = account.wrong(now, chance);
            *lock(&self.races[group]) = Race { account: nth, right, wrong, wrongs, succeeded: 0 };
        }
        self.barrier.wait();
        let (user, code) = {
            let race = lock(&self.races[group]);
            let wrong = process % RACERS < race.wrongs;
            let code = if wrong { &race.wrong } else { &race.right };
            (lock(&self.accounts[race.account]).name.clone(), code.clone())
        };
        self.barrier.wait();
        let succeeded = self.login(host, now, &user, &code);
        {
            let mut race = lock(&self.races[group]);
            race.succeeded += usize::from(succeeded);
            if succeeded && code == race.wrong {
                self.fault(format!("{user} at {now}: let in with a wrong code"));
            }
            self.tally.raced.note(false, succeeded);
        }
        self.barrier.wait();
        if leads {
            let race = lock(&self.races[group]);
            let mut account = lock(&self.accounts[race.account]);
            if !account.expect(&race.right, now) || race.succeeded != 1 {
                let Account { name, .. } = &*account;
                self.fault(format!("{name} at {now}: {} of {RACERS} let in", race.succeeded));
            }
            account.failures += race.wrongs as u64;
            self.tally.raced.expected.fetch_add(1, Ordering::Relaxed);
        }
        self.barrier.wait();
    }
}

/// Enables so many users of the world, every second by counter.
fn enabled(world: &World, count: usize) -> Vec<Mutex<Account>> {
    let names = (0..count).map(|nth| format!("user{nth}")).collect::<Vec<_>>();
    let mut passwd = world.read_text("/etc/passwd");
    for (uid, name) in (10_000..).zip(&names) {
        writeln!(passwd, "{name}:x:{uid}:100::/:/bin/sh").expect("a string takes it");
    }
    world.write("/etc/passwd", passwd.as_bytes(), 0o644);
    let accounts = ["totp", "hotp"].into_iter().enumerate().flat_map(|(parity, kind)| {
        let chosen: Vec<&str> = names.iter().skip(parity).step_by(2).map(String::as_str).collect();
        let mut enable = world.command("onetimectl");
        enable.args(["--json", "enable", "--show-secret", "--kind", kind, "-"]);
        let run =
            finish_within(&mut enable, chosen.join("\n").as_bytes(), Duration::from_secs(300));
        let rows: Vec<Value> = serde_json::from_str(&run.ok()).expect("rows");
        rows.into_iter().map(move |row| {
            let text = |key: &str| row[key].as_str().unwrap_or_else(|| panic!("{row}")).to_owned();
            Account {
                name: text("user"),
                phone: Phone::new(&text("secret")),
                secret: text("secret"),
                by_time: kind == "totp",
                active: false,
                next: 0,
                drift: 0,
                failures: 0,
                last_login: None,
            }
        })
    });
    accounts.map(Mutex::new).collect()
}

/// oathtool confirms a code of this account.
#[track_caller]
fn confirm(account: &Account) {
    let step = account.next;
    let code = match account.by_time {
        true => code_at(&account.secret, TotpOptions::default(), step * STEP),
        false => hotp_code(&account.secret, step, 6),
    };
    assert_eq!(account.phone.code(step), code, "{}", account.name);
}

/// The store says of each account what the model says; how many it does not agree on.
fn lost(world: &World, accounts: &[Mutex<Account>]) -> usize {
    let rows = |arguments: &[&str]| -> Vec<Value> {
        let mut tool = world.command("onetimectl");
        let run = finish_within(tool.args(arguments), b"", Duration::from_secs(300));
        serde_json::from_str(&run.ok()).expect("rows")
    };
    let mut known: std::collections::BTreeMap<String, Value> = rows(&["--json", "list"])
        .into_iter()
        .map(|row| (row["user"].as_str().unwrap_or_default().to_owned(), row))
        .collect();
    for row in rows(&["--json", "export"]) {
        let user = row["user"].as_str().unwrap_or_default();
        known.get_mut(user).expect("listed")["uri"] = row["uris"][0].clone();
    }
    assert_eq!(known.len(), accounts.len(), "accounts");
    let differs = |account: &&Mutex<Account>| {
        let account = lock(account);
        let row = &known[&account.name];
        let last_login = row["last_login"].as_str().map(|time| {
            let time: jiff::Timestamp = time.parse().expect("a date of RFC 3339");
            u64::try_from(time.as_second()).expect("after 1970")
        });
        let mut agrees = row["activated"] == account.active
            && last_login == account.last_login
            && row["drift"].as_i64() == Some(account.drift)
            && row["failures"].as_u64() == Some(account.failures);
        if account.by_time {
            // The step that was accepted last, as the store has it.
            let step = last_login.map(|time| {
                (time / STEP).saturating_add_signed(row["drift"].as_i64().unwrap_or(i64::MIN)) + 1
            });
            agrees &= step.unwrap_or(0) == account.next;
        } else {
            let counter = format!("counter={}", account.next);
            let uri = row["uri"].as_str().unwrap_or_default();
            agrees &= uri.split(['?', '&']).any(|parameter| parameter == counter);
        }
        if !agrees {
            println!("{} next {}: {row}", account.name, account.next);
        }
        !agrees
    };
    accounts.iter().filter(differs).count()
}

#[test]
fn of_many_logins_at_once_exactly_the_admissible_ones_succeed_and_no_state_is_lost() {
    let (accounts, processes) = extent((500, 16), (10_000, 64));
    let (rounds, logins) = extent((25, 9), (49, 31));
    let world = installed();
    // Every wrong code is counted, and none locks.
    let config = b"[limits]\nfailures = 0\nperiod = 31536000\n";
    world.write("/etc/onetime/onetime.toml", config, 0o644);
    world.pam_service("load", "auth required pam_onetime.so password=none\n");
    let campaign = Campaign {
        accounts: enabled(&world, accounts),
        processes,
        rounds,
        logins,
        begin: since_epoch().as_secs() / STEP * STEP,
        barrier: Barrier::new(processes),
        races: (0..processes / RACERS).map(|_| Mutex::default()).collect(),
        tally: Tally::default(),
        faults: Mutex::default(),
    };
    let mut hosts: Vec<Host> = (0..processes).map(|_| Host::new(&world)).collect();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for (process, host) in hosts.iter_mut().enumerate() {
            let campaign = &campaign;
            scope.spawn(move || campaign.work(process, host));
        }
    });
    let seconds = start.elapsed().as_secs_f64();
    drop(hosts);
    let faults = lock(&campaign.faults);
    assert!(faults.is_empty(), "{} faults: {:?}", faults.len(), &faults[..faults.len().min(20)]);
    for account in campaign.accounts.iter().step_by(accounts / CONFIRMED) {
        confirm(&lock(account));
    }
    let lost = lost(&world, &campaign.accounts);
    let Tally { right, wrong, replayed, raced } = &campaign.tally;
    let mut figures = Figures::new("load", &["", "logins", "must succeed", "succeeded"]);
    let (mut all, mut must, mut did) = (0, 0, 0);
    for (name, kind) in [
        ("right code", right),
        ("wrong code", wrong),
        ("spent code", replayed),
        ("8 processes race with one code", raced),
    ] {
        let [logins, expected, succeeded] =
            [&kind.logins, &kind.expected, &kind.succeeded].map(|it| it.load(Ordering::Relaxed));
        figures.row(&[&name, &logins, &expected, &succeeded]);
        assert!(logins > 0, "{name}");
        assert_eq!(expected, succeeded, "{name}");
        (all, must, did) = (all + logins, must + expected, did + succeeded);
    }
    figures.row(&[&"all", &all, &must, &did]);
    // A line that syslog does not take within half a second is given up.
    let logged = world.syslog().iter().filter(|line| line.text.contains("admitted")).count();
    assert!(logged <= did, "{logged} logged as admitted");
    figures.row(&[&"\"admitted\" in the log", &"", &"", &logged]);
    let rate = format!("{:.0} logins per second", all as f64 / seconds);
    let crowd = format!("{accounts} accounts, half totp, half hotp; {processes} processes");
    for told in [crowd, rate, format!("{lost} accounts whose state is not as it must be")] {
        figures.row(&[&told, &"", &"", &""]);
    }
    figures.publish();
    assert_eq!(lost, 0, "states lost");
}
