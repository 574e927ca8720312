//! What the administrator set: `/etc/onetime/onetime.toml`, and the arguments
//! of the service's line in pam.d that override it for one service.
//!
//! Parsing only; the file is read by [`crate::store::read_config`]. Unknown
//! keys and values out of range are errors that name line and key: a policy
//! that was misspelt must not silently be another one.

use std::str::FromStr;

use serde::Deserialize;

use crate::code::{Algorithm, Digits, Period};

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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
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

/// How records and states are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Two files for each user, below one directory.
    Files,
}

/// `[password]`: how a password is verified.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
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
        }
    }
}

/// `[enrollment]`: how a pending user gets to know the secret.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Enrollment {
    /// How the QR code is drawn at a login.
    pub qr: Qr,
    /// Show the secret also where no password was checked (`password=none`).
    pub show_without_password: bool,
}

/// `[login]`: what a login looks like.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Login {
    /// The prompt for an active user's code.
    pub prompt: String,
    /// Whether a code is seen while it is typed.
    pub echo: bool,
}

impl Default for Login {
    fn default() -> Self {
        Self { prompt: "One-time code: ".to_owned(), echo: false }
    }
}

/// `[limits]`: how many wrong codes are borne. SECURITY.md has the arithmetic.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
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
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
        #[serde(try_from = "String")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("must be one of: {}", [$($word),+].join(", "))),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
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

/// A small count with an upper bound.
macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident up to $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
        #[serde(try_from = "u64")]
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

impl Config {
    /// Reads the text of a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`] with line and key.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let newlines = text.bytes().take(start).filter(|byte| *byte == b'\n').count();
            let line = newlines.saturating_add(1);
            // The key stands on that line; the parser's message alone may not name it.
            let key =
                text.lines().nth(newlines).and_then(|l| l.split_once('=')).map(|(k, _)| k.trim());
            let what = error.message().replace('\n', " ");
            let what = match key {
                Some(key) if !what.contains(key) => format!("{key}: {what}"),
                Some(_) | None => what,
            };
            ConfigError::File { line, what }
        })?;
        config.check()?;
        Ok(config)
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

    /// The keys that a service's line in pam.d may override as `key=value`.
    pub const PER_LOGIN: [&'static str; 7] =
        ["service", "window", "look_ahead", "qr", "show_without_password", "prompt", "echo"];

    /// Overrides one of [`Config::PER_LOGIN`]; `None` if `key` is none of them.
    ///
    /// # Errors
    /// [`ConfigError::Argument`] if the value is not one of the key's.
    pub fn set(&mut self, key: &str, value: &str) -> Option<Result<(), ConfigError>> {
        let key = Self::PER_LOGIN.into_iter().find(|known| *known == key)?;
        let set = match key {
            "service" => assign(&mut self.password.service, value),
            "window" => assign(&mut self.code.window, value),
            "look_ahead" => assign(&mut self.code.look_ahead, value),
            "qr" => assign(&mut self.enrollment.qr, value),
            "show_without_password" => assign(&mut self.enrollment.show_without_password, value),
            "prompt" => assign(&mut self.login.prompt, value),
            "echo" => assign(&mut self.login.echo, value),
            _ => return None,
        };
        Some(set.map_err(|what| ConfigError::Argument { key, what }).and_then(|()| self.check()))
    }
}

fn assign<T: FromStr<Err: ToString>>(place: &mut T, value: &str) -> Result<(), String> {
    *place = value.parse().map_err(|error: T::Err| error.to_string())?;
    Ok(())
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
        let shipped = include_str!("../conf/onetime.toml");
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
    fn a_value_out_of_range_is_an_error_that_names_line_and_key() {
        for (text, key) in [
            ("[code]\ndigits = 9", "digits"),
            ("[code]\nperiod = 1", "period"),
            ("[code]\nwindow = 11", "window"),
            ("[code]\nalgorithm = \"MD5\"", "algorithm"),
            ("[enrollment]\nqr = \"png\"", "qr"),
            ("[login]\necho = 1", "echo"),
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
    fn every_per_login_key_can_be_set_by_an_argument_and_no_other() {
        let mut config = Config::default();
        let values = ["other", "2", "3", "ascii", "true", "Code? ", "true"];
        for (key, value) in Config::PER_LOGIN.into_iter().zip(values) {
            let before = config.clone();
            assert_eq!(config.set(key, value), Some(Ok(())), "{key}");
            assert_ne!(config, before, "{key}");
            assert!(config.clone().set(key, "\n").is_some_and(|set| set.is_err()), "{key}");
        }
        assert_eq!(config.set("dir", "/tmp"), None);
        assert_eq!(config.set("", ""), None);
    }
}
