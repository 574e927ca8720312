//! The arguments of the module's line in pam.d. All of them are known, or the
//! login is refused: a misspelt policy must not silently be another one.

use std::ffi::CStr;
use std::path::PathBuf;

use super::{Config, ConfigError, DEFAULT_PATH};

/// Who verifies the password (argument `password=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordMode {
    /// This module.
    Verify,
    /// Earlier modules of the stack.
    Stack,
    /// Something else, an ssh key for instance.
    None,
}

/// Where the password comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstPass {
    /// From an earlier module, if it left one; else the user is asked.
    Default,
    /// The same, and the user is asked if it is wrong (`try_first_pass`).
    Try,
    /// From an earlier module only (`use_first_pass`).
    Use,
}

/// What stands on the line.
#[derive(Debug, PartialEq, Eq)]
pub struct Arguments {
    /// The configuration (`config=`).
    pub config: PathBuf,
    /// Who verifies the password (`password=`).
    pub password: PasswordMode,
    /// Where the password comes from.
    pub first_pass: FirstPass,
    /// Whether the log says more (`debug`).
    pub debug: bool,
    /// Keys of the configuration, to be overridden in this order.
    overrides: Vec<(String, String)>,
}

/// Why a line is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// None of ours.
    #[error("argument {0}: unknown")]
    Unknown(String),
    /// One key, two values.
    #[error("argument {0}: given twice")]
    Twice(String),
    /// Not a value of this key.
    #[error("argument {0}")]
    Value(String),
    /// Not text.
    #[error("an argument is not UTF-8")]
    NotUtf8,
}

impl Arguments {
    /// Reads the arguments, one string each.
    ///
    /// # Errors
    /// [`ArgumentError`]: one that is unknown, malformed, or given twice.
    pub fn parse(line: &[&CStr]) -> Result<Self, ArgumentError> {
        let mut parsed = Self {
            config: PathBuf::from(DEFAULT_PATH),
            password: PasswordMode::Verify,
            first_pass: FirstPass::Default,
            debug: false,
            overrides: Vec::new(),
        };
        let mut seen = Vec::new();
        for argument in line {
            let argument = argument.to_str().map_err(|_| ArgumentError::NotUtf8)?;
            let key = argument.split_once('=').map_or(argument, |(key, _)| key);
            if seen.contains(&key) {
                return Err(ArgumentError::Twice(key.to_owned()));
            }
            seen.push(key);
            match argument.split_once('=') {
                None if key == "debug" => parsed.debug = true,
                None if key == "try_first_pass" => parsed.first_pass = FirstPass::Try,
                None if key == "use_first_pass" => parsed.first_pass = FirstPass::Use,
                // What it is called in pam_unix and in pam_google_authenticator.
                None if key == "nullok" => {
                    parsed.overrides.push(("missing".to_owned(), "ignore".to_owned()));
                }
                Some(("config", path)) if path.starts_with('/') => {
                    parsed.config = PathBuf::from(path)
                }
                Some(("config", _)) => {
                    return Err(ArgumentError::Value(
                        "config: must be an absolute path".to_owned(),
                    ));
                }
                Some(("password", mode)) => {
                    parsed.password = match mode {
                        "verify" => PasswordMode::Verify,
                        "stack" => PasswordMode::Stack,
                        "none" => PasswordMode::None,
                        _ => {
                            let what = "password: must be one of: verify, stack, none";
                            return Err(ArgumentError::Value(what.to_owned()));
                        }
                    }
                }
                Some((key, value)) if Config::per_login(key).is_some() => {
                    parsed.overrides.push((key.to_owned(), value.to_owned()));
                }
                Some(_) | None => return Err(ArgumentError::Unknown(key.to_owned())),
            }
        }
        Ok(parsed)
    }

    /// The configuration with this line's overrides.
    ///
    /// # Errors
    /// [`ConfigError`]: an override has a value that the key does not take.
    pub fn apply(&self, mut config: Config) -> Result<Config, ConfigError> {
        for (key, value) in &self.overrides {
            // `parse` has let known keys through only.
            if let Some(set) = config.set(key, value) {
                set?;
            }
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&CStr]) -> Result<Arguments, ArgumentError> {
        Arguments::parse(line)
    }

    #[test]
    fn without_arguments_the_defaults_hold() {
        let arguments = parse(&[]).unwrap();
        assert_eq!(arguments.config, PathBuf::from("/etc/onetime/onetime.toml"));
        assert_eq!(arguments.password, PasswordMode::Verify);
        assert!(!arguments.debug && arguments.first_pass == FirstPass::Default);
        assert_eq!(arguments.apply(Config::default()), Ok(Config::default()));
    }

    #[test]
    fn every_argument_is_understood() {
        let line =
            [c"config=/x/y", c"password=stack", c"debug", c"qr=none", c"prompt=Code, please: "];
        let arguments = parse(&line).unwrap();
        assert_eq!(arguments.config, PathBuf::from("/x/y"));
        assert_eq!(arguments.password, PasswordMode::Stack);
        assert!(arguments.debug);
        let config = arguments.apply(Config::default()).unwrap();
        assert_eq!(config.login.prompt, "Code, please: ");
        assert_eq!(config.enrollment.qr, crate::config::Qr::None);
    }

    #[test]
    fn unknown_malformed_and_repeated_arguments_are_refused_and_named() {
        for (argument, named) in [
            (c"passwd=stack", "passwd"),
            (c"password", "password"),
            (c"password=maybe", "password"),
            (c"config=x", "config"),
            (c"config", "config"),
            (c"debug=1", "debug"),
            (c"nullok=yes", "nullok"),
            (c"dir=/tmp", "dir"),
            (c"", ""),
            (c"=", ""),
            (c"DEBUG", "DEBUG"),
        ] {
            let error = parse(&[argument]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("argument {named}:")), "{error}");
        }
        assert_eq!(parse(&[c"debug", c"debug"]), Err(ArgumentError::Twice("debug".to_owned())));
        assert_eq!(parse(&[c"\xff"]), Err(ArgumentError::NotUtf8));
        let error = parse(&[c"window=x"]).unwrap().apply(Config::default()).unwrap_err();
        assert_eq!(error.to_string(), "window: must be a whole number");
    }
}
