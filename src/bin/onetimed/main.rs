//! `onetimed`: judges the logins of programs that are not root's, and may read no secret. It
//! runs as root, listens at a socket, and knows by the kernel who asks. What the module does
//! in a program of root's, it does here, in a process of its own for each login.
//!
//! Each room uses only rooms below it; `tests/it/house.rs` reads the arrows.
//!
//! ```text
//! login                one connection: who may ask for whom, and the login
//! own                  what users see and change of their own accounts
//! ending               how a login ends for whoever has asked for it
//! accounts             the store, as far as who asks may use it
//! door                 the person at the other end of the socket, as a door
//! talk                 messages of one connection, bounded in size and time
//! listener             takes connections, and gives each to a process
//! spare                a process for the connection that comes next
//! slots                how many connections whom is given
//! cli                  what can be typed
//! ```

// What decides about logins does not panic, and forgets no case.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::exit,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::match_wildcard_for_single_variants,
        clippy::panic,
        clippy::print_stdout,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used,
        clippy::wildcard_enum_match_arm,
    )
)]

mod accounts;
mod cli;
mod door;
mod ending;
mod listener;
mod login;
mod own;
mod slots;
mod spare;
mod talk;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, geteuid, set_dumpable_behavior};

use cli::Cli;
use listener::{Listener, Turn};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _unheard = error.print().is_err();
            return ExitCode::from(if error.use_stderr() { cli::USAGE } else { 0 });
        }
    };
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the journal, or who has started it by hand")]
            {
                eprintln!("onetimed: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    if let Some(shell) = cli.completions {
        return cli::completions(shell);
    }
    anyhow::ensure!(geteuid().is_root(), "only root can read the store: start it as root");
    protect_memory()?;
    // A temporary of the match below would listen for as long as a login lasts.
    let turn = Listener::open(cli)?.serve(cli)?;
    match turn {
        Turn::Idle => Ok(()),
        // In a process of its own, which no longer listens.
        Turn::Waiting(waiting) => {
            touch_memory();
            protect_memory()?;
            if let Some(connection) = waiting.connection() {
                login::serve(connection, cli);
            }
            Ok(())
        }
    }
}

/// Has all that is mapped in memory, which takes long page by page, and somebody will wait.
fn touch_memory() {
    let _untouched = mlockall(MlockAllFlags::CURRENT).is_err();
}

/// Secrets pass through: no core dump, no ptrace by others, nothing on the swap. Locks are not
/// inherited.
fn protect_memory() -> anyhow::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("cannot forbid core dumps")?;
    // What is not touched takes no memory.
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    mlockall(flags).context(
        "cannot keep memory off the swap (the limit of locked memory: LimitMEMLOCK, ulimit -l)",
    )
}
