//! The rules by table and by property. Codes come from RFC 4226 appendix D:
//! with a period of 30 s, step N of a TOTP token shows the code of counter N.

use proptest::prelude::*;

use super::find::{host_key, remember};
use super::limits::count_failure;
use super::*;
use crate::account::tests::record;
use crate::account::{
    Account, Failures, Generation, Recovery, State, Timestamp, TokenId, TokenState,
};
use crate::callers::Asker;
use crate::code::{Code, MovingFactor, Period, Step};
use crate::config::{
    AtLogin, CodePolicy, Config, GroupNames, Limits, LoginPolicy, Missing, Networks, UpTo,
};

mod at_service;
mod clock;

const CODES: [&str; 10] = [
    "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871",
    "520489",
];
const WRONG: PasswordCheck = PasswordCheck::Wrong(PasswordFault::Password);

fn totp() -> MovingFactor {
    MovingFactor::Totp { period: Period::default() }
}

fn account(kind: MovingFactor) -> Account {
    let record = record(kind);
    let state = State::fresh(record.generation);
    Account { record, state }
}

fn active(kind: MovingFactor, next: u64) -> Account {
    let mut account = account(kind);
    account.state.activated_at = Some(Timestamp(1));
    account.state = account
        .state
        .with_token(TokenId::FIRST, TokenState { next: Step(next), ..TokenState::default() });
    account
}

fn right() -> PasswordCheck {
    PasswordCheck::Right(PasswordProof::by_transaction())
}

fn circumstances(password: &PasswordCheck, now: u64) -> Circumstances<'_> {
    Circumstances {
        password,
        rhost: Some("192.0.2.7"),
        service: "sshd",
        asker: Asker::Root,
        view: View::Everything,
        groups: &[],
        now: Timestamp(now),
    }
}

fn plan<'a>(account: Option<&'a Account>, password: &PasswordCheck, config: &Config) -> Plan<'a> {
    plan_in(account, &circumstances(password, 3_000), config).expect("nothing to issue")
}

/// The plan for a user with a record or without; `None`: issue one first.
fn plan_in<'a>(
    account: Option<&'a Account>,
    circumstances: &Circumstances<'_>,
    config: &Config,
) -> Option<Plan<'a>> {
    match account {
        Some(account) => Some(super::plan(account, circumstances, config)),
        None => match plan_without_record(circumstances, config) {
            WithoutRecord::Fixed(fixed) => Some(Plan::Fixed(fixed)),
            WithoutRecord::Issue => None,
        },
    }
}

/// Verdict and next state, returned only if the commit succeeds.
fn judged(
    account: &Account,
    password: &PasswordCheck,
    typed: &str,
    tries_left: u32,
    now: u64,
) -> (Verdict, State) {
    let answer = Answer::read(typed.as_bytes());
    let attempt =
        Attempt { circumstances: circumstances(password, now), answer: &answer, tries_left };
    let mut state = account.state;
    let verdict = judge(Some(account), &attempt, &Config::default())
        .settle(|next| {
            state = *next;
            Ok::<(), ()>(())
        })
        .unwrap();
    (verdict, state)
}

fn verdict(account: &Account, password: &PasswordCheck, typed: &str, now: u64) -> Verdict {
    judged(account, password, typed, 0, now).0
}

// --- who asks ---

#[test]
fn a_services_account_is_shown_no_secret_and_activates_nobody() {
    // At 155 s it is step 5.
    let (account, now, code) = (account(totp()), 155, CODES[5]);
    for at_login in [AtLogin::Optional, AtLogin::Required, AtLogin::Off, AtLogin::Accept] {
        for missing in [Missing::Ignore, Missing::Enrol, Missing::Deny] {
            let config = configured(|config| {
                config.enrollment.at_login = at_login;
                config.login.missing = missing;
            });
            let password = right();
            let root = circumstances(&password, now);
            let view = root.view.of_asker(Asker::Service);
            assert!(!view.has_secrets());
            let service = Circumstances { asker: Asker::Service, view, ..root };
            let planned = plan_in(Some(&account), &service, &config);
            let expected = match at_login {
                AtLogin::Required => Verdict::Refused(Refusal::NotActivated),
                AtLogin::Optional | AtLogin::Off | AtLogin::Accept => {
                    Verdict::Admitted(Grant::Skipped)
                }
            };
            assert!(
                matches!(planned, Some(Plan::Fixed(FixedVerdict::Done(it))) if it == expected),
                "{at_login:?}: {planned:?}"
            );
            assert!(plan_in(None, &service, &config).is_some(), "nothing is issued");
            // It was active when the code was asked for.
            let answer = Answer::read(code.as_bytes());
            assert!(matches!(
                judge(
                    Some(&account),
                    &Attempt { circumstances: root, answer: &answer, tries_left: 2 },
                    &config
                )
                .settle(|_| Ok::<_, ()>(())),
                Ok(Verdict::Admitted(Grant::Activated))
            ));
            let attempt = Attempt { circumstances: service, answer: &answer, tries_left: 2 };
            let judged = judge(Some(&account), &attempt, &config).settle(|_| Err("it is kept"));
            assert_eq!(judged, Ok(Verdict::Refused(Refusal::NotActivated)));
        }
    }
}

// --- what can be shown ---

#[test]
fn a_secret_is_shown_where_it_is_permitted_and_printed_on_a_terminal_alone() {
    let listed = |services: &[&str]| {
        let services = services.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        configured(|config| config.enrollment.show_at = services.try_into().unwrap())
    };
    let default = Config::default();
    let (odd, none) = (listed(&["openvpn", "doas", "polkit-1", "xdm"]), listed(&[]));
    let (terminal, elsewhere) = (Output::Terminal, Output::Elsewhere);
    for (service, output, config, expected) in [
        ("sshd", elsewhere, &default, View::Everything),
        ("su", terminal, &default, View::Everything),
        ("su", elsewhere, &default, View::Texts),
        ("sudo-i", elsewhere, &default, View::Texts),
        ("cockpit", terminal, &default, View::Texts),
        ("xrdp-sesman", elsewhere, &default, View::Texts),
        ("polkit-1", terminal, &default, View::Texts),
        ("xdm", terminal, &default, View::Prompts),
        ("", terminal, &default, View::Texts),
        ("SSHD", terminal, &default, View::Texts),
        ("openvpn", elsewhere, &odd, View::Everything),
        ("doas", elsewhere, &odd, View::Texts),
        ("doas", terminal, &odd, View::Everything),
        ("polkit-1", elsewhere, &odd, View::ShortSecrets),
        ("xdm", elsewhere, &odd, View::Prompts),
        ("sshd", elsewhere, &odd, View::Texts),
        ("sshd", terminal, &none, View::Texts),
    ] {
        assert_eq!(View::of(service, || output, config), expected, "{service} {output:?}");
    }
}

#[test]
fn where_nothing_secret_can_be_shown_a_pending_user_is_asked_all_the_same() {
    let (pending, password) = (account(totp()), right());
    let shown = |view, config: &Config| {
        let circumstances = Circumstances { view, ..circumstances(&password, 3_000) };
        match super::plan(&pending, &circumstances, config) {
            Plan::Ask(question) => (question.show.is_some(), question.prompt),
            Plan::Fixed(fixed) => panic!("{fixed:?}"),
        }
    };
    let required = configured(|config| config.enrollment.at_login = AtLogin::Required);
    let accept = configured(|config| config.enrollment.at_login = AtLogin::Accept);
    for (view, secret) in [
        (View::Prompts, false),
        (View::Texts, false),
        (View::ShortSecrets, true),
        (View::Everything, true),
    ] {
        assert_eq!(shown(view, &Config::default()), (secret, Prompt::SetUp), "{view:?}");
        assert_eq!(shown(view, &required), (secret, Prompt::SetUpRequired), "{view:?}");
        assert_eq!(shown(view, &accept), (false, Prompt::SetUp), "{view:?}");
    }
}

#[test]
fn no_record_is_issued_at_a_login_that_cannot_show_it() {
    let mut config = configured(|config| config.login.missing = Missing::Enrol);
    let password = right();
    let issued = |view, config: &Config| {
        let circumstances = Circumstances { view, ..circumstances(&password, 3_000) };
        match plan_without_record(&circumstances, config) {
            WithoutRecord::Issue => true,
            WithoutRecord::Fixed(fixed) => {
                let refused = Verdict::Refused(Refusal::NotEnrolled);
                assert_eq!(fixed, FixedVerdict::Done(refused));
                false
            }
        }
    };
    assert!(issued(View::Everything, &config) && issued(View::ShortSecrets, &config));
    assert!(!issued(View::Texts, &config) && !issued(View::Prompts, &config));
    config.enrollment.at_login = AtLogin::Accept;
    assert!(!issued(View::Everything, &config));
}

// --- a check that is no login ---

#[test]
fn a_check_spends_the_code_and_leaves_the_last_login_as_it_was() {
    for last_login in [None, Some(Timestamp(7))] {
        let mut account = active(totp(), 0);
        account.state.last_login = last_login;
        let (password, answer) = (right(), Answer::read(CODES[5].as_bytes()));
        let circumstances = circumstances(&password, 155);
        let attempt = Attempt { circumstances, answer: &answer, tries_left: 0 };
        let judged = judge(Some(&account), &attempt, &Config::default());
        let mut next = None;
        let verdict = judged.without_login(Some(&account)).settle(|state| {
            next = Some(*state);
            Ok::<(), ()>(())
        });
        assert_eq!(verdict, Ok(Verdict::Admitted(Grant::Code)));
        let next = next.expect("a code was spent");
        assert_eq!((next.last_login, next.token(TokenId::FIRST).next), (last_login, Step(6)));
    }
}

// --- programs that give the password to every prompt ---

#[test]
fn the_password_in_place_of_a_code_is_no_attempt_whoever_gives_it() {
    let password = right();
    // Also one that happens to be the right code: it would be a guess that does not count.
    for word in ["correct horse", CODES[5]] {
        let answer = Answer::after(word.as_bytes(), word.as_bytes());
        assert!(matches!(answer, Answer::PasswordAgain), "{answer:?}");
        let judged = |account: &Account, config: &Config| {
            let circumstances = circumstances(&password, 155);
            let attempt = Attempt { circumstances, answer: &answer, tries_left: 2 };
            let mut state = account.state;
            let verdict = judge(Some(account), &attempt, config).settle(|next| {
                state = *next;
                Ok::<(), ()>(())
            });
            assert_eq!(state, account.state, "nothing is counted or spent");
            verdict.unwrap()
        };
        let pending = account(totp());
        let skipped = Verdict::Admitted(Grant::Skipped);
        let refused = Verdict::Refused(Refusal::PasswordAgain);
        let with = |at_login| configured(|config| config.enrollment.at_login = at_login);
        assert_eq!(judged(&pending, &Config::default()), skipped);
        assert_eq!(judged(&pending, &with(AtLogin::Accept)), skipped);
        assert_eq!(judged(&pending, &with(AtLogin::Required)), refused);
        assert_eq!(judged(&active(totp(), 0), &Config::default()), refused);
    }
    assert!(matches!(Answer::after(b"", b""), Answer::Empty));
    assert!(matches!(Answer::after(b"secret", CODES[5].as_bytes()), Answer::Code(_)));
}

// --- plan ---

#[test]
fn a_disabled_user_needs_the_password_alone() {
    let config = Config::default();
    let done = |password| match plan(None, &password, &config) {
        Plan::Fixed(FixedVerdict::Done(verdict)) => verdict,
        Plan::Ask(_) | Plan::Fixed(FixedVerdict::Pretend(_)) => panic!("not done"),
    };
    assert_eq!(done(right()), Verdict::Admitted(Grant::PasswordAlone));
    assert_eq!(done(WRONG), Verdict::Refused(Refusal::WrongPassword));
    assert_eq!(done(PasswordCheck::InStack), Verdict::NotNeeded(NotNeeded::NotEnabled));
    assert_eq!(done(PasswordCheck::Without), Verdict::NotNeeded(NotNeeded::NotEnabled));
}

#[test]
fn an_active_user_is_asked_for_the_code_alike_whatever_the_password() {
    let account = active(totp(), 0);
    for password in [right(), WRONG, PasswordCheck::InStack, PasswordCheck::Without] {
        match plan(Some(&account), &password, &Config::default()) {
            Plan::Ask(Question { show: None, prompt: Prompt::Code, tries: 1 }) => {}
            other => panic!("{password:?}: {other:?}"),
        }
    }
}

#[test]
fn the_secret_is_shown_only_to_a_pending_user_whose_password_is_proven() {
    let pending = account(totp());
    let permissive = {
        let mut config = Config::default();
        config.enrollment.show_without_password = true;
        config
    };
    let shown =
        |password: &PasswordCheck, config: &Config| match plan(Some(&pending), password, config) {
            Plan::Ask(question) => question.show.is_some(),
            Plan::Fixed(_) => false,
        };
    for (password, default, without_password) in [
        (right(), true, true),
        (WRONG, false, false),
        (PasswordCheck::InStack, false, false),
        (PasswordCheck::Without, false, true),
    ] {
        assert_eq!(shown(&password, &Config::default()), default, "{password:?}");
        assert_eq!(shown(&password, &permissive), without_password, "{password:?}");
    }
}

#[test]
fn a_pending_user_with_a_wrong_password_is_refused_as_a_disabled_one_is() {
    match plan(Some(&account(totp())), &WRONG, &Config::default()) {
        Plan::Fixed(FixedVerdict::Done(verdict)) => {
            assert_eq!(verdict, Verdict::Refused(Refusal::WrongPassword))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_password_that_could_not_be_verified_is_refused_for_what_kept_it_from_being() {
    for (fault, refusal) in [
        (PasswordFault::Password, Refusal::WrongPassword),
        (PasswordFault::RefusedBySshd, Refusal::RefusedBySshd),
        (PasswordFault::Service { result: 9 }, Refusal::PasswordService { result: 9 }),
    ] {
        let verdict = verdict(&active(totp(), 0), &PasswordCheck::Wrong(fault), CODES[5], 150);
        assert_eq!(verdict, Verdict::Refused(refusal));
    }
}

// --- judge: pending ---

#[test]
fn a_right_code_activates_a_pending_account() {
    let (verdict, state) = judged(&account(totp()), &right(), CODES[5], 2, 150);
    assert_eq!(verdict, Verdict::Admitted(Grant::Activated));
    assert_eq!(state.activated_at, Some(Timestamp(150)));
    assert_eq!(state.last_login, Some(Timestamp(150)));
    assert_eq!(state.token(TokenId::FIRST).next, Step(6), "the code is spent");
}

#[test]
fn an_empty_answer_admits_a_pending_user_and_changes_nothing() {
    let pending = account(totp());
    let (verdict, state) = judged(&pending, &right(), "", 2, 150);
    assert_eq!(verdict, Verdict::Admitted(Grant::Skipped));
    assert_eq!(state, pending.state);
    for password in [PasswordCheck::InStack, PasswordCheck::Without] {
        let (verdict, state) = judged(&pending, &password, "", 2, 150);
        assert_eq!(verdict, Verdict::NotNeeded(NotNeeded::Skipped));
        assert_eq!(state, pending.state);
    }
}

#[test]
fn a_wrong_code_of_a_pending_user_is_asked_again_until_the_tries_are_used_up() {
    let pending = account(totp());
    for (typed, refusal) in [("000000", Refusal::WrongCode), ("abc", Refusal::NotACode)] {
        assert_eq!(judged(&pending, &right(), typed, 1, 150).0, Verdict::Again(refusal));
        assert_eq!(judged(&pending, &right(), typed, 0, 150).0, Verdict::Refused(refusal));
        assert_eq!(judged(&pending, &right(), typed, 0, 150).1, pending.state);
    }
}

#[test]
fn what_sshd_sends_for_a_user_it_refuses_ends_a_pending_users_login() {
    let (verdict, state) = judged(&account(totp()), &right(), "\u{8}\n\r\u{7f}INCORRECT", 2, 150);
    assert_eq!(verdict, Verdict::Refused(Refusal::RefusedBySshd));
    assert_eq!(state, account(totp()).state);
}

#[test]
fn a_pending_user_with_a_wrong_password_is_refused_whatever_is_answered() {
    for typed in ["", CODES[5], "000000", "abc"] {
        let (verdict, state) = judged(&account(totp()), &WRONG, typed, 2, 150);
        assert_eq!(verdict, Verdict::Refused(Refusal::WrongPassword));
        assert_eq!(state, account(totp()).state);
    }
}

// --- judge: active ---

#[test]
fn an_active_user_gets_in_with_password_and_code_and_in_no_other_way() {
    let account = active(totp(), 0);
    for (password, typed, expected) in [
        (right(), CODES[5], Verdict::Admitted(Grant::Code)),
        (PasswordCheck::InStack, CODES[5], Verdict::Admitted(Grant::Code)),
        (PasswordCheck::Without, CODES[5], Verdict::Admitted(Grant::Code)),
        (WRONG, CODES[5], Verdict::Refused(Refusal::WrongPassword)),
        (WRONG, "000000", Verdict::Refused(Refusal::WrongPassword)),
        (WRONG, "", Verdict::Refused(Refusal::WrongPassword)),
        (right(), "000000", Verdict::Refused(Refusal::WrongCode)),
        (right(), "", Verdict::Refused(Refusal::NoCode)),
        (right(), "12345", Verdict::Refused(Refusal::NotACode)),
        (right(), "\u{8}\n\r", Verdict::Refused(Refusal::NotACode)),
        (right(), "\u{8}\n\r\u{7f}", Verdict::Refused(Refusal::RefusedBySshd)),
        (right(), "\u{8}\n\r\u{7f}IN", Verdict::Refused(Refusal::RefusedBySshd)),
        (right(), "\u{8}\n\r\u{7f}INCORRECT\u{8}\n", Verdict::Refused(Refusal::RefusedBySshd)),
    ] {
        assert_eq!(verdict(&account, &password, typed, 150), expected, "{password:?} {typed:?}");
    }
}

#[test]
fn the_window_is_one_step_before_and_after_unless_configured() {
    let account = active(totp(), 0);
    for (step, expected) in [
        (3, Verdict::Refused(Refusal::WrongCode)),
        (4, Verdict::Admitted(Grant::Code)),
        (5, Verdict::Admitted(Grant::Code)),
        (6, Verdict::Admitted(Grant::Code)),
        (7, Verdict::Refused(Refusal::WrongCode)),
    ] {
        for now in [150, 179] {
            assert_eq!(verdict(&account, &right(), CODES[step], now), expected, "{step}");
        }
    }
}

#[test]
fn a_code_at_or_before_the_last_accepted_step_is_refused() {
    let account = active(totp(), 6);
    assert_eq!(verdict(&account, &right(), CODES[5], 150), Verdict::Refused(Refusal::SpentCode));
    assert_eq!(verdict(&account, &right(), CODES[4], 150), Verdict::Refused(Refusal::SpentCode));
    assert_eq!(verdict(&account, &right(), CODES[6], 150), Verdict::Admitted(Grant::Code));
}

#[test]
fn when_the_clock_went_back_spent_codes_stay_refused_and_the_reason_says_so() {
    let account = active(totp(), 1000);
    let (verdict, state) = judged(&account, &right(), CODES[5], 0, 150);
    let until = Timestamp(30_000);
    assert_eq!(verdict, Verdict::Refused(Refusal::ClockWentBack { until }));
    assert_eq!(state, account.state);
}

#[test]
fn a_spent_code_is_not_taken_for_a_clock_that_went_back() {
    // Steps 4 to 6 are admissible; the last one accepted was 6, or beyond them.
    let went_back = Refusal::ClockWentBack { until: Timestamp(240) };
    for (next, refusal) in [(7, Refusal::SpentCode), (8, went_back)] {
        let verdict = verdict(&active(totp(), next), &right(), CODES[5], 150);
        assert_eq!(verdict, Verdict::Refused(refusal), "{next}");
    }
}

#[test]
fn hotp_looks_ahead_and_its_counter_moves_only_on_success() {
    let account = active(MovingFactor::Hotp, 2);
    for (typed, next, expected) in [
        (CODES[2], 3, Verdict::Admitted(Grant::Code)),
        (CODES[9], 10, Verdict::Admitted(Grant::Code)),
        (CODES[1], 2, Verdict::Refused(Refusal::SpentCode)),
        ("000000", 2, Verdict::Refused(Refusal::WrongCode)),
    ] {
        let (verdict, state) = judged(&account, &right(), typed, 0, 0);
        assert_eq!((verdict, state.token(TokenId::FIRST).next), (expected, Step(next)));
    }
}

#[test]
fn without_look_ahead_only_the_next_code_is_accepted() {
    let config = configured(|config| config.code.look_ahead = UpTo::of::<0>());
    for (counter, expected) in
        [(0, Verdict::Admitted(Grant::Code)), (1, Verdict::Refused(Refusal::WrongCode))]
    {
        let verdict =
            judged_with(&active(MovingFactor::Hotp, 0), &hotp_code(counter), 0, &config).0;
        assert_eq!(verdict, expected, "{counter}");
    }
}

#[test]
fn a_code_of_any_token_works_and_only_that_token_moves() {
    let mut account = active(MovingFactor::Hotp, 2);
    let second = TokenId::new(2).unwrap();
    let token = account.record.tokens.first().unwrap().1.clone();
    account.record.tokens.push((second, token));
    let (verdict, state) = judged(&account, &right(), CODES[1], 0, 0);
    assert_eq!(verdict, Verdict::Admitted(Grant::Code), "spent for the first, new for the second");
    assert_eq!(state.token(TokenId::FIRST).next, Step(2));
    assert_eq!(state.token(second).next, Step(2));
}

#[test]
fn a_record_removed_while_the_code_was_typed_refuses() {
    let answer = Answer::read(CODES[5].as_bytes());
    let password = right();
    let attempt =
        Attempt { circumstances: circumstances(&password, 150), answer: &answer, tries_left: 0 };
    let verdict = judge(None, &attempt, &Config::default()).settle(|_| Err::<(), ()>(()));
    assert_eq!(verdict, Ok(Verdict::Refused(Refusal::Disabled)));
}

#[test]
fn no_success_is_reported_when_the_commit_fails() {
    let answer = Answer::read(CODES[5].as_bytes());
    let password = right();
    let attempt =
        Attempt { circumstances: circumstances(&password, 150), answer: &answer, tries_left: 0 };
    for account in [account(totp()), active(totp(), 0)] {
        let verdict = judge(Some(&account), &attempt, &Config::default()).settle(|_| Err("full"));
        assert_eq!(verdict, Err("full"));
    }
}

// --- limits ---

#[test]
fn wrong_codes_count_only_with_the_right_password_and_only_if_they_are_guesses() {
    let account = active(totp(), 0);
    for (password, typed, count) in [
        (right(), "000000", 1),
        (PasswordCheck::InStack, "000000", 1),
        (PasswordCheck::Without, "000000", 1),
        (WRONG, "000000", 0),
        (WRONG, CODES[5], 0),
        (right(), "", 0),
        (right(), "12345", 0),
        (right(), "\u{8}\n\r\u{7f}INCORRECT", 0),
        (right(), CODES[5], 0),
        (right(), CODES[4], 0),
    ] {
        let account = if typed == CODES[4] { active(totp(), 5) } else { account.clone() };
        let (_, state) = judged(&account, &password, typed, 0, 150);
        assert_eq!(state.failures.count, count, "{password:?} {typed:?}");
    }
}

#[test]
fn too_many_wrong_codes_lock_the_account_for_twice_as_long_each_time() {
    let mut account = active(totp(), 0);
    let mut now = 1_000_000;
    let mut locks = Vec::new();
    for _ in 0..14 {
        for _ in 0..3 {
            let (verdict, state) = judged(&account, &right(), "000000", 0, now);
            assert_eq!(verdict, Verdict::Refused(Refusal::WrongCode));
            account.state = state;
        }
        let until = account.state.failures.locked_until;
        assert_eq!(
            verdict(&account, &right(), "000000", now),
            Verdict::Refused(Refusal::LockedOut { until })
        );
        locks.push(until.0 - now);
        now = until.0;
    }
    let expected: Vec<u64> = (0..14).map(|n| (60 << n).min(172_800)).collect();
    assert_eq!(locks, expected);
}

#[test]
fn a_locked_account_refuses_even_a_right_code_and_does_not_spend_it() {
    let mut account = active(totp(), 0);
    account.state.failures.locked_until = Timestamp(151);
    let (verdict, state) = judged(&account, &right(), CODES[5], 0, 150);
    assert_eq!(verdict, Verdict::Refused(Refusal::LockedOut { until: Timestamp(151) }));
    assert_eq!(state, account.state);
    assert_eq!(judged(&account, &right(), CODES[5], 0, 151).0, Verdict::Admitted(Grant::Code));
    assert_eq!(
        judged(&account, &WRONG, CODES[5], 0, 150).0,
        Verdict::Refused(Refusal::WrongPassword),
        "whoever does not know the password does not learn of the lock"
    );
}

#[test]
fn with_the_password_a_month_of_guessing_succeeds_with_less_than_one_in_a_thousand() {
    // Whoever guesses may wait between guesses; these are ways to do it.
    let month = 30 * 86_400_u64;
    let mut worst = 0_u32;
    for pause_every in 1..=6 {
        for pause in [0, 3600, 17 * 3600, 86_400, 2 * 86_400, 3 * 86_400, 7 * 86_400] {
            let (mut failures, mut now, mut guesses) = (Failures::default(), 1_000_000_u64, 0);
            while now < 1_000_000 + month {
                now = now.max(failures.locked_until.0);
                failures = count_failure(failures, Timestamp(now), &Limits::default());
                guesses += 1;
                if guesses % pause_every == 0 {
                    now += pause;
                }
                // No faster than a login takes.
                now += 1;
            }
            worst = worst.max(guesses);
        }
    }
    let CodePolicy { window, look_ahead, .. } = CodePolicy::default();
    for codes_at_once in [2 * window.get() + 1, look_ahead.get() + 1] {
        let chance = f64::from(worst) * codes_at_once as f64 / 1_000_000.0;
        assert!(chance < 0.001, "{worst} guesses, {codes_at_once} codes: {chance}");
    }
    println!("at most {worst} guesses a month");
    assert!(worst > 50, "the simulation guesses: {worst}");
}

#[test]
fn failures_zero_never_locks() {
    let limits = Limits { failures: 0, ..Limits::default() };
    let mut failures = Failures::default();
    for _ in 0..100 {
        failures = count_failure(failures, Timestamp(5), &limits);
    }
    assert_eq!((failures.count, failures.locked_until), (100, Timestamp(0)));
}

#[test]
fn wrong_codes_are_forgotten_when_the_period_has_passed_since_the_first_of_them() {
    let limits = Limits { failures: 3, period: 100, ..Limits::default() };
    let counted = |times: &[u64]| {
        let count = |failures, time: &u64| count_failure(failures, Timestamp(*time), &limits);
        let failures = times.iter().fold(Failures::default(), count);
        (failures.count, failures.since, failures.lockouts)
    };
    assert_eq!(counted(&[1_000, 1_099]), (2, Timestamp(1_000), 0));
    assert_eq!(counted(&[1_000, 1_050, 1_099]), (0, Timestamp(1_099), 1), "locked");
    assert_eq!(counted(&[1_000, 1_050, 1_100]), (1, Timestamp(1_100), 0), "begun anew");
}

#[test]
fn each_week_without_a_lock_makes_the_next_one_half_as_long() {
    let limits = Limits { failures: 1, ..Limits::default() };
    let failures =
        Failures { lockouts: 3, locked_until: Timestamp(1_000_000), ..Failures::default() };
    for (days, seconds, lockouts) in
        [(0, 480, 4), (6, 480, 4), (7, 240, 3), (14, 120, 2), (21, 60, 1), (70, 60, 1)]
    {
        let now = Timestamp(1_000_000 + days * 86_400);
        let locked = count_failure(failures, now, &limits);
        assert_eq!(
            (locked.locked_until.since(now), locked.lockouts),
            (seconds, lockouts),
            "{days}"
        );
    }
}

// --- policies ---

fn configured(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

fn judged_with(account: &Account, typed: &str, now: u64, config: &Config) -> (Verdict, State) {
    let (password, answer) = (right(), Answer::read(typed.as_bytes()));
    let circumstances = circumstances(&password, now);
    let attempt = Attempt { circumstances, answer: &answer, tries_left: 0 };
    let mut state = account.state;
    let verdict = judge(Some(account), &attempt, config)
        .settle(|next| {
            state = *next;
            Ok::<(), ()>(())
        })
        .unwrap();
    (verdict, state)
}

fn hotp_code(counter: u64) -> String {
    totp_rs::Builder::new()
        .with_secret(b"12345678901234567890".as_slice())
        .with_step_duration(1)
        .build_noncompliant()
        .generate(counter)
        .to_string()
}

#[test]
fn at_login_decides_whether_a_pending_user_is_asked_and_may_skip() {
    let pending = account(totp());
    let with = |at_login| configured(|config| config.enrollment.at_login = at_login);
    let prompt = |config: &Config| match plan(Some(&pending), &right(), config) {
        Plan::Ask(question) => Ok(question.prompt),
        Plan::Fixed(FixedVerdict::Done(verdict) | FixedVerdict::Pretend(verdict)) => Err(verdict),
    };
    assert_eq!(prompt(&with(AtLogin::Optional)), Ok(Prompt::SetUp));
    assert_eq!(prompt(&with(AtLogin::Required)), Ok(Prompt::SetUpRequired));
    assert_eq!(prompt(&with(AtLogin::Off)), Err(Verdict::Admitted(Grant::Skipped)));
    let empty = |at_login| judged_with(&pending, "", 150, &with(at_login)).0;
    assert_eq!(empty(AtLogin::Optional), Verdict::Admitted(Grant::Skipped));
    assert_eq!(empty(AtLogin::Required), Verdict::Refused(Refusal::NoCode));
}

#[test]
fn after_its_deadline_a_pending_user_is_refused_and_an_active_one_is_not() {
    let mut pending = account(totp());
    pending.record.issued_at = Timestamp(1);
    pending.record.deadline = Some(Timestamp(3_001));
    let asked = |account: &Account| {
        matches!(plan(Some(account), &right(), &Config::default()), Plan::Ask(_))
    };
    assert!(asked(&pending));
    pending.record.deadline = Some(Timestamp(3_000));
    assert!(!asked(&pending));
    assert_eq!(
        verdict(&pending, &right(), &hotp_code(100), 3_000),
        Verdict::Refused(Refusal::DeadlinePassed)
    );
    assert_eq!(verdict(&pending, &WRONG, "", 3_000), Verdict::Refused(Refusal::WrongPassword));
    pending.state.activated_at = Some(Timestamp(1));
    assert_eq!(verdict(&pending, &right(), &hotp_code(100), 3_000), Verdict::Admitted(Grant::Code));
}

#[test]
fn a_user_without_a_record_is_ignored_denied_or_enrolled_as_configured() {
    let with = |missing| configured(|config| config.login.missing = missing);
    let planned = |password: &PasswordCheck, config: &Config| match plan_without_record(
        &circumstances(password, 3_000),
        config,
    ) {
        WithoutRecord::Fixed(FixedVerdict::Done(verdict)) => Some(verdict),
        WithoutRecord::Issue => None,
        WithoutRecord::Fixed(FixedVerdict::Pretend(_)) => panic!("asked"),
    };
    let denied = Some(Verdict::Refused(Refusal::NotEnrolled));
    let wrong = Some(Verdict::Refused(Refusal::WrongPassword));
    let ignored = Some(Verdict::NotNeeded(NotNeeded::NotEnabled));
    for (missing, expected) in [
        (Missing::Ignore, [Some(Verdict::Admitted(Grant::PasswordAlone)), wrong, ignored, ignored]),
        (Missing::Deny, [denied, wrong, denied, denied]),
        // Only after a right password; otherwise fails closed.
        (Missing::Enrol, [None, wrong, denied, denied]),
    ] {
        let passwords = [right(), WRONG, PasswordCheck::InStack, PasswordCheck::Without];
        let verdicts = passwords.map(|password| planned(&password, &with(missing)));
        assert_eq!(verdicts, expected, "{missing:?}");
    }
    let mut shown = with(Missing::Enrol);
    shown.enrollment.show_without_password = true;
    assert_eq!(planned(&PasswordCheck::Without, &shown), None);
}

#[test]
fn members_of_a_required_group_need_a_record_and_of_an_exempt_one_no_code() {
    let config = configured(|config| {
        config.login.require_groups = GroupNames(vec!["wheel".into()]);
        config.login.exempt_groups = GroupNames(vec!["robots".into()]);
    });
    let planned = |groups: [Membership; 2], account: Option<&Account>| {
        let [wheel, robots] = groups;
        let answer = |group: &str, membership| GroupAnswer { group: group.into(), membership };
        let groups = [answer("wheel", wheel), answer("robots", robots)];
        fixed_with(&groups, account, &config)
    };
    use Membership::{Member, NotMember, Unknown};
    let active = active(totp(), 0);
    let alone = Some(Verdict::Admitted(Grant::PasswordAlone));
    let required = Some(Verdict::Refused(Refusal::NotEnrolled));
    let exempt = Some(Verdict::Admitted(Grant::Exempt(Exemption::Group)));
    let cannot_say = Some(Verdict::Refused(Refusal::GroupUnknown));
    for fault in [
        GroupFault::Missing,
        GroupFault::NotLookedUp("EIO".into()),
        GroupFault::NotListed("EIO".into()),
    ] {
        let unknown = || Unknown(fault.clone());
        for (groups, without_record, with_one) in [
            ([NotMember, NotMember], alone, None),
            ([Member, NotMember], required, None),
            ([NotMember, Member], exempt, exempt),
            ([Member, Member], exempt, exempt),
            // What cannot be found out is not "no".
            ([unknown(), NotMember], cannot_say, None),
            ([unknown(), unknown()], cannot_say, None),
            ([unknown(), Member], exempt, exempt),
            ([NotMember, unknown()], alone, None),
            ([Member, unknown()], required, None),
        ] {
            assert_eq!(planned(groups.clone(), None), without_record, "{groups:?}");
            assert_eq!(planned(groups.clone(), Some(&active)), with_one, "{groups:?}");
        }
    }
    // Nobody asked the system.
    assert_eq!(fixed_with(&[], None, &config), cannot_say);
    assert_eq!(fixed_with(&[], Some(&active), &config), None);
}

/// The verdict that nothing can change, for a user with the right password.
fn fixed_with(
    groups: &[GroupAnswer],
    account: Option<&Account>,
    config: &Config,
) -> Option<Verdict> {
    let password = right();
    let circumstances = Circumstances { groups, ..circumstances(&password, 3_000) };
    match plan_in(account, &circumstances, config).expect("nothing to issue") {
        Plan::Fixed(FixedVerdict::Done(verdict)) => Some(verdict),
        Plan::Ask(_) | Plan::Fixed(FixedVerdict::Pretend(_)) => None,
    }
}

#[test]
fn of_several_required_groups_one_that_the_user_is_in_decides_and_then_one_that_is_unknown() {
    let config = configured(|config| {
        config.login.require_groups = GroupNames(vec!["a".into(), "b".into(), "c".into()]);
    });
    use Membership::{Member, NotMember, Unknown};
    let unknown = Unknown(GroupFault::Missing);
    let values = [Member, NotMember, unknown.clone()];
    for a in &values {
        for b in &values {
            for c in &values {
                let all = [a, b, c];
                let groups: Vec<_> = ["a", "b", "c"]
                    .into_iter()
                    .zip(all)
                    .map(|(group, it)| GroupAnswer { group: group.into(), membership: it.clone() })
                    .collect();
                let expected = if all.contains(&&Member) {
                    Verdict::Refused(Refusal::NotEnrolled)
                } else if all.contains(&&unknown) {
                    Verdict::Refused(Refusal::GroupUnknown)
                } else {
                    Verdict::Admitted(Grant::PasswordAlone)
                };
                assert_eq!(fixed_with(&groups, None, &config), Some(expected), "{all:?}");
            }
        }
    }
    // Where everybody needs a record no group decides.
    let login = LoginPolicy { missing: Missing::Deny, ..config.login };
    let config = Config { login, ..Config::default() };
    let required = Some(Verdict::Refused(Refusal::NotEnrolled));
    assert_eq!(fixed_with(&[], None, &config), required);
}

#[test]
fn only_an_address_is_exempt_by_network_and_never_without_the_password() {
    let config = configured(|config| {
        config.login.exempt_networks = Networks::try_from(vec!["192.0.2.0/24".into()]).unwrap()
    });
    let active = active(totp(), 0);
    for (rhost, password, expected) in [
        (Some("192.0.2.7"), right(), Some(Verdict::Admitted(Grant::Exempt(Exemption::Network)))),
        (
            Some("::ffff:192.0.2.7"),
            right(),
            Some(Verdict::Admitted(Grant::Exempt(Exemption::Network))),
        ),
        (
            Some("192.0.2.7"),
            PasswordCheck::InStack,
            Some(Verdict::NotNeeded(NotNeeded::Exempt(Exemption::Network))),
        ),
        (Some("192.0.2.7"), WRONG, Some(Verdict::Refused(Refusal::WrongPassword))),
        (Some("198.51.100.1"), right(), None),
        (Some("192.0.2.7.example.org"), right(), None),
        (Some(""), right(), None),
        (None, right(), None),
    ] {
        let circumstances = Circumstances { rhost, ..circumstances(&password, 3_000) };
        let verdict = match super::plan(&active, &circumstances, &config) {
            Plan::Fixed(FixedVerdict::Done(verdict)) => Some(verdict),
            Plan::Ask(_) | Plan::Fixed(FixedVerdict::Pretend(_)) => None,
        };
        assert_eq!(verdict, expected, "{rhost:?}");
    }
}

#[test]
fn a_host_is_remembered_for_its_service_and_its_time_and_only_after_a_code() {
    let config = configured(|config| config.login.remember = "1h".parse().unwrap());
    let mut account = active(totp(), 0);
    let password = right();
    let asked = |account: &Account, rhost, service, now, config: &Config| {
        let circumstances = Circumstances { rhost, service, ..circumstances(&password, now) };
        matches!(super::plan(account, &circumstances, config), Plan::Ask(_))
    };
    let home = Some("192.0.2.7");
    assert!(asked(&account, home, "sshd", 3_000, &config), "not yet remembered");
    account.state = judged_with(&account, &hotp_code(100), 3_000, &config).1;
    assert!(!asked(&account, home, "sshd", 3_000, &config), "at once");
    assert!(!asked(&account, home, "sshd", 3_000 + 3_599, &config));
    assert!(asked(&account, home, "sshd", 3_000 + 3_600, &config), "forgotten in time");
    assert!(asked(&account, home, "su", 3_100, &config), "another service");
    assert!(asked(&account, Some("192.0.2.8"), "sshd", 3_100, &config), "another host");
    assert!(asked(&account, None, "sshd", 3_100, &config), "no host");
    assert!(asked(&account, home, "sshd", 3_100, &Config::default()), "switched off meanwhile");
    let shorter = configured(|config| config.login.remember = "10s".parse().unwrap());
    // Also in what would have been the last seconds of the longer time.
    for now in [3_100, 3_000 + 3_595] {
        assert!(asked(&account, home, "sshd", now, &shorter), "shortened meanwhile: {now}");
    }
    account.state.activated_at = None;
    assert!(asked(&account, home, "sshd", 3_100, &config), "never for a pending account");
}

#[test]
fn the_code_that_activates_is_remembered_as_others_are() {
    let config = configured(|config| config.login.remember = "1h".parse().unwrap());
    let mut account = account(totp());
    let (verdict, state) = judged_with(&account, CODES[5], 155, &config);
    assert_eq!(verdict, Verdict::Admitted(Grant::Activated));
    account.state = state;
    let password = right();
    let planned = super::plan(&account, &circumstances(&password, 160), &config);
    assert!(matches!(planned, Plan::Fixed(_)), "{planned:?}");
}

#[test]
fn only_an_address_is_remembered() {
    let config = configured(|config| config.login.remember = "1h".parse().unwrap());
    let password = right();
    for (rhost, remembered) in [
        ("192.0.2.7", true),
        ("2001:db8::1", true),
        ("::ffff:192.0.2.7", true),
        ("fe80::1%eth0", true),
        ("localhost", false),
        ("host.example.org", false),
        ("0.0.0.0", false),
        ("::", false),
        ("::ffff:0.0.0.0", false),
        ("", false),
    ] {
        let mut account = active(totp(), 0);
        let circumstances = Circumstances { rhost: Some(rhost), ..circumstances(&password, 3_000) };
        account.state = remember(account.state, &circumstances, &config.login);
        let planned = super::plan(&account, &circumstances, &config);
        assert_eq!(matches!(planned, Plan::Fixed(_)), remembered, "{rhost}");
    }
    // Also where an older version has remembered a name.
    let mut account = active(totp(), 0);
    let key = host_key(account.state.generation, "localhost", "sshd", 3_600);
    account.state.hosts[0] = crate::account::RememberedHost { key, until: Timestamp(3_500) };
    let circumstances =
        Circumstances { rhost: Some("localhost"), ..circumstances(&password, 3_000) };
    assert!(matches!(super::plan(&account, &circumstances, &config), Plan::Ask(_)));
}

#[test]
fn the_host_that_would_be_forgotten_first_makes_room() {
    let config = configured(|config| config.login.remember = "1h".parse().unwrap());
    let password = right();
    let hosts: Vec<String> = (0..9).map(|n| format!("192.0.2.{n}")).collect();
    let mut state = State::fresh(Generation([7; 16]));
    for (now, host) in (100..).zip(&hosts) {
        let circumstances = Circumstances { rhost: Some(host), ..circumstances(&password, now) };
        state = remember(state, &circumstances, &config.login);
    }
    let keys: Vec<_> = state.hosts.iter().map(|host| host.key).collect();
    let known = |host: &String| keys.contains(&host_key(state.generation, host, "sshd", 3_600));
    assert_eq!(hosts.iter().filter(|host| known(host)).count(), 8);
    assert!(!known(&hosts[0]) && known(&hosts[8]));
}

#[test]
fn a_host_seen_again_keeps_its_one_place_for_the_new_time() {
    let config = configured(|config| config.login.remember = "1h".parse().unwrap());
    let password = right();
    let seen = |state, now| remember(state, &circumstances(&password, now), &config.login);
    let state = seen(seen(State::fresh(Generation([7; 16])), 100), 200);
    let times: Vec<_> = state.hosts.iter().map(|host| host.until.0).filter(|n| *n > 0).collect();
    assert_eq!(times, [3_800]);
}

#[test]
fn uniform_asks_everybody_as_an_active_user_is_asked() {
    let config = configured(|config| config.login.uniform = true);
    let pretended = |account: Option<&Account>, password: &PasswordCheck| match plan(
        account, password, &config,
    ) {
        Plan::Fixed(FixedVerdict::Pretend(verdict)) => Some(verdict),
        Plan::Ask(_) | Plan::Fixed(FixedVerdict::Done(_)) => None,
    };
    let pending = account(totp());
    assert_eq!(pretended(None, &WRONG), Some(Verdict::Refused(Refusal::WrongPassword)));
    assert_eq!(pretended(Some(&pending), &WRONG), Some(Verdict::Refused(Refusal::WrongPassword)));
    assert_eq!(pretended(None, &right()), Some(Verdict::Admitted(Grant::PasswordAlone)));
    assert!(matches!(plan(Some(&active(totp(), 0)), &WRONG, &config), Plan::Ask(_)));
}

// --- drift and resynchronization ---

#[test]
fn a_clock_that_runs_off_is_followed_as_far_as_permitted() {
    let config = configured(|config| config.code.max_drift = UpTo::of::<5>());
    for direction in [1_i64, -1] {
        let mut account = active(totp(), 0);
        let mut admitted = 0;
        for off in 1..=10_i64 {
            let now = 30_000 + 3_000 * off.unsigned_abs();
            let shown = (now / 30).saturating_add_signed(off * direction);
            let (verdict, state) = judged_with(&account, &hotp_code(shown), now, &config);
            if verdict != Verdict::Admitted(Grant::Code) {
                break;
            }
            account.state = state;
            admitted = off;
        }
        // Five are followed, and the window reaches one further.
        assert_eq!(admitted, 6, "{direction}");
        let drift = account.state.token(TokenId::FIRST).drift;
        assert_eq!(i64::from(drift), 5 * direction);
    }
    let none = configured(|config| config.code.max_drift = UpTo::of::<0>());
    let (_, state) = judged_with(&active(totp(), 0), &hotp_code(101), 3_000, &none);
    assert_eq!(state.token(TokenId::FIRST).drift, 0);
}

#[test]
fn typing_late_does_not_shut_a_user_out() {
    let mut account = active(totp(), 0);
    for (now, step) in [(3_000, 99), (3_090, 103), (3_180, 105), (3_270, 109)] {
        let (verdict, state) = judged_with(&account, &hotp_code(step), now, &Config::default());
        assert_eq!(verdict, Verdict::Admitted(Grant::Code), "{now}");
        account.state = state;
    }
}

#[test]
fn two_codes_in_a_row_in_two_logins_bring_a_counter_token_back_if_configured() {
    let config = configured(|config| config.code.resync = UpTo::of::<100>());
    let account = active(MovingFactor::Hotp, 0);
    let (first, state) = judged_with(&account, &hotp_code(50), 0, &config);
    assert_eq!(first, Verdict::Refused(Refusal::OutOfStep));
    assert_eq!(state.token(TokenId::FIRST).next, Step(0), "the counter does not move");
    assert_eq!(state.failures.count, 1, "it is a guess");
    let noted = Account { state, ..account.clone() };
    let (second, state) = judged_with(&noted, &hotp_code(51), 0, &config);
    assert_eq!(second, Verdict::Admitted(Grant::Code));
    assert_eq!(state.token(TokenId::FIRST).next, Step(52));
    // Not in a row, or with another one between.
    assert_eq!(
        judged_with(&noted, &hotp_code(53), 0, &config).0,
        Verdict::Refused(Refusal::OutOfStep)
    );
    let (_, state) = judged_with(&noted, "000000", 0, &config);
    let broken = Account { state, ..account.clone() };
    assert_eq!(
        judged_with(&broken, &hotp_code(51), 0, &config).0,
        Verdict::Refused(Refusal::OutOfStep)
    );
    // Not unless configured, and no further than configured.
    assert_eq!(
        judged_with(&account, &hotp_code(50), 0, &Config::default()).0,
        Verdict::Refused(Refusal::WrongCode)
    );
    assert_eq!(
        judged_with(&account, &hotp_code(101), 0, &config).0,
        Verdict::Refused(Refusal::WrongCode)
    );
}

#[test]
fn the_admin_resynchronizes_with_two_codes_in_a_row() {
    let policy = CodePolicy::default();
    let resynced = |account: &Account, codes: [u64; 2], now| {
        let [one, two] = codes.map(|step| Code::parse(hotp_code(step).as_bytes()).unwrap());
        resync(account, [&one, &two], Timestamp(now), &policy)
            .map(|state| state.token(TokenId::FIRST))
    };
    let hotp = active(MovingFactor::Hotp, 5);
    assert_eq!(resynced(&hotp, [900, 901], 0).map(|token| token.next), Ok(Step(902)));
    assert_eq!(resynced(&hotp, [900, 902], 0), Err(ResyncError::NotFound));
    assert_eq!(resynced(&hotp, [2, 3], 0), Err(ResyncError::NotFound), "behind");
    let totp = active(totp(), 995);
    let token = resynced(&totp, [1_007, 1_008], 30_000).unwrap();
    assert_eq!((token.next, token.drift), (Step(1_009), 8));
    assert_eq!(resynced(&totp, [1_009, 1_010], 30_000).map(|token| token.drift), Ok(10));
    assert_eq!(resynced(&totp, [1_010, 1_011], 30_000), Err(ResyncError::Drift(11)));
    assert_eq!(resynced(&totp, [995, 996], 30_000).map(|token| token.next), Ok(Step(997)));
    assert_eq!(resynced(&totp, [994, 995], 30_000), Err(ResyncError::Spent));
}

// --- recovery codes ---

#[test]
fn each_recovery_code_works_once_in_place_of_a_code() {
    let mut account = active(totp(), 0);
    let (recovery, codes) = Recovery::generate(&mut rand::rngs::SysRng, 3).unwrap();
    account.record.recovery = Some(recovery);
    let config = Config::default();
    for (left, code) in [2, 1, 0].into_iter().zip(&codes) {
        let (verdict, state) = judged_with(&account, &code.text(), 150, &config);
        assert_eq!(verdict, Verdict::Admitted(Grant::RecoveryCode { left }));
        assert_eq!(state.last_login, Some(Timestamp(150)));
        account.state = state;
        let (again, _) = judged_with(&account, &code.text(), 150, &config);
        assert_eq!(again, Verdict::Refused(Refusal::SpentCode));
    }
    let (wrong, state) = judged_with(&account, "2222-2222-2222", 150, &config);
    assert_eq!((wrong, state.failures.count), (Verdict::Refused(Refusal::WrongCode), 1));
    assert_eq!(
        verdict(&account, &WRONG, &codes[0].text(), 150),
        Verdict::Refused(Refusal::WrongPassword)
    );
    // A new set: its codes are unspent, the old ones worth nothing.
    let (recovery, new) = Recovery::generate(&mut rand::rngs::SysRng, 3).unwrap();
    account.record.recovery = Some(recovery);
    assert_eq!(account.recovery_codes_left(), Some(3));
    assert_eq!(
        verdict(&account, &right(), &codes[0].text(), 150),
        Verdict::Refused(Refusal::WrongCode)
    );
    let grant = Grant::RecoveryCode { left: 2 };
    assert_eq!(verdict(&account, &right(), &new[0].text(), 150), Verdict::Admitted(grant));
}

#[test]
fn a_recovery_code_does_not_activate_a_pending_account() {
    let mut account = account(totp());
    let (recovery, codes) = Recovery::generate(&mut rand::rngs::SysRng, 3).unwrap();
    account.record.recovery = Some(recovery);
    let (verdict, state) = judged_with(&account, &codes[0].text(), 150, &Config::default());
    assert_eq!(verdict, Verdict::Refused(Refusal::NotACode));
    assert_eq!(state, account.state);
}

// --- properties ---

/// Moves a user can make: seconds to wait, which password, which answer.
#[derive(Debug, Clone)]
enum TypedAnswer {
    Nothing,
    CodeOfStep(i64),
    Digits(String),
    Bytes(Vec<u8>),
}

fn typed() -> impl Strategy<Value = TypedAnswer> {
    prop_oneof![
        1 => Just(TypedAnswer::Nothing),
        6 => (-3_i64..=3).prop_map(TypedAnswer::CodeOfStep),
        1 => "[0-9]{5,9}".prop_map(TypedAnswer::Digits),
        1 => proptest::collection::vec(any::<u8>(), 0..20).prop_map(TypedAnswer::Bytes),
    ]
}

fn password() -> impl Strategy<Value = u8> {
    0_u8..4
}

fn check(which: u8) -> PasswordCheck {
    match which {
        0 => right(),
        1 => WRONG,
        2 => PasswordCheck::InStack,
        _ => PasswordCheck::Without,
    }
}

fn bytes(typed: &TypedAnswer, now: u64) -> Vec<u8> {
    match typed {
        TypedAnswer::Nothing => Vec::new(),
        TypedAnswer::Digits(digits) => digits.clone().into_bytes(),
        TypedAnswer::Bytes(bytes) => bytes.clone(),
        TypedAnswer::CodeOfStep(offset) => totp_rs::Builder::new()
            .with_secret(b"12345678901234567890".as_slice())
            .with_step_duration(1)
            .build_noncompliant()
            .generate((now / 30).saturating_add_signed(*offset))
            .to_string()
            .into_bytes(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn no_sequence_of_attempts_succeeds_twice_for_one_step_or_makes_an_active_account_pending(
        moves in proptest::collection::vec((0_u64..70, password(), typed()), 1..60),
        clock_jumps in any::<bool>(),
    ) {
        let mut account = account(totp());
        let (mut now, mut spent, mut config) = (3_000_u64, Vec::new(), Config::default());
        config.limits.failures = 0;
        for (index, (wait, which, typed)) in moves.iter().enumerate() {
            now += wait;
            if clock_jumps && index % 7 == 6 {
                now = now.saturating_sub(200);
            }
            let password = check(*which);
            let answer = Answer::read(&bytes(typed, now));
            let attempt = Attempt { circumstances: circumstances(&password, now), answer: &answer, tries_left: 0 };
            let before = account.clone();
            let verdict = judge(Some(&account), &attempt, &config)
                .settle(|next| { account.state = *next; Ok::<(), ()>(()) })
                .unwrap();

            prop_assert_eq!(account.state.generation, before.state.generation);
            let (old, new) = (before.state.token(TokenId::FIRST).next, account.state.token(TokenId::FIRST).next);
            prop_assert!(new >= old, "the position went back");
            if before.state.activated_at.is_some() {
                prop_assert_eq!(account.state.activated_at, before.state.activated_at);
                let plan = plan(Some(&account), &right(), &config);
                let hidden = matches!(plan, Plan::Ask(Question { show: None, .. }));
                prop_assert!(hidden, "the secret of an active account is shown");
            }
            match verdict {
                Verdict::Admitted(Grant::Code | Grant::Activated) => {
                    let wrong = matches!(password, PasswordCheck::Wrong(_));
                    prop_assert!(!wrong, "admitted with a wrong password");
                    prop_assert!(account.state.activated_at.is_some());
                    let step = new.minus(1);
                    prop_assert!(!spent.contains(&step), "step {:?} twice", step);
                    let drift = i64::from(before.state.token(TokenId::FIRST).drift);
                    let centre = (now / 30).saturating_add_signed(drift);
                    prop_assert!(step.0.abs_diff(centre) <= 1, "outside of the window");
                    prop_assert!(drift.unsigned_abs() <= config.code.max_drift.get());
                    spent.push(step);
                }
                Verdict::Admitted(Grant::Skipped) => {
                    prop_assert!(before.state.activated_at.is_none());
                    let proven = matches!(password, PasswordCheck::Right(_));
                    prop_assert!(proven);
                    prop_assert_eq!(old, new);
                }
                Verdict::NotNeeded(_) => {
                    prop_assert!(before.state.activated_at.is_none());
                    let unproven = matches!(password, PasswordCheck::InStack | PasswordCheck::Without);
                    prop_assert!(unproven);
                    prop_assert_eq!(old, new);
                }
                Verdict::Admitted(Grant::PasswordAlone | Grant::RecoveryCode { .. } | Grant::Exempt(_)) => {
                    prop_assert!(false, "{verdict:?}");
                }
                Verdict::Again(_) | Verdict::Refused(_) => prop_assert_eq!(old, new),
            }
        }
    }

    #[test]
    fn no_plan_for_an_unverified_password_holds_the_secret(
        active in any::<bool>(),
        which in 1_u8..4,
        next in any::<u64>(),
    ) {
        let mut account = account(totp());
        account.state.activated_at = active.then_some(Timestamp(5));
        account.state = account.state.with_token(TokenId::FIRST, TokenState { next: Step(next), ..TokenState::default() });
        if let Plan::Ask(question) = plan(Some(&account), &check(which), &Config::default()) {
            prop_assert!(question.show.is_none());
        }
    }

    #[test]
    fn any_time_and_any_position_are_judged_without_panic(now in any::<u64>(), next in any::<u64>(), hotp in any::<bool>()) {
        let account = active(if hotp { MovingFactor::Hotp } else { totp() }, next);
        let (_, state) = judged(&account, &right(), "000000", 0, now);
        prop_assert!(state.token(TokenId::FIRST).next >= Step(next));
    }

    #[test]
    fn any_failures_are_counted_without_panic(
        count in any::<u32>(), since in any::<u64>(), lockouts in any::<u32>(), until in any::<u64>(), now in any::<u64>(),
    ) {
        let failures = Failures { count, since: Timestamp(since), lockouts, locked_until: Timestamp(until) };
        let next = count_failure(failures, Timestamp(now), &Limits::default());
        prop_assert!(next.count < Limits::default().failures);
        prop_assert!(next.locked_until.since(Timestamp(now)) <= Limits::default().max_lockout || next.locked_until == failures.locked_until);
    }
}

// --- a new token ---

#[test]
fn a_new_token_is_proven_by_a_right_code_of_its_own_alone_which_is_spent_then() {
    let account = active(totp(), 0);
    let policy = CodePolicy::default();
    let proven = |account: &Account, typed: &str| {
        proven_by(account, &Answer::read(typed.as_bytes()), Timestamp(150), &policy)
    };
    let state = proven(&account, CODES[5]).expect("it is right");
    assert_eq!(state.token(TokenId::FIRST).next, Step(6));
    let spent = Account { state, ..account.clone() };
    assert_eq!(proven(&spent, CODES[5]), None);
    let (recovery, codes) = Recovery::generate(&mut rand::rngs::SysRng, 1).unwrap();
    let mut with_paper = account.clone();
    with_paper.record.recovery = Some(recovery);
    let paper = codes[0].text();
    for typed in ["000000", "", "abc", CODES[9], paper.as_str()] {
        assert_eq!(proven(&with_paper, typed), None, "{typed}");
    }
}

#[test]
fn a_login_proves_that_a_secret_may_be_shown_by_a_code_and_a_password_that_it_has_verified() {
    use crate::config::arguments::PasswordMode;
    for (verdict, mode, expected) in [
        (Verdict::Admitted(Grant::Code), PasswordMode::Verify, true),
        (Verdict::Admitted(Grant::Activated), PasswordMode::Verify, true),
        (Verdict::Admitted(Grant::RecoveryCode { left: 0 }), PasswordMode::Verify, true),
        (Verdict::Admitted(Grant::Code), PasswordMode::Stack, false),
        (Verdict::Admitted(Grant::Code), PasswordMode::None, false),
        (Verdict::Admitted(Grant::PasswordAlone), PasswordMode::Verify, false),
        (Verdict::Admitted(Grant::Skipped), PasswordMode::Verify, false),
        (Verdict::Admitted(Grant::Exempt(Exemption::Group)), PasswordMode::Verify, false),
        (Verdict::NotNeeded(NotNeeded::NotEnabled), PasswordMode::Verify, false),
        (Verdict::Refused(Refusal::WrongCode), PasswordMode::Verify, false),
    ] {
        let proof = PasswordProof::by_verdict(verdict, mode);
        assert_eq!(proof.is_some(), expected, "{verdict:?} {mode:?}");
    }
}
