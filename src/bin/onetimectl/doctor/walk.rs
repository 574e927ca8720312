//! What comes of a stack for given results of its modules, as libpam goes
//! through it, one module after the other. Values in, values out.

use super::stack::{Action, ModuleResult, StackLine};

/// What came of a stack.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Walk {
    /// The modules that were asked, by their index.
    pub(crate) asked: Vec<usize>,
    /// Whether libpam says PAM_SUCCESS.
    pub(crate) admitted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Impression {
    None,
    Good,
    /// A success that was none: `[default=ok]`.
    Odd,
    Bad,
}

/// How far libpam has come in a stack (`_pam_dispatch_aux`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    at: usize,
    impression: Impression,
    /// The impression before each substack that was begun, with its level.
    at_substack: Vec<(u32, Impression)>,
}

impl Position {
    /// Before the first line.
    pub(crate) const fn start() -> Self {
        Self { at: 0, impression: Impression::None, at_substack: Vec::new() }
    }

    /// The module that is asked next; none at the end.
    pub(crate) fn next<'a>(&mut self, stack: &[&'a StackLine]) -> Option<(usize, &'a StackLine)> {
        loop {
            let entry = stack.get(self.at)?;
            if !entry.begins_substack {
                return Some((self.at, entry));
            }
            self.at_substack.retain(|(level, _)| *level < entry.level);
            self.at_substack.push((entry.level, self.impression));
            self.at = self.at.saturating_add(1);
        }
    }

    /// Goes on after a result of the module here, for which its line says `action`.
    pub(crate) fn after(&mut self, stack: &[&StackLine], result: ModuleResult, action: Action) {
        let here = self.at;
        let Some(entry) = stack.get(here) else { return };
        self.at = here.saturating_add(1);
        match action {
            Action::Ignore => {}
            Action::Ok | Action::Done => {
                self.impression = self.impression.after_ok(result);
                if action == Action::Done && self.impression.is_positive() {
                    self.at = end_of(stack, here);
                }
            }
            Action::Bad => self.impression = Impression::Bad,
            Action::Die => {
                self.impression = Impression::Bad;
                self.at = end_of(stack, here);
            }
            Action::Reset => {
                let saved = self.at_substack.iter().rev().find(|(level, _)| *level < entry.level);
                self.impression = saved.map_or(Impression::None, |(_, impression)| *impression);
            }
            Action::Jump(modules) => match jump(stack, here, modules) {
                Some(target) => self.at = target,
                None => {
                    self.impression = Impression::Bad;
                    self.at = end_of(stack, here);
                }
            },
        }
    }

    /// Whether libpam says PAM_SUCCESS, if the stack ends here.
    pub(crate) const fn is_admitted(&self) -> bool {
        matches!(self.impression, Impression::Good)
    }
}

/// Goes through a stack; `result` says what each module returns.
pub(crate) fn walk(
    stack: &[&StackLine],
    result: impl Fn(usize, &StackLine) -> ModuleResult,
) -> Walk {
    let mut asked = Vec::new();
    let mut position = Position::start();
    while let Some((here, entry)) = position.next(stack) {
        asked.push(here);
        let result = result(here, entry);
        position.after(stack, result, entry.control.after(result));
    }
    Walk { asked, admitted: position.is_admitted() }
}

impl Impression {
    /// After a result that the control takes for success.
    const fn after_ok(self, result: ModuleResult) -> Self {
        match (self, result) {
            (Self::None | Self::Good, ModuleResult::Success) => Self::Good,
            (Self::None | Self::Good, ModuleResult::Failure) => Self::Odd,
            (Self::None | Self::Good, ModuleResult::Ignore) | (Self::Odd | Self::Bad, _) => self,
        }
    }

    const fn is_positive(self) -> bool {
        matches!(self, Self::Good | Self::Odd)
    }
}

/// After the substack, or the whole stack, that `at` is in.
fn end_of(stack: &[&StackLine], at: usize) -> usize {
    let level = stack.get(at).map_or(0, |entry| entry.level);
    let rest = stack.iter().enumerate().skip(at);
    let end = rest.into_iter().find(|(_, entry)| level > 0 && entry.level < level);
    end.map_or(stack.len(), |(index, _)| index)
}

/// Over so many modules, a substack being one; `None` if there are not as many.
fn jump(stack: &[&StackLine], from: usize, modules: u32) -> Option<usize> {
    let level = stack.get(from)?.level;
    let mut at = from.saturating_add(1);
    for _ in 0..modules {
        if stack.get(at)?.level < level {
            return None;
        }
        at = at.saturating_add(1);
        while stack.get(at).is_some_and(|entry| entry.level > level) {
            at = at.saturating_add(1);
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::super::stack::{ModuleType, Service};
    use super::*;
    use proptest::prelude::*;

    fn files<'a>(all: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        move |name| all.iter().find(|(n, _)| *n == name).map(|(_, text)| (*text).to_owned())
    }

    #[test]
    fn stacks_are_gone_through_as_libpam_goes_through_them() {
        // Modules named pam_y answer success, pam_n failure, pam_i ignore.
        for (text, asked, admitted) in [
            ("auth required pam_y.so", "y", true),
            ("auth required pam_n.so\nauth required pam_y.so", "ny", false),
            ("auth requisite pam_n.so\nauth required pam_y.so", "n", false),
            ("auth sufficient pam_y.so\nauth required pam_n.so", "y", true),
            (
                "auth required pam_n.so\nauth sufficient pam_y.so\nauth required pam_y.so",
                "nyy",
                false,
            ),
            ("auth sufficient pam_n.so", "n", false),
            ("auth optional pam_n.so\nauth optional pam_i.so", "ni", false),
            ("auth required pam_i.so\nauth required pam_y.so", "iy", true),
            (
                "auth [success=1 default=ignore] pam_y.so\nauth requisite pam_n.so\nauth required pam_y.so",
                "yy",
                true,
            ),
            // A jump alone does not admit.
            ("auth [success=1 default=ignore] pam_y.so\nauth requisite pam_n.so", "y", false),
            ("auth [success=5 default=ignore] pam_y.so\nauth required pam_y.so", "y", false),
            ("auth [default=ok] pam_n.so\nauth required pam_y.so", "ny", false),
            ("auth substack done\nauth required pam_n.so", "yn", false),
            ("auth include done\nauth required pam_n.so", "y", true),
            (
                "auth [success=1 default=ignore] pam_y.so\nauth substack two\nauth required pam_y.so",
                "yy",
                true,
            ),
            ("nonsense\nauth required pam_y.so", " y", false),
        ] {
            let done = "auth sufficient pam_y.so\nauth required pam_n.so\n";
            let two = "auth required pam_n.so\nauth required pam_n.so\n";
            let all = [("s", text), ("done", done), ("two", two)];
            let service = Service::read("s", &files(&all)).unwrap();
            let stack = service.stack(ModuleType::Auth);
            let walk = walk(&stack, |_, entry| match entry.name() {
                "pam_y" => ModuleResult::Success,
                "pam_i" => ModuleResult::Ignore,
                _ => ModuleResult::Failure,
            });
            let names: String = walk
                .asked
                .iter()
                .map(|at| stack[*at].name().chars().nth(4).unwrap_or(' '))
                .collect();
            assert_eq!((names.as_str(), walk.admitted), (asked, admitted), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_stack_is_too_strange(words in proptest::collection::vec(proptest::sample::select(vec![
            "auth", "-auth", "required", "sufficient", "include", "substack", "@include", "s", "t",
            "[success=2 default=ignore]", "[default=reset]", "[", "]", "\\", "\\\n", "\n", "\n", "\n",
            "#", "pam_x.so", "pam_y.so", "[a b", "é", "\0", "=",
        ]), 0..60)) {
            let text = words.join(" ");
            let all = [("s", text.as_str()), ("t", "auth sufficient pam_x.so\nauth substack s\n")];
            let service = Service::read("s", &files(&all)).unwrap();
            let stack = service.stack(ModuleType::Auth);
            for answer in [ModuleResult::Success, ModuleResult::Ignore, ModuleResult::Failure] {
                let walk = walk(&stack, |_, _| answer);
                prop_assert!(walk.asked.is_sorted());
            }
        }
    }
}
