//! Logins by a program of the user's own, which `onetimed` judges, under the same
//! adversity as those that judge themselves: `onetimed` or its caller is traced, and
//! whatever becomes of one login, the next one of somebody else is served.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{
    BOB_PASSWORD, Daemon, Finished, PATIENCE, World, finish, finish_within, need, status_of, until,
    wait_within,
};
use crate::inject::TRACE;
use crate::operations::{NOW, Operation, Victim};

/// For how long a program waits for an `onetimed` that does not come back.
const SOON: Duration = Duration::from_secs(10);
/// What `pam_client` says then.
const ADMITTED: &str = "result authenticate 0\n";

/// The library that gives a program another clock.
#[track_caller]
pub(crate) fn faketime() -> PathBuf {
    need("faketime", "faketime");
    let libraries = std::fs::read_dir("/usr/lib").expect("libraries").flatten();
    libraries
        .map(|entry| entry.path().join("faketime/libfaketime.so.1"))
        .find(|path| path.exists())
        .expect("libfaketime.so.1 below /usr/lib")
}

/// Runs a login with this strace at its victim, until both have let go of each other; then
/// Bob's, which must succeed.
#[track_caller]
pub(crate) fn traced(world: &World, operation: &Operation, strace: Command) -> Finished {
    let daemon = start(world);
    let run = match operation.victim {
        Victim::Onetimed => attached(world, operation, strace, &daemon),
        Victim::Itself | Victim::ItsCaller => {
            let mut strace = strace;
            strace.args(["-u", operation.caller()]).args(&operation.program);
            let run = finish(&mut strace, operation.input.as_bytes());
            until("the slot is free", || is_idle(&daemon));
            run
        }
    };
    let daemon = match ended(world, &daemon) {
        Ended::No => daemon,
        Ended::Killed => start(world),
    };
    let mut bob = world.command_as("bob", "pam_client");
    let next = finish(bob.args(["locker", "bob"]), format!("{BOB_PASSWORD}\n").as_bytes());
    assert!(next.stdout.contains(ADMITTED), "after {run:?}: {}", next.text());
    drop(daemon);
    run
}

#[track_caller]
fn attached(
    world: &World,
    operation: &Operation,
    mut strace: Command,
    daemon: &Daemon,
) -> Finished {
    until("one waits for the login", || is_idle(daemon));
    for process in daemon.children().into_iter().chain([daemon.id().to_string()]) {
        strace.args(["-p", &process]);
    }
    strace.stdin(Stdio::null()).stderr(Stdio::null());
    let mut strace = strace.spawn().expect("strace starts");
    until("strace is there", || status_of(daemon.id(), "TracerPid").is_some_and(|it| it != "0"));
    let mut caller = world.command_as(operation.caller(), &operation.program[0]);
    caller.args(&operation.program[1..]);
    let run = finish_within(&mut caller, operation.input.as_bytes(), SOON);
    let is_refused = run.stdout.contains("result authenticate ") && !run.stdout.contains(ADMITTED);
    assert!(is_refused || operation.is_told(&run.stdout), "{}", run.text());
    until("the slot is free", || !is_alive(daemon) || is_idle(daemon));
    if is_alive(daemon) {
        end(&strace);
    }
    // It goes with the last process that it traces.
    assert!(wait_within(&mut strace, PATIENCE).is_some(), "a login goes on without end");
    run
}

/// `onetimed`, for which it is always [`NOW`].
#[track_caller]
fn start(world: &World) -> Daemon {
    let preload = format!("LD_PRELOAD={}", faketime().display());
    let (now, format) = (format!("FAKETIME={NOW}"), "FAKETIME_FMT=%s");
    let clock = ["env", &preload, format, &now, "FAKETIME_DONT_FAKE_MONOTONIC=1"];
    Daemon::start_under(world, &clock)
}

fn end(process: &Child) {
    let pid = Pid::from_child(process);
    kill_process(pid, Signal::TERM).expect("our own child");
}

/// Whether `onetimed` itself has ended, which it must do by strace's hand alone.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    No,
    Killed,
}

#[track_caller]
fn ended(world: &World, daemon: &Daemon) -> Ended {
    let (trace, id) = (world.read_text(TRACE), daemon.id().to_string());
    let of_it = trace.lines().filter_map(|line| line.split_once(' ')).filter(|it| it.0 == id);
    let killed = of_it.into_iter().any(|(_, event)| event.contains("+++ killed by SIGKILL"));
    assert_eq!(is_alive(daemon), !killed, "onetimed itself: {trace}");
    if killed { Ended::Killed } else { Ended::No }
}

fn is_alive(daemon: &Daemon) -> bool {
    status_of(daemon.id(), "State").is_some_and(|state| !state.starts_with('Z'))
}

/// Whether it has no process but the one that waits for the next login, as it does itself.
pub(crate) fn is_idle(daemon: &Daemon) -> bool {
    let sleeps = |id| status_of(id, "State").is_some_and(|state| state.starts_with('S'));
    let children: Vec<u32> = daemon.children().iter().filter_map(|id| id.parse().ok()).collect();
    matches!(children[..], [waiting] if sleeps(waiting)) && sleeps(daemon.id())
}
