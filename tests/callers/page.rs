//! docs/CALLERS.md, made of the two tables.

use std::collections::BTreeSet;

use super::table::{AllSeen, Entry, Kind, Seen};

const HEAD: &str = "\
# Programs that log people in

For administrators: what each program does with what a PAM module asks and says, what its users
meet, and what to set. It is made of [callers.toml](callers.toml), which is kept by hand, and of
what `make callers` saw when it ran these programs with a module that traces every call;
`make callers` fails where both differ.

- **asks**: *each* question is answered by a person; *one* answer (or the password) is given to
  every question: `prompt=combined`; *first*: only one question can be answered:
  `prompt=combined`; *none*: nobody is ever asked.
- **texts**: what becomes of what a module says. *person*: it comes to the person who logs in;
  *terminal*: it is printed: to the person if that is a terminal; *short*: what is long gets
  lost; *dropped*; *log*: it is written to a log, so it must not be a secret; *stops*: the
  program waits for ever.
- **as**: who the program is when it checks a password. Only root can read the secrets.
- **host**: PAM_RHOST. Only an address can be remembered.
- **disabled / pending / active**: what such a user meets, with password and, if active, code. A
  pending user is tried twice: without a code, and with the first code.
- Where a text *came to*: the person; *output*: standard output, which is no terminal; *syslog*:
  /dev/log, and the journal where systemd runs; or a file.
";

pub(crate) fn render(entries: &[Entry], all: &AllSeen) -> String {
    let mut page = HEAD.to_owned();
    let runs = |entry: &Entry| -> Vec<&Seen> {
        all.seen.iter().filter(|run| run.program == entry.name).collect()
    };
    for kind in Kind::ALL {
        let of_kind = |entry: &&Entry| runs(entry).first().is_some_and(|run| run.kind == kind);
        let members: Vec<_> = entries.iter().filter(of_kind).collect();
        if members.is_empty() {
            continue;
        }
        page += &format!("\n## {}\n\n", title(kind));
        page += "| program | seen | asks | texts | as | host | disabled / pending / active | setting |\n";
        page += "|---|---|---|---|---|---|---|---|\n";
        for entry in &members {
            page += &row(entry, &runs(entry));
        }
        for entry in &members {
            page += &paragraph(entry, &runs(entry));
        }
    }
    let unseen: Vec<_> = entries.iter().filter(|entry| runs(entry).is_empty()).collect();
    if !unseen.is_empty() {
        page += "\n## Known, and not run here\n\n";
        page += "What their sources, their documentation or others say; `make callers` does not run them.\n\n";
        page += "| program | services | asks | texts | as | setting | source |\n|---|---|---|---|---|---|---|\n";
        for entry in unseen {
            let Entry { name, prompts, texts, runs_as, setting, source, .. } = entry;
            let services = services(entry);
            page += &format!(
                "| {name} | {services} | {prompts} | {texts} | {runs_as} | {setting} | {source} |\n"
            );
        }
    }
    page
}

fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Terminal => "At terminals, and from other hosts to one",
        Kind::Desktop => "At desktops",
        Kind::Server => "Servers",
    }
}

fn services(entry: &Entry) -> String {
    let names: Vec<_> = entry.services.iter().map(|it| format!("`{it}`")).collect();
    names.join(", ")
}

fn row(entry: &Entry, runs: &[&Seen]) -> String {
    let Entry { name, prompts, texts, runs_as, setting, .. } = entry;
    let mut suites = Vec::new();
    for run in runs {
        let suite = format!("{} ({})", version(&run.package), run.suite);
        if !suites.contains(&suite) {
            suites.push(suite);
        }
    }
    let host = entry.host.as_deref().unwrap_or("?");
    let mut outcomes = Vec::new();
    for outcome in runs.iter().map(|run| outcome(run)) {
        if !outcomes.contains(&outcome) {
            outcomes.push(outcome);
        }
    }
    let (suites, outcomes) = (suites.join(", "), outcomes.join("; or "));
    format!(
        "| {name} | {suites} | {prompts} | {texts} | {runs_as} | {host} | {outcomes} | {setting} |\n"
    )
}

/// The version of the program, without what a distribution adds: "9.2p1".
fn version(package: &str) -> &str {
    let version = package.rsplit(' ').next().unwrap_or_default();
    // What Debian says when a package is taken over by another with lower versions.
    let version = version.split_once("+really").map_or(version, |(_, version)| version);
    let version = version.split_once(':').map_or(version, |(_, version)| version);
    version.split(['-', '+', '~']).next().unwrap_or_default()
}

fn outcome(run: &Seen) -> String {
    let Seen { disabled, pending, activating, active, .. } = run;
    let pending = match (pending.end.as_str(), activating.end.as_str()) {
        (skips, gives) if skips == gives => skips.to_owned(),
        (skips, gives) => format!("{skips}, {gives} with the code"),
    };
    format!("{} / {pending} / {}", disabled.end, active.end)
}

fn paragraph(entry: &Entry, runs: &[&Seen]) -> String {
    let mut text = format!("\n### {}\n\n", entry.name);
    let mut sentences = Vec::new();
    if !entry.services.is_empty() {
        sentences.push(format!("Services: {}.", services(entry)));
    }
    if let Some(file) = &entry.file {
        sentences.push(format!("File: [conf/pam.d/{file}](../conf/pam.d/{file})."));
    }
    if let Some(note) = &entry.note {
        sentences.push(format!("{}.", capital(note)));
    }
    if let Some(way) = &entry.second_way {
        sentences.push(format!("**A second way in**: {way}."));
    }
    if entry.repeats {
        sentences.push("It asks again and again with the same password: `remember`.".to_owned());
    }
    text += &(sentences.join(" ") + "\n\n");
    // What was the same in several suites is said once.
    let mut bullets: Vec<(&str, String, Vec<String>)> = Vec::new();
    for run in runs {
        let (what, package) = (of_run(run), format!("{} ({})", run.package, run.suite));
        match bullets.iter_mut().find(|(name, said, _)| *name == run.run && *said == what) {
            Some((_, _, packages)) => packages.push(package),
            None => bullets.push((&run.run, what, vec![package])),
        }
    }
    for (name, what, packages) in bullets {
        text += &format!("- **{name}**, {}: {what}\n", packages.join(", "));
    }
    text
}

/// What one run has shown.
fn of_run(run: &Seen) -> String {
    let mut parts = vec![run.phases.join("; ")];
    let mut items = Vec::new();
    items.extend((run.host != "none").then(|| format!("PAM_RHOST is {}", article(&run.host))));
    items.extend(run.tty.then(|| "PAM_TTY is set".to_owned()));
    items.extend(run.ruser.then(|| "PAM_RUSER is set".to_owned()));
    items.extend(run.silent.then(|| "it wants silence".to_owned()));
    items.extend(run.threads.then(|| "its process has threads".to_owned()));
    if !items.is_empty() {
        parts.push(items.join(", "));
    }
    if !run.active.asked.is_empty() {
        parts.push(format!(
            "an active user is asked {}",
            run.active.asked.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ")
        ));
    }
    if let Some(texts) = &run.texts {
        let [short, long] = texts.sizes;
        parts.push(format!(
            "a text of {short} bytes came to: {}; of {long}: {}; an error: {}",
            list(&texts.short),
            list(&texts.long),
            list(&texts.error)
        ));
    }
    if !run.key.is_empty() {
        parts.push(format!("the key of a pending user came to: {}", list(&run.key)));
    }
    let (first, rest) = parts.split_at(1);
    let rest = rest.iter().map(|part| capital(part));
    let parts: Vec<_> = first.iter().cloned().chain(rest).collect();
    parts.join(". ") + "."
}

fn list(places: &BTreeSet<String>) -> String {
    match places.is_empty() {
        true => "nowhere".to_owned(),
        false => places.iter().cloned().collect::<Vec<_>>().join(", "),
    }
}

fn article(host: &str) -> String {
    match host {
        "any" => "0.0.0.0".to_owned(),
        "address" => "an address".to_owned(),
        other => format!("a {other}"),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or(String::new(), |first| first.to_uppercase().collect::<String>() + letters.as_str())
}
