//! The rules for a stack that lists the module: one function each, by what comes
//! of logins that are tried on it. Values in, notes out.

use std::collections::BTreeSet;

use pam_onetime::PasswordMode;
use pam_onetime::config::Missing;

use super::finding::FindingId;
use super::roles::{Role, Trial, role};
use super::search::{CodeFate, Passage, Proof, Step, Wanted, passage};
use super::stack::{Action, ModuleResult, StackLine};
use super::walk::Walk;

/// How the module's line takes the password, and users without a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mode {
    pub(super) password: PasswordMode,
    pub(super) missing: Missing,
}

/// What a rule says of one service; several services may share it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Note {
    pub(super) id: FindingId,
    pub(super) what: String,
    pub(super) remedy: &'static str,
}

impl Note {
    pub(super) fn new(id: FindingId, what: impl Into<String>, remedy: &'static str) -> Self {
        Self { id, what: what.into(), remedy }
    }
}

/// Says nothing if all is well.
type Rule = for<'a, 'c> fn(&'c Case<'a>) -> Vec<Note>;

const RULES: [Rule; 10] = [
    code_is_not_skipped,
    code_is_reached,
    code_is_asked_once,
    wrong_code_is_final,
    what_follows_is_not_skipped,
    users_without_record_are_decided_on,
    password_is_checked_before,
    strangers_are_kept_away,
    password_is_asked_once,
    code_is_not_alone,
];

/// Goes through all rules.
pub(super) fn judge(service: &str, stack: &[&StackLine], mode: Mode) -> Vec<Note> {
    let case = Case::new(service, stack, mode);
    RULES.iter().flat_map(|rule| rule(&case)).collect()
}

/// A stack that lists the module, and what came of the logins tried on it: in the
/// first of each nobody's password is right, then that of one module after the other.
struct Case<'a> {
    service: &'a str,
    stack: &'a [&'a StackLine],
    mode: Mode,
    /// With a right code.
    right: Vec<Walk>,
    /// Without a record.
    none: Vec<Walk>,
    /// The index of the module's first line.
    first: usize,
}

impl<'a> Case<'a> {
    fn new(service: &'a str, stack: &'a [&'a StackLine], mode: Mode) -> Self {
        let deciders = stack.iter().enumerate();
        let deciders = deciders.filter(|(_, e)| matches!(role(e), Role::Password | Role::Factor));
        let satisfied: Vec<_> =
            [None].into_iter().chain(deciders.map(|(index, _)| Some(index))).collect();
        let walks = |code| -> Vec<_> {
            satisfied
                .iter()
                .map(|satisfied| Trial { satisfied: *satisfied, code }.run(stack))
                .collect()
        };
        let first = stack.iter().position(|e| role(e) == Role::Code).unwrap_or(stack.len());
        let (right, none) = (walks(ModuleResult::Success), walks(ModuleResult::Ignore));
        Self { service, stack, mode, right, none, first }
    }

    /// The module's lines, each with its index.
    fn codes(&self) -> impl Iterator<Item = (usize, &'a StackLine)> {
        let entries = self.stack.iter().copied().enumerate();
        entries.filter(|(_, entry)| role(entry) == Role::Code)
    }

    /// The last step of a way after which a line of the module was not come to, and
    /// that step's own line.
    fn last_skip(&self, way: &[Step]) -> Option<(Step, &'a StackLine)> {
        let next = way.iter().skip(1).map(|step| step.index).chain([self.stack.len()]);
        let skips = |(step, next): &(&Step, usize)| {
            self.codes().any(|(index, _)| index > step.index && index < *next)
        };
        let (step, _) = way.iter().zip(next).filter(skips).last()?;
        Some((*step, self.stack.get(step.index)?))
    }

    /// How often a code was asked.
    fn asked(&self, walk: &Walk) -> usize {
        self.codes().filter(|(index, _)| walk.asked.contains(index)).count()
    }

    /// The modules that check passwords before the first code.
    fn passwords_before(&self) -> impl Iterator<Item = &'a StackLine> {
        let before = self.stack.iter().copied().take(self.first);
        before.filter(|entry| role(entry) == Role::Password)
    }
}

/// Whatever the modules return, nobody but root is let in past the module.
fn code_is_not_skipped(case: &Case<'_>) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut closed = BTreeSet::new();
    // Who needs to show least comes first: that is the worst of each line.
    for at_most in [Proof::Nothing, Proof::Factor, Proof::Password] {
        loop {
            let wanted = Wanted { code: CodeFate::NotAsked, at_most, closed: &closed };
            let way = match passage(case.stack, wanted) {
                Passage::None => break,
                Passage::Way(way) => way,
                Passage::Unclear => {
                    notes.push(skipped("the stack has too many ways to follow them all"));
                    return notes;
                }
            };
            let Some((step, line)) = case.last_skip(&way) else {
                notes.push(skipped("a login succeeds without reaching pam_onetime.so"));
                return notes;
            };
            closed.insert((step.index, step.action));
            notes.push(note_on_skip(line, at_most));
        }
    }
    notes
}

fn skipped(what: &str) -> Note {
    Note::new(FindingId::PamCodeSkipped, what, "move pam_onetime.so up")
}

/// About the line by which a login that has shown so much gets past the module.
fn note_on_skip(line: &StackLine, shown: Proof) -> Note {
    let by = format!("{} {} skips it", line.place, line.module);
    let what = format!("no code is asked: {by}");
    match (role(line), shown) {
        (Role::Factor, _) => Note::new(
            FindingId::PamFactorInstead,
            what,
            "if that is not meant, list pam_onetime.so before it",
        ),
        (
            Role::Condition | Role::Silent | Role::Count | Role::Deny | Role::Root,
            Proof::Nothing,
        ) => Note::new(
            FindingId::PamCodeSkipped,
            format!("no password and no code is asked: {by}"),
            "list pam_onetime.so before it; whom it exempts from codes belongs into \
             onetime.toml(5): exempt_groups, exempt_networks",
        ),
        (Role::Condition | Role::Silent | Role::Count | Role::Deny | Role::Root, _) => Note::new(
            FindingId::PamConditionInstead,
            what,
            "if that is not meant, take the line out; exempt_groups and exempt_networks of \
             onetime.toml(5) exempt from codes, and log it",
        ),
        (Role::Code | Role::Password | Role::Permit | Role::Unknown, _) => Note::new(
            FindingId::PamCodeSkipped,
            what,
            "put pam_onetime.so in its place, or make it requisite and add password=stack",
        ),
    }
}

fn code_is_reached(case: &Case<'_>) -> Vec<Note> {
    if case.right.iter().any(|walk| walk.admitted || case.asked(walk) > 0) {
        return Vec::new();
    }
    let what = "it is never reached: what is before it refuses everybody";
    vec![Note::new(FindingId::PamNeverReached, what, "move pam_onetime.so up")]
}

fn code_is_asked_once(case: &Case<'_>) -> Vec<Note> {
    if case.right.iter().all(|walk| case.asked(walk) <= 1) {
        return Vec::new();
    }
    let what = "it is listed twice, and a code serves once: the second is refused";
    vec![Note::new(FindingId::PamListedTwice, what, "take one of the lines out")]
}

/// A refusal must be one, whatever its reason.
fn wrong_code_is_final(case: &Case<'_>) -> Vec<Note> {
    let closed = BTreeSet::new();
    let wanted = Wanted { code: CodeFate::Refused, at_most: Proof::Password, closed: &closed };
    if passage(case.stack, wanted) == Passage::None {
        return Vec::new();
    }
    case.codes()
        .map(|(_, entry)| {
            let what = format!("{} a wrong code is overruled by what follows", entry.place);
            let remedy = "make the line: auth required pam_onetime.so";
            Note::new(FindingId::PamCodeOverruled, what, remedy)
        })
        .collect()
}

/// Others may have a reason to refuse, too.
fn what_follows_is_not_skipped(case: &Case<'_>) -> Vec<Note> {
    let skips = |index: usize, entry: &StackLine| match entry.control.success {
        Action::Done => true,
        // Over pam_deny.so alone, as pam-auth-update(8) writes it.
        Action::Jump(modules) => {
            let modules = usize::try_from(modules).unwrap_or(usize::MAX);
            let over = case.stack.iter().skip(index.saturating_add(1)).take(modules);
            over.into_iter().any(|entry| !matches!(role(entry), Role::Deny | Role::Count))
        }
        Action::Ignore | Action::Ok | Action::Bad | Action::Die | Action::Reset => false,
    };
    case.codes()
        .filter(|(index, entry)| skips(*index, entry))
        .map(|(_, entry)| {
            let what = format!(
                "{} it is sufficient: what follows is skipped after a right code",
                entry.place
            );
            let remedy = "make the line: auth required pam_onetime.so";
            Note::new(FindingId::PamSufficient, what, remedy)
        })
        .collect()
}

fn users_without_record_are_decided_on(case: &Case<'_>) -> Vec<Note> {
    let refused = case.right.iter().zip(&case.none);
    let refused = refused.into_iter().any(|(right, none)| right.admitted && !none.admitted);
    let meant = case.mode.missing != Missing::Ignore;
    if case.mode.password == PasswordMode::Verify || !refused || meant {
        return Vec::new();
    }
    vec![Note::new(
        FindingId::PamOthersRefused,
        "users without a record are refused: nothing decides for them",
        "add after it, once the password or key was checked: auth required pam_permit.so",
    )]
}

/// With password=stack, somebody before must check the password.
fn password_is_checked_before(case: &Case<'_>) -> Vec<Note> {
    if case.mode.password != PasswordMode::Stack || case.passwords_before().next().is_some() {
        return Vec::new();
    }
    vec![Note::new(
        FindingId::PamPasswordUnchecked,
        "password=stack, but no module before it is known to check one",
        "list before it: auth requisite pam_unix.so (or leave password=stack out)",
    )]
}

/// With password=stack, a wrong password must end the login before a code is asked.
fn strangers_are_kept_away(case: &Case<'_>) -> Vec<Note> {
    if case.mode.password != PasswordMode::Stack || case.passwords_before().next().is_none() {
        return Vec::new();
    }
    let Some(stranger) = case.right.first().filter(|walk| walk.asked.contains(&case.first)) else {
        return Vec::new();
    };
    let remedy = "make the password's module requisite";
    if stranger.admitted {
        let what = "password=stack, and a wrong password is overruled";
        return vec![Note::new(FindingId::PamPasswordOverruled, what, remedy)];
    }
    let names: Vec<_> =
        case.passwords_before().map(|entry| format!("{} {}", entry.place, entry.module)).collect();
    let what = format!(
        "a code is asked also after a wrong password ({}): strangers can lock accounts",
        names.join(", ")
    );
    vec![Note::new(FindingId::PamStrangersLock, what, remedy)]
}

/// With password=verify, nobody after it should ask for the password again.
fn password_is_asked_once(case: &Case<'_>) -> Vec<Note> {
    if case.mode.password != PasswordMode::Verify {
        return Vec::new();
    }
    let later = |index: usize| {
        let entry = case.stack.get(index).filter(|entry| role(entry) == Role::Password)?;
        let quiet =
            ["use_first_pass", "try_first_pass"].iter().any(|word| entry.has_argument(word));
        (index > case.first && !quiet).then_some(entry)
    };
    let asked = case.right.iter().flat_map(|walk| walk.asked.iter());
    asked
        .filter_map(|index| later(*index))
        .map(|entry| {
            Note::new(
                FindingId::PamPasswordTwice,
                format!(
                    "{} {} checks the password again, and may ask again",
                    entry.place, entry.module
                ),
                "take it out: pam_onetime.so has verified the password (or add use_first_pass)",
            )
        })
        .collect()
}

/// Without a password, sshd's AuthenticationMethods must ask for a key; others cannot.
fn code_is_not_alone(case: &Case<'_>) -> Vec<Note> {
    if case.mode.password != PasswordMode::None || case.service.starts_with("sshd") {
        return Vec::new();
    }
    vec![Note::new(
        FindingId::PamCodeAlone,
        "password=none, and nothing but a code is asked",
        "password=none is for sshd with AuthenticationMethods; elsewhere leave it out",
    )]
}
