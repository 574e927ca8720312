//! Password and code in one answer (`prompt=combined`): where the one ends and the
//! other begins. It is decided before the password service is asked, so that the
//! service is asked once in a login, whoever logs in and whatever was typed.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::find::is_known;
use super::plan::code_exemption;
use super::{Answer, Circumstances};
use crate::account::{Account, Generation, Phase, Timestamp};
use crate::code::{Code, RecoveryCode};
use crate::config::{CodePolicy, Config};

/// Whether a login needs a code, as far as that is known before the password is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeNeed {
    /// The account is active, and nothing exempts the login.
    Needed,
    /// The account is pending, or the login exempt: a code may have been typed or not.
    Optional,
}

impl CodeNeed {
    /// Of a user who has a record. What the circumstances say of the password plays no
    /// part.
    #[must_use]
    pub fn of(account: &Account, circumstances: &Circumstances<'_>, config: &Config) -> Self {
        match account.phase() {
            Phase::Pending => Self::Optional,
            Phase::Active { .. } => match code_exemption(account, circumstances, config) {
                Some(_) => Self::Optional,
                None => Self::Needed,
            },
        }
    }
}

/// Takes the password and the code at its end apart, for a user who has a record. One
/// who has none has typed the password alone.
///
/// A code that the account has shown, used or not, is one. Where there is none, a user
/// who needs one has typed a wrong one, if the end looks like a code, and others the
/// password alone. Nothing is spent and nothing decided: that is for
/// [`judge`](super::judge()).
#[must_use]
pub fn separate<'a>(
    all: &'a [u8],
    account: &Account,
    need: CodeNeed,
    now: Timestamp,
    policy: &CodePolicy,
) -> (&'a [u8], Answer) {
    let splits: Vec<Split<'a>> = splits(all, account).collect();
    // Each is looked at, whichever is right. Of several, the longest: it is right by
    // chance less often.
    let known = splits.iter().fold(None, |known, split| {
        if is_known(account, &split.answer, now, policy) { Some(split) } else { known }
    });
    let chosen = known.or_else(|| match need {
        CodeNeed::Needed => likely(&splits, account.record.generation, all),
        CodeNeed::Optional => None,
    });
    match chosen {
        Some(split) => (split.password, split.answer.clone()),
        None => (all, Answer::Empty),
    }
}

/// One way to take an answer apart.
struct Split<'a> {
    password: &'a [u8],
    answer: Answer,
}

/// The ways in which an answer can end in a code: one for each length that codes of the
/// account have, the shortest first, and then one for a recovery code.
fn splits<'a>(all: &'a [u8], account: &Account) -> impl Iterator<Item = Split<'a>> + use<'a> {
    let lengths = account.record.tokens.iter().map(|(_, token)| token.digits.get().into());
    let codes = lengths.collect::<BTreeSet<usize>>().into_iter().filter_map(|length| {
        let (password, code) = cut(all, length, u8::is_ascii_digit, |byte| byte == b' ')?;
        Some(Split { password, answer: Answer::Code(Code::parse(code)?) })
    });
    let separates = |byte| matches!(byte, b' ' | b'-');
    let recovery = cut(all, RecoveryCode::LENGTH, RecoveryCode::is_symbol, separates);
    let recovery = recovery.and_then(|(password, code)| {
        Some(Split { password, answer: Answer::Recovery(RecoveryCode::parse(code)?) })
    });
    codes.chain(recovery)
}

/// Cuts off an end that holds `length` symbols and begins with one; in it, separators
/// do not count. `None` if anything else is in the way.
fn cut(
    all: &[u8],
    length: usize,
    is_symbol: impl Fn(&u8) -> bool,
    separates: impl Fn(u8) -> bool,
) -> Option<(&[u8], &[u8])> {
    let mut missing = length;
    for (index, byte) in all.iter().enumerate().rev() {
        if is_symbol(byte) {
            missing = missing.saturating_sub(1);
            if missing == 0 {
                return all.split_at_checked(index);
            }
        } else if !separates(*byte) {
            return None;
        }
    }
    None
}

/// Of ways none of which is right, the one that an active user is most likely to have
/// meant: a code before a recovery code. Between codes of several lengths nobody can
/// predict which it is, because the generation is a secret: otherwise who has
/// the password could guess at those of the length that is never taken for a wrong code,
/// and no guess would count.
fn likely<'s, 'a>(
    splits: &'s [Split<'a>],
    generation: Generation,
    all: &[u8],
) -> Option<&'s Split<'a>> {
    let codes = splits.iter().filter(|split| matches!(split.answer, Answer::Code(_)));
    match codes.clone().count() {
        0 => splits.first(),
        1 => codes.clone().next(),
        several => {
            // Spaces in a code do not count: with them one code could be typed until it is
            // taken for the other length, which tells that it is wrong.
            let typed: Zeroizing<Vec<u8>> =
                Zeroizing::new(all.iter().copied().filter(|byte| *byte != b' ').collect());
            let hash: [u8; 32] =
                Sha256::new().chain_update(generation.0).chain_update(&*typed).finalize().into();
            let [first, ..] = hash;
            codes.clone().nth(usize::from(first).checked_rem(several).unwrap_or(0))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::account::tests::record;
    use crate::account::{Recovery, SpentRecovery, State, TokenId, TokenState};
    use crate::callers::Asker;
    use crate::code::{Digits, MovingFactor, Period, Secret, Step};
    use crate::config::Networks;
    use crate::login::{
        Attempt, Grant, PasswordCheck, PasswordFault, PasswordProof, Refusal, Verdict, View, judge,
    };

    /// Within step 5 of a period of 30.
    const NOW: Timestamp = Timestamp(155);
    /// Code 5 of RFC 4226, and one that no counter near it has.
    const RIGHT: &str = "254676";
    const WRONG: &str = "000000";

    fn pending() -> Account {
        Account::fresh(record(MovingFactor::Totp { period: Period::default() }))
    }

    fn active() -> Account {
        let mut account = pending();
        account.state = State { activated_at: Some(Timestamp(1)), ..account.state };
        account
    }

    /// With a second token of eight digits, by counter, whose next code is returned.
    fn with_eight_digits(mut account: Account) -> (Account, String) {
        let mut token = account.record.tokens[0].1.clone();
        token.kind = MovingFactor::Hotp;
        token.digits = Digits::try_from(8).unwrap();
        token.secret = Secret::from_bytes(b"abcdefghijabcdefghij".to_vec()).unwrap();
        let code = totp_rs::Builder::new()
            .with_secret(token.secret.as_bytes())
            .with_digits(8)
            .with_step_duration(1)
            .build_noncompliant()
            .generate(0)
            .to_string();
        account.record.tokens.push((TokenId::Second, token));
        (account, code)
    }

    fn with_recovery(mut account: Account) -> (Account, String) {
        let (recovery, codes) = Recovery::generate(&mut rand::rngs::SysRng, 1).unwrap();
        account.record.recovery = Some(recovery);
        (account, codes[0].text().to_string())
    }

    fn spent(mut account: Account) -> Account {
        let token = TokenState { next: Step(6), ..TokenState::default() };
        account.state = account.state.with_token(TokenId::FIRST, token);
        if let Some(recovery) = &account.record.recovery {
            account.state.recovery = SpentRecovery { set: recovery.set, bits: 1 };
        }
        account
    }

    fn cut_up(all: &str, account: &Account, need: CodeNeed) -> (String, &'static str) {
        let (password, answer) =
            separate(all.as_bytes(), account, need, NOW, &CodePolicy::default());
        let kind = match answer {
            Answer::Empty => "empty",
            Answer::Code(_) => "code",
            Answer::Recovery(_) => "recovery code",
            Answer::NotACode => "no code",
            Answer::PasswordAgain => "password",
            Answer::RefusedBySshd => "refused by sshd",
        };
        (String::from_utf8(password.to_vec()).unwrap(), kind)
    }

    #[test]
    fn a_code_at_the_end_begins_where_an_accepted_or_spent_one_does() {
        let (both, eight) = with_eight_digits(active());
        for account in [both.clone(), spent(both)] {
            for need in [CodeNeed::Needed, CodeNeed::Optional] {
                for password in ["", "secret", "secret 1", "s254676", "12", "s ", "\u{e9}"] {
                    for code in [RIGHT, "254 676", "2 5 4 6 7 6 ", &eight] {
                        let all = format!("{password}{code}");
                        let expected = (password.to_owned(), "code");
                        assert_eq!(cut_up(&all, &account, need), expected, "{all} {need:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_recovery_code_may_be_typed_with_hyphens_with_spaces_or_with_neither() {
        let (account, code) = with_recovery(active());
        for account in [account.clone(), spent(account)] {
            for need in [CodeNeed::Needed, CodeNeed::Optional] {
                for password in ["", "secret", "secret-", "SECRET", "222222"] {
                    let bare = code.replace('-', "");
                    for code in [&code, &bare, &code.replace('-', " "), &bare.to_lowercase()] {
                        let all = format!("{password}{code}");
                        let expected = (password.to_owned(), "recovery code");
                        assert_eq!(cut_up(&all, &account, need), expected, "{all} {need:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn where_no_code_is_right_an_active_user_has_typed_a_wrong_one_and_others_none() {
        let account = active();
        for (all, password, kind) in [
            ("secret000000", "secret", "code"),
            ("secret 000 000", "secret ", "code"),
            ("hunter12000000", "hunter12", "code"),
            ("secret2345-6789-ABCD", "secret", "recovery code"),
            ("secretABCDEFGH2345", "secretABCDEFGH2345".split_at(6).0, "recovery code"),
            // Twelve symbols of a recovery code, but six digits at the end.
            ("secretABCDEF234567", "secretABCDEF", "code"),
            ("000000", "", "code"),
            ("secret", "secret", "empty"),
            ("secret00000", "secret00000", "empty"),
            ("", "", "empty"),
            ("\u{8}\n\r\u{7f}INCORRECT", "\u{8}\n\r\u{7f}INCORRECT", "empty"),
        ] {
            let got = cut_up(all, &account, CodeNeed::Needed);
            assert_eq!(got, (password.to_owned(), kind), "{all:?}");
            let got = cut_up(all, &account, CodeNeed::Optional);
            assert_eq!(got, (all.to_owned(), "empty"), "{all:?}");
        }
    }

    #[test]
    fn nobody_can_tell_which_length_a_wrong_code_of_an_account_with_two_is_taken_to_have() {
        let (account, _) = with_eight_digits(active());
        let other = {
            let mut account = account.clone();
            account.record.generation = Generation([8; 16]);
            account
        };
        let lengths = |account: &Account| -> Vec<usize> {
            let typed = (0..200).map(|number| format!("secret99{number:06}"));
            typed.map(|all| cut_up(&all, account, CodeNeed::Needed).0.len()).collect()
        };
        let here = lengths(&account);
        let short = here.iter().filter(|length| **length == "secret99".len()).count();
        assert!((60..140).contains(&short), "{short} of 200");
        assert_eq!(here, lengths(&account), "the same answer is taken apart in one way");
        assert_ne!(here, lengths(&other), "the generation decides");
    }

    #[test]
    fn spaces_in_a_wrong_code_do_not_change_which_length_it_is_taken_to_have() {
        let (account, _) = with_eight_digits(active());
        for number in 0..100 {
            let code = format!("{number:06}");
            let (one, two) = code.split_at(3);
            let password = |typed: String| cut_up(&typed, &account, CodeNeed::Needed).0;
            let plain = password(format!("secret99{code}"));
            for typed in [format!("{one} {two}"), format!("{one}{two} "), format!("{one}  {two}  ")]
            {
                assert_eq!(password(format!("secret99{typed}")), plain, "{typed:?}");
            }
        }
    }

    #[test]
    fn a_code_is_needed_from_active_users_whom_nothing_exempts() {
        let mut config = Config::default();
        config.login.exempt_networks = Networks::try_from(vec!["192.0.2.0/24".into()]).unwrap();
        let password = PasswordCheck::Wrong(PasswordFault::Password);
        let need = |account: &Account, rhost| {
            let circumstances = Circumstances {
                password: &password,
                rhost: Some(rhost),
                service: "sshd",
                asker: Asker::Root,
                view: View::Everything,
                groups: &[],
                now: NOW,
            };
            CodeNeed::of(account, &circumstances, &config)
        };
        assert_eq!(need(&active(), "198.51.100.1"), CodeNeed::Needed);
        assert_eq!(need(&active(), "192.0.2.7"), CodeNeed::Optional);
        assert_eq!(need(&pending(), "198.51.100.1"), CodeNeed::Optional);
    }

    /// What an answer ends in, and the verdict that follows with the right password.
    fn endings() -> Vec<(Account, String, Verdict)> {
        let (account, recovery) = with_recovery(with_eight_digits(active()).0);
        let (_, eight) = with_eight_digits(active());
        let bare = recovery.replace('-', "");
        let recovered = Verdict::Admitted(Grant::RecoveryCode { left: 0 });
        let mut rows = Vec::new();
        for (end, verdict) in [
            (RIGHT.to_owned(), Verdict::Admitted(Grant::Code)),
            (eight, Verdict::Admitted(Grant::Code)),
            (recovery.clone(), recovered),
            (bare.clone(), recovered),
            (String::new(), Verdict::Refused(Refusal::NoCode)),
        ] {
            rows.push((account.clone(), end, verdict));
        }
        for end in [RIGHT.to_owned(), recovery, bare] {
            rows.push((spent(account.clone()), end, Verdict::Refused(Refusal::SpentCode)));
        }
        rows.push((active(), WRONG.to_owned(), Verdict::Refused(Refusal::WrongCode)));
        rows
    }

    proptest! {
        #[test]
        fn an_active_user_gets_in_with_the_password_and_an_unspent_code_and_in_no_other_way(
            password in "[ -~]{0,20}[g-zG-Z!]",
            typed in "([ -~]{0,20}[g-zG-Z!])?",
            row in proptest::sample::select(endings()),
        ) {
            let (account, end, expected) = row;
            for typed in [&password, &typed] {
                let all = format!("{typed}{end}");
                let policy = CodePolicy::default();
                let (asked, answer) =
                    separate(all.as_bytes(), &account, CodeNeed::Needed, NOW, &policy);
                // The password service is asked this one question.
                let check = if asked == password.as_bytes() {
                    PasswordCheck::Right(PasswordProof::by_transaction())
                } else {
                    PasswordCheck::Wrong(PasswordFault::Password)
                };
                let circumstances = Circumstances {
                    password: &check, rhost: None, service: "sshd", asker: Asker::Root, view: View::Everything, groups: &[], now: NOW,
                };
                let attempt = Attempt { circumstances, answer: &answer, tries_left: 0 };
                let verdict = judge(Some(&account), &attempt, &Config::default())
                    .settle(|_| Ok::<(), ()>(()))
                    .unwrap();
                if *typed == password {
                    prop_assert_eq!(verdict, expected, "{:?}", all);
                } else {
                    prop_assert_eq!(verdict, Verdict::Refused(Refusal::WrongPassword), "{:?}", all);
                }
            }
        }

        #[test]
        fn an_answer_is_taken_apart_without_losing_a_byte_of_the_password(
            all in proptest::collection::vec(any::<u8>(), 0..600),
            digits in "[0-9 -]{0,40}",
        ) {
            let all = [&all, digits.as_bytes()].concat();
            let (account, _) = with_recovery(with_eight_digits(active()).0);
            for need in [CodeNeed::Needed, CodeNeed::Optional] {
                let (password, answer) =
                    separate(&all, &account, need, NOW, &CodePolicy::default());
                prop_assert!(all.starts_with(password));
                let whole = password.len() == all.len();
                prop_assert_eq!(whole, matches!(answer, Answer::Empty));
                prop_assert!(!matches!(answer, Answer::NotACode | Answer::RefusedBySshd));
            }
        }
    }
}
