//! `onetimectl`: the administrator's tool. It issues secrets, and shows and
//! changes the state of accounts. One file per verb; `cli` has what can be
//! typed, `context` what every verb works with, `report` how results are told.

mod cli;
mod context;
mod disable;
mod doctor;
mod enable;
mod init;
mod qr;
mod repair;
mod report;
mod status;
mod unlock;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use rustix::process::{DumpableBehavior, geteuid, set_dumpable_behavior};

use cli::{Cli, Verb};
use context::Context;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(code) => code,
        Err(error) => report::fail(&error),
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    if let Verb::Completions { shell } = cli.verb {
        clap_complete::generate(shell, &mut Cli::command(), "onetimectl", &mut std::io::stdout());
        return Ok(ExitCode::SUCCESS);
    }
    if !geteuid().is_root() {
        return Ok(report::not_permitted());
    }
    // Secrets pass through: no core dump, no ptrace by others.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // Says what is wrong with the configuration too.
    if let Verb::Doctor = cli.verb {
        return doctor::run(cli);
    }
    let context = Context::read(cli)?;
    match &cli.verb {
        Verb::Init => init::run(&context),
        Verb::Enable(options) => enable::run(&context, options),
        Verb::Disable { users, yes } => disable::run(&context, users, *yes),
        Verb::Status { users } => status::run(&context, users),
        Verb::List => status::run(&context, &[]),
        Verb::Verify { user, code } => verify::run(&context, user, code.as_deref()),
        Verb::Qr { user, file } => qr::run(&context, user, file.as_deref()),
        Verb::Repair { users } => repair::run(&context, users),
        Verb::Unlock { users } => unlock::run(&context, users),
        Verb::Doctor | Verb::Completions { .. } => Ok(ExitCode::SUCCESS),
    }
}
