//! Killed anywhere: the tool and the login are killed at one system call after the
//! other, and the account is then the old one or the new one.

use std::collections::HashSet;

use crate::common::{Figures, World, long};
use crate::inject::{Calls, Lasting, Point};
use crate::operations::{self, Operation, Outcome, Victim};
use crate::snapshot::{Snapshot, USERS};

/// Calls on the store that change it or make it durable.
const CHANGING: [&str; 14] = [
    "openat",
    "mkdir",
    "mkdirat",
    "write",
    "pwrite64",
    "ftruncate",
    "fsync",
    "fdatasync",
    "syncfs",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
];
/// Calls that report something, or end the process.
const TELLING: [&str; 3] = ["write", "sendto", "exit_group"];

/// Calls of a program that asks `onetimed`.
const ASKING: [&str; 7] =
    ["socket", "connect", "getsockopt", "sendto", "recvfrom", "write", "exit_group"];
/// Calls of `onetimed` itself for a login, which are not those of the login's process.
const SERVING: [&str; 6] = ["poll", "accept4", "clone", "clone3", "sendmsg", "wait4"];

/// How it went with one operation.
#[derive(Default)]
struct Tally {
    kills: usize,
    old: usize,
    new: usize,
    left_behind: usize,
    logins: usize,
    faults: Vec<String>,
}

#[test]
fn whatever_is_killed_anywhere_leaves_the_old_account_or_the_new_one_and_no_code_serves_twice() {
    campaign("killed", &operations::all());
}

#[test]
fn onetimed_or_its_caller_is_killed_anywhere_and_the_next_login_is_served() {
    campaign("killed_onetimed", &operations::by_onetimed());
}

#[track_caller]
fn campaign(name: &'static str, operations: &[Operation]) {
    let tallies = operations::side_by_side(operations, kill);
    let columns = [
        "operation",
        "kills",
        "old account",
        "new account",
        "a file left behind",
        "logins tried",
        "faults",
    ];
    let mut figures = Figures::new(name, &columns);
    for (operation, tally) in operations.iter().zip(&tallies) {
        let Tally { kills, old, new, left_behind, logins, faults } = tally;
        figures.row(&[&operation.name, kills, old, new, left_behind, logins, &faults.len()]);
    }
    figures.publish();
    for (Operation { name, .. }, tally) in operations.iter().zip(tallies) {
        assert!(tally.faults.is_empty(), "{name}:\n{}", tally.faults.join("\n"));
        assert!(tally.old > 5 && tally.new > 3, "{name} was killed early and late");
    }
}

fn kill(operation: &Operation) -> Tally {
    let world = operations::place();
    let mut tally = Tally::default();
    let mut seen = HashSet::new();
    for point in points(&world, operation) {
        let at = format!("killed at {} {}", point.kind, point.nth);
        let Some(run) = point.run(&world, operation, "signal=KILL", Lasting::Once) else {
            tally.faults.push(format!("{at}: not reached"));
            continue;
        };
        tally.kills += 1;
        let found = Snapshot::of(&world);
        let kept = operation.keeps_what_it_said(&found, &run.stdout);
        let outcome = operation.outcome(&found, operation.is_told(&run.stdout));
        match outcome.and_then(|outcome| kept.map(|()| outcome)) {
            Ok(Outcome::Old) => tally.old += 1,
            Ok(Outcome::New) => tally.new += 1,
            Err(fault) => tally.faults.push(format!("{at}: {fault}")),
        }
        if seen.insert(found.clone()) {
            tally.logins += 1;
            operation.log_in(&world, &found, &at);
        }
        if found.left_behind().next().is_some() {
            tally.left_behind += 1;
            tally.faults.extend(clear_up(&world, &found).err().map(|left| format!("{at}: {left}")));
        }
    }
    tally
}

fn points(world: &World, operation: &Operation) -> Vec<Point> {
    let mut all = Point::all(world, operation, Calls::All);
    // The call that starts it: strace injects nothing there.
    all.retain(|point| point.kind != "execve" && point.kind != "restart_syscall");
    // How often it asks for processes that have ended is left to chance.
    all.retain(|point| point.kind != "wait4" || point.nth == 1);
    if long() {
        return all;
    }
    if operation.victim == Victim::ItsCaller {
        all.retain(|point| ASKING.contains(&&*point.kind));
        return all;
    }
    let of = |points: Vec<Point>, kinds: &'static [&str]| {
        points.into_iter().filter(|point| kinds.contains(&point.kind.as_str()))
    };
    let on_store = Point::all(world, operation, Calls::OnStore);
    let serving = of(all.clone(), &SERVING).filter(|_| operation.victim == Victim::Onetimed);
    of(on_store, &CHANGING).chain(of(all, &TELLING)).chain(serving).collect()
}

/// What holds secrets and is not in force goes with the next `init`, or when the
/// user is disabled.
fn clear_up(world: &World, found: &Snapshot) -> Result<(), String> {
    let disable = [&["disable", "--yes", operations::RENAMED][..], &USERS].concat();
    for verbs in [&[&["init"][..]][..], &[&["init"], &disable], &[&disable]] {
        found.put(world);
        let runs: Vec<_> = verbs.iter().map(|arguments| world.onetimectl(arguments)).collect();
        let after = Snapshot::of(world);
        // Where there is no store yet, nothing of it can be disabled.
        if runs.iter().all(|run| run.success()) && after.left_behind().next().is_some() {
            return Err(format!("left behind after {verbs:?}: {:?}", after.0.keys()));
        }
    }
    Ok(())
}
