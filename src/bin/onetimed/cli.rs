//! What can be typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use clap_complete::Shell;
use pam_onetime::config::DEFAULT_PATH;
use pam_onetime::relay::SOCKET;

/// The exit code of a line that cannot be understood: EX_USAGE of sysexits.h.
pub(crate) const USAGE: u8 = 64;

/// Judges the logins of programs that may read no secret (see onetimed(8)).
#[derive(Debug, Parser)]
#[command(name = "onetimed", version, max_term_width = 90)]
pub(crate) struct Cli {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    pub(crate) config: PathBuf,
    /// Where to listen, unless systemd hands over a socket.
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    pub(crate) socket: PathBuf,
    /// Ends after so many seconds without a login; 0: never.
    #[arg(long, value_name = "SECONDS", default_value = "30")]
    idle: u64,
    /// Prints a script by which a shell completes what you type, and ends.
    #[arg(long, value_name = "SHELL", exclusive = true)]
    pub(crate) completions: Option<Shell>,
}

impl Cli {
    /// How long it stays without a login; `None`: for ever.
    pub(crate) fn idle(&self) -> Option<Duration> {
        (self.idle > 0).then(|| Duration::from_secs(self.idle))
    }
}

pub(crate) fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "onetimed", &mut script);
    Ok(std::io::Write::write_all(&mut std::io::stdout(), &script)?)
}
