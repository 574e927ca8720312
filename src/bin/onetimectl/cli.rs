//! What can be typed: verbs, arguments, and the texts of `--help`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use pam_onetime::code::{Algorithm, Digits, Period};
use pam_onetime::config::{DEFAULT_PATH, KindName, Span};

/// Switch one-time codes on and off for the users of this machine.
///
/// After `onetimectl enable alice`, alice is shown a QR code at each login
/// until a code from her app has succeeded once. From then on she needs
/// password and code.
#[derive(Debug, Parser)]
#[command(name = "onetimectl", version, about, max_term_width = 80, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// Read this configuration
    #[arg(long, value_name = "FILE", global = true, default_value = DEFAULT_PATH, value_hint = ValueHint::FilePath)]
    pub(crate) config: PathBuf,

    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 failed for some of several users,
4 not permitted (it takes root).

Examples:
  onetimectl enable alice           alice sees a QR code at her next login
  onetimectl status                 who is on, and who has enrolled
  onetimectl doctor                 is this machine set up well?
  onetimectl disable alice          lost phone: the password is enough again
  onetimectl enable alice           a different secret: she enrols anew";

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make the store (harmless to repeat)
    Init,
    /// Issue a secret: the user enrols at the next login
    Enable(EnableOptions),
    /// Destroy the secret: the password is enough again
    Disable {
        /// Whom
        #[arg(required = true, value_name = "USER", value_hint = ValueHint::Username)]
        users: Vec<String>,
        /// Do not ask first
        #[arg(long, short)]
        yes: bool,
    },
    /// Show users: OTP on or off, activated or not
    Status {
        /// Whom; without any: everybody who is enabled
        #[arg(value_name = "USER", value_hint = ValueHint::Username)]
        users: Vec<String>,
    },
    /// Show everybody who is enabled
    List,
    /// Check a code; a right one activates a pending account
    Verify {
        /// Whose
        #[arg(value_name = "USER", value_hint = ValueHint::Username)]
        user: String,
        /// The code; better typed at the prompt, where others cannot see it
        #[arg(value_name = "CODE")]
        code: Option<String>,
    },
    /// Show a pending user's QR code again
    Qr {
        /// Whose
        #[arg(value_name = "USER", value_hint = ValueHint::Username)]
        user: String,
        /// Write it to this new file: .png or .svg
        #[arg(long = "qr", value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
    /// Mend an account whose state was lost
    Repair {
        /// Whom
        #[arg(required = true, value_name = "USER", value_hint = ValueHint::Username)]
        users: Vec<String>,
    },
    /// End a lock after too many wrong codes
    Unlock {
        /// Whom
        #[arg(required = true, value_name = "USER", value_hint = ValueHint::Username)]
        users: Vec<String>,
    },
    /// Look at the machine: what is wrong, and how to mend it
    Doctor,
    /// Print completions for a shell
    Completions {
        /// Which
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct EnableOptions {
    /// Whom
    #[arg(required = true, value_name = "USER", value_hint = ValueHint::Username)]
    pub(crate) users: Vec<String>,
    /// Codes by time or by counter [default: from the configuration]
    #[arg(long, value_name = "totp|hotp")]
    pub(crate) kind: Option<KindName>,
    /// Digest; apps are sure to know SHA1 only [default: from the configuration]
    #[arg(long, value_name = "SHA1|SHA256|SHA512")]
    pub(crate) algorithm: Option<Algorithm>,
    /// Length of a code, 6 to 8 [default: from the configuration]
    #[arg(long, value_name = "N")]
    pub(crate) digits: Option<Digits>,
    /// Seconds a code is shown, 15 to 300; totp only [default: from the configuration]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) period: Option<Period>,
    /// Who issues it, as the app shows it [default: from the configuration]
    #[arg(long, value_name = "TEXT")]
    pub(crate) issuer: Option<String>,
    /// How long it can be activated: none, 12h, 14d [default: from the configuration]
    #[arg(long, value_name = "TIME")]
    pub(crate) deadline: Option<Span>,
    /// Replace the secret of a user who is enabled already
    #[arg(long)]
    pub(crate) new_secret: bool,
    /// Write the QR code to this new file: .png or .svg
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) qr: Option<PathBuf>,
    /// Show neither QR code nor key
    #[arg(long)]
    pub(crate) no_qr: bool,
    /// Also for a user whom this system does not know
    #[arg(long)]
    pub(crate) force: bool,
}
