//! The authenticate hook: reads arguments and configuration, has
//! [`crate::authenticate`] do the login, logs one line, and gives PAM's result.

use std::ffi::CStr;
use std::path::Path;

use pam::constants::{PamFlag, PamResultCode};
use pam::module::PamHandle;

use super::door::PamDoor;
use super::password;
use crate::audit::{self, Outcome, Subject};
use crate::authenticate::{self as login, Failure, Machine, Policy};
use crate::config::arguments::{ArgumentError, Arguments};
use crate::config::{Config, ConfigError};
use crate::login::ports::Door;
use crate::login::{Refusal, Verdict};
use crate::store::{self, Logged, StoreError};

/// Authenticates, logs one line, and gives PAM's result.
pub(super) fn authenticate(pamh: &mut PamHandle, line: &[&CStr], flags: PamFlag) -> PamResultCode {
    let nested = password::is_nested(pamh);
    let mut door = PamDoor::new(pamh, flags);
    let mut subject = Subject {
        service: door.service().unwrap_or_default(),
        rhost: door.rhost(),
        tty: door.tty(),
        ..Subject::default()
    };
    let ended = if nested {
        Err(Trouble::Recursion)
    } else {
        read_policy(line).and_then(|(config, arguments)| {
            let policy = Policy { config: &config, arguments: &arguments };
            let open = || Ok(store::open(&config.store)?);
            Ok(login::authenticate(&mut door, &Machine, policy, open, &mut subject)?)
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
enum Trouble {
    #[error("the password service includes pam_onetime.so: take it out of that file")]
    Recursion,
    #[error(transparent)]
    Arguments(#[from] ArgumentError),
    #[error("{path}: {error}")]
    Config { path: String, error: ConfigError },
    #[error("configuration: {}", .0.with_remedy())]
    ConfigFile(StoreError),
    #[error(transparent)]
    Login(#[from] Failure<Logged>),
}

impl Trouble {
    const fn result(&self) -> PamResultCode {
        match self {
            Self::Recursion | Self::Arguments(_) | Self::Config { .. } | Self::ConfigFile(_) => {
                PamResultCode::PAM_SERVICE_ERR
            }
            Self::Login(Failure::Accounts(_) | Failure::System(_) | Failure::Random) => {
                PamResultCode::PAM_AUTHINFO_UNAVAIL
            }
            // Reveals nothing that a wrong code does not reveal.
            Self::Login(Failure::UnknownUser | Failure::Conversation(_) | Failure::UserChanged) => {
                PamResultCode::PAM_AUTH_ERR
            }
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
                Failure::Accounts(_) | Failure::System(_) | Failure::Random | Failure::UserChanged,
            ) => Outcome::Failed,
        }
    }
}

fn read_policy(line: &[&CStr]) -> Result<(Config, Arguments), Trouble> {
    let arguments = Arguments::parse(line)?;
    let path: &Path = &arguments.config;
    let text = store::read_config(path).map_err(Trouble::ConfigFile)?;
    let config = Config::parse(&text).and_then(|config| arguments.apply(config));
    match config {
        Ok(config) => Ok((config, arguments)),
        Err(error) => Err(Trouble::Config { path: path.display().to_string(), error }),
    }
}
