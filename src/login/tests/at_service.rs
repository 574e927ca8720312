//! Logins that come through a service's account.

use super::*;

fn failures((count, since, lockouts, until): (u32, u64, u32, u64)) -> Failures {
    Failures { count, since: Timestamp(since), lockouts, locked_until: Timestamp(until) }
}

/// The verdict, the state that follows, and what is counted at the service.
fn judged_there(
    account: &Account,
    there: Failures,
    password: &PasswordCheck,
    typed: &str,
    now: u64,
) -> (Verdict, State, Option<Failures>) {
    let answer = Answer::read(typed.as_bytes());
    let circumstances = Circumstances { asker: Asker::Service, ..circumstances(password, now) };
    let attempt = Attempt { circumstances, answer: &answer, tries_left: 0 };
    let config = Config::default();
    let ServiceJudgement { judgement, failures } =
        judge_at_service(account, there, |account| judge(account, &attempt, &config));
    let mut state = account.state;
    let verdict = judgement.settle(|next| {
        state = *next;
        Ok::<_, ()>(())
    });
    (verdict.unwrap(), state, failures)
}

#[test]
fn while_the_users_own_account_is_locked_a_service_is_refused_and_no_code_is_spent() {
    let mut account = active(totp(), 0);
    account.state.failures.locked_until = Timestamp(151);
    let (verdict, state, counted) =
        judged_there(&account, Failures::default(), &right(), CODES[5], 150);
    assert_eq!(verdict, Verdict::Refused(Refusal::LockedOut { until: Timestamp(151) }));
    assert_eq!((state, counted), (account.state, Some(Failures::default())));
}

#[test]
fn a_lock_at_a_service_refuses_even_a_right_code_there_and_does_not_spend_it() {
    let account = active(totp(), 0);
    let there = failures((0, 100, 1, 151));
    let (verdict, state, _) = judged_there(&account, there, &right(), CODES[5], 150);
    assert_eq!(verdict, Verdict::Refused(Refusal::LockedAtService { until: Timestamp(151) }));
    assert_eq!(state, account.state);
    let (verdict, ..) = judged_there(&account, there, &WRONG, CODES[5], 150);
    assert_eq!(verdict, Verdict::Refused(Refusal::WrongPassword), "without the password, nothing");
    let (verdict, state, _) = judged_there(&account, there, &right(), CODES[5], 151);
    assert_eq!(verdict, Verdict::Admitted(Grant::Code));
    assert_eq!(state.token(TokenId::FIRST).next, Step(6), "the code is spent everywhere");
}

#[test]
fn a_refusal_is_written_whichever_factor_was_wrong() {
    let account = active(totp(), 0);
    for (password, typed) in [(right(), "000000"), (WRONG, "000000"), (WRONG, CODES[5])] {
        let (_, _, counted) = judged_there(&account, Failures::default(), &password, typed, 150);
        assert!(counted.is_some(), "{password:?} {typed}");
    }
    let (_, _, counted) = judged_there(&account, Failures::default(), &right(), CODES[5], 150);
    assert_eq!(counted, None, "a success need not be");
}

#[test]
fn an_account_issued_anew_meanwhile_is_not_activated_by_a_service() {
    let pending = account(totp());
    let (verdict, state, counted) =
        judged_there(&pending, Failures::default(), &right(), CODES[5], 150);
    assert_eq!(verdict, Verdict::Refused(Refusal::NotActivated));
    assert_eq!((state, counted), (pending.state, None));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What is wrong through a service never changes the account's own failures, and counts
    /// there by the same rule and the same numbers as elsewhere.
    #[test]
    fn a_services_failures_are_its_own_and_by_the_same_limits(
        own in (0..5_u32, 0..2_000_000_u64, 0..5_u32, 0..1_000_000_u64),
        there in (0..5_u32, 0..2_000_000_u64, 0..5_u32, 0..2_000_000_u64),
        typed in prop_oneof![Just("000000"), Just(""), Just("abc"), Just(CODES[3])],
        is_right in any::<bool>(),
    ) {
        let now = 1_000_000;
        let (own, there) = (failures(own), failures(there));
        let mut account = active(totp(), 0);
        account.state.failures = own;
        let password = if is_right { right() } else { WRONG };
        let (verdict, state, counted) = judged_there(&account, there, &password, typed, now);
        prop_assert_eq!(state.failures, own);
        account.state.failures = there;
        let (elsewhere, as_elsewhere) = judged(&account, &password, typed, 0, now);
        prop_assert_eq!(counted, Some(as_elsewhere.failures));
        let same = match elsewhere {
            Verdict::Refused(Refusal::LockedOut { until }) => {
                Verdict::Refused(Refusal::LockedAtService { until })
            }
            verdict => verdict,
        };
        prop_assert_eq!(verdict, same);
    }
}
