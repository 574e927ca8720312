//! What a login shows and asks, decided before anything is shown.

use subtle::ConstantTimeEq;

use super::ahead::is_deadline_unknown;
use super::find::rememberable;
use super::{Exemption, Grant, NotNeeded, PasswordCheck, PasswordProof, Refusal, Verdict, View};
use crate::account::{Account, Phase, Record, Timestamp};
use crate::callers::Asker;
use crate::config::{AtLogin, Config, GroupNames, Missing};

/// How often a pending user may try a code in one login.
pub const PENDING_TRIES: u32 = 3;

/// All that a login's rules depend on besides the account.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// What is known of the password.
    pub password: &'a PasswordCheck,
    /// From where (PAM_RHOST).
    pub rhost: Option<&'a str>,
    /// Where to (PAM_SERVICE).
    pub service: &'a str,
    /// Who asks.
    pub asker: Asker,
    /// What the person can be shown.
    pub view: View,
    /// What is known of each group in the configuration. Of one that is not there,
    /// nothing is known.
    pub groups: &'a [GroupAnswer],
    /// The time of this attempt: codes and deadlines are judged by it.
    pub now: Timestamp,
}

/// Whether the user is a member of a group in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupAnswer {
    /// The group's name as the configuration has it.
    pub group: String,
    /// What the system says.
    pub membership: Membership,
}

/// Whether a user is a member of a group, or of one of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Membership {
    /// A member.
    Member,
    /// Not a member.
    NotMember,
    /// What cannot be found out is not "no".
    Unknown(GroupFault),
}

/// Why it cannot be found out whether a user is a member of a group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupFault {
    /// Nobody knows it: misspelt, or of a directory that is down without saying so.
    #[error("there is no such group")]
    Missing,
    /// The group cannot be looked up.
    #[error("it cannot be looked up: {0}")]
    NotLookedUp(String),
    /// The user's groups cannot be listed.
    #[error("the user's groups cannot be listed: {0}")]
    NotListed(String),
}

impl GroupFault {
    /// What an admin can do about it, as an order.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Missing => "create it, or correct its name in the configuration",
            Self::NotLookedUp(_) | Self::NotListed(_) => {
                "look at the sources of groups in nsswitch.conf(5)"
            }
        }
    }
}

/// What a login has to do next.
#[derive(Debug)]
pub enum Plan<'a> {
    /// There is nothing to find out.
    Fixed(FixedVerdict),
    /// Ask for a code.
    Ask(Question<'a>),
}

/// A verdict that no code can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FixedVerdict {
    /// Nothing to ask.
    Done(Verdict),
    /// Ask as an active user is asked, and ignore the answer: nobody is
    /// to learn that there is nothing to ask (`uniform`).
    Pretend(Verdict),
}

/// How to ask for a code.
#[derive(Debug)]
pub struct Question<'a> {
    /// The secret to show before the prompt; `None` if it may not be shown.
    pub show: Option<Invitation<'a>>,
    /// The prompt for the state of the account.
    pub prompt: Prompt,
    /// How many answers are accepted before the login fails, 1 or more.
    pub tries: u32,
}

/// The prompt for a code, by the state of the account.
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
    /// Permits to show `record`, given the proof that it may be shown.
    #[must_use]
    pub const fn new(record: &'a Record, _proof: &PasswordProof) -> Self {
        Self { record }
    }

    /// The record that may be shown.
    #[must_use]
    pub const fn record(&self) -> &'a Record {
        self.record
    }
}

/// What happens to a user without a record.
#[derive(Debug)]
pub enum WithoutRecord {
    /// No code can be needed.
    Fixed(FixedVerdict),
    /// Issue a record, and [`plan`] with it (`missing = "enrol"`).
    Issue,
}

/// Decides what to show and to ask a user who has a record.
#[must_use]
pub fn plan<'a>(
    account: &'a Account,
    circumstances: &Circumstances<'_>,
    config: &Config,
) -> Plan<'a> {
    let Circumstances { password, now, .. } = circumstances;
    if let Some(why) = code_exemption(account, circumstances, config) {
        return Plan::Fixed(fixed(exempt(password, why), config));
    }
    match account.phase() {
        // Asked whether the password was right or wrong: one verdict for both.
        Phase::Active { .. } => Plan::Ask(Question { show: None, prompt: Prompt::Code, tries: 1 }),
        Phase::Pending => {
            if let PasswordCheck::Wrong(fault) = password {
                return Plan::Fixed(fixed(Verdict::Refused(fault.refusal()), config));
            }
            if let Some(refusal) = too_late(&account.record, *now) {
                return Plan::Fixed(fixed(Verdict::Refused(refusal), config));
            }
            let prompt = match (config.enrollment.at_login, circumstances.asker.may_enroll()) {
                (AtLogin::Optional | AtLogin::Accept, true) => Prompt::SetUp,
                (AtLogin::Required, true) => Prompt::SetUpRequired,
                (AtLogin::Required, false) => {
                    let verdict = Verdict::Refused(Refusal::NotActivated);
                    return Plan::Fixed(fixed(verdict, config));
                }
                (AtLogin::Off, _) | (AtLogin::Optional | AtLogin::Accept, false) => {
                    let verdict = without_code(password, Grant::Skipped, NotNeeded::Skipped);
                    return Plan::Fixed(fixed(verdict, config));
                }
            };
            let proof = may_be_shown(circumstances, config);
            let show = proof.as_ref().map(|proof| Invitation::new(&account.record, proof.proof()));
            Plan::Ask(Question { show, prompt, tries: PENDING_TRIES })
        }
    }
}

/// Decides what happens to a user who has no record.
#[must_use]
pub fn plan_without_record(circumstances: &Circumstances<'_>, config: &Config) -> WithoutRecord {
    let password = circumstances.password;
    let verdict = if let Some(why) = exemption(circumstances, config) {
        exempt(password, why)
    } else {
        match missing(circumstances, config) {
            Without::NoCode => without_code(password, Grant::PasswordAlone, NotNeeded::NotEnabled),
            Without::NewRecord if may_be_shown(circumstances, config).is_some() => {
                return WithoutRecord::Issue;
            }
            Without::NewRecord => refused_unless_wrong(password, Refusal::NotEnrolled),
            Without::Refusal(refusal) => refused_unless_wrong(password, refusal),
        }
    };
    WithoutRecord::Fixed(fixed(verdict, config))
}

/// The verdict, worded as the configuration wants it.
const fn fixed(verdict: Verdict, config: &Config) -> FixedVerdict {
    if config.login.uniform { FixedVerdict::Pretend(verdict) } else { FixedVerdict::Done(verdict) }
}

/// Evidence from the login, or in its place from the configuration.
enum Evidence<'a> {
    Proven(&'a PasswordProof),
    Configured(PasswordProof),
}

impl Evidence<'_> {
    const fn proof(&self) -> &PasswordProof {
        match self {
            Self::Proven(proof) => proof,
            Self::Configured(proof) => proof,
        }
    }
}

/// Whether whoever is at the other end may see a secret, and can.
fn may_be_shown<'a>(circumstances: &Circumstances<'a>, config: &Config) -> Option<Evidence<'a>> {
    if !circumstances.view.has_secrets() || config.enrollment.at_login == AtLogin::Accept {
        return None;
    }
    match circumstances.password {
        PasswordCheck::Right(proof) => Some(Evidence::Proven(proof)),
        PasswordCheck::Without if config.enrollment.show_without_password => {
            Some(Evidence::Configured(PasswordProof::by_configuration()))
        }
        PasswordCheck::Wrong(_) | PasswordCheck::InStack | PasswordCheck::Without => None,
    }
}

/// The verdict where the configuration asks for no code.
const fn exempt(password: &PasswordCheck, why: Exemption) -> Verdict {
    without_code(password, Grant::Exempt(why), NotNeeded::Exempt(why))
}

/// The verdict where no code is needed.
pub(super) const fn without_code(
    password: &PasswordCheck,
    grant: Grant,
    not_needed: NotNeeded,
) -> Verdict {
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

/// What happens to this user without a record.
enum Without {
    NoCode,
    NewRecord,
    Refusal(Refusal),
}

fn missing(circumstances: &Circumstances<'_>, config: &Config) -> Without {
    match config.login.missing {
        Missing::Enrol => Without::NewRecord,
        Missing::Deny => Without::Refusal(Refusal::NotEnrolled),
        Missing::Ignore => match membership(circumstances, &config.login.require_groups) {
            Membership::NotMember => Without::NoCode,
            Membership::Member => Without::Refusal(Refusal::NotEnrolled),
            Membership::Unknown(_) => Without::Refusal(Refusal::GroupUnknown),
        },
    }
}

/// Why this login needs no code although others do, whoever has a record.
fn exemption(circumstances: &Circumstances<'_>, config: &Config) -> Option<Exemption> {
    match membership(circumstances, &config.login.exempt_groups) {
        Membership::Member => return Some(Exemption::Group),
        Membership::NotMember | Membership::Unknown(_) => {}
    }
    let exempt =
        circumstances.rhost.is_some_and(|rhost| config.login.exempt_networks.hold_host(rhost));
    exempt.then_some(Exemption::Network)
}

/// Why this login of a user who has a record needs no code.
pub(super) fn code_exemption(
    account: &Account,
    circumstances: &Circumstances<'_>,
    config: &Config,
) -> Option<Exemption> {
    exemption(circumstances, config).or_else(|| remembered(account, circumstances, config))
}

/// Whether an active user has logged in from this host not long ago (`remember`).
fn remembered(
    account: &Account,
    circumstances: &Circumstances<'_>,
    config: &Config,
) -> Option<Exemption> {
    let Phase::Active { .. } = account.phase() else { return None };
    let (state, now) = (&account.state, circumstances.now);
    let (key, seconds) = rememberable(state.generation, circumstances, &config.login)?;
    // No longer than the configuration says now, whatever it said then.
    let latest = now.plus(seconds);
    let valid = |until: Timestamp| now < until && until <= latest;
    let known =
        state.hosts.iter().any(|host| bool::from(host.key.ct_eq(&key)) && valid(host.until));
    known.then_some(Exemption::RememberedHost)
}

/// Whether the user is a member of one of the groups.
fn membership(circumstances: &Circumstances<'_>, groups: &GroupNames) -> Membership {
    let answer = |name: &String| {
        let answer = circumstances.groups.iter().find(|answer| answer.group == *name);
        answer.map_or(Membership::Unknown(GroupFault::Missing), |it| it.membership.clone())
    };
    groups.0.iter().map(answer).fold(Membership::NotMember, |all, one| match (all, one) {
        (Membership::Member, _) | (_, Membership::Member) => Membership::Member,
        (unknown @ Membership::Unknown(_), _) | (_, unknown) => unknown,
    })
}

/// Why it is too late to activate `record`.
pub(super) fn too_late(record: &Record, now: Timestamp) -> Option<Refusal> {
    if record.deadline.is_some_and(|deadline| deadline <= now) {
        return Some(Refusal::DeadlinePassed);
    }
    is_deadline_unknown(record, now).then_some(Refusal::DeadlineUnknown)
}
