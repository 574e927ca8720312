//! One fault at one system call of a program, by strace(1).

use std::collections::BTreeMap;
use std::process::Command;

use crate::by_onetimed;
use crate::common::{Finished, World, finish};
use crate::operations::{Operation, RENAMED, Victim};
use crate::snapshot::{ABOVE, STORE, USERS};

/// Where strace writes, in the world.
pub(crate) const TRACE: &str = "/run/strace";

/// Which calls are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Calls {
    /// Those on files and directories of the store.
    OnStore,
    /// All that the program makes.
    All,
}

/// Whether later calls of the same kind meet the fault too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lasting {
    Once,
    FromThenOn,
}

/// A system call of a process: the how manieth of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) calls: Calls,
    pub(crate) kind: String,
    pub(crate) nth: usize,
}

impl Point {
    /// Every one that the operation comes to if nothing goes wrong, by kind.
    #[track_caller]
    pub(crate) fn all(world: &World, operation: &Operation, calls: Calls) -> Vec<Self> {
        operation.before.put(world);
        traced(world, operation, calls, &[]).ok();
        let (mut calls_of, mut kinds) = (BTreeMap::new(), BTreeMap::new());
        let trace = world.read_text(TRACE);
        for (process, call) in trace.lines().filter_map(|line| line.split_once(' ')) {
            let name = call.trim_start().split_once('(').map(|(name, _)| name);
            if let Some(kind) = name.filter(|name| name.chars().all(is_of_name)) {
                let count = calls_of.entry((process, kind)).or_insert(0);
                *count += 1;
                // strace counts each process's own.
                let most = kinds.entry(kind.to_owned()).or_insert(0);
                *most = *count.max(most);
            }
        }
        let points = kinds.into_iter().flat_map(|(kind, count)| {
            (1..=count).map(move |nth| Self { calls, kind: kind.clone(), nth })
        });
        points.collect()
    }

    /// Runs the operation from its beginning, with `fault` here: `signal=KILL`, or
    /// `error=EIO`, or what else strace's `inject` knows. `None` if this point was
    /// not reached.
    #[track_caller]
    pub(crate) fn run(
        &self,
        world: &World,
        operation: &Operation,
        fault: &str,
        lasting: Lasting,
    ) -> Option<Finished> {
        operation.before.put(world);
        let Self { calls, kind, nth } = self;
        let more = match lasting {
            Lasting::Once => "",
            Lasting::FromThenOn => "+",
        };
        let inject = format!("inject={kind}:{fault}:when={nth}{more}");
        let run = traced(world, operation, *calls, &["-e", &inject]);
        let trace = world.read_text(TRACE);
        (trace.contains("(INJECTED)") || trace.contains("+++ killed by ")).then_some(run)
    }
}

#[track_caller]
fn traced(world: &World, operation: &Operation, calls: Calls, options: &[&str]) -> Finished {
    let mut strace = world.command("strace");
    strace.args(["-f", "-o", TRACE]).args(options);
    if calls == Calls::OnStore {
        let of = |user| {
            let files = ["state/U", "users/U.toml", "users/.new-U.toml", "uids/.new-U"];
            files.map(|it| it.replace('U', user))
        };
        let fixed = ["", "store.toml", ".new-store.toml", "users", "state", "uids"];
        // Alice's, Bob's and Carol's.
        let entries = ["uids/2001", "uids/2002", "uids/2003"];
        let fixed = fixed.into_iter().chain(entries).map(str::to_owned);
        let services = ["services", "services/alice.toml", "services/.new-alice.toml"];
        let fixed = fixed.chain(services.map(str::to_owned)).chain(operation.memory());
        for name in fixed.chain(USERS.into_iter().chain([RENAMED]).flat_map(of)) {
            let path = format!("{ABOVE}/{STORE}/{name}");
            strace.args(["-P", path.trim_end_matches('/')]);
        }
    }
    run(world, operation, strace)
}

/// Runs the operation with this strace at its victim.
#[track_caller]
pub(crate) fn run(world: &World, operation: &Operation, mut strace: Command) -> Finished {
    match operation.victim {
        Victim::Itself => finish(strace.args(&operation.program), operation.input.as_bytes()),
        Victim::Onetimed | Victim::ItsCaller => by_onetimed::traced(world, operation, strace),
    }
}

fn is_of_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}
