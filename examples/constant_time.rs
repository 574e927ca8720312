//! Whether the time that a comparison takes reveals how much of a guess is right: two
//! classes of inputs, in random order, and Welch's t-test on the times, as dudect does
//! it (Reparaz, Balasch, Verbauwhede: "Dude, is my code constant time?", 2017).
//!
//! ```text
//! constant_time MEASUREMENTS
//! ```
//!
//! One line a comparison: its name, the t of largest magnitude over all crops, the
//! same for a control, which does the same work but compares byte by byte and stops at the
//! first difference, and the names of the two classes. Built with optimization, as
//! the module is.

use std::hint::black_box;
use std::time::Instant;

use pam_onetime::account::{
    Account, Generation, Hash, MAX_HOSTS, Record, Recovery, RememberedHost, Timestamp, TokenId,
    Uid, UserName,
};
use pam_onetime::callers::Asker;
use pam_onetime::code::{
    Algorithm, Code, Digits, MovingFactor, Period, RecoveryCode, Secret, Step, Token,
};
use pam_onetime::config::Config;
use pam_onetime::login::{
    Answer, Attempt, Circumstances, PasswordCheck, PasswordFault, Plan, View, judge, plan,
};
use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest, Sha256};

const NOW: Timestamp = Timestamp(1_800_000_000);

fn main() {
    let measurements = std::env::args().nth(1).expect("constant_time MEASUREMENTS");
    let measurements = measurements.parse().expect("a number");
    let compared = [
        codes(measurements),
        steps(measurements),
        recovery_codes(measurements),
        hosts(measurements),
    ];
    for Compared { name, classes: [one, other], t, control } in compared {
        println!("{name}\t{t:.1}\t{control:.1}\t{one}\t{other}");
    }
}

struct Compared {
    name: &'static str,
    classes: [&'static str; 2],
    t: f64,
    control: f64,
}

/// Whether a wrong code is as slow to refuse when only its last digit is wrong.
fn codes(measurements: usize) -> Compared {
    let token = token();
    let step = Step(NOW.0 / 30);
    let right = shown(&token, step);
    let mut near = right.clone();
    let last = near.len() - 1;
    near[last] = b'0' + (near[last] - b'0' + 1) % 10;
    let mut far = right.clone();
    far[0] = b'0' + (far[0] - b'0' + 1) % 10;
    let inputs = [near, far];
    let code = |class: usize| Code::parse(&inputs[class]).expect("digits");
    let t = welch(measurements, code, |code| token.newest_match(code, [step].into_iter()));
    // The same HMAC, then the digits.
    let control = welch(
        measurements,
        |class| (code(class), inputs[class].clone()),
        |(code, typed)| {
            black_box(token.newest_match(code, [step].into_iter()));
            stops_early(typed, &right)
        },
    );
    let classes = ["only the last digit wrong", "the first digit wrong"];
    Compared { name: "code", classes, t, control }
}

/// Whether the time reveals which step of the window a code is of.
fn steps(measurements: usize) -> Compared {
    let token = token();
    let present = NOW.0 / 30;
    let window = || (present - 1..=present + 1).map(Step);
    let inputs = [present - 1, present + 1].map(|step| shown(&token, Step(step)));
    let code = |class: usize| Code::parse(&inputs[class]).expect("digits");
    let t = welch(measurements, code, |code| token.newest_match(code, window()));
    // What stops at the step that matches.
    let control = welch(measurements, code, |code| {
        window().find(|step| token.newest_match(code, [*step].into_iter()).is_some())
    });
    let classes = ["of the first step", "of the last step"];
    Compared { name: "step of the window", classes, t, control }
}

/// Whether a wrong recovery code is as slow to refuse when its hash is nearly one of
/// those on record.
fn recovery_codes(measurements: usize) -> Compared {
    let typed = RecoveryCode::generate(&mut SysRng).expect("randomness");
    let (recovery, _) = Recovery::generate(&mut SysRng, 16).expect("randomness");
    let hash = typed.hash(&recovery.salt.0);
    let [mut near, mut far] = [hash, hash];
    near[31] ^= 1;
    far[0] ^= 1;
    let inputs = [near, far];
    let answer = Answer::read(typed.text().as_bytes());
    let config = Config::default();
    let password = PasswordCheck::Wrong(PasswordFault::Password);
    let account = |class: usize| {
        let mut account = active();
        account.record.recovery =
            Some(Recovery { hashes: vec![Hash(inputs[class]); 16], ..recovery.clone() });
        account
    };
    let t = welch(measurements, account, |account| {
        judge(Some(account), &attempt(&password, &answer), &config)
    });
    let control = welch(measurements, account, |account| {
        let hash = typed.hash(&recovery.salt.0);
        let stored = account.record.recovery.as_ref().expect("a set");
        stored.hashes.iter().filter(|stored| stops_early(&stored.0, &hash)).count()
    });
    let classes = ["hashes wrong in the last byte", "hashes wrong in the first byte"];
    Compared { name: "recovery code", classes, t, control }
}

/// Whether a host is as slow not to be known when its key is nearly one of those
/// in the state.
fn hosts(measurements: usize) -> Compared {
    let config = Config::parse("[login]\nremember = \"1h\"\n").expect("a configuration");
    let key: [u8; 32] = Sha256::new()
        .chain_update(active().state.generation.0)
        .chain_update(b"192.0.2.7\0sshd\0")
        .chain_update(3600_u64.to_le_bytes())
        .finalize()
        .into();
    let key: [u8; 16] = key[..16].try_into().expect("half of it");
    let [mut near, mut far] = [key, key];
    near[15] ^= 1;
    far[0] ^= 1;
    let inputs = [near, far];
    let answer = Answer::Empty;
    let password = PasswordCheck::Wrong(PasswordFault::Password);
    let account = |class: usize| {
        let mut account = active();
        let host = RememberedHost { key: inputs[class], until: NOW.plus(60) };
        account.state.hosts = [host; MAX_HOSTS];
        account
    };
    let known = |account: &Account| {
        let circumstances = attempt(&password, &answer).circumstances;
        matches!(plan(account, &circumstances, &config), Plan::Fixed(_))
    };
    let mut remembered = account(0);
    assert!(!known(&remembered), "it is not the one");
    remembered.state.hosts[3].key = key;
    assert!(known(&remembered), "the key is made as the module makes it");
    let t = welch(measurements, account, known);
    let control = welch(measurements, account, |account| {
        let hash = Sha256::new().chain_update(account.state.generation.0).finalize();
        black_box(hash);
        account.state.hosts.iter().filter(|host| stops_early(&host.key, &key)).count()
    });
    let classes = ["keys wrong in the last byte", "keys wrong in the first byte"];
    Compared { name: "remembered host", classes, t, control }
}

/// What a comparison must not be.
#[inline(never)]
fn stops_early(one: &[u8], other: &[u8]) -> bool {
    one.iter().zip(other).all(|(one, other)| black_box(one) == black_box(other))
}

// --- an account ---

fn token() -> Token {
    Token {
        secret: Secret::from_bytes(b"12345678901234567890".to_vec()).expect("160 bits"),
        algorithm: Algorithm::Sha1,
        digits: Digits::try_from(8).expect("in range"),
        kind: MovingFactor::Totp { period: Period::default() },
    }
}

/// What the token shows at a step.
fn shown(token: &Token, step: Step) -> Vec<u8> {
    let hotp = totp_rs::Builder::new()
        .with_secret(token.secret.as_bytes())
        .with_digits(8)
        .with_step_duration(1)
        .build_noncompliant();
    hotp.generate(step.0).to_string().into_bytes()
}

fn active() -> Account {
    let mut account = Account::fresh(Record {
        user: UserName::new("alice").expect("a name"),
        uid: Uid::Is(2001),
        generation: Generation([7; 16]),
        issuer: "host.example.org".to_owned(),
        issued_at: Timestamp(1_700_000_000),
        deadline: None,
        recovery: None,
        tokens: vec![(TokenId::FIRST, token())],
    });
    account.state.activated_at = Some(Timestamp(1_700_000_000));
    account
}

fn attempt<'a>(password: &'a PasswordCheck, answer: &'a Answer) -> Attempt<'a> {
    let circumstances = Circumstances {
        password,
        rhost: Some("192.0.2.7"),
        service: "sshd",
        asker: Asker::Root,
        view: View::Everything,
        groups: &[],
        now: NOW,
    };
    Attempt { circumstances, answer, tries_left: 0 }
}

// --- the test ---

/// The t of largest magnitude. Measured in batches; the inputs of a batch are made
/// before it.
fn welch<T, R>(
    measurements: usize,
    prepare: impl Fn(usize) -> T,
    measured: impl Fn(&T) -> R,
) -> f64 {
    const BATCH: usize = 100;
    let mut times = Vec::with_capacity(measurements);
    let mut first = true;
    while times.len() < measurements {
        let mut classes = [0_u8; BATCH];
        SysRng.try_fill_bytes(&mut classes).expect("randomness");
        let inputs: Vec<T> = classes.iter().map(|class| prepare(usize::from(class & 1))).collect();
        for (class, input) in classes.iter().zip(&inputs) {
            let start = Instant::now();
            black_box(measured(black_box(input)));
            let time = start.elapsed().as_nanos() as f64;
            if !first {
                times.push((class & 1, time));
            }
        }
        // The first one warms the caches.
        first = false;
    }
    let mut sorted: Vec<f64> = times.iter().map(|(_, time)| *time).collect();
    sorted.sort_by(f64::total_cmp);
    // dudect's crops: slow outliers, which are the machine's, hide a difference.
    let crops = (1..=100).map(|i| {
        let share = 1.0 - 0.5_f64.powf(10.0 * f64::from(i) / 100.0);
        sorted[((sorted.len() as f64 * share) as usize).min(sorted.len() - 1)]
    });
    let ts = crops.chain([f64::INFINITY]).map(|crop| {
        let kept = times.iter().filter(|(_, time)| *time <= crop);
        let [one, other] = kept.fold([Moments::default(); 2], |mut moments, (class, time)| {
            moments[usize::from(*class)].add(*time);
            moments
        });
        one.t(&other)
    });
    ts.filter(|t| t.is_finite()).max_by(|a, b| a.abs().total_cmp(&b.abs())).expect("a crop")
}

/// Mean and variance (Welford).
#[derive(Clone, Copy, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let from_mean = value - self.mean;
        self.mean += from_mean / self.count;
        self.squares += from_mean * (value - self.mean);
    }

    fn t(&self, other: &Self) -> f64 {
        // Too few for a mean to be normal.
        if self.count.min(other.count) < 1000.0 {
            return f64::NAN;
        }
        let share = |it: &Self| it.squares / (it.count - 1.0) / it.count;
        (self.mean - other.mean) / (share(self) + share(other)).sqrt()
    }
}
