//! Who gets in: every rule about it is here, in [`plan`] (what to show and to
//! ask) and [`judge`] (the verdict, and what the account becomes).
//!
//! Both are pure: no clock, no randomness, no file, no libpam. The PAM hook
//! and `onetimectl verify` call them and do as they say.

mod find;
mod limits;

use std::collections::BTreeSet;
use std::net::IpAddr;

use subtle::ConstantTimeEq;

use crate::account::{Account, Phase, Record, State, Timestamp};
use crate::code::{Code, RecoveryCode};
use crate::config::{AtLogin, Config, Missing};
use find::{Found, accept, accept_recovery, find, host_key, remember};

pub use find::{ResyncError, resync};

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

/// All that a login's rules depend on besides the account.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// What is known of the password.
    pub password: &'a PasswordCheck,
    /// From where (PAM_RHOST).
    pub rhost: Option<&'a str>,
    /// Where to (PAM_SERVICE).
    pub service: &'a str,
    /// Those of the groups in the configuration that the user is a member of.
    pub groups: &'a [String],
    /// When.
    pub now: Timestamp,
}

/// What a login has to do next.
#[derive(Debug)]
pub enum Plan<'a> {
    /// Nothing to ask.
    Done(Verdict),
    /// Ask for a code.
    Ask(Question<'a>),
    /// Ask as an active user is asked, and do not heed the answer: nobody is
    /// to learn that there is nothing to ask (`uniform`).
    Pretend(Verdict),
    /// Issue a record, and plan anew (`missing = "enrol"`).
    Issue,
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
    /// For a pending user, who may not.
    SetUpRequired,
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
    circumstances: &Circumstances<'_>,
    config: &Config,
) -> Plan<'a> {
    let Circumstances { password, now, .. } = circumstances;
    let settled = |verdict| {
        if config.login.uniform { Plan::Pretend(verdict) } else { Plan::Done(verdict) }
    };
    if let Some(why) = exemption(account, circumstances, config) {
        return settled(without_code(password, Grant::Exempt(why), NotNeeded::Exempt(why)));
    }
    let Some(account) = account else {
        return match missing(circumstances, config) {
            Missing::Ignore => {
                settled(without_code(password, Grant::PasswordAlone, NotNeeded::NotEnabled))
            }
            Missing::Deny => settled(refused_unless_wrong(password, Refusal::NotEnrolled)),
            Missing::Enrol if may_be_shown(password, config).is_some() => Plan::Issue,
            Missing::Enrol => settled(refused_unless_wrong(password, Refusal::NotEnrolled)),
        };
    };
    match account.phase() {
        // Asked whether the password was right or wrong: one verdict for both.
        Phase::Active { .. } => Plan::Ask(Question { show: None, prompt: Prompt::Code, tries: 1 }),
        Phase::Pending => {
            if let PasswordCheck::Wrong(fault) = password {
                return settled(Verdict::Refused(fault.refusal()));
            }
            if is_too_late(&account.record, *now) {
                return settled(Verdict::Refused(Refusal::DeadlinePassed));
            }
            let prompt = match config.enrollment.at_login {
                AtLogin::Optional => Prompt::SetUp,
                AtLogin::Required => Prompt::SetUpRequired,
                AtLogin::Off => {
                    return settled(without_code(password, Grant::Skipped, NotNeeded::Skipped));
                }
            };
            let proof = may_be_shown(password, config);
            let show = proof.as_ref().map(|proof| Invitation::new(&account.record, proof.proof()));
            Plan::Ask(Question { show, prompt, tries: PENDING_TRIES })
        }
    }
}

/// Evidence from the login, or in its place from the configuration.
enum Shown<'a> {
    Proven(&'a PasswordProof),
    Configured(PasswordProof),
}

impl Shown<'_> {
    const fn proof(&self) -> &PasswordProof {
        match self {
            Self::Proven(proof) => proof,
            Self::Configured(proof) => proof,
        }
    }
}

/// Whether whoever is at the other end may see a secret.
fn may_be_shown<'a>(password: &'a PasswordCheck, config: &Config) -> Option<Shown<'a>> {
    match password {
        PasswordCheck::Right(proof) => Some(Shown::Proven(proof)),
        PasswordCheck::Without if config.enrollment.show_without_password => {
            Some(Shown::Configured(PasswordProof::by_configuration()))
        }
        PasswordCheck::Wrong(_) | PasswordCheck::InStack | PasswordCheck::Without => None,
    }
}

/// The verdict where no code is needed.
const fn without_code(password: &PasswordCheck, grant: Grant, not_needed: NotNeeded) -> Verdict {
    match password {
        PasswordCheck::Right(_) => Verdict::Admitted(grant),
        PasswordCheck::Wrong(fault) => Verdict::Refused(fault.refusal()),
        PasswordCheck::InStack | PasswordCheck::Without => Verdict::NotNeeded(not_needed),
    }
}

const fn refused_unless_wrong(password: &PasswordCheck, refusal: Refusal) -> Verdict {
    match password {
        PasswordCheck::Wrong(fault) => Verdict::Refused(fault.refusal()),
        PasswordCheck::Right(_) | PasswordCheck::InStack | PasswordCheck::Without => {
            Verdict::Refused(refusal)
        }
    }
}

/// What becomes of this user without a record.
fn missing(circumstances: &Circumstances<'_>, config: &Config) -> Missing {
    let required = is_member(circumstances, &config.login.require_groups.0);
    match config.login.missing {
        Missing::Ignore if required => Missing::Deny,
        other @ (Missing::Ignore | Missing::Deny | Missing::Enrol) => other,
    }
}

/// Why this login needs no code although others do.
fn exemption(
    account: Option<&Account>,
    circumstances: &Circumstances<'_>,
    config: &Config,
) -> Option<Exemption> {
    let Circumstances { rhost, service, now, .. } = circumstances;
    if is_member(circumstances, &config.login.exempt_groups.0) {
        return Some(Exemption::Group);
    }
    // A host's name is what somebody says it is.
    let address = rhost.and_then(|rhost| rhost.parse::<IpAddr>().ok());
    if address.is_some_and(|address| config.login.exempt_networks.contain(address)) {
        return Some(Exemption::Network);
    }
    let account = account.filter(|account| matches!(account.phase(), Phase::Active { .. }))?;
    let state = &account.state;
    let (Some(rhost), Some(seconds)) = (rhost, config.login.remember.seconds()) else {
        return None;
    };
    let key = host_key(state.generation, rhost, service);
    // No longer than the configuration says now, whatever it said then.
    let latest = now.plus(seconds);
    let remembered = |until: Timestamp| *now < until && until <= latest;
    let known =
        state.hosts.iter().any(|host| bool::from(host.key.ct_eq(&key)) && remembered(host.until));
    known.then_some(Exemption::RememberedHost)
}

fn is_member(circumstances: &Circumstances<'_>, groups: &[String]) -> bool {
    circumstances.groups.iter().any(|group| groups.contains(group))
}

fn is_too_late(record: &Record, now: Timestamp) -> bool {
    record.deadline.is_some_and(|deadline| deadline <= now)
}

/// What came back from the prompt.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Nothing but Enter.
    Empty,
    /// Something that can be a code.
    Code(Code),
    /// Something that can be a recovery code.
    Recovery(RecoveryCode),
    /// Something that can be neither.
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
            let recovery = || RecoveryCode::parse(typed).map(Self::Recovery);
            Code::parse(typed).map(Self::Code).or_else(recovery).unwrap_or(Self::NotACode)
        }
    }

    /// The ways in which an answer can be a password and a code at its end: a code is
    /// as long as those of one of the record's tokens, or a recovery code.
    pub fn splits<'a>(
        all: &'a [u8],
        record: &Record,
    ) -> impl Iterator<Item = (&'a [u8], Self)> + use<'a> {
        let lengths = record.tokens.iter().map(|(_, token)| token.digits.get().into());
        let lengths: BTreeSet<usize> = lengths.chain([RecoveryCode::TEXT_LENGTH]).collect();
        lengths
            .into_iter()
            .filter_map(|length| all.split_at_checked(all.len().checked_sub(length)?))
            .map(|(password, code)| (password, Self::read(code)))
            .filter(|(_, answer)| matches!(answer, Self::Code(_) | Self::Recovery(_)))
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
    /// Who, whence, when.
    pub circumstances: Circumstances<'a>,
    /// What was answered.
    pub answer: &'a Answer,
    /// How many more answers this login will hear.
    pub tries_left: u32,
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
    /// Pending, and the code was skipped or not asked for: the password
    /// suffices for now.
    Skipped,
    /// Pending, and the code was right: active from now on.
    Activated,
    /// Active, and the code was right.
    Code,
    /// Active, and a recovery code was right.
    RecoveryCode {
        /// How many are left.
        left: usize,
    },
    /// The configuration asks for no code.
    Exempt(Exemption),
}

/// Why no code is needed from somebody whose password others answer for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotNeeded {
    /// No record.
    NotEnabled,
    /// Pending, and the code was skipped or not asked for.
    Skipped,
    /// The configuration asks for no code.
    Exempt(Exemption),
}

/// Why the configuration asks for no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exemption {
    /// `exempt_groups`
    Group,
    /// `exempt_networks`
    Network,
    /// `remember`
    RememberedHost,
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
    /// No token shows this code near this step, or no recovery code is this.
    WrongCode,
    /// The token showed it, but it, or a later one, has been used.
    SpentCode,
    /// A counter token is far ahead: the next code would bring it back.
    OutOfStep,
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
    /// No record, and the configuration demands one.
    NotEnrolled,
    /// Pending, and too late to activate.
    DeadlinePassed,
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
    let Circumstances { password, now, .. } = attempt.circumstances;
    if let PasswordCheck::Wrong(fault) = password {
        return Judgement::unchanged(Verdict::Refused(fault.refusal()));
    }
    if is_too_late(&account.record, now) {
        return Judgement::unchanged(Verdict::Refused(Refusal::DeadlinePassed));
    }
    let refusal = match (attempt.answer, config.enrollment.at_login) {
        (Answer::RefusedBySshd, _) => {
            return Judgement::unchanged(Verdict::Refused(Refusal::RefusedBySshd));
        }
        (Answer::Empty, AtLogin::Optional | AtLogin::Off) => {
            let verdict = without_code(password, Grant::Skipped, NotNeeded::Skipped);
            return Judgement::unchanged(verdict);
        }
        (Answer::Empty, AtLogin::Required) => Refusal::NoCode,
        // It would prove that a sheet of paper is there, not that an app is.
        (Answer::NotACode | Answer::Recovery(_), _) => Refusal::NotACode,
        (Answer::Code(code), _) => match find(account, code, now, &config.code) {
            Found::Accepted(found) => {
                let accepted = accept(account.state, found, now);
                return Judgement {
                    verdict: Verdict::Admitted(Grant::Activated),
                    next: Some(State { activated_at: Some(now), ..accepted }),
                };
            }
            Found::OutOfStep(..) => Refusal::OutOfStep,
            Found::Refused(refusal) => refusal,
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
    let state = account.state;
    // Computed first and always, so that the time it takes tells nothing.
    let accepted = match attempt.answer {
        Answer::Empty => Err((Refusal::NoCode, state)),
        Answer::NotACode => Err((Refusal::NotACode, state)),
        Answer::RefusedBySshd => Err((Refusal::RefusedBySshd, state)),
        Answer::Code(code) => match find(account, code, now, &config.code) {
            Found::Accepted(found) => {
                let accepted = accept(state, found, now);
                Ok((Grant::Code, remember(accepted, &attempt.circumstances, &config.login)))
            }
            Found::OutOfStep(noted) => Err((Refusal::OutOfStep, find::note(state, noted))),
            Found::Refused(refusal) => Err((refusal, find::without_resync(state))),
        },
        Answer::Recovery(code) => match accept_recovery(account, code, now) {
            Ok((next, left)) => Ok((Grant::RecoveryCode { left }, next)),
            Err(refusal) => Err((refusal, state)),
        },
    };
    let locked_until = state.failures.locked_until;
    let (refusal, next) = match (password, accepted) {
        (PasswordCheck::Wrong(fault), _) => (fault.refusal(), state),
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
        | Refusal::ClockWentBack
        | Refusal::NotACode
        | Refusal::NoCode
        | Refusal::LockedOut { .. }
        | Refusal::RefusedBySshd
        | Refusal::Disabled
        | Refusal::NotEnrolled
        | Refusal::DeadlinePassed => state.failures,
    };
    // Written even where nothing changed: a refusal takes as long whichever
    // factor was wrong.
    Judgement { verdict: Verdict::Refused(refusal), next: Some(State { failures, ..next }) }
}

#[cfg(test)]
mod tests;
