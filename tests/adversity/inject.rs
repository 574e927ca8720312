//! One fault at one system call of a program, by strace(1).

use std::collections::BTreeMap;

use crate::common::{Finished, World, finish};
use crate::operations::{Operation, RENAMED};
use crate::snapshot::{ABOVE, STORE, USERS};

/// Where strace writes, in the world.
const TRACE: &str = "/run/strace";

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

/// A system call of a program: the how manieth of its kind.
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
        let mut kinds = BTreeMap::new();
        for line in world.read_text(TRACE).lines() {
            let name = line.split_once(' ').and_then(|(_, call)| call.trim_start().split_once('('));
            let kind = name.map(|(name, _)| name).filter(|name| name.chars().all(is_of_name));
            if let Some(kind) = kind {
                *kinds.entry(kind.to_owned()).or_insert(0) += 1;
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
        let fixed = fixed.chain(operation.memory());
        for name in fixed.chain(USERS.into_iter().chain([RENAMED]).flat_map(of)) {
            let path = format!("{ABOVE}/{STORE}/{name}");
            strace.args(["-P", path.trim_end_matches('/')]);
        }
    }
    finish(strace.args(&operation.program), operation.input.as_bytes())
}

fn is_of_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}
