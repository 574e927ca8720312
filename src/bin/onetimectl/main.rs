//! `onetimectl`: the administrator's tool. It issues secrets, and shows and
//! changes the state of accounts. One file per verb; `cli` has what can be
//! typed, `context` what every verb works with, `report` how results are printed.
//!
//! Each room uses only rooms below it; `tests/it/house.rs` reads the arrows.
//!
//! ```text
//! accounts  moving  doctor  completions   verbs: accounts, imports and exports, the machine's set-up, shells
//! paper                       what is handed to people: QR codes, sheets, recovery codes
//! context                     configuration, store
//! say                         how results are printed
//! people                      which users a verb is about
//! error                       what failed, and the remedy
//! cli                         what can be typed
//! formats                     files of other programs, as import reads them
//! side_by_side                many accounts, read on all processors
//! ```

// The tool says what is wrong and does not panic, prints in one place, and forgets no case.
#![cfg_attr(
    not(test),
    deny(
        clippy::exit,
        clippy::expect_used,
        clippy::match_wildcard_for_single_variants,
        clippy::panic,
        clippy::print_stderr,
        clippy::print_stdout,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used,
        clippy::wildcard_enum_match_arm,
    )
)]

mod accounts;
mod cli;
mod completions;
mod context;
mod doctor;
mod error;
mod formats;
mod moving;
mod paper;
mod people;
mod say;
mod side_by_side;

use std::process::ExitCode;

use clap::Parser;
use rustix::process::{DumpableBehavior, geteuid, set_dumpable_behavior};

use accounts::{
    disable, enable, init, rebind, rename, repair, report, resync, status, token, unlock, verify,
};
use cli::{Cli, ConfigVerb, Verb};
use context::{Context, Run};
use moving::{export, import};
use paper::{handout, qr, recovery};

fn main() -> ExitCode {
    let ended = Cli::try_parse().map_err(anyhow::Error::from).and_then(|cli| run(&cli));
    ended.unwrap_or_else(|error| say::fail(&error))
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    if let Verb::Completions { shell } = cli.verb {
        completions::run(shell)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Verb::Config { verb: verb @ ConfigVerb::Check { .. } } = &cli.verb {
        return doctor::config::run(cli, verb);
    }
    if !geteuid().is_root() {
        return Ok(say::not_permitted());
    }
    // Secrets pass through: no core dump, no ptrace by others.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    if let Verb::Doctor = cli.verb {
        return doctor::run(cli);
    }
    if let Verb::Config { verb } = &cli.verb {
        return doctor::config::run(cli, verb);
    }
    if let Verb::Profile { verb } = &cli.verb {
        return doctor::switch::run(cli, verb);
    }
    let context = Context::read(cli)?;
    let ended = run_verb(cli, &context);
    context.report_take_overs();
    ended
}

fn run_verb(cli: &Cli, context: &Context) -> anyhow::Result<ExitCode> {
    match &cli.verb {
        Verb::Init { existing } => init::run(context, *existing),
        Verb::Enable(options) => {
            // Where no login would ask for the code, the admin should know now.
            doctor::warn_where_unused();
            enable::run(context, options)
        }
        Verb::Disable { whom, yes, dry_run } => {
            disable::run(context, whom, *yes, Run::of(*dry_run))
        }
        Verb::Status { whom } => status::run(context, whom),
        Verb::List(options) => status::list(context, options),
        Verb::Verify { user, code } => verify::run(context, user, code.as_deref()),
        Verb::Qr { user, token, file } => qr::run(context, user, *token, file.as_deref()),
        Verb::Repair { whom, restored, dry_run } => {
            repair::run(context, whom, *restored, Run::of(*dry_run))
        }
        Verb::Rename { old, new, force } => rename::run(context, old, new, *force),
        Verb::Rebind { user } => rebind::run(context, user),
        Verb::Recovery { user, yes } => recovery::run(context, user, *yes),
        Verb::Resync { user, codes } => resync::run(context, user, codes),
        Verb::Token { verb } => token::run(context, verb),
        Verb::Handout(options) => handout::run(context, options),
        Verb::Import(options) => import::run(context, options),
        Verb::Export(options) => export::run(context, options),
        Verb::Unlock { whom, dry_run } => unlock::run(context, whom, Run::of(*dry_run)),
        Verb::Report { output } => report::run(context, output),
        Verb::Doctor | Verb::Config { .. } | Verb::Profile { .. } | Verb::Completions { .. } => {
            Ok(ExitCode::SUCCESS)
        }
    }
}
