//! The verdict on one answer, and what the account becomes by it.

use super::find::{self, CodeMatch, accept, accept_recovery, find, remember};
use super::limits;
use super::plan::{too_late, without_code};
use super::{Answer, Circumstances, Grant, NotNeeded, PasswordCheck, Refusal, Verdict};
use crate::account::{Account, Failures, Phase, State};
use crate::config::{AtLogin, Config};

/// One answer, with all that its judgement depends on.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// Who logs in, from where, and when.
    pub circumstances: Circumstances<'a>,
    /// The answer to the prompt for a code.
    pub answer: &'a Answer,
    /// How many more answers this login will hear.
    pub tries_left: u32,
}

/// A verdict that may not be used before the state it leads to is on disk:
/// it can be read only through [`Judgement::settle`].
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub(super) verdict: Verdict,
    pub(super) next: Option<State>,
}

impl Judgement {
    const fn unchanged(verdict: Verdict) -> Self {
        Self { verdict, next: None }
    }

    /// Of a check that is no login: when the user last logged in stays as it is.
    pub fn without_login(mut self, account: Option<&Account>) -> Self {
        let last_login = account.and_then(|account| account.state.last_login);
        self.next = self.next.map(|next| State { last_login, ..next });
        self
    }

    /// With these failures in the state that follows, if there is one.
    pub(super) fn with_failures(mut self, failures: Failures) -> Self {
        self.next = self.next.map(|next| next.with_failures(failures));
        self
    }

    /// Commits the next state, if there is one, and only then returns the verdict.
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

/// Judges one answer against the account as it is under its lock.
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
    let Circumstances { password, now, .. } = attempt.circumstances;
    if let PasswordCheck::Wrong(fault) = password {
        return Judgement::unchanged(Verdict::Refused(fault.refusal()));
    }
    if let Some(refusal) = too_late(&account.record, now) {
        return Judgement::unchanged(Verdict::Refused(refusal));
    }
    // Planned as it was, it was active: it has been issued anew since.
    if !attempt.circumstances.asker.may_enroll() {
        return Judgement::unchanged(Verdict::Refused(Refusal::NotActivated));
    }
    let refusal = match (attempt.answer, config.enrollment.at_login) {
        (Answer::RefusedBySshd, _) => {
            return Judgement::unchanged(Verdict::Refused(Refusal::RefusedBySshd));
        }
        (
            Answer::Empty | Answer::PasswordAgain,
            AtLogin::Optional | AtLogin::Accept | AtLogin::Off,
        ) => {
            let verdict = without_code(password, Grant::Skipped, NotNeeded::Skipped);
            return Judgement::unchanged(verdict);
        }
        (Answer::Empty, AtLogin::Required) => Refusal::NoCode,
        // Asked again, the program would say the same.
        (Answer::PasswordAgain, AtLogin::Required) => {
            return Judgement::unchanged(Verdict::Refused(Refusal::PasswordAgain));
        }
        // It would prove that a sheet of paper is there, not that an app is.
        (Answer::NotACode | Answer::Recovery(_), _) => Refusal::NotACode,
        (Answer::Code(code), _) => match find(account, code, now, &config.code) {
            CodeMatch::Accepted(found) => {
                let accepted = accept(account.state, found, now);
                let active = State { activated_at: Some(now), ..accepted };
                return Judgement {
                    verdict: Verdict::Admitted(Grant::Activated),
                    next: Some(remember(active, &attempt.circumstances, &config.login)),
                };
            }
            CodeMatch::OutOfStep(..) => Refusal::OutOfStep,
            CodeMatch::Refused(refusal) => refusal,
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
    let Circumstances { password, now, .. } = attempt.circumstances;
    let stored = account.state;
    let state = stored.with_failures(limits::in_force(stored.failures, now, &config.limits));
    // Computed first and always, so that the time it takes reveals nothing.
    let accepted = match attempt.answer {
        Answer::Empty => Err((Refusal::NoCode, state)),
        Answer::NotACode => Err((Refusal::NotACode, state)),
        Answer::PasswordAgain => Err((Refusal::PasswordAgain, state)),
        Answer::RefusedBySshd => Err((Refusal::RefusedBySshd, state)),
        Answer::Code(code) => match find(account, code, now, &config.code) {
            CodeMatch::Accepted(found) => {
                let accepted = accept(state, found, now);
                Ok((Grant::Code, remember(accepted, &attempt.circumstances, &config.login)))
            }
            CodeMatch::OutOfStep(noted) => Err((Refusal::OutOfStep, find::note(state, noted))),
            CodeMatch::Refused(refusal) => Err((refusal, find::without_resync(state))),
        },
        Answer::Recovery(code) => match accept_recovery(account, state, code, now) {
            Ok((next, left)) => Ok((Grant::RecoveryCode { left }, next)),
            Err(refusal) => Err((refusal, state)),
        },
    };
    let locked_until = state.failures.locked_until;
    let (refusal, next) = match (password, accepted) {
        // Nothing changes without the password.
        (PasswordCheck::Wrong(fault), _) => {
            let verdict = Verdict::Refused(fault.refusal());
            return Judgement { verdict, next: Some(stored) };
        }
        _ if now < locked_until => (Refusal::LockedOut { until: locked_until }, state),
        (_, Ok((grant, next))) => {
            return Judgement { verdict: Verdict::Admitted(grant), next: Some(next) };
        }
        (_, Err(refused)) => refused,
    };
    // Only a guess counts, and only with the right password: nobody can lock
    // a user out without it.
    let failures = match refusal {
        Refusal::WrongCode | Refusal::OutOfStep => {
            limits::count_failure(state.failures, now, &config.limits)
        }
        // Using a code twice, in two windows perhaps, is no guess.
        Refusal::SpentCode
        | Refusal::WrongPassword
        | Refusal::PasswordService { .. }
        | Refusal::ClockWentBack { .. }
        | Refusal::NotACode
        | Refusal::PasswordAgain
        | Refusal::NoCode
        | Refusal::LockedOut { .. }
        | Refusal::LockedAtService { .. }
        | Refusal::RefusedBySshd
        | Refusal::Disabled
        | Refusal::NotActivated
        | Refusal::NotEnrolled
        | Refusal::GroupUnknown
        | Refusal::DeadlinePassed
        | Refusal::DeadlineUnknown => state.failures,
    };
    // Written even where nothing changed: a refusal takes as long whichever
    // factor was wrong.
    Judgement { verdict: Verdict::Refused(refusal), next: Some(State { failures, ..next }) }
}
