//! What can be typed.

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

/// The exit code of a line that cannot be understood: EX_USAGE of sysexits.h.
pub(crate) const USAGE: u8 = 64;

/// See and change what belongs to your own one-time codes (see onetime(1)).
#[derive(Debug, Parser)]
#[command(name = "onetime", version, max_term_width = 90)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Are codes on, how many recovery codes are left, is the account locked?
    Status {
        /// Print JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Get new recovery codes in the place of the old ones, after password and code
    Recovery,
    /// Exchange the app, on a new phone perhaps, after password and code of the old one
    Renew,
    /// Print a script by which a shell completes what you type
    Completions {
        /// For which shell
        shell: Shell,
    },
}

pub(crate) fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "onetime", &mut script);
    Ok(std::io::Write::write_all(&mut std::io::stdout(), &script)?)
}
