//! What the administrator set: `/etc/onetime/onetime.toml`, and the arguments
//! of the service's line in pam.d that override it for one service.
//!
//! Parsing only; the file is read by [`crate::store::read_config`]. Unknown
//! keys and values out of range are errors that name line and key: a policy
//! that was misspelt must not silently be another one.

pub mod arguments;

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::code::{Algorithm, Digits, Period};
use crate::document::{self, Value};

/// Where the configuration is unless `config=` or `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/onetime/onetime.toml";

/// The whole file. Every key may be left out; the defaults are the ones shown
/// in `conf/onetime.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// Who issues the codes, as apps show it. Unset: this host's name.
    pub issuer: Option<String>,
    /// `[store]`
    pub store: Store,
    /// `[password]`
    pub password: Password,
    /// `[code]`
    pub code: Code,
    /// `[enrollment]`
    pub enrollment: Enrollment,
    /// `[login]`
    pub login: Login,
    /// `[limits]`
    pub limits: Limits,
}

/// `[store]`: where records and states are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// How they are kept.
    pub backend: Backend,
    /// The directory of the files backend: absolute.
    pub dir: String,
}

impl Default for Store {
    fn default() -> Self {
        Self { backend: Backend::Files, dir: "/var/lib/onetime".to_owned() }
    }
}

/// `[password]`: how a password is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Password {
    /// The PAM service that verifies it.
    pub service: String,
}

impl Default for Password {
    fn default() -> Self {
        Self { service: "onetime-password".to_owned() }
    }
}

/// `[code]`: what `onetimectl enable` issues, and how codes are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// The kind of token issued.
    pub kind: KindName,
    /// Its digest.
    pub algorithm: Algorithm,
    /// Its length of codes.
    pub digits: Digits,
    /// Its seconds a step (totp).
    pub period: Period,
    /// Steps before and after the present one that are accepted too (totp;
    /// RFC 6238 section 5.2).
    pub window: Window,
    /// Counters after the expected one that are tried too (hotp; RFC 4226
    /// section 7.4).
    pub look_ahead: LookAhead,
    /// Steps that a token's clock may run off and still be followed (totp; RFC
    /// 6238 section 6).
    pub max_drift: MaxDrift,
    /// Counters within which two codes in a row, in two logins, bring a token
    /// back that is beyond `look_ahead` (hotp; RFC 4226 section 7.4); 0: off.
    pub resync: Resync,
}

impl Default for Code {
    fn default() -> Self {
        Self {
            kind: KindName::Totp,
            algorithm: Algorithm::default(),
            digits: Digits::default(),
            period: Period::default(),
            window: Window(1),
            look_ahead: LookAhead(10),
            max_drift: MaxDrift(10),
            resync: Resync(0),
        }
    }
}

/// `[enrollment]`: how a pending user gets to know the secret.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Enrollment {
    /// Whether a login enrols, and whether it may be skipped.
    pub at_login: AtLogin,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// What becomes of a user without a record.
    pub missing: Missing,
    /// Groups whose members need a record, whatever `missing` says.
    pub require_groups: Names,
    /// Groups whose members are never asked for a code.
    pub exempt_groups: Names,
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

impl Default for Login {
    fn default() -> Self {
        Self {
            missing: Missing::Ignore,
            require_groups: Names::default(),
            exempt_groups: Names::default(),
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

impl Login {
    /// Whether password and code are one answer.
    #[must_use]
    pub fn is_combined(&self) -> bool {
        self.prompt == "combined"
    }
}

/// `[limits]`: how many wrong codes are borne. SECURITY.md has the arithmetic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Wrong codes within `period` that lock the account; 0: never.
    pub failures: u32,
    /// Seconds after which counted failures are forgotten.
    pub period: u64,
    /// Seconds of the first lock; each further one is twice as long.
    pub lockout: u64,
    /// Seconds of the longest lock; a week without a lock halves the next one.
    pub max_lockout: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { failures: 3, period: 172_800, lockout: 60, max_lockout: 172_800 }
    }
}

/// A word out of a few, in the file and as a module argument alike.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, default $default:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// The word for it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("must be one of: {}", [$($word),+].join(", "))),
                }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::$default
            }
        }
    };
}

words!(
    /// How records and states are kept.
    Backend, default Files {
        /// Two files for each user, below one directory.
        Files = "files",
    }
);

words!(
    /// The kind of token to issue.
    KindName, default Totp {
        /// By time (RFC 6238).
        Totp = "totp",
        /// By counter (RFC 4226).
        Hotp = "hotp",
    }
);

words!(
    /// How a QR code is drawn with text.
    Qr, default Utf8 {
        /// Half blocks, two modules a cell: 21 lines for a usual account.
        Utf8 = "utf8",
        /// `##` and spaces, for terminals without UTF-8: 39 lines.
        Ascii = "ascii",
        /// No QR code; the key only.
        None = "none",
    }
);

words!(
    /// Whether a login enrols a pending user.
    AtLogin, default Optional {
        /// It does, and Enter skips it.
        Optional = "optional",
        /// It does, and no code, no login.
        Required = "required",
        /// It does not: nothing is shown or asked before the account is active.
        Off = "off",
    }
);

words!(
    /// What becomes of a user without a record.
    Missing, default Ignore {
        /// They need no code.
        Ignore = "ignore",
        /// They are refused.
        Deny = "deny",
        /// They are issued a record after the right password.
        Enrol = "enrol",
    }
);

words!(
    /// A language of the login texts.
    Language, default En {
        /// English.
        En = "en",
        /// German.
        De = "de",
        /// French.
        Fr = "fr",
        /// Chinese (simplified).
        Zh = "zh",
    }
);

/// A length of time: `none`, or a whole number and `s`, `m`, `h` or `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span(Option<u64>);

impl Span {
    /// In seconds; `None` for `none`.
    #[must_use]
    pub const fn seconds(self) -> Option<u64> {
        self.0
    }
}

impl FromStr for Span {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = "must be \"none\", or a whole number and s, m, h or d (12h, 14d)";
        if text == "none" {
            return Ok(Self(None));
        }
        let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400_u64)];
        units
            .iter()
            .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))
            .and_then(|(number, seconds)| number.parse::<u64>().ok()?.checked_mul(*seconds))
            .filter(|seconds| (1..=10 * 365 * 86_400).contains(seconds))
            .map(|seconds| Self(Some(seconds)))
            .ok_or(error)
    }
}

/// A list of names; as an argument, with commas between them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names(pub Vec<String>);

impl Names {
    fn read<'t>(list: impl Iterator<Item = &'t str>) -> Result<Self, &'static str> {
        let names: Vec<_> = list.map(str::to_owned).collect();
        match names.iter().any(|name| name.is_empty() || name.contains(char::is_control)) {
            true => Err("must be names, none of them empty"),
            false => Ok(Self(names)),
        }
    }
}

impl FromStr for Names {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::read(text.split(','))
    }
}

/// A list of networks in CIDR notation (or single addresses); as an argument,
/// with commas between them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether one of them holds the address.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    fn read<'t>(list: impl Iterator<Item = &'t str>) -> Result<Self, String> {
        let network = |text: &str| {
            let single = text.parse::<IpAddr>().map(IpNet::from);
            single.or_else(|_| text.parse::<IpNet>()).map_err(|_| {
                format!("{text}: must be a network as in 192.0.2.0/24 or 2001:db8::/32")
            })
        };
        Ok(Self(list.map(network).collect::<Result<_, _>>()?))
    }
}

impl FromStr for Networks {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::read(text.split(','))
    }
}

/// A small count with an upper bound.
macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident up to $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name(u64);

        impl $name {
            /// The number.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl TryFrom<u64> for $name {
            type Error = String;
            fn try_from(number: u64) -> Result<Self, String> {
                if number <= $max {
                    Ok(Self(number))
                } else {
                    Err(format!("must be at most {}", $max))
                }
            }
        }

        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                text.parse::<u64>().map_err(|_| "must be a whole number".to_owned())?.try_into()
            }
        }
    };
}

bounded!(
    /// Steps before and after: each one more gives a guess two more chances.
    Window up to 10
);
bounded!(
    /// Steps of drift that are followed.
    MaxDrift up to 100
);
bounded!(
    /// Counters in which two codes in a row are looked for.
    Resync up to 1000
);
bounded!(
    /// Recovery codes issued at activation.
    RecoveryCodes up to 16
);
bounded!(
    /// Counters ahead: each one gives a guess one more chance.
    LookAhead up to 100
);

/// Why a configuration or an argument is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file.
    #[error("line {line}: {what}")]
    File {
        /// Line in the file, from 1.
        line: usize,
        /// What is wrong with it, in one line.
        what: String,
    },
    /// A value that each key alone permits, but not the whole.
    #[error("{0}")]
    Value(&'static str),
    /// A module argument.
    #[error("{key}: {what}")]
    Argument {
        /// Its key.
        key: &'static str,
        /// What is wrong with it.
        what: String,
    },
}

/// What a key is set to: from the file, or from a module argument.
trait Setting {
    /// From the file.
    fn set(&mut self, value: &Value<'_>) -> Result<(), String>;
    /// From the line in pam.d.
    fn set_argument(&mut self, text: &str) -> Result<(), String>;
}

fn assign<T, E: ToString>(place: &mut T, value: Result<T, E>) -> Result<(), String> {
    *place = value.map_err(|error| error.to_string())?;
    Ok(())
}

/// For types that are read from one kind of value in the file, and from text as an
/// argument.
macro_rules! settings {
    ($($value:pat => $read:expr, else $error:literal: $($name:ty),+;)+) => {
        $($(impl Setting for $name {
            fn set(&mut self, value: &Value<'_>) -> Result<(), String> {
                let $value = value else { return Err($error.to_owned()) };
                assign(self, $read)
            }

            fn set_argument(&mut self, text: &str) -> Result<(), String> {
                assign(self, text.parse())
            }
        })+)+
    };
}

settings! {
    Value::String(text) => text.parse(), else "must be a text in quotes":
        String, Backend, KindName, Algorithm, AtLogin, Qr, Missing, Language, Span;
    Value::Integer(number) => whole(*number)?.try_into(), else "must be a whole number":
        Digits, Period, Window, LookAhead, MaxDrift, Resync, RecoveryCodes, u32;
    Value::Integer(number) => whole(*number), else "must be a whole number":
        u64;
    Value::Boolean(value) => Ok::<_, String>(*value), else "must be true or false":
        bool;
    Value::Strings(list) => Self::read(list.iter().map(AsRef::as_ref)), else "must be a list of names":
        Names;
    Value::Strings(list) => Self::read(list.iter().map(AsRef::as_ref)), else "must be a list of networks":
        Networks;
}

fn whole(number: i64) -> Result<u64, String> {
    u64::try_from(number).map_err(|_| "must not be negative".to_owned())
}

impl Setting for Option<String> {
    fn set(&mut self, value: &Value<'_>) -> Result<(), String> {
        self.insert(String::new()).set(value)
    }

    fn set_argument(&mut self, text: &str) -> Result<(), String> {
        self.insert(String::new()).set_argument(text)
    }
}

/// The tables that the file may have; the first is that of the keys before any other.
const TABLES: [&str; 7] = ["", "store", "password", "code", "enrollment", "login", "limits"];

impl Config {
    /// Reads the text of a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`] with line and key.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let error = |at, what| ConfigError::File { line: document::line(text, at), what };
        let mut config = Self::default();
        for table in document::parse(text).map_err(|e| error(e.at, e.what))? {
            let name = &*table.name;
            if table.listed || !TABLES.contains(&name) {
                return Err(error(table.at, format!("[{name}]: there is no such table")));
            }
            for entry in &table.entries {
                let set = match config.place(name, &entry.key) {
                    Some(place) => place.set(&entry.value),
                    None => Err("there is no such key here".to_owned()),
                };
                set.map_err(|what| error(entry.at, format!("{}: {what}", entry.key)))?;
            }
        }
        config.check()?;
        Ok(config)
    }

    /// Where a key's value goes: all the keys that there are.
    fn place(&mut self, table: &str, key: &str) -> Option<&mut dyn Setting> {
        Some(match (table, key) {
            ("", "issuer") => &mut self.issuer,
            ("store", "backend") => &mut self.store.backend,
            ("store", "dir") => &mut self.store.dir,
            ("password", "service") => &mut self.password.service,
            ("code", "kind") => &mut self.code.kind,
            ("code", "algorithm") => &mut self.code.algorithm,
            ("code", "digits") => &mut self.code.digits,
            ("code", "period") => &mut self.code.period,
            ("code", "window") => &mut self.code.window,
            ("code", "look_ahead") => &mut self.code.look_ahead,
            ("code", "max_drift") => &mut self.code.max_drift,
            ("code", "resync") => &mut self.code.resync,
            ("enrollment", "at_login") => &mut self.enrollment.at_login,
            ("enrollment", "deadline") => &mut self.enrollment.deadline,
            ("enrollment", "qr") => &mut self.enrollment.qr,
            ("enrollment", "show_without_password") => &mut self.enrollment.show_without_password,
            ("enrollment", "recovery_codes") => &mut self.enrollment.recovery_codes,
            ("login", "missing") => &mut self.login.missing,
            ("login", "require_groups") => &mut self.login.require_groups,
            ("login", "exempt_groups") => &mut self.login.exempt_groups,
            ("login", "exempt_networks") => &mut self.login.exempt_networks,
            ("login", "remember") => &mut self.login.remember,
            ("login", "prompt") => &mut self.login.prompt,
            ("login", "echo") => &mut self.login.echo,
            ("login", "uniform") => &mut self.login.uniform,
            ("login", "honour_silent") => &mut self.login.honour_silent,
            ("login", "language") => &mut self.login.language,
            ("limits", "failures") => &mut self.limits.failures,
            ("limits", "period") => &mut self.limits.period,
            ("limits", "lockout") => &mut self.limits.lockout,
            ("limits", "max_lockout") => &mut self.limits.max_lockout,
            _ => return None,
        })
    }

    fn check(&self) -> Result<(), ConfigError> {
        if !self.store.dir.starts_with('/') {
            return Err(ConfigError::Value("store.dir: must be an absolute path"));
        }
        let service = &self.password.service;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if service.is_empty() || service.starts_with('.') || !service.chars().all(plain) {
            return Err(ConfigError::Value(
                "password.service: must be the name of a file in pam.d",
            ));
        }
        if self.login.prompt.contains(char::is_control) {
            return Err(ConfigError::Value("login.prompt: must not contain control characters"));
        }
        if matches!(&self.issuer, Some(issuer) if !is_issuer(issuer)) {
            return Err(ConfigError::Value(
                "issuer: must be 1 to 64 characters without ':' and control characters",
            ));
        }
        if self.limits.failures > 0 && (self.limits.period == 0 || self.limits.lockout == 0) {
            return Err(ConfigError::Value("limits: period and lockout must not be 0"));
        }
        if self.limits.max_lockout < self.limits.lockout {
            return Err(ConfigError::Value("limits: max_lockout must not be less than lockout"));
        }
        Ok(())
    }

    /// The keys that a service's line in pam.d may override as `key=value`, each with
    /// its table.
    pub const PER_LOGIN: [(&'static str, &'static str); 20] = [
        ("password", "service"),
        ("code", "window"),
        ("code", "look_ahead"),
        ("code", "max_drift"),
        ("code", "resync"),
        ("enrollment", "at_login"),
        ("enrollment", "qr"),
        ("enrollment", "show_without_password"),
        ("enrollment", "recovery_codes"),
        ("login", "missing"),
        ("login", "require_groups"),
        ("login", "exempt_groups"),
        ("login", "exempt_networks"),
        ("login", "remember"),
        ("login", "prompt"),
        ("login", "echo"),
        ("login", "uniform"),
        ("login", "honour_silent"),
        ("login", "language"),
        ("limits", "failures"),
    ];

    /// The one of [`Config::PER_LOGIN`] with this key.
    #[must_use]
    pub fn per_login(key: &str) -> Option<(&'static str, &'static str)> {
        Self::PER_LOGIN.into_iter().find(|(_, known)| *known == key)
    }

    /// Overrides one of [`Config::PER_LOGIN`]; `None` if `key` is none of them.
    ///
    /// # Errors
    /// [`ConfigError::Argument`] if the value is not one of the key's.
    pub fn set(&mut self, key: &str, value: &str) -> Option<Result<(), ConfigError>> {
        let (table, key) = Self::per_login(key)?;
        let set = self.place(table, key)?.set_argument(value);
        Some(set.map_err(|what| ConfigError::Argument { key, what }).and_then(|()| self.check()))
    }
}

/// Whether apps can show this as an issuer: the label of an otpauth URI uses
/// the colon to end it.
#[must_use]
pub fn is_issuer(text: &str) -> bool {
    (1..=64).contains(&text.chars().count()) && !text.contains(|c: char| c == ':' || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_shows_every_key_with_its_default() {
        let shipped = include_str!("../../conf/onetime.toml");
        // Keys are shown commented out, as `#key = value`, or set.
        let uncommented: String = shipped
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => rest,
                Some(_) | None => line,
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        assert_eq!(Config::parse(shipped).unwrap(), Config::default());
        let shown = Config::parse(&uncommented).unwrap();
        assert_eq!(shown.issuer.as_deref(), Some("host.example.org"));
        assert_eq!(Config { issuer: None, ..shown }, Config::default());
        let debug = format!("{:?}", Config::default());
        for key in debug.split([' ', '{', ',']).filter_map(|word| word.strip_suffix(':')) {
            let section = format!("[{key}]");
            let entry = |line: &str| line.starts_with(&format!("{key} = ")) || line == section;
            assert!(uncommented.lines().any(entry), "{key} is not shown in conf/onetime.toml");
        }
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_line_and_key() {
        let error = Config::parse("issuer = \"x\"\n[code]\nwindw = 2\n").unwrap_err().to_string();
        assert!(error.starts_with("line 3: ") && error.contains("windw"), "{error}");
        let error = Config::parse("[coed]\n").unwrap_err().to_string();
        assert!(error.starts_with("line 1: ") && error.contains("coed"), "{error}");
    }

    #[test]
    fn comments_change_nothing_but_the_number_of_the_line() {
        let error = Config::parse("# one\n\t# '''two\n[coed] # x\n").unwrap_err().to_string();
        assert!(error.starts_with("line 3: ") && error.contains("coed"), "{error}");
        let text = "# one\n[login]\nprompt = '''\n# Code: '''\n# last";
        assert_eq!(Config::parse(text).unwrap().login.prompt, "# Code: ");
    }

    #[test]
    fn a_value_out_of_range_is_an_error_that_names_line_and_key() {
        for (text, key) in [
            ("[code]\ndigits = 9", "digits"),
            ("[code]\nperiod = 1", "period"),
            ("[code]\nwindow = 11", "window"),
            ("[code]\nalgorithm = \"MD5\"", "algorithm"),
            ("[enrollment]\nqr = \"png\"", "qr"),
            ("[login]\necho = 1", "echo"),
            ("[login]\nremember = \"12\"", "remember"),
            ("[login]\nmissing = \"no\"", "missing"),
            ("[login]\nexempt_networks = [\"192.0.2.0/33\"]", "exempt_networks"),
            ("[enrollment]\ndeadline = \"0d\"", "deadline"),
        ] {
            let error = Config::parse(text).unwrap_err().to_string();
            assert!(error.starts_with("line 2: ") && error.contains(key), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
        for text in [
            "issuer = \"a:b\"",
            "[store]\ndir = \"var\"",
            "[password]\nservice = \"../x\"",
            "[login]\nprompt = \"a\\nb\"",
            "[limits]\nlockout = 0",
            "[limits]\nmax_lockout = 1",
        ] {
            assert!(matches!(Config::parse(text), Err(ConfigError::Value(_))), "{text}");
        }
    }

    #[test]
    fn lengths_of_time_have_a_unit() {
        for (text, seconds) in
            [("none", None), ("90s", Some(90)), ("12h", Some(43_200)), ("14d", Some(1_209_600))]
        {
            assert_eq!(text.parse::<Span>().map(Span::seconds), Ok(seconds), "{text}");
        }
        for text in ["", "0s", "5", "h", "-1h", "1.5h", "99999999999999999999d", "4000d", "1 h"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn networks_hold_their_addresses_and_no_other() {
        let networks: Networks = "192.0.2.0/24,2001:db8::/32,198.51.100.7".parse().unwrap();
        for (address, inside) in [
            ("192.0.2.255", true),
            ("192.0.3.0", false),
            ("::ffff:192.0.2.1", true),
            ("2001:db8:1::1", true),
            ("2001:db9::", false),
            ("198.51.100.7", true),
            ("198.51.100.8", false),
        ] {
            assert_eq!(networks.contain(address.parse().unwrap()), inside, "{address}");
        }
        assert!(!Networks::default().contain("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn every_per_login_key_can_be_set_by_an_argument_and_no_other() {
        let mut config = Config::default();
        let values = [
            "other",
            "2",
            "3",
            "4",
            "100",
            "required",
            "ascii",
            "true",
            "8",
            "deny",
            "wheel,adm",
            "svc",
            "192.0.2.0/24,::1",
            "12h",
            "Code? ",
            "true",
            "true",
            "false",
            "de",
            "9",
        ];
        for ((_, key), value) in Config::PER_LOGIN.into_iter().zip(values) {
            let before = config.clone();
            assert_eq!(config.set(key, value), Some(Ok(())), "{key}");
            assert_ne!(config, before, "{key}");
            assert!(config.clone().set(key, "\n").is_some_and(|set| set.is_err()), "{key}");
        }
        assert_eq!(config.set("dir", "/tmp"), None);
        assert_eq!(config.set("", ""), None);
    }
}
