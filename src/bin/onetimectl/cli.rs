//! What can be typed: verbs, arguments, and the texts of `--help`.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use pam_onetime::account::{MAX_TOKENS, TokenId};
use pam_onetime::bytes_as_text::to_text;
use pam_onetime::code::{Algorithm, Digits, Period};
use pam_onetime::config::{DEFAULT_PATH, Span, TokenKind, is_issuer};

use crate::formats::{self, FORMATS, Format};

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
4 not permitted (root is needed).

Examples:
  onetimectl enable alice           alice sees a QR code at her next login
  onetimectl status                 who is enabled, and who has enrolled
  onetimectl doctor                 is this machine set up correctly?
  onetimectl disable alice          lost phone: the password is enough again
  onetimectl enable alice           a different secret: she enrolls again";

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make the store (harmless to repeat)
    Init {
        /// Bring a store up to date that is there, and make none: what an upgrade may do
        #[arg(long)]
        existing: bool,
    },
    /// Issue a secret: the user enrolls at the next login
    #[command(group = somebody())]
    Enable(EnableOptions),
    /// Destroy the secret: the password is enough again
    #[command(group = somebody())]
    Disable {
        #[command(flatten)]
        whom: SelectionOptions,
        /// Do not ask first
        #[arg(long, short)]
        yes: bool,
        /// Say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Show users, by default all who are enabled: OTP on or off, activated or not
    Status {
        #[command(flatten)]
        whom: SelectionOptions,
    },
    /// Show everybody who is enabled, or who is in one of these states
    List(ListOptions),
    /// Check a code; a right one activates a pending account
    Verify {
        /// User
        #[arg(value_name = "USER", value_hint = ValueHint::Username, value_parser = user_name())]
        user: String,
        /// The code; better typed at the prompt, where others cannot see it
        #[arg(value_name = "CODE")]
        code: Option<String>,
    },
    /// Show a pending user's QR code again
    Qr {
        /// User
        #[arg(value_name = "USER", value_hint = ValueHint::Username, value_parser = user_name())]
        user: String,
        /// The token with this number only [default: all]
        #[arg(long, value_name = "ID", value_parser = token_id)]
        token: Option<TokenId>,
        /// Write it to this new file: .png or .svg
        #[arg(long = "qr", value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
    /// Write a sheet to print for a pending user: QR code, key, what to do
    Handout(HandoutOptions),
    /// Rebuild the state of an account that lost it
    #[command(group = somebody())]
    Repair {
        #[command(flatten)]
        whom: SelectionOptions,
        /// Also spend the codes of sound accounts: their store was restored from a backup
        #[arg(long)]
        restored: bool,
        /// Say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Give an account the user's new name: secret and used codes stay
    Rename {
        /// The name that the account has
        #[arg(value_name = "OLD", value_hint = ValueHint::Username, value_parser = user_name())]
        old: String,
        /// The name that the user has now
        #[arg(value_name = "NEW", value_hint = ValueHint::Username, value_parser = user_name())]
        new: String,
        /// Also where this system does not know NEW, or by another uid
        #[arg(long)]
        force: bool,
    },
    /// Bind an account to the uid that its user has now
    Rebind {
        /// User
        #[arg(value_name = "USER", value_hint = ValueHint::Username, value_parser = user_name())]
        user: String,
    },
    /// Issue new recovery codes; the old ones no longer work
    Recovery {
        /// User
        #[arg(value_name = "USER", value_hint = ValueHint::Username, value_parser = user_name())]
        user: String,
        /// Do not ask first
        #[arg(long, short)]
        yes: bool,
    },
    /// Resynchronize a token whose clock or counter has run off
    Resync {
        /// User
        #[arg(value_name = "USER", value_hint = ValueHint::Username, value_parser = user_name())]
        user: String,
        /// Two codes in a row; better typed at the prompt
        #[arg(value_name = "CODE", num_args = 2)]
        codes: Vec<String>,
    },
    /// Give a user further tokens, at most 4 in all
    Token {
        #[command(subcommand)]
        verb: TokenVerb,
    },
    /// Take over the tokens that users have already
    Import(ImportOptions),
    /// Write the tokens with their secrets, for another system
    Export(ExportOptions),
    /// End a lock after too many wrong codes
    #[command(group = somebody())]
    Unlock {
        #[command(flatten)]
        whom: SelectionOptions,
        /// Say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Look at the machine: what is wrong, and how to fix it
    Doctor,
    /// Write a page about all accounts for an auditor: tables and plots, no secrets
    Report {
        /// Write to this new file: .html
        #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: PathBuf,
    },
    /// Show the policy in force for each service, or check a configuration
    Config {
        #[command(subcommand)]
        verb: ConfigVerb,
    },
    /// Ask for codes in every service of Debian's common-auth, or no longer
    Profile {
        #[command(subcommand)]
        verb: ProfileVerb,
    },
    /// Print completions for a shell
    Completions {
        /// Shell
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Show each value in force, and whether it is the default, of a file or an argument
    Show,
    /// Report everything that is wrong with a configuration, also before it is in its place
    Check {
        /// The configuration [default: that of --config]
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProfileVerb {
    /// Show which services it covers or would cover, and which of them cannot ask
    Show,
    /// Have pam-auth-update enable it, and look at what has come of that
    Enable {
        /// Do not ask first, even where programs cannot ask for a code
        #[arg(long, short)]
        yes: bool,
    },
    /// Have pam-auth-update disable it, and look at what has come of that
    Disable,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenVerb {
    /// Add a token: a code of any works from then on
    Add {
        /// User
        #[arg(value_name = "USER", value_hint = ValueHint::Username, value_parser = user_name())]
        user: String,
        #[command(flatten)]
        token: TokenOptions,
        /// Read its secret from standard input, in base32, instead of making one
        #[arg(long)]
        stdin: bool,
    },
    /// Show a user's tokens, without their secrets
    List {
        /// User
        #[arg(value_name = "USER", value_hint = ValueHint::Username, value_parser = user_name())]
        user: String,
    },
    /// Remove a token: its codes no longer work
    Remove {
        /// User
        #[arg(value_name = "USER", value_hint = ValueHint::Username, value_parser = user_name())]
        user: String,
        /// Its number in the list
        #[arg(value_name = "ID", value_parser = token_id)]
        id: TokenId,
        /// Do not ask first
        #[arg(long, short)]
        yes: bool,
    },
}

/// What a token is like.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct TokenOptions {
    /// Codes by time or by counter [default: from the configuration]
    #[arg(long, value_name = "totp|hotp")]
    pub(crate) kind: Option<TokenKind>,
    /// Digest; apps are sure to know SHA1 only [default: from the configuration]
    #[arg(long, value_name = "SHA1|SHA256|SHA512")]
    pub(crate) algorithm: Option<Algorithm>,
    /// Length of a code, 6 to 8 [default: from the configuration]
    #[arg(long, value_name = "N")]
    pub(crate) digits: Option<Digits>,
    /// Seconds a code is shown, 15 to 300; totp only [default: from the configuration]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) period: Option<Period>,
}

/// What is allowed, where a value was given that is not; clap puts the value
/// itself before it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum OptionError {
    #[error("the issuer must be 1 to 64 characters without ':' and control characters")]
    Issuer,
    #[error("the number of a token must be 1 to {MAX_TOKENS}")]
    TokenId,
}

fn issuer(text: &str) -> Result<String, OptionError> {
    if is_issuer(text) { Ok(text.to_owned()) } else { Err(OptionError::Issuer) }
}

fn token_id(text: &str) -> Result<TokenId, OptionError> {
    text.parse().ok().and_then(TokenId::new).ok_or(OptionError::TokenId)
}

#[derive(Debug, Args)]
pub(crate) struct EnableOptions {
    #[command(flatten)]
    pub(crate) whom: SelectionOptions,
    #[command(flatten)]
    pub(crate) token: TokenOptions,
    /// Who issues it, as the app shows it [default: from the configuration]
    #[arg(long, value_name = "TEXT", value_parser = issuer)]
    pub(crate) issuer: Option<String>,
    /// How long it can be activated: none, 12h, 14d [default: from the configuration]
    #[arg(long, value_name = "TIME")]
    pub(crate) deadline: Option<Span>,
    /// Replace the secret of a user who is enabled already
    #[arg(long)]
    pub(crate) new_secret: bool,
    /// Issue recovery codes too, and show them
    #[arg(long)]
    pub(crate) recovery: bool,
    /// Write the QR code to this new file: .png or .svg
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) qr: Option<PathBuf>,
    /// Show neither QR code nor key
    #[arg(long)]
    pub(crate) no_qr: bool,
    /// Show QR code and key also in a pipe and for many users, and with --json
    #[arg(long, conflicts_with = "no_qr")]
    pub(crate) show_secret: bool,
    /// Do not ask first, with --new-secret
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Also for a user whom this system does not know
    #[arg(long)]
    pub(crate) force: bool,
}

/// What can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// URIs, one per line
    Otpauth,
    /// RFC 6030
    Pskc,
    /// The users file of pam_oath, users.oath
    Oath,
    /// A user's .google_authenticator, of pam_google_authenticator
    Google,
}

#[derive(Debug, Args)]
pub(crate) struct ExportOptions {
    /// Users whose tokens to write [default: all]
    #[arg(value_name = "USER", value_hint = ValueHint::Username, value_parser = user_name())]
    pub(crate) users: Vec<String>,
    /// Format of the output
    #[arg(long, value_name = "FORMAT", default_value = "otpauth")]
    pub(crate) format: ExportFormat,
    /// Write to this new file; google: a file for each user into this directory
    #[arg(long, short, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ImportOptions {
    /// Files to read; - is standard input
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true, value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// Format of the files [default: recognized by name and content]
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    pub(crate) from: Option<&'static dyn Format>,
    /// User whose tokens they are (oath: take the lines of this user)
    #[arg(long, value_name = "NAME", value_hint = ValueHint::Username, value_parser = user_name())]
    pub(crate) user: Option<String>,
    /// CSV file of what the files call a token (label, serial number), and its user
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "user")]
    pub(crate) map: Option<PathBuf>,
    /// File with the key or password of encrypted PSKC [default: asked for on the terminal]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) key_file: Option<PathBuf>,
    /// Do everything but write
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Replace the tokens of users who are enabled already
    #[arg(long)]
    pub(crate) replace: bool,
    /// Do not ask first, with --replace
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Leave accounts pending: users see the secret until a code has succeeded
    #[arg(long)]
    pub(crate) pending: bool,
    /// Also for users whom this system does not know
    #[arg(long)]
    pub(crate) force: bool,
}

/// Who is meant. What is given adds up.
#[derive(Debug, Args)]
pub(crate) struct SelectionOptions {
    /// Users; "-": the names on standard input, one per line
    #[arg(value_name = "USER", value_hint = ValueHint::Username, value_parser = user_name())]
    pub(crate) users: Vec<String>,
    /// All members of this group of the system
    #[arg(long = "group", value_name = "GROUP")]
    pub(crate) groups: Vec<String>,
    /// All who are enabled; for enable: all ordinary users in /etc/passwd
    #[arg(long)]
    pub(crate) all: bool,
}

impl SelectionOptions {
    /// Whether names are read from standard input.
    pub(crate) fn reads_stdin(&self) -> bool {
        self.users.iter().any(|user| user == "-")
    }

    /// Whether anybody is selected at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty() && !self.all
    }
}

/// For verbs that need somebody to work on.
fn somebody() -> ArgGroup {
    ArgGroup::new("somebody").args(["users", "groups", "all"]).multiple(true).required(true)
}

/// Which accounts to list, and how.
#[derive(Debug, Default, Args)]
pub(crate) struct ListOptions {
    #[command(flatten)]
    pub(crate) filters: Filters,
    /// Only members of this group of the system
    #[arg(long = "group", value_name = "GROUP")]
    pub(crate) groups: Vec<String>,
    /// Only those without a code for longer: the last login with one, else the activation, else the issue
    #[arg(long, value_name = "TIME")]
    pub(crate) older_than: Option<Span>,
    /// Columns to show, in this order
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub(crate) columns: Vec<Column>,
    /// End with how many there are in each state, also where output is no terminal
    #[arg(long, conflicts_with = "csv")]
    pub(crate) summary: bool,
    /// Print CSV (RFC 4180), with every column unless some are chosen
    #[arg(long)]
    pub(crate) csv: bool,
}

/// Which accounts to list; without any, all who are enabled.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Filters {
    /// Those that have not been activated
    #[arg(long)]
    pub(crate) pending: bool,
    /// Those that have been activated
    #[arg(long)]
    pub(crate) active: bool,
    /// Those that are locked after too many wrong codes
    #[arg(long)]
    pub(crate) locked: bool,
    /// Users who are not enabled: the ordinary ones of /etc/passwd, or those of the groups
    #[arg(long)]
    pub(crate) disabled: bool,
}

/// What is to be said of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Column {
    /// The name
    User,
    /// disabled, pending or active
    State,
    /// Whether there is a record
    Otp,
    /// Whether a code has succeeded
    Activated,
    /// When the secret was issued
    Issued,
    /// Until when it must be activated
    Deadline,
    /// When it was activated
    Since,
    /// When a login with a code last succeeded
    LastCodeLogin,
    /// How many tokens there are
    Tokens,
    /// By how many codes a totp token is ahead
    Drift,
    /// How many recovery codes are left
    Recovery,
    /// Counted wrong codes, or until when the account is locked
    Failures,
    /// Until when it is locked
    LockedUntil,
    /// What accounts of services have failed with the user
    Services,
}

#[derive(Debug, Args)]
pub(crate) struct HandoutOptions {
    /// User
    #[arg(value_name = "USER", value_hint = ValueHint::Username, value_parser = user_name())]
    pub(crate) user: String,
    /// Write to this new file: .html, .svg, or .png for the QR code alone
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: PathBuf,
    /// The token with this number only [default: all]
    #[arg(long, value_name = "ID", value_parser = token_id)]
    pub(crate) token: Option<TokenId>,
    /// Issue new recovery codes, and show them on the sheet
    #[arg(long)]
    pub(crate) recovery: bool,
}

/// A user's name, which need not be UTF-8.
fn user_name() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().map(|name| given(name.as_bytes()))
}

/// A name that was typed or listed: text as it is, in which a name of `--json` is known
/// again, and else what its bytes are as text.
pub(crate) fn given(name: &[u8]) -> String {
    std::str::from_utf8(name).map_or_else(|_| to_text(name), str::to_owned)
}

/// The formats as the values of an option, each with a line about it.
fn format_parser() -> impl TypedValueParser<Value = &'static dyn Format> {
    let value = |format: &&dyn Format| PossibleValue::new(format.name()).help(format.summary());
    PossibleValuesParser::new(FORMATS.iter().map(value))
        .try_map(|name| formats::by_name(&name).ok_or("unknown format"))
}
