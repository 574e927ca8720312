//! `onetime`: what users see and change of their own accounts. It has no privilege: it asks
//! `onetimed`, which decides everything.
//!
//! Each room uses only rooms below it; `tests/it/house.rs` reads the arrows.
//!
//! ```text
//! status               what there is to say of the account
//! terminal             the person at this terminal, as a door
//! cli                  what can be typed
//! ```

mod cli;
mod status;
mod terminal;

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::ensure;
use clap::Parser;
use pam_onetime::conclusion::Conclusion;
use pam_onetime::relay::{OwnChange, own_change, own_status};

use cli::{Cli, Verb};
use terminal::Terminal;

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
            #[expect(clippy::print_stderr, reason = "it is a tool, and this is its user")]
            {
                eprintln!("onetime: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    match &cli.verb {
        Verb::Status { json } => status::print(own_status()?, *json),
        Verb::Recovery => change(OwnChange::Recovery),
        Verb::Renew => change(OwnChange::Renew),
        Verb::Completions { shell } => cli::completions(*shell),
    }
}

fn change(what: OwnChange) -> anyhow::Result<()> {
    ensure!(
        std::io::stdout().is_terminal() && std::io::stdin().is_terminal(),
        "secrets are shown on a terminal alone: run it on one, without a pipe or a file"
    );
    let end = own_change(&mut Terminal, what)?;
    match end.conclusion {
        Conclusion::Admitted => Ok(()),
        Conclusion::Refused | Conclusion::NotNeeded => {
            anyhow::bail!("refused: password or code was wrong, or nothing was confirmed")
        }
        Conclusion::Locked => anyhow::bail!("refused: the account is locked for some time"),
        Conclusion::Unavailable | Conclusion::Misconfigured => {
            anyhow::bail!("onetimed cannot do it now: an administrator finds why in the log")
        }
    }
}
