//! A PAM service as libpam reads it: pam.d(5) with includes resolved. Text in,
//! values out. What comes of it is the business of `walk`.

use std::collections::BTreeSet;

use pam_onetime::service_lines::{LineWord, lines, words};

use super::known_services::is_of_daemon;

/// Reads the text of a file in pam.d, by its name there or its absolute path.
pub(crate) type ReadFile<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// As deep as libpam follows includes.
const MAX_DEPTH: u32 = 16;
/// More lines than any service has; files that include themselves reach it.
const MAX_ENTRIES: usize = 2000;

/// The type of a line: what its module is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ModuleType {
    Auth,
    Account,
    Session,
    Password,
}

impl ModuleType {
    const ALL: [(&'static str, Self); 4] = [
        ("auth", Self::Auth),
        ("account", Self::Account),
        ("session", Self::Session),
        ("password", Self::Password),
    ];

    fn read(word: &str) -> Option<Self> {
        let word = word.strip_prefix('-').unwrap_or(word);
        Self::ALL.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, k)| k)
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Account => "account",
            Self::Session => "session",
            Self::Password => "password",
        }
    }
}

/// What libpam does after a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Action {
    Ignore,
    Ok,
    Done,
    Bad,
    Die,
    Reset,
    /// Over so many modules.
    Jump(u32),
}

/// What a module returns, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ModuleResult {
    Success,
    /// PAM_IGNORE
    Ignore,
    /// PAM_AUTH_ERR, or another that is neither of the two.
    Failure,
}

/// What a module can return, by its number in libpam, as pam.d(5) spells it.
const RETURN_VALUES: [&str; 32] = [
    "success",
    "open_err",
    "symbol_err",
    "service_err",
    "system_err",
    "buf_err",
    "perm_denied",
    "auth_err",
    "cred_insufficient",
    "authinfo_unavail",
    "user_unknown",
    "maxtries",
    "new_authtok_reqd",
    "acct_expired",
    "session_err",
    "cred_unavail",
    "cred_expired",
    "cred_err",
    "no_module_data",
    "conv_err",
    "authtok_err",
    "authtok_recover_err",
    "authtok_lock_busy",
    "authtok_disable_aging",
    "try_again",
    "ignore",
    "abort",
    "authtok_expired",
    "module_unknown",
    "bad_item",
    "conv_again",
    "incomplete",
];

/// What follows each result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Control {
    pub(crate) success: Action,
    ignore: Action,
    /// After PAM_AUTH_ERR.
    failure: Action,
    /// After any of the results that are neither success nor ignore: each once.
    failures: Vec<Action>,
}

impl Control {
    fn broken() -> Self {
        Self {
            success: Action::Bad,
            ignore: Action::Bad,
            failure: Action::Bad,
            failures: vec![Action::Bad],
        }
    }

    fn of(success: Action, failure: Action) -> Self {
        // Of the named controls, what a password that must be changed means is success
        // too; that is no success of the stack.
        let failures = if success == failure { vec![failure] } else { vec![failure, success] };
        Self { success, ignore: Action::Ignore, failure, failures }
    }

    fn read(word: &LineWord) -> Option<Self> {
        if word.bracketed {
            return Some(Self::read_bracketed(&word.text).unwrap_or_else(Self::broken));
        }
        Some(match word.text.to_ascii_lowercase().as_str() {
            "required" => Self::of(Action::Ok, Action::Bad),
            "requisite" => Self::of(Action::Ok, Action::Die),
            "sufficient" => Self::of(Action::Done, Action::Ignore),
            "optional" => Self::of(Action::Ok, Action::Ignore),
            _ => return None,
        })
    }

    /// As libpam reads it: what is not mentioned is bad, and a mistake makes all bad.
    fn read_bracketed(text: &str) -> Option<Self> {
        let mut actions = [None; RETURN_VALUES.len()];
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let named =
                RETURN_VALUES.iter().chain(&["default"]).position(|v| rest.starts_with(v))?;
            let length = RETURN_VALUES.get(named).map_or("default".len(), |value| value.len());
            rest = rest.get(length..)?.trim_start().strip_prefix('=')?.trim_start();
            let (action, after) = Action::read(rest)?;
            rest = after.trim_start();
            match actions.get_mut(named) {
                Some(place) => *place = Some(action),
                // Of what was not mentioned until here.
                None => actions.iter_mut().for_each(|place| *place = place.or(Some(action))),
            }
        }
        let of = |value: &str| {
            let number = RETURN_VALUES.iter().position(|there| *there == value);
            let action = number.and_then(|number| actions.get(number).copied().flatten());
            action.unwrap_or(Action::Bad)
        };
        let failures = RETURN_VALUES.into_iter().filter(|v| !["success", "ignore"].contains(v));
        let failures: BTreeSet<_> = failures.map(of).collect();
        Some(Self {
            success: of("success"),
            ignore: of("ignore"),
            failure: of("auth_err"),
            failures: failures.into_iter().collect(),
        })
    }

    pub(crate) const fn after(&self, result: ModuleResult) -> Action {
        match result {
            ModuleResult::Success => self.success,
            ModuleResult::Ignore => self.ignore,
            ModuleResult::Failure => self.failure,
        }
    }

    /// All that may follow this result.
    pub(crate) fn all_after(&self, result: ModuleResult) -> Vec<Action> {
        match result {
            ModuleResult::Success => vec![self.success],
            ModuleResult::Ignore => vec![self.ignore],
            ModuleResult::Failure => self.failures.clone(),
        }
    }
}

impl Action {
    /// The action at the beginning of a text, and what is after it.
    fn read(text: &str) -> Option<(Self, &str)> {
        let words = [
            ("ignore", Self::Ignore),
            ("ok", Self::Ok),
            ("done", Self::Done),
            ("bad", Self::Bad),
            ("die", Self::Die),
            ("reset", Self::Reset),
        ];
        if let Some(found) =
            words.iter().find_map(|(word, action)| Some((*action, text.strip_prefix(word)?)))
        {
            return Some(found);
        }
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, rest) = text.split_at_checked(end)?;
        // There is no jump over nothing.
        let modules = number.parse().ok().filter(|modules| *modules > 0)?;
        Some((Self::Jump(modules), rest))
    }
}

/// The file and number of a line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Location {
    pub(crate) file: String,
    pub(crate) line: usize,
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A module's turn in a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StackLine {
    pub(crate) kind: ModuleType,
    pub(crate) control: Control,
    /// As written, or empty: the line is broken, or begins a substack.
    pub(crate) module: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) place: Location,
    /// Whether libpam passes over it where its module is not there (`-auth`).
    pub(crate) may_be_missing: bool,
    /// How many substacks it is in.
    pub(crate) level: u32,
    pub(crate) begins_substack: bool,
    /// Whether it is known to be about nobody, and so to fail: a group without members.
    pub(crate) is_idle: bool,
    /// Whether root's daemon runs it, whoever logs in.
    pub(crate) is_run_by_root: bool,
}

impl StackLine {
    /// `pam_unix` for `/lib/security/pam_unix.so`.
    pub(crate) fn name(&self) -> &str {
        let name = self.module.rsplit('/').next().unwrap_or_default();
        name.strip_suffix(".so").unwrap_or(name)
    }

    pub(crate) fn has_argument(&self, wanted: &str) -> bool {
        self.arguments.iter().any(|argument| argument == wanted)
    }

    /// The groups of which somebody has to be a member of one (`pam_succeed_if.so user
    /// ingroup a:b`), each condition's; empty if it has none.
    pub(crate) fn groups(&self) -> Vec<Vec<&str>> {
        if self.name() != "pam_succeed_if" {
            return Vec::new();
        }
        let words = self.arguments.iter().map(String::as_str).collect::<Vec<_>>();
        let conditions = words.windows(3).filter_map(|words| match words {
            ["user", "ingroup", groups] => Some(groups.split(':').collect()),
            _ => None,
        });
        conditions.collect()
    }

    pub(crate) const fn is_broken(&self) -> bool {
        self.module.is_empty() && !self.begins_substack
    }
}

/// A service with its includes in place.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) entries: Vec<StackLine>,
    /// Where libpam would stumble, and over what.
    pub(crate) problems: Vec<(Location, String)>,
    /// The files that it includes.
    pub(crate) includes: BTreeSet<String>,
}

impl Service {
    /// Reads the service `name`; `None` if it has no file.
    pub(crate) fn read(name: &str, files: &ReadFile<'_>) -> Option<Self> {
        let text = files(name)?;
        let mut service = Self::default();
        service.add(
            &ServiceFile { name, text: &text, only: None, is_optional: false, level: 0, depth: 0 },
            files,
        );
        if is_of_daemon(name) {
            service.entries.iter_mut().for_each(|entry| entry.is_run_by_root = true);
        }
        Some(service)
    }

    /// Its entries of one kind, in the order in which libpam comes to them.
    pub(crate) fn stack(&self, kind: ModuleType) -> Vec<&StackLine> {
        self.entries.iter().filter(|entry| entry.kind == kind).collect()
    }

    fn add(&mut self, source: &ServiceFile<'_>, files: &ReadFile<'_>) {
        if source.text.contains("\r\n") {
            let place = Location { file: source.name.to_owned(), line: 1 };
            let what = "ends its lines with CR and LF, and libpam takes the CR for a letter";
            self.problems.push((place, what.to_owned()));
        }
        for (line, text) in lines(source.text) {
            let place = Location { file: source.name.to_owned(), line };
            if self.entries.len() >= MAX_ENTRIES {
                self.problems.push((place, "too many lines: does it include itself?".to_owned()));
                return;
            }
            let words = words(&text);
            let Some((first, rest)) = words.split_first() else { continue };
            if first.text.eq_ignore_ascii_case("@include") {
                match rest.first() {
                    Some(file) => self.include(&file.text, place, source, files),
                    None => self.broken(ModuleType::Auth, place, source.level, "names no file"),
                }
                continue;
            }
            let Some(kind) = ModuleType::read(&first.text) else {
                let what = "begins with none of auth, account, session, password";
                self.broken(ModuleType::Auth, place, source.level, what);
                continue;
            };
            if source.only.is_none_or(|only| only == kind) {
                let is_optional = first.text.starts_with('-');
                self.add_line(kind, rest, place, &ServiceFile { is_optional, ..*source }, files);
            }
        }
    }

    /// A line that begins with a type.
    fn add_line(
        &mut self,
        kind: ModuleType,
        words: &[LineWord],
        place: Location,
        source: &ServiceFile<'_>,
        files: &ReadFile<'_>,
    ) {
        let [control, module, arguments @ ..] = words else {
            self.broken(kind, place, source.level, "names no module");
            return;
        };
        let word = control.text.to_ascii_lowercase();
        if !control.bracketed && (word == "include" || word == "substack") {
            let mut level = source.level;
            if word == "substack" {
                self.entries.push(StackLine {
                    begins_substack: true,
                    ..entry(kind, Control::broken(), "", place.clone(), level)
                });
                level = level.saturating_add(1);
            }
            let including = ServiceFile { only: Some(kind), level, ..*source };
            self.include(&module.text, place, &including, files);
            return;
        }
        match Control::read(control) {
            Some(control) => self.entries.push(StackLine {
                may_be_missing: source.is_optional,
                arguments: arguments.iter().map(|word| word.text.clone()).collect(),
                ..entry(kind, control, &module.text, place, source.level)
            }),
            None => self.broken(kind, place, source.level, "has an unknown control word"),
        }
    }

    fn include(
        &mut self,
        name: &str,
        place: Location,
        from: &ServiceFile<'_>,
        files: &ReadFile<'_>,
    ) {
        let kind = from.only.unwrap_or(ModuleType::Auth);
        self.includes.insert(name.to_owned());
        if from.depth >= MAX_DEPTH {
            return self.broken(
                kind,
                place,
                from.level,
                "includes are nested too deeply: does it include itself?",
            );
        }
        match files(name) {
            Some(text) => {
                let depth = from.depth.saturating_add(1);
                self.add(&ServiceFile { name, text: &text, depth, ..*from }, files);
            }
            None => self.broken(
                kind,
                place,
                from.level,
                &format!("includes {name}, which is not there"),
            ),
        }
    }

    /// libpam puts a module that always fails in the place of such a line.
    fn broken(&mut self, kind: ModuleType, place: Location, level: u32, what: &str) {
        self.problems.push((place.clone(), what.to_owned()));
        self.entries.push(entry(kind, Control::broken(), "", place, level));
    }
}

/// A file on its way into a service.
#[derive(Clone, Copy)]
struct ServiceFile<'a> {
    name: &'a str,
    text: &'a str,
    only: Option<ModuleType>,
    /// Whether the line that is read begins with `-`.
    is_optional: bool,
    level: u32,
    depth: u32,
}

fn entry(
    kind: ModuleType,
    control: Control,
    module: &str,
    place: Location,
    level: u32,
) -> StackLine {
    let module = module.to_owned();
    let arguments = Vec::new();
    StackLine {
        kind,
        control,
        module,
        arguments,
        place,
        may_be_missing: false,
        level,
        begins_substack: false,
        is_idle: false,
        is_run_by_root: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn files<'a>(all: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        move |name| all.iter().find(|(n, _)| *n == name).map(|(_, text)| (*text).to_owned())
    }

    fn auth(all: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let service = Service::read("s", &files(all)).unwrap();
        let names = service.stack(ModuleType::Auth).iter().map(|e| e.name().to_owned()).collect();
        (names, service.problems.iter().map(|(place, what)| format!("{place}: {what}")).collect())
    }

    #[test]
    fn lines_are_read_as_libpam_reads_them() {
        let text = "# c\n\nauth required \\\n  pam_a.so [x=a b\\]c] y # z\n-AUTH\tsufficient /l/pam_b.so\n";
        let service = Service::read("s", &files(&[("s", text)])).unwrap();
        let [a, b] = service.entries.as_slice() else { panic!("{service:?}") };
        assert_eq!((a.name(), a.place.line), ("pam_a", 3));
        assert_eq!(a.arguments, ["x=a b]c", "y"]);
        assert_eq!((b.name(), b.control.success), ("pam_b", Action::Done));
        assert!(service.problems.is_empty());
    }

    #[test]
    fn bracketed_controls_say_what_follows_each_answer() {
        for (control, success, ignore, failure) in [
            ("success=1 default=ignore", Action::Jump(1), Action::Ignore, Action::Ignore),
            (
                "success=ok new_authtok_reqd=ok ignore=ignore default=bad",
                Action::Ok,
                Action::Ignore,
                Action::Bad,
            ),
            ("success=done", Action::Done, Action::Bad, Action::Bad),
            // libpam knows no jump over nothing, and all is bad then.
            ("default=die auth_err=0", Action::Bad, Action::Bad, Action::Bad),
            ("auth_err = 2default=die", Action::Die, Action::Die, Action::Jump(2)),
            ("default=ok auth_err=bad", Action::Ok, Action::Ok, Action::Bad),
            ("SUCCESS=ok", Action::Bad, Action::Bad, Action::Bad),
            ("nonsense", Action::Bad, Action::Bad, Action::Bad),
            ("success=-1", Action::Bad, Action::Bad, Action::Bad),
        ] {
            let read =
                Control::read(&LineWord { text: control.to_owned(), bracketed: true }).unwrap();
            assert_eq!((read.success, read.ignore, read.failure), (success, ignore, failure));
        }
    }

    #[test]
    fn every_failure_counts_and_not_the_usual_one_alone() {
        let read = |text: &str| {
            let word = LineWord { text: text.to_owned(), bracketed: text.contains('=') };
            Control::read(&word).unwrap().all_after(ModuleResult::Failure)
        };
        assert_eq!(read("required"), [Action::Bad, Action::Ok]);
        assert_eq!(read("success=ok auth_err=bad default=ignore"), [Action::Ignore, Action::Bad]);
        assert_eq!(read("default=die"), [Action::Die]);
    }

    #[test]
    fn includes_of_all_three_ways_are_put_in_their_place() {
        let common = "auth required pam_c.so\naccount required pam_d.so\n";
        for line in ["@include common", "auth include common", "auth substack common"] {
            let text = format!("auth required pam_a.so\n{line}\nauth required pam_b.so\n");
            let (names, problems) = auth(&[("s", &text), ("common", common)]);
            let names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).collect();
            assert_eq!(names, ["pam_a", "pam_c", "pam_b"], "{line}");
            assert!(problems.is_empty(), "{problems:?}");
        }
        let (_, problems) = auth(&[("s", "auth include nowhere\n")]);
        assert_eq!(problems, ["s:1: includes nowhere, which is not there"]);
    }

    #[test]
    fn files_that_include_themselves_come_to_an_end() {
        let (_, problems) =
            auth(&[("s", "@include s\n@include s\nauth include s\nauth substack s\n")]);
        assert!(!problems.is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_text_is_too_strange(text in "(?s).{0,300}") {
            Service::read("s", &files(&[("s", &text)]));
        }
    }
}
