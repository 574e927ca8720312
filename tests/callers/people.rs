//! Who logs in, and what such a person answers: dora is disabled, pia pending, ada active;
//! all have the same password, and codes by counter.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;

use crate::common::{Heard, Pty, hotp_code, secret_in};
use crate::stage::{PATIENCE, SHELL, Stage};

/// Of everybody, root too.
pub(crate) const PASSWORD: &str = "pw-of-all-4711";

/// An account without anything of ours, for programs that one user starts to become another.
pub(crate) const VISITOR: &str = "otto";

/// What a person does at the question for a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intent {
    Skip,
    Give,
}

pub(crate) struct Person {
    pub(crate) name: &'static str,
    pub(crate) intent: Intent,
    /// In base32, of who is enabled.
    pub(crate) key: Option<String>,
    counter: Cell<u64>,
}

impl Person {
    fn new(name: &'static str, intent: Intent, key: Option<String>) -> Self {
        Self { name, intent, key, counter: Cell::new(0) }
    }

    /// The next code. A disabled user has none, and types a wrong one.
    pub(crate) fn code(&self) -> String {
        let Some(key) = &self.key else { return "000000".to_owned() };
        let counter = self.counter.replace(self.counter.get() + 1);
        hotp_code(key, counter, 6)
    }

    /// What is typed where there is one field, and `prompt=combined`.
    pub(crate) fn one_answer(&self) -> String {
        match (self.intent, &self.key) {
            (Intent::Give, Some(_)) => format!("{PASSWORD}{}", self.code()),
            _ => PASSWORD.to_owned(),
        }
    }

    /// What is typed at this prompt.
    pub(crate) fn answer(&self, prompt: &str) -> String {
        let last = prompt.lines().last().unwrap_or_default().to_lowercase();
        match (last.contains("code"), self.intent) {
            (true, Intent::Give) => self.code(),
            (true, Intent::Skip) => String::new(),
            (false, _) if last.contains("second word") => "second".to_owned(),
            (false, _) if last.ends_with("login: ") => self.name.to_owned(),
            (false, _) => PASSWORD.to_owned(),
        }
    }
}

/// dora, pia who skips, pia who gives a code, ada: in the order in which they log in.
pub(crate) struct People {
    pub(crate) disabled: Person,
    pub(crate) pending: Person,
    pub(crate) activating: Person,
    pub(crate) active: Person,
}

impl People {
    /// Makes them, and the visitor, as users of the stage.
    #[track_caller]
    pub(crate) fn settle(stage: &Stage) -> Self {
        for name in ["dora", "pia", "ada", VISITOR] {
            stage.shell(&format!("useradd --create-home --shell {SHELL} {name}"));
        }
        for name in ["dora", "pia", "ada", VISITOR, "root"] {
            stage.shell(&format!("echo {name}:{PASSWORD} | chpasswd"));
        }
        let enable = |name: &str| {
            stage.shell(&format!("onetimectl enable --kind hotp {name} </dev/null >/dev/null"));
            let record = stage.read(&format!("/var/lib/onetime/users/{name}.toml"));
            secret_in(&record)
        };
        let pending = enable("pia");
        let active = Person::new("ada", Intent::Give, Some(enable("ada")));
        stage.shell(&format!("onetimectl verify ada {}", active.code()));
        Self {
            disabled: Person::new("dora", Intent::Give, None),
            pending: Person::new("pia", Intent::Skip, Some(pending.clone())),
            activating: Person::new("pia", Intent::Give, Some(pending)),
            active,
        }
    }
}

/// How a login ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    LetIn,
    Refused,
    StandsStill,
}

impl End {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::LetIn => "let in",
            Self::Refused => "refused",
            Self::StandsStill => "stands still",
        }
    }

    pub(crate) fn let_in(yes: bool) -> Self {
        if yes { Self::LetIn } else { Self::Refused }
    }
}

/// What somebody met at a login.
pub(crate) struct Met {
    pub(crate) end: End,
    /// All that this person's own screen or client showed.
    pub(crate) person: String,
    /// What went to a standard output that is not a terminal.
    pub(crate) output: String,
}

impl Met {
    /// With nothing on a standard output.
    pub(crate) fn new(end: End, person: impl Into<String>) -> Self {
        Self { end, person: person.into(), output: String::new() }
    }
}

/// What a program asks on a terminal: its last line, which ends with a colon.
static QUESTION: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?i)(?:password|one-time code|second word|login|passwort)[^\n]*: *$";
    Regex::new(pattern).expect("a pattern")
});

/// When what was typed is typed again, if PAM still waits for it.
const AGAIN: Duration = Duration::from_secs(15);

/// Answers whatever is asked on a terminal, until somebody is welcome, asked for the
/// password again, told one of the words of `refusals`, or the program ends. What comes
/// between a prompt and the moment when it is ready, a program may throw away (pkttyagent).
pub(crate) fn talk(stage: &Stage, pty: &mut Pty, person: &Person, refusals: &[&str]) -> Met {
    let welcome = Regex::new(r"Welcome, \w+\.").expect("a pattern");
    let refusals = refusals.iter().map(|words| regex::escape(words)).collect::<Vec<_>>();
    let refusals = (!refusals.is_empty()).then(|| Regex::new(&refusals.join("|")).expect("words"));
    let pattern =
        |regex: &Option<Regex>| regex.as_ref().map_or(String::new(), |it| format!("|{it}"));
    let any = format!("{}|{welcome}{}", *QUESTION, pattern(&refusals));
    let any = Regex::new(&any).expect("a pattern");
    pty.patience = AGAIN;
    let (mut passwords, mut silence, mut typed) = (0, Duration::ZERO, None);
    let end = loop {
        match pty.listen(any.clone()) {
            Heard::Found(text) if welcome.is_match(&text) => break End::LetIn,
            Heard::Found(text) if refusals.as_ref().is_some_and(|it| it.is_match(&text)) => {
                break End::Refused;
            }
            Heard::Found(text) => {
                let last = text.lines().last().unwrap_or_default().to_lowercase();
                passwords += usize::from(last.contains("password"));
                if passwords > 1 {
                    break End::Refused;
                }
                let line = person.answer(&text);
                // Where it hides what is typed, it is ready once it does.
                stage.comes(Duration::from_secs(3), || !stage.echoes());
                type_line(pty, &line);
                (silence, typed) = (Duration::ZERO, Some(line));
            }
            Heard::Ended => break End::Refused,
            Heard::Silence if silence > PATIENCE => break End::StandsStill,
            Heard::Silence => {
                silence += AGAIN;
                typed.iter().filter(|_| waits(stage)).for_each(|line| type_line(pty, line));
            }
        }
    };
    Met::new(end, pty.text())
}

fn type_line(pty: &mut Pty, line: &str) {
    // It may have ended since.
    drop(catch_unwind(AssertUnwindSafe(|| pty.send_line(line))));
}

/// Whether PAM waits for an answer.
fn waits(stage: &Stage) -> bool {
    let events = stage.events();
    let of = |name: &'static str| events.iter().filter(move |event| event["event"] == name);
    let asked =
        of("said").filter(|event| event["style"] == "hidden" || event["style"] == "visible");
    asked.count() > of("answer").count()
}
