//! A clock that was wrong, and is right again.

use super::*;
use crate::account::RememberedHost;

/// Ten years, in seconds.
const AHEAD: u64 = 10 * 365 * 86_400;
const NOW: u64 = 1_800_000_000;

fn locked(until: u64) -> Account {
    let mut account = active(MovingFactor::Hotp, 2);
    let failures =
        Failures { count: 4, since: Timestamp(until), lockouts: 1, locked_until: Timestamp(until) };
    account.state.failures = failures;
    account
}

#[test]
fn a_lock_of_a_clock_that_was_ahead_ends_when_the_longest_lock_from_now_would() {
    let longest = Limits::default().max_lockout;
    let account = locked(NOW + AHEAD);
    let until = Timestamp(NOW + longest);
    let (verdict, state) = judged(&account, &right(), CODES[2], 0, NOW);
    assert_eq!(verdict, Verdict::Refused(Refusal::LockedOut { until }));
    assert_eq!(state.failures.locked_until, until, "and it is not prolonged by trying on");
    let account = Account { state, ..account };
    let (verdict, state) = judged(&account, &right(), CODES[2], 0, NOW + longest - 1);
    assert_eq!(verdict, Verdict::Refused(Refusal::LockedOut { until }));
    let account = Account { state, ..account };
    assert_eq!(judged(&account, &right(), CODES[2], 0, until.0).0, Verdict::Admitted(Grant::Code));
}

#[test]
fn without_the_password_a_lock_of_a_clock_that_was_ahead_stays_as_it_is() {
    let account = locked(NOW + AHEAD);
    assert_eq!(judged(&account, &WRONG, CODES[2], 0, NOW).1, account.state);
}

#[test]
fn wrong_codes_that_a_clock_ahead_has_counted_are_forgotten_a_period_from_now() {
    let period = Limits::default().period;
    let mut account = active(MovingFactor::Hotp, 2);
    account.state.failures =
        Failures { count: 1, since: Timestamp(NOW + AHEAD), ..Failures::default() };
    let (_, state) = judged(&account, &right(), "000000", 0, NOW);
    assert_eq!((state.failures.count, state.failures.since), (2, Timestamp(NOW)));
    let account = Account { state, ..account };
    let (_, state) = judged(&account, &right(), "000000", 0, NOW + period);
    assert_eq!((state.failures.count, state.failures.since), (1, Timestamp(NOW + period)));
}

#[test]
fn a_service_that_remembers_for_a_short_time_takes_a_free_place_and_no_other_service_s() {
    let password = right();
    let seen = |state, service, span: &str| {
        let config = configured(|config| config.login.remember = span.parse().unwrap());
        let circumstances = circumstances(&password, NOW);
        let circumstances = Circumstances { service, ..circumstances };
        remember(state, &circumstances, &config.login)
    };
    let fresh = active(MovingFactor::Hotp, 2).state;
    let both = seen(seen(fresh, "sshd", "30d"), "cockpit", "1h");
    let untils = both.hosts.iter().map(|host| host.until).filter(|until| *until > Timestamp(0));
    let both: Vec<_> = untils.collect();
    assert_eq!(both, [Timestamp(NOW + 30 * 86_400), Timestamp(NOW + 3600)]);
}

#[test]
fn a_place_is_free_from_the_second_on_in_which_its_host_is_remembered_no_longer() {
    let config = configured(|config| config.login.remember = "1h".parse().unwrap());
    let month = RememberedHost { key: [1; 16], until: Timestamp(NOW + 30 * 86_400) };
    let ends = RememberedHost { key: [2; 16], until: Timestamp(NOW) };
    let mut state = active(MovingFactor::Hotp, 2).state;
    state.hosts = [month; 8];
    state.hosts[5] = ends;
    let password = right();
    let state = remember(state, &circumstances(&password, NOW), &config.login);
    assert_eq!(state.hosts[5].until, Timestamp(NOW + 3600));
    assert_eq!(state.hosts.iter().filter(|host| **host == month).count(), 7);
}

#[test]
fn a_host_that_a_clock_ahead_has_remembered_neither_counts_nor_keeps_its_place() {
    let config = configured(|config| config.login.remember = "1d".parse().unwrap());
    let mut account = active(MovingFactor::Hotp, 2);
    let key = host_key(account.state.generation, "192.0.2.7", "sshd", 86_400);
    account.state.hosts = [RememberedHost { key, until: Timestamp(NOW + AHEAD) }; 8];
    let password = right();
    let circumstances = circumstances(&password, NOW);
    let asked = plan_in(Some(&account), &circumstances, &config);
    assert!(matches!(asked, Some(Plan::Ask(_))), "{asked:?}");

    // Of hosts that were really seen, none is replaced while one of these is left.
    let mut state = account.state;
    for number in 0..8 {
        let rhost = format!("192.0.2.{}", 10 + number);
        let circumstances = Circumstances { rhost: Some(&rhost), ..circumstances };
        state = remember(state, &circumstances, &config.login);
    }
    let until = Timestamp(NOW + 86_400);
    assert!(state.hosts.iter().all(|host| host.until == until), "{:?}", state.hosts);
}

#[test]
fn a_deadline_that_counts_from_a_later_time_lets_nobody_activate() {
    for (issued, deadline, expected) in [
        (NOW + AHEAD, Some(NOW + AHEAD + 60), Some(Refusal::DeadlineUnknown)),
        (NOW + 301, Some(NOW + 901), Some(Refusal::DeadlineUnknown)),
        (NOW + 300, Some(NOW + 900), None),
        (NOW + AHEAD, None, None),
        (NOW - 60, Some(NOW), Some(Refusal::DeadlinePassed)),
        (NOW - 60, Some(NOW + 1), None),
    ] {
        let mut account = account(MovingFactor::Hotp);
        account.record.issued_at = Timestamp(issued);
        account.record.deadline = deadline.map(Timestamp);
        let password = right();
        let planned = plan_in(Some(&account), &circumstances(&password, NOW), &Config::default());
        let verdict = judged(&account, &password, CODES[0], 0, NOW).0;
        match (expected, planned) {
            (Some(refusal), Some(Plan::Fixed(FixedVerdict::Done(planned)))) => {
                assert_eq!((planned, verdict), (Verdict::Refused(refusal), planned), "{issued}");
            }
            (None, Some(Plan::Ask(_))) => {
                assert_eq!(verdict, Verdict::Admitted(Grant::Activated), "{issued}");
            }
            other => panic!("{issued} {deadline:?}: {other:?}"),
        }
    }
}

#[cfg(feature = "tool")] // Token::code_at
#[test]
fn two_codes_do_not_bring_a_token_back_from_the_future_and_the_error_says_what_does() {
    let account = active(totp(), (NOW + AHEAD) / 30);
    let token = &account.record.tokens[0].1;
    let code = |step: u64| Code::parse(token.code_at(Step(step)).as_bytes()).unwrap();
    let (one, two) = (code(NOW / 30 - 1), code(NOW / 30));
    let until = Timestamp((NOW + AHEAD) / 30 * 30);
    let error = resync(&account, [&one, &two], Timestamp(NOW), &CodePolicy::default()).unwrap_err();
    assert_eq!(error, ResyncError::Ahead(until));
    assert!(error.to_string().contains("2037-01-12"), "{error}");
    assert!(error.to_string().contains("onetimectl enable --new-secret"), "{error}");
}

#[test]
fn each_time_that_is_ahead_is_found_and_the_worst_of_them_said() {
    let step = |seconds: u64| (NOW + seconds) / 30;
    // A drift of 10 steps, a window of one, and the step after that one.
    let policy = CodePolicy::default();
    let most = policy.max_drift.get() + policy.window.get() + 1;
    let remember = configured(|config| config.login.remember = "1d".parse().unwrap());
    let none = Config::default();
    type Case<'c> = (&'static str, fn(&mut Account), &'c Config, Option<TimeAhead>);
    let set: [Case<'_>; 14] = [
        ("nothing", |_| {}, &none, None),
        (
            "activation",
            |a| a.state.activated_at = Some(Timestamp(NOW + 301)),
            &none,
            Some(TimeAhead::Other),
        ),
        ("activation just now", |a| a.state.activated_at = Some(Timestamp(NOW + 300)), &none, None),
        (
            "login",
            |a| a.state.last_login = Some(Timestamp(NOW + AHEAD)),
            &none,
            Some(TimeAhead::Other),
        ),
        ("issue", |a| a.record.issued_at = Timestamp(NOW + AHEAD), &none, Some(TimeAhead::Other)),
        (
            "wrong code",
            |a| a.state.failures.since = Timestamp(NOW + AHEAD),
            &none,
            Some(TimeAhead::Other),
        ),
        (
            "host",
            |a| a.state.hosts[3].until = Timestamp(NOW + AHEAD),
            &remember,
            Some(TimeAhead::Other),
        ),
        (
            "host for as long as can be",
            |a| a.state.hosts[3].until = Timestamp(NOW + 300 + 86_400),
            &remember,
            None,
        ),
        (
            "host for a second longer",
            |a| a.state.hosts[3].until = Timestamp(NOW + 301 + 86_400),
            &remember,
            Some(TimeAhead::Other),
        ),
        (
            "host that does not count",
            |a| a.state.hosts[3].until = Timestamp(NOW + AHEAD),
            &none,
            None,
        ),
        (
            "lock",
            |a| a.state.failures.locked_until = Timestamp(NOW + AHEAD),
            &none,
            Some(TimeAhead::Lock),
        ),
        (
            "lock as long as can be",
            |a| a.state.failures.locked_until = Timestamp(NOW + 172_800),
            &none,
            None,
        ),
        (
            "deadline of an active user",
            |a| {
                a.record.issued_at = Timestamp(NOW + AHEAD);
                a.record.deadline = Some(Timestamp(NOW + AHEAD + 60));
            },
            &none,
            Some(TimeAhead::Other),
        ),
        (
            "deadline",
            |a| {
                a.state.activated_at = None;
                a.record.issued_at = Timestamp(NOW + AHEAD);
                a.record.deadline = Some(Timestamp(NOW + AHEAD + 60));
            },
            &none,
            Some(TimeAhead::Deadline),
        ),
    ];
    for (what, change, config, expected) in set {
        let mut account = active(totp(), step(0));
        change(&mut account);
        assert_eq!(time_ahead(&account, Timestamp(NOW), config), expected, "{what}");
    }
    for (next, ahead) in [(step(0) + most, false), (step(0) + most + 1, true)] {
        let found = time_ahead(&active(totp(), next), Timestamp(NOW), &none);
        let expected = ahead.then_some(TimeAhead::Codes { until: Timestamp(next * 30) });
        assert_eq!(found, expected, "{next}");
    }
    let counter = active(MovingFactor::Hotp, u64::MAX);
    assert_eq!(time_ahead(&counter, Timestamp(NOW), &none), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_lock_and_no_count_outlasts_what_the_limits_allow_from_now(
        count in any::<u32>(), since in any::<u64>(), lockouts in any::<u32>(), until in any::<u64>(),
        now in 0..u64::MAX / 2, typed in prop_oneof![Just("000000"), Just("755224"), Just("")],
    ) {
        let limits = Limits::default();
        let mut account = active(MovingFactor::Hotp, 0);
        account.state.failures = Failures { count, since: Timestamp(since), lockouts, locked_until: Timestamp(until) };
        let (_, state) = judged(&account, &right(), typed, 0, now);
        prop_assert!(state.failures.locked_until.since(Timestamp(now)) <= limits.max_lockout);
        prop_assert!(state.failures.since <= Timestamp(now));
    }

    #[test]
    fn a_clock_that_is_right_leaves_nothing_that_is_ahead(
        now in 1_000_000_u64..1 << 40, next in 0..10_u64, typed in 0..10_usize, remember in any::<bool>(),
    ) {
        let config = configured(|config| {
            config.login.remember = if remember { "1d" } else { "none" }.parse().unwrap();
        });
        let mut account = active(MovingFactor::Hotp, next);
        account.record.issued_at = Timestamp(now);
        let password = right();
        let answer = Answer::Code(Code::parse(CODES[typed].as_bytes()).unwrap());
        let attempt = Attempt { circumstances: circumstances(&password, now), answer: &answer, tries_left: 0 };
        judge(Some(&account), &attempt, &config)
            .settle(|next| { account.state = *next; Ok::<_, ()>(()) })
            .unwrap();
        prop_assert_eq!(time_ahead(&account, Timestamp(now), &config), None);
    }
}
