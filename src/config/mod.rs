//! What the administrator set: `/etc/onetime/onetime.toml`, and the arguments
//! of the service's line in pam.d that override it for one service.
//!
//! Parsing only; the file is read by [`crate::store::read_config`]. Unknown
//! keys and values out of range are errors that name line and key: a policy
//! that was misspelt must not silently be another one.

pub mod arguments;
mod values;

use serde::Deserialize;

pub use self::values::{
    AtLogin, GroupNames, Language, LookAhead, MaxDrift, Missing, Networks, Qr, RecoveryCodes,
    Resync, ShowAt, Span, StoreBackend, TokenKind, UpTo, ValueError, Window, host_address,
};
use crate::code::{Algorithm, Digits, Period};
use crate::fields::table;

/// Where the configuration is unless `config=` or `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/onetime/onetime.toml";

/// The whole file. Every key may be left out; the defaults are the ones shown
/// in `conf/onetime.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Who issues the codes, as apps show it. Unset: this host's name.
    pub issuer: Option<String>,
    /// `[store]`
    #[serde(deserialize_with = "table")]
    pub store: StoreConfig,
    /// `[password]`
    #[serde(deserialize_with = "table")]
    pub password: PasswordConfig,
    /// `[code]`
    #[serde(deserialize_with = "table")]
    pub code: CodePolicy,
    /// `[enrollment]`
    #[serde(deserialize_with = "table")]
    pub enrollment: EnrollmentPolicy,
    /// `[login]`
    #[serde(deserialize_with = "table")]
    pub login: LoginPolicy,
    /// `[limits]`
    #[serde(deserialize_with = "table")]
    pub limits: Limits,
    /// `[daemon]`
    #[serde(deserialize_with = "table")]
    pub daemon: DaemonPolicy,
    /// `[self_service]`
    #[serde(deserialize_with = "table")]
    pub self_service: SelfService,
}

/// `[store]`: where records and states are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// How they are kept.
    pub backend: StoreBackend,
    /// The directory of the files backend: absolute.
    pub dir: String,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { backend: StoreBackend::Files, dir: "/var/lib/onetime".to_owned() }
    }
}

/// `[password]`: how a password is verified.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PasswordConfig {
    /// The PAM service that verifies it.
    pub service: String,
}

impl Default for PasswordConfig {
    fn default() -> Self {
        Self { service: "onetime-password".to_owned() }
    }
}

/// `[code]`: what `onetimectl enable` issues, and how codes are accepted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CodePolicy {
    /// The kind of token issued.
    pub kind: TokenKind,
    /// The digest of new tokens; issued ones keep theirs.
    pub algorithm: Algorithm,
    /// How long its codes are.
    pub digits: Digits,
    /// Seconds of its time step (totp).
    pub period: Period,
    /// Time steps before and after the present one that are accepted too (totp;
    /// RFC 6238 section 5.2).
    pub window: Window,
    /// Counters after the expected one that are tried too: the look-ahead window
    /// (hotp; RFC 4226 section 7.4).
    pub look_ahead: LookAhead,
    /// Time steps that a token's clock may run off and still be followed (totp;
    /// RFC 6238 section 6).
    pub max_drift: MaxDrift,
    /// Counters within which two codes in a row, in two logins, bring a token
    /// back that is beyond `look_ahead` (hotp; RFC 4226 section 7.4); 0: off.
    pub resync: Resync,
}

impl Default for CodePolicy {
    fn default() -> Self {
        Self {
            kind: TokenKind::Totp,
            algorithm: Algorithm::default(),
            digits: Digits::default(),
            period: Period::default(),
            window: Window::of::<1>(),
            look_ahead: LookAhead::of::<10>(),
            max_drift: MaxDrift::of::<10>(),
            resync: Resync::of::<0>(),
        }
    }
}

/// `[enrollment]`: how a pending user gets to know the secret.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnrollmentPolicy {
    /// Whether a login enrols, and whether it may be skipped.
    pub at_login: AtLogin,
    /// The services at which a secret may be shown.
    pub show_at: ShowAt,
    /// How long after it was issued a secret can be activated.
    pub deadline: Span,
    /// How the QR code is drawn at a login.
    pub qr: Qr,
    /// Show the secret also where no password was checked (`password=none`).
    pub show_without_password: bool,
    /// How many recovery codes are issued and shown when the first code has
    /// succeeded at a login.
    pub recovery_codes: RecoveryCodes,
}

/// `[login]`: what a login looks like, and who needs a code.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoginPolicy {
    /// What becomes of a user without a record.
    pub missing: Missing,
    /// Groups whose members need a record, whatever `missing` says.
    pub require_groups: GroupNames,
    /// Groups whose members are never asked for a code.
    pub exempt_groups: GroupNames,
    /// Networks from which nobody is asked for a code.
    pub exempt_networks: Networks,
    /// How long no code is asked for again from the same address, for the
    /// same service.
    pub remember: Span,
    /// The prompt for an active user's code, or `combined`: password and code
    /// are one answer to one prompt.
    pub prompt: String,
    /// Whether a code is seen while it is typed.
    pub echo: bool,
    /// The same prompts for everybody, so that nobody learns who exists and
    /// who is enabled.
    pub uniform: bool,
    /// Show nothing where the application wants silence (PAM_SILENT). sudo
    /// always does, and shows texts all the same when it gets them.
    pub honour_silent: bool,
    /// In which language users are spoken to.
    pub language: Language,
}

impl Default for LoginPolicy {
    fn default() -> Self {
        Self {
            missing: Missing::Ignore,
            require_groups: GroupNames::default(),
            exempt_groups: GroupNames::default(),
            exempt_networks: Networks::default(),
            remember: Span::default(),
            prompt: String::new(),
            echo: false,
            uniform: false,
            honour_silent: true,
            language: Language::En,
        }
    }
}

impl LoginPolicy {
    /// Whether password and code are one answer.
    #[must_use]
    pub fn is_combined(&self) -> bool {
        self.prompt == "combined"
    }
}

/// `[limits]`: how many wrong codes are tolerated. SECURITY.md has the arithmetic.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Wrong codes within `period` that lock the account; 0: never.
    #[serde(deserialize_with = "values::count")]
    pub failures: u32,
    /// Seconds after which counted failures are forgotten.
    #[serde(deserialize_with = "values::seconds")]
    pub period: u64,
    /// Seconds of the first lock; each further one is twice as long.
    #[serde(deserialize_with = "values::seconds")]
    pub lockout: u64,
    /// Seconds of the longest lock; a week without a lock halves the next one.
    #[serde(deserialize_with = "values::seconds")]
    pub max_lockout: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { failures: 3, period: 172_800, lockout: 60, max_lockout: 172_800 }
    }
}

/// `[daemon]`: whom `onetimed` answers besides root, and users about themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DaemonPolicy {
    /// Accounts of services that may ask for anybody.
    pub may_ask: Vec<MayAsk>,
}

/// An account that may ask for anybody who logs in to its services.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MayAsk {
    /// The account's name.
    pub user: String,
    /// The names of its files in pam.d.
    pub services: Vec<String>,
}

impl DaemonPolicy {
    /// Whether the account may ask for anybody who logs in to `service`.
    #[must_use]
    pub fn permits(&self, account: &str, service: &str) -> bool {
        let of_account = self.may_ask.iter().filter(|entry| entry.user == account);
        of_account.flat_map(|entry| &entry.services).any(|named| named == service)
    }

    /// Whether the account may ask for anybody at all.
    #[must_use]
    pub fn names(&self, account: &str) -> bool {
        self.may_ask.iter().any(|entry| entry.user == account)
    }
}

/// `[self_service]`: what users may change of their own accounts (`onetime`), by password and
/// code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelfService {
    /// Whether they may issue themselves new recovery codes.
    pub recovery: bool,
    /// Whether they may put a new token in the place of their old one.
    pub renew: bool,
}

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file's text.
    #[error("line {line}: {what}")]
    File {
        /// Line in the file, from 1.
        line: usize,
        /// What is wrong with it, in one line: what the `toml` crate says.
        what: String,
    },
    /// A value that its type alone permits.
    #[error(transparent)]
    Value(#[from] RuleError),
}

/// A rule that a configuration breaks, wherever its values are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// `store.dir`
    #[error("store.dir: must be an absolute path")]
    Dir,
    /// `password.service`
    #[error("password.service: must be the name of a file in pam.d")]
    Service,
    /// `login.prompt`
    #[error("login.prompt: must not contain control characters")]
    Prompt,
    /// `issuer`
    #[error("issuer: must be 1 to 64 characters without ':' and control characters")]
    Issuer,
    /// `limits.period`, `limits.lockout`: they count as soon as `limits.failures` does.
    #[error("limits: period and lockout must not be 0")]
    NoLock,
    /// `limits.max_lockout`
    #[error("limits: max_lockout must not be less than lockout")]
    LongestLock,
}

impl Config {
    /// Reads the text of a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`] with line and key.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let short = without_comments(text).and_then(|short| toml::from_str(&short).ok());
        // Where it cannot be read, the whole text says why, and in which line.
        let config: Self =
            short.map_or_else(|| toml::from_str(text).map_err(|error| explain(text, error)), Ok)?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), RuleError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let service = &self.password.service;
        let limits = &self.limits;
        if !self.store.dir.starts_with('/') {
            Err(RuleError::Dir)
        } else if service.is_empty() || service.starts_with('.') || !service.chars().all(plain) {
            Err(RuleError::Service)
        } else if self.login.prompt.contains(char::is_control) {
            Err(RuleError::Prompt)
        } else if self.issuer.as_deref().is_some_and(|issuer| !is_issuer(issuer)) {
            Err(RuleError::Issuer)
        } else if limits.failures > 0 && (limits.period == 0 || limits.lockout == 0) {
            Err(RuleError::NoLock)
        } else if limits.max_lockout < limits.lockout {
            Err(RuleError::LongestLock)
        } else {
            Ok(())
        }
    }
}

/// What is set in most files is not longer.
const ROOM: usize = 512;

/// The text without the lines that are comments: the file that is shipped is hardly anything
/// else, and each login reads it. `None` where a line that begins as a comment need not be
/// one, or is one that TOML does not permit.
fn without_comments(text: &str) -> Option<String> {
    let mut short = String::with_capacity(ROOM);
    let mut rest = text;
    while !rest.is_empty() {
        if rest.starts_with('#') {
            let Some(end) = first_control(rest.as_bytes()) else { break };
            rest = rest.get(end..)?.strip_prefix('\n')?;
        } else {
            let end = rest.find('\n').map_or(rest.len(), |end| end.saturating_add(1));
            let (line, next) = rest.split_at(end);
            short.push_str(if line == "\n" { "" } else { line });
            rest = next;
        }
    }
    // What such quotes begin may have a line in it that begins as a comment.
    let may_be_text = ["\"\"\"", "'''"].iter().any(|quotes| short.contains(quotes));
    (!may_be_text).then(|| without_empty_tables(&short).unwrap_or(short))
}

/// The tables of the file.
const TABLES: [&str; 8] =
    ["store", "password", "code", "enrollment", "login", "limits", "daemon", "self_service"];

/// The text without the headers below which nothing is: most tables of most files. `None`
/// where such a table may be set in another place, too, which TOML does not permit.
fn without_empty_tables(text: &str) -> Option<String> {
    let mut empty = [false; TABLES.len()];
    let mut kept = String::with_capacity(text.len());
    let mut lines = text.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        let name =
            line.trim_end_matches('\n').strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let is_last = lines.peek().is_none_or(|next| next.starts_with('['));
        let table = TABLES.iter().zip(&mut empty).find(|(table, _)| name == Some(**table));
        match table {
            Some((_, true)) => return None,
            Some((_, empty)) if is_last => *empty = true,
            Some(_) | None => kept.push_str(line),
        }
    }
    // A key is at the beginning of a line, but for signs; one with a backslash is any.
    let keys = kept.lines().map(|line| line.trim_start_matches(|c: char| !c.is_alphanumeric()));
    let begins_with = |table: &str| keys.clone().any(|key| key.starts_with(table));
    let elsewhere = TABLES.iter().zip(empty).any(|(table, empty)| empty && begins_with(table));
    (!elsewhere && !kept.contains('\\')).then_some(kept)
}

/// Where the first of ASCII's control characters is: eight bytes at a time, since nothing
/// else is looked at of most lines.
fn first_control(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const HIGHEST: u64 = ONES << 7;
    /// Whether a byte is below `bound`, which is at most 128: it borrows its highest bit.
    const fn has_below(word: u64, bound: u64) -> bool {
        word.wrapping_sub(ONES.wrapping_mul(bound)) & !word & HIGHEST != 0
    }
    let (words, _) = bytes.as_chunks::<8>();
    let mut words = words.iter().map(|word| u64::from_ne_bytes(*word));
    let free = words.position(|word| has_below(word, 0x20) || has_below(word ^ (ONES * 0x7f), 1));
    let begin = free.unwrap_or(bytes.len() / 8).saturating_mul(8);
    let found = bytes.get(begin..)?.iter().position(u8::is_ascii_control)?;
    begin.checked_add(found)
}

/// Where and why, in one line. Without the text that it was made for, toml's error names
/// the path of the key instead of drawing the line of the file.
fn explain(text: &str, mut error: toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start);
    let newlines = text.bytes().take(start).filter(|byte| *byte == b'\n').count();
    error.set_input(None);
    let what = error.to_string().trim_end().replace(char::is_control, " ");
    ConfigError::File { line: newlines.saturating_add(1), what }
}

/// Whether this is what a machine is called before it has a name of its own. An app cannot
/// distinguish two machines of one issuer: the second key takes the place of the first.
#[cfg(any(test, feature = "tool"))]
#[must_use]
pub fn is_common_issuer(text: &str) -> bool {
    const COMMON: [&str; 22] = [
        "localhost",
        "debian",
        "ubuntu",
        "fedora",
        "centos",
        "rocky",
        "almalinux",
        "alpine",
        "archlinux",
        "arch",
        "kali",
        "opensuse",
        "raspberrypi",
        "nixos",
        "linux",
        "vm",
        "server",
        "host",
        "default",
        "unknown",
        "(none)",
        "ubuntu-server",
    ];
    let text = text.trim().to_lowercase();
    let first = text.split('.').next().unwrap_or_default();
    let has_domain_of_its_own = match text.split_once('.') {
        Some((_, domain)) => {
            !matches!(domain, "localdomain" | "local" | "lan" | "home" | "internal")
        }
        None => false,
    };
    // "host.example.org" is one machine's, "vm.localdomain" is not.
    let of_localhost = first == "localhost" || text.ends_with(".localhost");
    of_localhost || (COMMON.contains(&first) && !has_domain_of_its_own)
}

/// Whether apps can show this as an issuer: the label of an otpauth URI uses
/// the colon to end it.
#[must_use]
pub fn is_issuer(text: &str) -> bool {
    (1..=64).contains(&text.chars().count()) && !text.contains(|c: char| c == ':' || c.is_control())
}

#[cfg(test)]
mod tests;
