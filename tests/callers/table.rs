//! The two tables of programs that log people in: docs/callers.toml, which is kept by hand,
//! and tests/callers/seen-*.toml, which `make callers` writes; and whether they agree.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// An entry of docs/callers.toml, which says what each key means.
#[derive(Debug, Deserialize)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) services: Vec<String>,
    pub(crate) prompts: String,
    pub(crate) texts: String,
    pub(crate) runs_as: String,
    pub(crate) host: Option<String>,
    #[serde(default)]
    pub(crate) repeats: bool,
    pub(crate) file: Option<String>,
    pub(crate) setting: String,
    pub(crate) second_way: Option<String>,
    pub(crate) note: Option<String>,
    pub(crate) source: String,
}

#[derive(Debug, Deserialize)]
struct Entries {
    program: Vec<Entry>,
}

/// What kind of program it is: the chapters of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Terminal,
    Desktop,
    Server,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Terminal, Self::Desktop, Self::Server];
}

/// What was seen of one way to use a program.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Its name in docs/callers.toml.
    pub(crate) program: String,
    /// The way that was tried.
    pub(crate) run: String,
    pub(crate) kind: Kind,
    pub(crate) suite: String,
    /// Debian's package and its version.
    pub(crate) package: String,
    /// PAM_SERVICE.
    pub(crate) service: String,
    /// Phases in their order, each group with its process.
    pub(crate) phases: Vec<String>,
    /// Who it is at authentication: "root", "user", or an account.
    pub(crate) runs_as: String,
    /// PAM_RHOST: "address", "name", "none", "any".
    pub(crate) host: String,
    /// Whether PAM_TTY, and PAM_RUSER, are set.
    pub(crate) tty: bool,
    pub(crate) ruser: bool,
    /// Whether it asks modules to be silent.
    pub(crate) silent: bool,
    /// Whether the process has threads.
    pub(crate) threads: bool,
    pub(crate) disabled: Meeting,
    /// A pending user who skips the code.
    pub(crate) pending: Meeting,
    /// A pending user who gives it.
    pub(crate) activating: Meeting,
    pub(crate) active: Meeting,
    /// Where the key of the pending user was found: see [`Texts`].
    pub(crate) key: BTreeSet<String>,
    /// What became of harmless texts; absent where they were not tried, since they stop it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) texts: Option<Texts>,
}

/// What somebody met.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Meeting {
    /// "let in", "refused", "stands still".
    pub(crate) end: String,
    /// What was asked, and what came as an answer: "Password: -> password".
    pub(crate) asked: Vec<String>,
}

/// Where each text was found: "person", "output" (standard output that is no terminal),
/// "syslog", or the name of a file; with " (cut)" where its end was missing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Texts {
    /// Sizes of the two texts of PAM_TEXT_INFO, in bytes.
    pub(crate) sizes: [usize; 2],
    pub(crate) short: BTreeSet<String>,
    pub(crate) long: BTreeSet<String>,
    /// A short PAM_ERROR_MSG.
    pub(crate) error: BTreeSet<String>,
    /// How it answered one hidden question more: "other" where somebody did.
    pub(crate) second: String,
    /// How the login with these texts ended.
    pub(crate) end: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct AllSeen {
    #[serde(default)]
    pub(crate) seen: Vec<Seen>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where what was seen of programs of this kind is written down.
pub(crate) fn seen_file(kind: Kind) -> PathBuf {
    let name = match kind {
        Kind::Terminal => "terminals",
        Kind::Desktop => "desktops",
        Kind::Server => "servers",
    };
    root().join(format!("tests/callers/seen-{name}.toml"))
}

#[track_caller]
pub(crate) fn entries() -> Vec<Entry> {
    let file = root().join("docs/callers.toml");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let entries: Entries =
        toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    entries.program
}

#[track_caller]
pub(crate) fn all_seen() -> AllSeen {
    let mut all = AllSeen::default();
    for kind in Kind::ALL {
        let file = seen_file(kind);
        // One that nobody has written yet has nothing.
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let seen: AllSeen =
            toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        all.seen.extend(seen.seen);
    }
    all
}

impl Seen {
    /// What this run says about `texts` of the table; nothing where no text was tried.
    pub(crate) fn fate(&self) -> Option<&'static str> {
        let texts = self.texts.as_ref()?;
        let found = || texts.short.iter().chain(&texts.long).chain(&texts.error).chain(&self.key);
        let place = |place: &str| place.trim_end_matches(" (cut)").to_owned();
        if found().any(|it| !["person", "output"].contains(&place(it).as_str())) {
            return Some("log");
        }
        if texts.end == "stands still" {
            return Some("stops");
        }
        if found().any(|it| place(it) == "output") {
            return Some("terminal");
        }
        let whole = |found: &BTreeSet<String>| found.contains("person");
        Some(match (whole(&texts.short) || whole(&texts.error), whole(&texts.long)) {
            (_, true) => "person",
            (true, false) => "short",
            (false, false) => "dropped",
        })
    }

    /// What this run says about `prompts` of the table.
    pub(crate) fn prompts(&self) -> Option<&'static str> {
        if self.active.asked.is_empty() && self.disabled.asked.is_empty() {
            // Who is refused before anything is asked says nothing of it.
            return (self.disabled.end == "let in").then_some("none");
        }
        if let ("let in", [_, .., last]) = (&*self.active.end, &self.active.asked[..])
            && last.ends_with("-> code")
        {
            return Some("each");
        }
        match self.texts.as_ref()?.second.as_str() {
            "other" | "code" => Some("each"),
            "password" | "password and code" | "empty" => Some("one"),
            // The texts before it have ended the login: what PAM asked without them says it.
            "not asked" => {
                let second = self.active.asked.get(1)?;
                second.ends_with("-> password").then_some("one")
            }
            _ => Some("first"),
        }
    }
}

/// Where what was seen contradicts the entry of that program.
pub(crate) fn contradictions(entry: &Entry, seen: &[&Seen]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut differ = |run: &Seen, key: &str, table: &str, was: &str| {
        let Seen { run, suite, .. } = run;
        wrong.push(format!("{}: {key} is {table:?}, seen {was:?} ({run}, {suite})", entry.name));
    };
    for run in seen {
        if run.runs_as != entry.runs_as {
            differ(run, "runs_as", &entry.runs_as, &run.runs_as);
        }
        if let Some(prompts) = run.prompts().filter(|it| *it != entry.prompts) {
            differ(run, "prompts", &entry.prompts, prompts);
        }
        // Whether what a program prints to is a terminal, only some runs can show; and that
        // another greeter, or one time in ten, loses a long text.
        let fits = |fate: &str| {
            let may_be_worse = ["terminal", "short"].contains(&entry.texts.as_str());
            fate == entry.texts || (fate == "person" && may_be_worse)
        };
        if let Some(fate) = run.fate().filter(|it| !fits(it)) {
            differ(run, "texts", &entry.texts, fate);
        }
        for place in run.key.iter().filter(|it| *it != "person") {
            differ(run, "key", "for the person alone", place);
        }
        // A console has no host, where the program has another way in.
        let host = entry.host.as_deref().unwrap_or(&run.host);
        if run.host != host && run.host != "none" {
            differ(run, "host", host, &run.host);
        }
    }
    if let (Some(host), Some(first)) = (&entry.host, seen.first())
        && seen.iter().all(|run| run.host != *host)
    {
        differ(first, "host", host, &first.host);
    }
    wrong
}

/// All contradictions between the two tables.
#[track_caller]
pub(crate) fn all_contradictions(all: &AllSeen) -> Vec<String> {
    let entries = entries();
    let mut wrong: Vec<_> = entries
        .iter()
        .flat_map(|entry| {
            let runs: Vec<_> = all.seen.iter().filter(|run| run.program == entry.name).collect();
            contradictions(entry, &runs)
        })
        .collect();
    let unknown = all.seen.iter().filter(|run| !entries.iter().any(|it| it.name == run.program));
    wrong.extend(unknown.map(|run| format!("{}: not in docs/callers.toml", run.program)));
    wrong
}
