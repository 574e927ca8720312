//! What several targets hold their finds against.

use pam_onetime::account::{Account, Generation, Record, Timestamp, TokenId, Uid, UserName};
use pam_onetime::callers::Asker;
use pam_onetime::code::{Secret, Token};
use pam_onetime::config::{Config, is_issuer};
use pam_onetime::login::{
    Answer, Attempt, Circumstances, FixedVerdict, PasswordCheck, PasswordFault, PasswordProof,
    Plan, Verdict, View, WithoutRecord, judge, plan, plan_without_record,
};

/// A secret, as bytes.
pub const SECRET: &[u8; 20] = b"12345678901234567890";

/// A token with a secret that the targets know.
#[must_use]
pub fn token() -> Token {
    Token {
        secret: Secret::from_bytes(SECRET.to_vec()).expect("160 bits"),
        algorithm: Default::default(),
        digits: Default::default(),
        kind: pam_onetime::code::MovingFactor::Hotp,
    }
}

/// A record with these tokens.
#[must_use]
pub fn record(tokens: impl IntoIterator<Item = Token>) -> Record {
    Record {
        user: UserName::new("alice").expect("a name"),
        uid: Uid::Is(2001),
        generation: Generation([7; 16]),
        issuer: "host".to_owned(),
        issued_at: Timestamp(1),
        deadline: None,
        tokens: TokenId::all().zip(tokens).collect(),
        recovery: None,
    }
}

/// An account that needs a code.
#[must_use]
pub fn active(tokens: impl IntoIterator<Item = Token>) -> Account {
    let mut account = Account::fresh(record(tokens));
    account.state.activated_at = Some(Timestamp(1));
    account
}

/// The code that `token` shows at a step, by totp-rs alone.
#[must_use]
pub fn shown(token: &Token, step: u64) -> String {
    let algorithm = match token.algorithm.name() {
        "SHA1" => totp_rs::Algorithm::SHA1,
        "SHA256" => totp_rs::Algorithm::SHA256,
        _ => totp_rs::Algorithm::SHA512,
    };
    totp_rs::Builder::new()
        .with_algorithm(algorithm)
        .with_digits(token.digits.get())
        .with_secret(token.secret.as_bytes())
        .with_step_duration(1)
        .build_noncompliant()
        .generate(step)
        .to_string()
}

/// Every value of a configuration that was accepted is one that onetime.toml(5) has,
/// and whatever it says, nobody gets in without the password, and nobody into an active
/// account without a code, but those whom it exempts.
pub fn check(config: &Config) {
    let Config {
        issuer,
        store,
        password,
        code,
        enrollment,
        login,
        limits,
        daemon,
        self_service: _,
    } = config;
    assert!(issuer.as_ref().is_none_or(|issuer| is_issuer(issuer)));
    assert!(store.dir.starts_with('/'));
    let in_pam_d = |name: &str| !name.is_empty() && !name.contains('/') && !name.starts_with('.');
    assert!(in_pam_d(&password.service) && !password.service.contains('\0'));
    assert!((6..=8).contains(&code.digits.get()) && (15..=300).contains(&code.period.get()));
    assert!(code.window.get() <= 10 && code.look_ahead.get() <= 100);
    assert!(code.max_drift.get() <= 100 && code.resync.get() <= 1000);
    assert!(enrollment.recovery_codes.get() <= 16);
    for span in [enrollment.deadline, login.remember] {
        assert!(span.seconds().is_none_or(|seconds| (1..=315_360_000).contains(&seconds)));
    }
    assert!(!login.prompt.contains(char::is_control));
    assert!(limits.failures == 0 || limits.period > 0 && limits.lockout > 0);
    assert!(limits.lockout <= limits.max_lockout);
    for entry in &daemon.may_ask {
        assert!(daemon.names(&entry.user));
        assert!(entry.services.iter().all(|service| daemon.permits(&entry.user, service)));
    }

    let account = active([token()]);
    for now in [0, 1_000_000_000, u64::MAX].map(Timestamp) {
        let with = |password| Circumstances {
            password,
            rhost: Some("::1"),
            service: "sshd",
            asker: Asker::Root,
            view: View::Everything,
            groups: &[],
            now,
        };
        let wrong = PasswordCheck::Wrong(PasswordFault::Password);
        let planned = plan(&account, &with(&wrong), config);
        assert!(!lets_in(&planned), "{planned:?} with a wrong password");
        match plan_without_record(&with(&wrong), config) {
            WithoutRecord::Fixed(FixedVerdict::Done(verdict) | FixedVerdict::Pretend(verdict)) => {
                assert!(
                    matches!(verdict, Verdict::Refused(_)),
                    "{verdict:?} with a wrong password"
                );
            }
            WithoutRecord::Issue => panic!("a record is issued for a wrong password"),
        }
        let right = PasswordCheck::Right(PasswordProof::by_administrator());
        if !login.exempt_networks.contain([0, 0, 0, 0, 0, 0, 0, 1].into()) {
            let planned = plan(&account, &with(&right), config);
            assert!(!lets_in(&planned), "{planned:?} without a code");
        }
        for answer in [Answer::Empty, Answer::NotACode, Answer::RefusedBySshd] {
            let circumstances = with(&right);
            let attempt = Attempt { circumstances, answer: &answer, tries_left: 0 };
            let verdict = judge(Some(&account), &attempt, config).settle(|_| Ok::<_, ()>(()));
            assert!(matches!(verdict, Ok(Verdict::Refused(_))), "{verdict:?} for {answer:?}");
        }
    }
}

fn lets_in(planned: &Plan<'_>) -> bool {
    match planned {
        Plan::Fixed(FixedVerdict::Done(verdict) | FixedVerdict::Pretend(verdict)) => {
            matches!(verdict, Verdict::Admitted(_) | Verdict::NotNeeded(_))
        }
        Plan::Ask(_) => false,
    }
}
