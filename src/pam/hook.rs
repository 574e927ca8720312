//! The authenticate hook: reads arguments and configuration, has
//! [`crate::authenticate`] do the login, logs one line, and gives PAM's result.

use std::ffi::CStr;
use std::path::Path;

use pam::constants::{PamFlag, PamResultCode};
use pam::module::PamHandle;

use super::door::PamDoor;
use super::{account, password};
use crate::audit::{self, Outcome, Subject};
use crate::authenticate::{self, Failure, LoginSettings, Machine};
use crate::config::arguments::{ArgumentError, Arguments};
use crate::config::{Config, ConfigError};
use crate::login::ports::Door;
use crate::login::{Refusal, Verdict};
use crate::store::{self, LogError, StoreError};

/// Authenticates, logs one line, and gives PAM's result.
pub(super) fn authenticate(pamh: &mut PamHandle, line: &[&CStr], flags: PamFlag) -> PamResultCode {
    let nested = password::is_nested(pamh);
    account::forget(pamh);
    let mut door = PamDoor::new(pamh, flags);
    let mut subject = Subject {
        service: door.service().unwrap_or_default(),
        ruser: door.ruser(),
        rhost: door.rhost(),
        tty: door.tty(),
        ..Subject::default()
    };
    let ended = if nested {
        Err(HookError::Recursion)
    } else {
        read_settings(line).and_then(|(config, arguments)| {
            let settings = LoginSettings { config: &config, arguments: &arguments };
            let open = || Ok(store::open(&config.store)?);
            Ok(authenticate::authenticate(&mut door, &Machine, settings, open, &mut subject)?)
        })
    };
    match ended {
        Ok(verdict) => {
            let (outcome, reason) = audit::explain(verdict);
            audit::send(outcome, &subject, &reason);
            result_of(verdict)
        }
        Err(trouble) => {
            audit::send(trouble.outcome(), &subject, &trouble.to_string());
            trouble.result()
        }
    }
}

/// Success has this one source, and PAM_IGNORE too.
const fn result_of(verdict: Verdict) -> PamResultCode {
    match verdict {
        Verdict::Admitted(_) => PamResultCode::PAM_SUCCESS,
        Verdict::NotNeeded(_) => PamResultCode::PAM_IGNORE,
        Verdict::Refused(Refusal::LockedOut { .. }) => PamResultCode::PAM_MAXTRIES,
        Verdict::Refused(_) | Verdict::Again(_) => PamResultCode::PAM_AUTH_ERR,
    }
}

/// Why a login ends without a verdict. Always a refusal.
#[derive(Debug, thiserror::Error)]
enum HookError {
    #[error("the password service includes pam_onetime.so: take it out of that file")]
    Recursion,
    #[error(transparent)]
    Arguments(#[from] ArgumentError),
    #[error("{path}: {error}")]
    Config { path: String, error: ConfigError },
    #[error("configuration: {}", .0.with_remedy())]
    ConfigFile(StoreError),
    #[error(transparent)]
    Login(#[from] Failure<LogError>),
}

impl HookError {
    const fn result(&self) -> PamResultCode {
        match self {
            Self::Recursion | Self::Arguments(_) | Self::Config { .. } | Self::ConfigFile(_) => {
                PamResultCode::PAM_SERVICE_ERR
            }
            Self::Login(Failure::Accounts(_) | Failure::System(_) | Failure::Random) => {
                PamResultCode::PAM_AUTHINFO_UNAVAIL
            }
            // Reveals nothing that a wrong code does not reveal.
            Self::Login(
                Failure::UnknownUser
                | Failure::Conversation(_)
                | Failure::UserChanged
                | Failure::Service(_)
                | Failure::Note(_),
            ) => PamResultCode::PAM_AUTH_ERR,
        }
    }

    const fn outcome(&self) -> Outcome {
        match self {
            Self::Login(Failure::UnknownUser | Failure::Conversation(_)) => Outcome::Refused,
            Self::Recursion
            | Self::Arguments(_)
            | Self::Config { .. }
            | Self::ConfigFile(_)
            | Self::Login(
                Failure::Accounts(_)
                | Failure::System(_)
                | Failure::Random
                | Failure::UserChanged
                | Failure::Service(_)
                | Failure::Note(_),
            ) => Outcome::Failed,
        }
    }
}

fn read_settings(line: &[&CStr]) -> Result<(Config, Arguments), HookError> {
    let arguments = Arguments::parse(line)?;
    let path: &Path = &arguments.config;
    let text = store::read_config(path).map_err(HookError::ConfigFile)?;
    let config = Config::parse(&text).and_then(|config| arguments.apply(config));
    match config {
        Ok(config) => Ok((config, arguments)),
        Err(error) => Err(HookError::Config { path: path.display().to_string(), error }),
    }
}
