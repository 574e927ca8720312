//! Many logins to one active account, with any answers. Only a code that the token shows
//! at a step in the window gets in, after the last one, once, and not while locked.
#![no_main]

use std::ffi::CString;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use pam_onetime::Arguments;
use pam_onetime::account::{Timestamp, TokenId};
use pam_onetime::callers::Asker;
use pam_onetime::code::MovingFactor;
use pam_onetime::config::Config;
use pam_onetime::login::{
    Answer, Attempt, Circumstances, PasswordCheck, PasswordFault, PasswordProof, Verdict, View,
    judge,
};
use pam_onetime_fuzz::{active, check, shown, token};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    totp: bool,
    window: u8,
    look_ahead: u8,
    max_drift: u8,
    resync: u16,
    failures: u8,
    start: u32,
    logins: Vec<Login<'a>>,
}

#[derive(Arbitrary, Debug)]
struct Login<'a> {
    /// Seconds since the last one; the clock may go back.
    after: i16,
    password: bool,
    typed: TypedAnswer<'a>,
}

#[derive(Arbitrary, Debug)]
enum TypedAnswer<'a> {
    Bytes(&'a [u8]),
    /// The code so many steps from the present one, or from the next counter.
    Shown(i8),
    /// The last code that got in.
    Spent,
}

fuzz_target!(|input: Input<'_>| {
    let mut config = Config::default();
    for (key, value) in [
        ("window", u64::from(input.window)),
        ("look_ahead", input.look_ahead.into()),
        ("max_drift", input.max_drift.into()),
        ("resync", input.resync.into()),
        ("failures", input.failures.into()),
    ] {
        // Out of range: the default holds.
        let argument = CString::new(format!("{key}={value}")).expect("no NUL");
        if let Ok(arguments) = Arguments::parse(&[&argument]) {
            config = arguments.apply(config).expect("no rule is about it");
        }
    }
    check(&config);
    let mut token = token();
    if input.totp {
        token.kind = MovingFactor::Totp { period: Default::default() };
    }
    let mut account = active([token.clone()]);
    let mut now = u64::from(input.start);
    let mut spent = String::new();
    for login in input.logins.iter().take(64) {
        now = now.saturating_add_signed(login.after.into());
        let at = account.state.token(TokenId::FIRST);
        let present = if input.totp { now / 30 } else { at.next.0 };
        let typed = match login.typed {
            TypedAnswer::Bytes(typed) => typed.to_vec(),
            TypedAnswer::Shown(offset) => {
                shown(&token, present.saturating_add_signed(offset.into())).into_bytes()
            }
            TypedAnswer::Spent => spent.clone().into_bytes(),
        };
        let password = match login.password {
            true => PasswordCheck::Right(PasswordProof::by_administrator()),
            false => PasswordCheck::Wrong(PasswordFault::Password),
        };
        let circumstances = Circumstances {
            password: &password,
            rhost: None,
            service: "sshd",
            asker: Asker::Root,
            view: View::Everything,
            groups: &[],
            now: Timestamp(now),
        };
        let answer = Answer::read(&typed);
        let attempt = Attempt { circumstances, answer: &answer, tries_left: 0 };
        let before = account.state;
        let mut next = None;
        let verdict = judge(Some(&account), &attempt, &config).settle(|state| {
            next = Some(*state);
            Ok::<_, ()>(())
        });
        account.state = next.expect("every attempt is written");
        let after = account.state.token(TokenId::FIRST);
        assert!(after.next >= at.next, "a position went back");
        assert_eq!(account.state.activated_at, before.activated_at);
        match verdict.expect("nothing fails here") {
            Verdict::Admitted(_) => {
                assert!(login.password && now >= before.failures.locked_until.0);
                let step = after.next.0 - 1;
                assert!(step >= at.next.0, "a code served twice");
                let code = shown(&token, step);
                assert_eq!(
                    typed.iter().filter(|b| **b != b' ').copied().collect::<Vec<_>>(),
                    code.as_bytes()
                );
                let reach = match input.totp {
                    true => config.code.window.get() + config.code.max_drift.get(),
                    false => config.code.look_ahead.get().max(config.code.resync.get() + 1),
                };
                assert!(step.abs_diff(present) <= reach, "{step} from {present}");
                spent = code;
            }
            Verdict::Refused(_) => {
                assert_eq!((after.next, after.drift), (at.next, at.drift), "moved by a failure");
            }
            other => panic!("{other:?} for an active user"),
        }
        // Without the password nothing is counted and nobody is locked out.
        if !login.password {
            assert_eq!(account.state, before);
        }
    }
});
