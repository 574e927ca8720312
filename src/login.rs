//! Who gets in: every rule about it is here, in [`plan`] (what to show and to
//! ask) and [`judge`] (the verdict, and what the account becomes).
//!
//! Both are pure: no clock, no randomness, no file, no libpam. The PAM hook
//! and `onetimectl verify` call them and do as they say.

use crate::account::{Account, Failures, Phase, Record, State, Timestamp, TokenId, TokenState};
use crate::code::{Code, Kind, Step};
use crate::config::{Code as CodePolicy, Config, Limits};

/// Seconds.
const WEEK: u64 = 7 * 86_400;

/// How often a pending user may try a code in one login.
pub const PENDING_TRIES: u32 = 3;

/// Evidence that whoever is at the other end may see the account's secret.
///
/// A secret is shown only to who holds one. The constructors below are all
/// there are, and `tests/house.rs` pins who calls them.
#[derive(Debug)]
pub struct PasswordProof(());

impl PasswordProof {
    /// The nested transaction has just verified the password.
    pub(crate) const fn by_transaction() -> Self {
        Self(())
    }

    /// `show_without_password` says that the login needs none.
    const fn by_configuration() -> Self {
        Self(())
    }

    /// The caller can read the record file itself (`onetimectl`, as root).
    #[must_use]
    pub const fn by_administrator() -> Self {
        Self(())
    }
}

/// What is known about the password when the code is due.
#[derive(Debug)]
pub enum PasswordCheck {
    /// Verified in this login.
    Right(PasswordProof),
    /// Could not be verified in this login.
    Wrong(Fault),
    /// An earlier module of the stack answers for it (`password=stack`).
    InStack,
    /// Something else does, an ssh key for instance (`password=none`).
    Without,
}

/// Why a password counts as wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is.
    Password,
    /// sshd had decided to refuse, and sent something else in its place.
    RefusedBySshd,
    /// The password service could not say.
    Service {
        /// Its PAM result.
        result: i32,
    },
}

impl Fault {
    const fn refusal(self) -> Refusal {
        match self {
            Self::Password => Refusal::WrongPassword,
            Self::RefusedBySshd => Refusal::RefusedBySshd,
            Self::Service { result } => Refusal::PasswordService { result },
        }
    }
}

/// What a login has to do next.
#[derive(Debug)]
pub enum Plan<'a> {
    /// Nothing to ask.
    Done(Verdict),
    /// Ask for a code.
    Ask(Question<'a>),
}

/// How to ask for a code.
#[derive(Debug)]
pub struct Question<'a> {
    /// Show this first.
    pub show: Option<Invitation<'a>>,
    /// Which prompt is due.
    pub prompt: Prompt,
    /// How many answers are heard.
    pub tries: u32,
}

/// Which prompt is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompt {
    /// For an active user.
    Code,
    /// For a pending user, who may skip it.
    SetUp,
}

/// A record that may be shown to the user, together with the evidence for it.
#[derive(Debug)]
pub struct Invitation<'a> {
    record: &'a Record,
}

impl<'a> Invitation<'a> {
    /// Permits to show `record` to who holds the proof.
    #[must_use]
    pub const fn new(record: &'a Record, _proof: &PasswordProof) -> Self {
        Self { record }
    }

    /// What to show.
    #[must_use]
    pub const fn record(&self) -> &'a Record {
        self.record
    }
}

/// Decides what to show and ask. `account` is `None` for a user without a
/// record.
#[must_use]
pub fn plan<'a>(
    account: Option<&'a Account>,
    password: &PasswordCheck,
    config: &Config,
) -> Plan<'a> {
    let Some(account) = account else {
        return Plan::Done(match password {
            PasswordCheck::Right(_) => Verdict::Admitted(Grant::PasswordAlone),
            PasswordCheck::Wrong(fault) => Verdict::Refused(fault.refusal()),
            PasswordCheck::InStack | PasswordCheck::Without => {
                Verdict::NotNeeded(NotNeeded::NotEnabled)
            }
        });
    };
    let record = &account.record;
    match account.phase() {
        // Asked whether the password was right or wrong: one verdict for both.
        Phase::Active { .. } => Plan::Ask(Question { show: None, prompt: Prompt::Code, tries: 1 }),
        Phase::Pending => {
            let show = match password {
                PasswordCheck::Right(proof) => Some(Invitation::new(record, proof)),
                PasswordCheck::Wrong(fault) => {
                    return Plan::Done(Verdict::Refused(fault.refusal()));
                }
                PasswordCheck::Without if config.enrollment.show_without_password => {
                    Some(Invitation::new(record, &PasswordProof::by_configuration()))
                }
                PasswordCheck::InStack | PasswordCheck::Without => None,
            };
            Plan::Ask(Question { show, prompt: Prompt::SetUp, tries: PENDING_TRIES })
        }
    }
}

/// What came back from the prompt.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Nothing but Enter.
    Empty,
    /// Something that can be a code.
    Code(Code),
    /// Something that cannot.
    NotACode,
    /// What sshd sends in place of an answer where it has already decided to
    /// refuse (root login not permitted, user not allowed).
    RefusedBySshd,
}

impl Answer {
    /// What `auth-pam.c` of OpenSSH sends as the password of a user it refuses.
    const SSHD_JUNK: &'static [u8] = b"\x08\n\r\x7fINCORRECT";

    /// Reads an answer.
    #[must_use]
    pub fn read(typed: &[u8]) -> Self {
        if typed.is_empty() {
            Self::Empty
        } else if Self::is_sshd_refusal(typed) {
            Self::RefusedBySshd
        } else {
            Code::parse(typed).map_or(Self::NotACode, Self::Code)
        }
    }

    /// Whether sshd, not the user, sent this. It fills it up to the length of
    /// the real answer, by repeating it.
    #[must_use]
    pub fn is_sshd_refusal(typed: &[u8]) -> bool {
        typed.len() >= 4
            && typed.iter().zip(Self::SSHD_JUNK.iter().cycle()).all(|(byte, junk)| byte == junk)
    }
}

/// One answer, with all that its judgement depends on.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// What is known of the password.
    pub password: &'a PasswordCheck,
    /// What was answered.
    pub answer: &'a Answer,
    /// How many more answers this login will hear.
    pub tries_left: u32,
    /// When.
    pub now: Timestamp,
}

/// A verdict that may not be told before the state it leads to is on disk:
/// it can be read only through [`Judgement::settle`].
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    verdict: Verdict,
    next: Option<State>,
}

impl Judgement {
    const fn unchanged(verdict: Verdict) -> Self {
        Self { verdict, next: None }
    }

    /// Commits the next state, if there is one, and only then tells.
    ///
    /// # Errors
    /// Those of `commit`: the login must be refused then.
    pub fn settle<E>(self, commit: impl FnOnce(&State) -> Result<(), E>) -> Result<Verdict, E> {
        if let Some(next) = &self.next {
            commit(next)?;
        }
        Ok(self.verdict)
    }
}

/// How a login, or one attempt of it, ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Success.
    Admitted(Grant),
    /// This module has nothing to say: the rest of the stack decides.
    NotNeeded(NotNeeded),
    /// Ask once more.
    Again(Refusal),
    /// Failure.
    Refused(Refusal),
}

/// Why somebody is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// No record: the password suffices.
    PasswordAlone,
    /// Pending, and the code was skipped: the password suffices for now.
    Skipped,
    /// Pending, and the code was right: active from now on.
    Activated,
    /// Active, and the code was right.
    Code,
}

/// Why no code is needed from somebody whose password others answer for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotNeeded {
    /// No record.
    NotEnabled,
    /// Pending, and the code was skipped.
    Skipped,
}

/// Why somebody is refused. For the log; the user is not told which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The password, whatever the code.
    WrongPassword,
    /// The password service could not verify the password.
    PasswordService {
        /// Its PAM result.
        result: i32,
    },
    /// No token shows this code near this step.
    WrongCode,
    /// The token showed it, but it, or a later one, has been used.
    SpentCode,
    /// All codes of this time are spent, because the clock was set back.
    ClockWentBack,
    /// Not 6 to 8 digits.
    NotACode,
    /// No code was given.
    NoCode,
    /// Too many wrong codes.
    LockedOut {
        /// Until when.
        until: Timestamp,
    },
    /// sshd had decided to refuse and sent no answer of the user's.
    RefusedBySshd,
    /// The record was removed while the code was being typed.
    Disabled,
}

/// Judges one answer against the account as it stands under its lock.
pub fn judge(account: Option<&Account>, attempt: &Attempt<'_>, config: &Config) -> Judgement {
    let Some(account) = account else {
        return Judgement::unchanged(Verdict::Refused(Refusal::Disabled));
    };
    match account.phase() {
        Phase::Pending => judge_pending(account, attempt, config),
        Phase::Active { .. } => judge_active(account, attempt, config),
    }
}

fn judge_pending(account: &Account, attempt: &Attempt<'_>, config: &Config) -> Judgement {
    let refusal = match (attempt.password, attempt.answer) {
        (PasswordCheck::Wrong(fault), _) => {
            return Judgement::unchanged(Verdict::Refused(fault.refusal()));
        }
        (_, Answer::RefusedBySshd) => {
            return Judgement::unchanged(Verdict::Refused(Refusal::RefusedBySshd));
        }
        (PasswordCheck::Right(_), Answer::Empty) => {
            return Judgement::unchanged(Verdict::Admitted(Grant::Skipped));
        }
        (PasswordCheck::InStack | PasswordCheck::Without, Answer::Empty) => {
            return Judgement::unchanged(Verdict::NotNeeded(NotNeeded::Skipped));
        }
        (_, Answer::NotACode) => Refusal::NotACode,
        (_, Answer::Code(code)) => match find(account, code, attempt.now, &config.code) {
            Ok((id, step)) => {
                let accepted = accept(account.state, id, step, attempt.now);
                return Judgement {
                    verdict: Verdict::Admitted(Grant::Activated),
                    next: Some(State { activated_at: Some(attempt.now), ..accepted }),
                };
            }
            Err(refusal) => refusal,
        },
    };
    // Not counted: a pending account does not depend on its code yet.
    Judgement::unchanged(if attempt.tries_left > 0 {
        Verdict::Again(refusal)
    } else {
        Verdict::Refused(refusal)
    })
}

fn judge_active(account: &Account, attempt: &Attempt<'_>, config: &Config) -> Judgement {
    let state = account.state;
    // Computed first and always, so that the time it takes tells nothing.
    let found = match attempt.answer {
        Answer::Empty => Err(Refusal::NoCode),
        Answer::NotACode => Err(Refusal::NotACode),
        Answer::RefusedBySshd => Err(Refusal::RefusedBySshd),
        Answer::Code(code) => find(account, code, attempt.now, &config.code),
    };
    let locked_until = state.failures.locked_until;
    let refusal = match (attempt.password, found) {
        (PasswordCheck::Wrong(fault), _) => fault.refusal(),
        _ if attempt.now < locked_until => Refusal::LockedOut { until: locked_until },
        (_, Ok((id, step))) => {
            return Judgement {
                verdict: Verdict::Admitted(Grant::Code),
                next: Some(accept(state, id, step, attempt.now)),
            };
        }
        (_, Err(refusal)) => refusal,
    };
    // Only a guess counts, and only with the right password: nobody can lock
    // a user out without it.
    let failures = match refusal {
        Refusal::WrongCode | Refusal::SpentCode => {
            count_failure(state.failures, attempt.now, &config.limits)
        }
        Refusal::WrongPassword
        | Refusal::PasswordService { .. }
        | Refusal::ClockWentBack
        | Refusal::NotACode
        | Refusal::NoCode
        | Refusal::LockedOut { .. }
        | Refusal::RefusedBySshd
        | Refusal::Disabled => state.failures,
    };
    // Written even where nothing changed: a refusal takes as long whichever
    // factor was wrong.
    Judgement { verdict: Verdict::Refused(refusal), next: Some(State { failures, ..state }) }
}

/// The token and step whose code this is, among the steps not yet spent.
fn find(
    account: &Account,
    code: &Code,
    now: Timestamp,
    policy: &CodePolicy,
) -> Result<(TokenId, Step), Refusal> {
    // Every token is tried, whichever matches.
    let mut found = Err(Refusal::WrongCode);
    for (id, token) in &account.record.tokens {
        let next = account.state.token(*id).next;
        let steps = match token.kind {
            Kind::Totp { period } => {
                let present = time_step(now, period.get());
                let window = policy.window.get();
                present.minus(window).0..=present.plus(window).0
            }
            // Those before `next` only to tell a spent code from a wrong one.
            Kind::Hotp => {
                let ahead = policy.look_ahead.get();
                next.minus(ahead).0..=next.plus(ahead).0
            }
        };
        let clock_went_back = match token.kind {
            // An accepted step was within the window of its time.
            Kind::Totp { .. } => next.0 > steps.end().saturating_add(1),
            Kind::Hotp => false,
        };
        match token.newest_match(code, steps.map(Step)) {
            Some(step) if step >= next && found.is_err() => found = Ok((*id, step)),
            Some(_) if found == Err(Refusal::WrongCode) => {
                found =
                    Err(if clock_went_back { Refusal::ClockWentBack } else { Refusal::SpentCode });
            }
            Some(_) | None => {}
        }
    }
    found
}

/// T of RFC 6238 section 4.2, with T0 = 0.
fn time_step(now: Timestamp, period: u16) -> Step {
    Step(now.0.checked_div(u64::from(period)).unwrap_or(0))
}

/// The state once the code of `step` has been spent.
fn accept(state: State, id: TokenId, step: Step, now: Timestamp) -> State {
    State { last_login: Some(now), ..state.with_token(id, TokenState { next: step.plus(1) }) }
}

/// One more wrong code; the last of too many locks.
///
/// A success does not clear the count: otherwise the user's own logins would
/// give whoever has their password new guesses all day.
fn count_failure(failures: Failures, now: Timestamp, limits: &Limits) -> Failures {
    let recent = failures.recent(now, limits.period);
    let counted = Failures {
        count: recent.saturating_add(1),
        since: if recent == 0 { now } else { failures.since },
        ..failures
    };
    if limits.failures == 0 || counted.count < limits.failures {
        return counted;
    }
    let quiet_weeks = now.since(failures.locked_until).checked_div(WEEK).unwrap_or(0);
    let level = u64::from(failures.lockouts).saturating_sub(quiet_weeks);
    let doubled =
        u32::try_from(level).ok().and_then(|level| 2_u64.checked_pow(level)).unwrap_or(u64::MAX);
    let seconds = limits.lockout.saturating_mul(doubled).min(limits.max_lockout);
    Failures {
        count: 0,
        since: now,
        lockouts: u32::try_from(level.saturating_add(1)).unwrap_or(u32::MAX),
        locked_until: now.plus(seconds),
    }
}

#[cfg(test)]
mod tests;
