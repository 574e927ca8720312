//! What a user types. A code that is accepted has 6 to 8 digits, and is what totp-rs
//! says that the token shows at the step found, the newest of those looked at; a
//! password and a code typed as one come apart again.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use pam_onetime::account::{Account, Timestamp, TokenId, TokenState};
use pam_onetime::code::{Algorithm, Code, Digits, MovingFactor, RecoveryCode, Secret, Step, Token};
use pam_onetime::config::{CodePolicy, UpTo};
use pam_onetime::login::{Answer, CodeNeed, separate};
use pam_onetime_fuzz::{record, shown};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    secret: [u8; 10],
    longer: u8,
    algorithm: u8,
    digits: [u8; 2],
    first: u64,
    steps: u8,
    typed: TypedAnswer<'a>,
}

#[derive(Arbitrary, Debug)]
enum TypedAnswer<'a> {
    /// Anything.
    Bytes(&'a [u8]),
    /// What the token shows so many steps after the first, with spaces and more.
    Shown { after: u8, digit_of_other_length: bool, before: &'a [u8] },
}

fuzz_target!(|input: Input<'_>| {
    let length = 10 + usize::from(input.longer) % 55;
    let bytes = input.secret.into_iter().cycle().take(length).collect();
    let secret = Secret::from_bytes(bytes).expect("80 to 512 bits");
    let algorithms = [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512];
    let tokens = input.digits.map(|digits| Token {
        secret: secret.clone(),
        algorithm: algorithms[usize::from(input.algorithm) % 3],
        digits: Digits::try_from(6 + u64::from(digits) % 3).expect("6 to 8"),
        kind: MovingFactor::Hotp,
    });
    let steps = || (0..=u64::from(input.steps % 8)).map(|after| Step(input.first).plus(after));
    let typed = match input.typed {
        TypedAnswer::Bytes(typed) => typed.to_vec(),
        TypedAnswer::Shown { after, digit_of_other_length, before } => {
            let token = &tokens[usize::from(digit_of_other_length)];
            let step = Step(input.first).plus(u64::from(after % 16));
            let all = [before, shown(token, step.0).as_bytes()].concat();
            // The last position has no code.
            if step != Step::END {
                apart(&all, before, &tokens, input.first);
            }
            all
        }
    };
    let code = read(&typed);
    let Some(code) = code else { return };
    let plain: String =
        typed.iter().filter(|byte| **byte != b' ').map(|b| char::from(*b)).collect();
    for token in &tokens {
        let expected =
            steps().filter(|step| *step != Step::END && shown(token, step.0) == plain).max();
        assert_eq!(token.newest_match(&code, steps()), expected);
    }
});

/// Takes a password and the code of a counter near `first` apart.
fn apart(all: &[u8], before: &[u8], tokens: &[Token; 2], first: u64) {
    let record = record(tokens.clone());
    let mut account = Account::fresh(record);
    for id in [TokenId::First, TokenId::Second] {
        let token = TokenState { next: Step(first), ..TokenState::default() };
        account.state = account.state.with_token(id, token);
    }
    let policy = CodePolicy { look_ahead: UpTo::of::<20>(), ..CodePolicy::default() };
    for need in [CodeNeed::Needed, CodeNeed::Optional] {
        let (password, answer) = separate(all, &account, need, Timestamp(0), &policy);
        assert!(matches!(answer, Answer::Code(_)), "the code is not seen");
        // Tokens of the same secret: the end of a longer code is a shorter one.
        let longer = all.len() - password.len() > all.len() - before.len();
        assert!(password == before || longer, "password and code do not come apart");
    }
}

/// Reads what was typed, in each way, and holds it against what may be typed.
fn read(typed: &[u8]) -> Option<Code> {
    let plain: Vec<u8> = typed.iter().copied().filter(|byte| *byte != b' ').collect();
    let is_code = (6..=8).contains(&plain.len()) && plain.iter().all(u8::is_ascii_digit);
    let code = Code::parse(typed);
    assert_eq!(code.is_some(), is_code);
    let plain: Vec<u8> =
        plain.iter().filter(|byte| **byte != b'-').map(u8::to_ascii_uppercase).collect();
    let symbol = |byte: &u8| byte.is_ascii_alphanumeric() && !b"01ILO".contains(byte);
    let is_recovery = plain.len() == 12 && plain.iter().all(symbol);
    let recovery = RecoveryCode::parse(typed);
    assert_eq!(recovery.is_some(), is_recovery);
    if let Some(recovery) = recovery {
        let again = RecoveryCode::parse(recovery.text().as_bytes()).expect("as people read it");
        assert_eq!(again.hash(&[1; 16]), recovery.hash(&[1; 16]));
    }
    match Answer::read(typed) {
        Answer::Empty => assert!(typed.is_empty()),
        Answer::Code(_) => assert!(is_code),
        Answer::Recovery(_) => assert!(is_recovery && !is_code),
        Answer::NotACode => assert!(!is_code && !is_recovery && !typed.is_empty()),
        Answer::RefusedBySshd => assert!(typed.starts_with(b"\x08\n\r\x7f")),
        Answer::PasswordAgain => panic!("no password is known"),
    }
    code
}
