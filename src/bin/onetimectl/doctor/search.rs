//! Every way through a stack: whatever its modules return, can libpam say
//! PAM_SUCCESS without a code, and by whose doing? Values in, values out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::roles::{Role, role};
use super::stack::{Action, ModuleResult, StackLine};
use super::walk::Position;

/// No stack that somebody wrote has nearly as many.
const MAX_STATES: usize = 200_000;

/// What a login has shown besides a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Proof {
    Nothing,
    /// A key, a finger.
    Factor,
    /// A password, or what an unknown module may take for one.
    Password,
}

/// What has come of our module's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CodeFate {
    NotAsked,
    /// It said that the code is right, or that none is needed.
    Accepted,
    /// It refused, once at least.
    Refused,
}

/// How a stack can be passed in a way that was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Passage {
    /// It cannot.
    None,
    /// The modules that were asked on a shortest way, with what followed each.
    Way(Vec<Step>),
    /// It has more ways than are looked at.
    Unclear,
}

/// A module that was asked, by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Step {
    pub(super) index: usize,
    pub(super) result: ModuleResult,
    pub(super) action: Action,
}

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) code: CodeFate,
    /// No more than this is shown on the way.
    pub(super) at_most: Proof,
    /// What is taken not to happen.
    pub(super) closed: &'a BTreeSet<(usize, Action)>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    position: Position,
    code: CodeFate,
}

/// A shortest way through the stack that ends in PAM_SUCCESS as is wanted.
pub(super) fn passage(stack: &[&StackLine], wanted: Wanted<'_>) -> Passage {
    let start = State { position: Position::start(), code: CodeFate::NotAsked };
    let mut seen = BTreeMap::<State, Option<(State, Step)>>::from([(start.clone(), None)]);
    let mut waiting = VecDeque::from([start]);
    while let Some(state) = waiting.pop_front() {
        let mut position = state.position.clone();
        let Some((index, entry)) = position.next(stack) else {
            if position.is_admitted() && state.code == wanted.code {
                return Passage::Way(way(&seen, state));
            }
            continue;
        };
        for result in results(entry, wanted.at_most) {
            let actions = match role(entry) {
                // PAM_AUTH_ERR, always.
                Role::Deny | Role::Root => vec![entry.control.after(result)],
                Role::Code
                | Role::Password
                | Role::Factor
                | Role::Permit
                | Role::Silent
                | Role::Count
                | Role::Condition
                | Role::Unknown => entry.control.all_after(result),
            };
            for action in actions {
                if wanted.closed.contains(&(index, action)) {
                    continue;
                }
                let mut after = position.clone();
                after.after(stack, result, action);
                let code = state.code.after(role(entry), result);
                let next = State { position: after, code };
                if seen.len() >= MAX_STATES {
                    return Passage::Unclear;
                }
                if !seen.contains_key(&next) {
                    let step = Step { index, result, action };
                    seen.insert(next.clone(), Some((state.clone(), step)));
                    waiting.push_back(next);
                }
            }
        }
    }
    Passage::None
}

/// The steps that have led to `end`.
fn way(seen: &BTreeMap<State, Option<(State, Step)>>, end: State) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut state = end;
    while let Some(Some((before, step))) = seen.get(&state) {
        steps.push(*step);
        state = before.clone();
    }
    steps.reverse();
    steps
}

impl CodeFate {
    const fn after(self, role: Role, result: ModuleResult) -> Self {
        match (role, self, result) {
            (Role::Code, _, ModuleResult::Failure) => Self::Refused,
            (Role::Code, Self::NotAsked, ModuleResult::Success | ModuleResult::Ignore) => {
                Self::Accepted
            }
            (_, before, _) => before,
        }
    }
}

/// What a module can return to somebody who shows no more than this.
fn results(entry: &StackLine, at_most: Proof) -> Vec<ModuleResult> {
    let role = role(entry);
    let mut results = match role {
        // Those of directories may be told to ignore users whom they do not know.
        Role::Password if entry.name() == "pam_unix" => {
            vec![ModuleResult::Success, ModuleResult::Failure]
        }
        Role::Code | Role::Password | Role::Factor | Role::Condition | Role::Unknown => {
            vec![ModuleResult::Success, ModuleResult::Ignore, ModuleResult::Failure]
        }
        // Those who refuse to go on, such as pam_nologin.so, are among them.
        Role::Silent => vec![ModuleResult::Ignore, ModuleResult::Success, ModuleResult::Failure],
        Role::Count => vec![ModuleResult::Ignore, ModuleResult::Failure],
        Role::Permit => vec![ModuleResult::Success],
        // Root needs no code where root is not asked for a password either.
        Role::Deny | Role::Root => vec![ModuleResult::Failure],
    };
    let needs = match role {
        Role::Password | Role::Unknown => Proof::Password,
        Role::Factor => Proof::Factor,
        Role::Code
        | Role::Permit
        | Role::Deny
        | Role::Silent
        | Role::Count
        | Role::Condition
        | Role::Root => Proof::Nothing,
    };
    if needs > at_most {
        results.retain(|result| *result != ModuleResult::Success);
    }
    results
}

#[cfg(test)]
mod tests {
    use super::super::stack::{ModuleType, Service};
    use super::*;

    /// Whether the stack can be passed, with a code of this fate and this proof at most.
    fn passes(text: &str, code: CodeFate, at_most: Proof) -> bool {
        let files = |name: &str| match name {
            "s" => Some(text.to_owned()),
            "common" => Some(
                "auth [success=1 default=ignore] pam_unix.so\nauth requisite pam_deny.so\n\
                 auth required pam_permit.so\n"
                    .to_owned(),
            ),
            _ => None,
        };
        let service = Service::read("s", &files).unwrap();
        let closed = BTreeSet::new();
        let stack = service.stack(ModuleType::Auth);
        match passage(&stack, Wanted { code, at_most, closed: &closed }) {
            Passage::None => false,
            Passage::Way(_) => true,
            Passage::Unclear => panic!("{text}"),
        }
    }

    #[test]
    fn what_libpam_lets_pass_without_a_code_is_found_whatever_it_hangs_on() {
        use CodeFate::{Accepted, NotAsked, Refused};
        use Proof::{Factor, Nothing, Password};
        let ours = "auth required pam_onetime.so\n";
        for (text, code, at_most, expected) in [
            ("@include common\n", NotAsked, Password, true),
            ("@include common\n", NotAsked, Factor, false),
            ("auth required pam_deny.so\n", NotAsked, Password, false),
            ("auth sufficient pam_rootok.so\n", NotAsked, Password, false),
            ("auth required pam_fprintd.so\n", NotAsked, Factor, true),
            ("auth required pam_permit.so\n", NotAsked, Nothing, true),
            ("auth required pam_homemade.so\n", NotAsked, Password, true),
            // What counts failures refuses nobody by that.
            (
                "auth [success=2 default=ignore] pam_unix.so\nauth required pam_faillock.so authfail\nauth required pam_permit.so\n",
                NotAsked,
                Nothing,
                true,
            ),
            (
                "auth [success=1 default=ignore] pam_unix.so\nauth [default=die] pam_faillock.so authfail\nauth required pam_permit.so\n",
                NotAsked,
                Nothing,
                false,
            ),
            // As Arch and Gentoo have it.
            (
                "auth required pam_unix.so\nauth optional pam_permit.so\nauth required pam_env.so\n",
                NotAsked,
                Nothing,
                false,
            ),
            // A module that only prepares does not let in by being ignored.
            (
                "auth required pam_faildelay.so\nauth required pam_deny.so\n",
                NotAsked,
                Password,
                false,
            ),
            (ours, NotAsked, Password, false),
            (ours, Accepted, Nothing, true),
            (ours, Refused, Password, false),
            (
                "auth [success=ok auth_err=bad default=ignore] pam_onetime.so\nauth required pam_permit.so\n",
                Refused,
                Nothing,
                true,
            ),
            ("auth substack common\nauth required pam_onetime.so\n", NotAsked, Password, false),
            // What ends a substack does not end the stack; what ends an include does.
            ("auth substack end\nauth required pam_onetime.so\n", NotAsked, Password, false),
        ] {
            assert_eq!(passes(text, code, at_most), expected, "{code:?} {at_most:?}\n{text}");
        }
        for module in [
            "pam_succeed_if.so uid >= 1000",
            "pam_exec.so /bin/x",
            "pam_wheel.so trust",
            "pam_localuser.so",
            "pam_rhosts.so",
            "pam_unix.so",
            "pam_homemade.so",
        ] {
            for control in
                ["sufficient", "[success=1 default=ignore]", "[success=done default=bad]"]
            {
                let text = format!("auth {control} {module}\n{ours}auth required pam_permit.so\n");
                assert!(passes(&text, NotAsked, Password), "{text}");
            }
            let text = format!("auth required {module}\n{ours}");
            assert!(!passes(&text, NotAsked, Password), "{text}");
        }
        let text = format!("auth sufficient pam_rootok.so\n{ours}");
        assert!(!passes(&text, NotAsked, Password));
    }

    #[test]
    fn a_stack_with_more_ways_than_are_looked_at_is_not_called_sound() {
        let text = "auth [success=ignore default=reset ignore=1] pam_a.so\n".repeat(1_900);
        let service = Service::read("s", &|_: &str| Some(text.clone())).unwrap();
        let stack = service.stack(ModuleType::Auth);
        let closed = BTreeSet::new();
        let wanted = Wanted { code: CodeFate::Refused, at_most: Proof::Password, closed: &closed };
        // It ends, one way or the other.
        assert!(matches!(passage(&stack, wanted), Passage::None | Passage::Unclear));
    }
}
