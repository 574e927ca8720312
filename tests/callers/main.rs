//! `make callers`: the real programs that log people in, each in a Debian of its own, with a
//! module that traces every call. What is seen is written to tests/callers/seen-*.toml and,
//! with docs/callers.toml, to docs/CALLERS.md; it fails where the two tables differ, and where
//! a login ends otherwise than it did.
//!
//! `CALLER=NAME` runs the programs with NAME in their name, their run or their suite;
//! `cheap`: those that CI runs, without writing anything; `page`: none, for the page alone.

#[path = "../common/mod.rs"]
mod common;

mod by_onetimed;
mod desktops;
mod lockers;
mod page;
mod people;
mod program;
mod servers;
mod servers_of_data;
mod servers_of_networks;
mod stage;
mod system;
mod table;
mod terminals;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::Figures;
use program::Program;
use system::Suite;
use table::{AllSeen, Kind, Seen};

/// So many programs run at once; most of the time they wait.
const AT_ONCE: usize = 2;

fn programs() -> Vec<Program> {
    [
        terminals::programs(),
        desktops::programs(),
        lockers::programs(),
        servers::programs(),
        servers_of_networks::programs(),
        servers_of_data::programs(),
        by_onetimed::programs(),
    ]
    .concat()
}

fn main() -> ExitCode {
    common::preflight();
    // What failed is said at the end; here, only where.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("failed at {}", panic.location().map(ToString::to_string).unwrap_or_default());
    }));
    let wanted: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let is_wanted = |program: &Program| {
        let names =
            format!("{} {} {}", program.name, program.run, program.suite.name()).to_lowercase();
        wanted.iter().all(|it| match it.as_str() {
            "cheap" => program.cheap,
            it => names.contains(&it.to_lowercase()),
        })
    };
    let programs: Vec<_> = programs().into_iter().filter(is_wanted).collect();
    let begin = Instant::now();
    let (seen, mut failed) = watch(&programs);
    let mut all = table::all_seen();
    let cheap = wanted.iter().any(|it| it == "cheap");
    for new in seen {
        let old = recorded(&all, &new);
        // A run that is new has nothing to differ from, unless CI is to run it.
        if cheap {
            failed.extend(changes(old, &new, summary));
        } else if old.is_some() {
            failed.extend(changes(old, &new, ends));
        }
        all.seen.retain(|old| !is_same_run(old, &new));
        all.seen.push(new);
    }
    all.seen
        .sort_by_key(|it| (it.kind, it.program.to_lowercase(), it.run.clone(), order(&it.suite)));
    if !cheap {
        write(&all);
    }
    failed.extend(table::all_contradictions(&all));
    for failure in &failed {
        eprintln!("FAILED {failure}");
    }
    println!("{} programs, {} failures", programs.len(), failed.len());
    if wanted.is_empty() {
        count(&programs, failed.len(), begin.elapsed());
    }
    let page_alone = wanted.iter().any(|it| it == "page");
    if failed.is_empty() && (page_alone || !programs.is_empty()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The suites from old to new.
fn order(suite: &str) -> usize {
    ["bookworm", "trixie", "sid"].iter().position(|it| *it == suite).unwrap_or(usize::MAX)
}

fn write(all: &AllSeen) {
    let head = "# What `make callers` saw; it writes this file.\n\n";
    for kind in Kind::ALL {
        let seen: Vec<_> = all.seen.iter().filter(|it| it.kind == kind).cloned().collect();
        if !seen.is_empty() {
            let text = toml::to_string(&AllSeen { seen }).expect("it is TOML");
            let file = table::seen_file(kind);
            std::fs::write(file, format!("{head}{text}")).expect("it can be written");
        }
    }
    let page = page::render(&table::entries(), all);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CALLERS.md");
    std::fs::write(file, page).expect("it can be written");
}

/// Writes down how much was run, all in all.
fn count(programs: &[Program], failures: usize, time: Duration) {
    let names: BTreeSet<_> = programs.iter().map(|it| it.name).collect();
    let suites: BTreeSet<_> = programs.iter().map(|it| it.suite).collect();
    let suites: Vec<_> = suites.into_iter().map(Suite::name).collect();
    let columns = ["programs", "ways to use them, by suite", "suites", "failures", "minutes"];
    let mut figures = Figures::new("callers", &columns);
    let minutes = format!("{:.0}", time.as_secs_f32() / 60.0);
    figures.row(&[&names.len(), &programs.len(), &suites.join(", "), &failures, &minutes]);
    figures.write();
}

/// Runs these programs; what was seen, and what failed.
fn watch(programs: &[Program]) -> (Vec<Seen>, Vec<String>) {
    let waiting = Mutex::new(programs.iter());
    let results = Mutex::new((Vec::new(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(program) = waiting.lock().expect("no panic holds it").next() else {
                        return;
                    };
                    let begin = Instant::now();
                    let name =
                        format!("{}, {} ({})", program.name, program.run, program.suite.name());
                    let watched = catch_unwind(AssertUnwindSafe(|| program.watch()));
                    let mut results = results.lock().expect("no panic holds it");
                    let seconds = begin.elapsed().as_secs_f32();
                    match watched {
                        Ok(seen) => {
                            println!("{name}, {seconds:.0} s: {}", summary(&seen));
                            results.0.push(seen);
                        }
                        Err(panic) => {
                            let said = panic.downcast_ref::<String>().map(String::as_str);
                            let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
                            results.1.push(format!("{name}: {}", said.unwrap_or_default()));
                        }
                    }
                }
            });
        }
    });
    results.into_inner().expect("no panic holds it")
}

/// What was written down of this run.
fn recorded<'a>(all: &'a AllSeen, new: &Seen) -> Option<&'a Seen> {
    all.seen.iter().find(|it| is_same_run(it, new))
}

fn is_same_run(one: &Seen, other: &Seen) -> bool {
    one.program == other.program && one.run == other.run && one.suite == other.suite
}

/// What is other than it was when `make callers` wrote it down, in this respect.
fn changes(before: Option<&Seen>, now: &Seen, respect: fn(&Seen) -> String) -> Option<String> {
    let (was, is) = (before.map(respect), respect(now));
    let Seen { program, run, suite, .. } = now;
    (was.as_ref() != Some(&is))
        .then(|| format!("{program}, {run} ({suite}): was {was:?}, is {is:?}"))
}

/// How the logins ended.
fn ends(seen: &Seen) -> String {
    let meetings = [&seen.disabled, &seen.pending, &seen.activating, &seen.active];
    // What follows an error, SDDM 0.19 refuses in some runs, and in others stands still.
    let texts = seen.texts.iter().map(|it| match it.end.as_str() {
        "let in" => "let in",
        _ => "kept out",
    });
    meetings.iter().map(|it| it.end.as_str()).chain(texts).collect::<Vec<_>>().join(" / ")
}

fn summary(seen: &Seen) -> String {
    format!(
        "{}; asks {}, texts {}, as {}, host {}; key: {:?}",
        ends(seen),
        seen.prompts().unwrap_or("?"),
        seen.fate().unwrap_or("?"),
        seen.runs_as,
        seen.host,
        seen.key
    )
}
