//! How a login ends, whoever carried it: its settings are read, one line goes to the log,
//! and one result comes of it. Between the story of a login and those who have it told:
//! libpam, and `onetimed`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::audit::{self, Outcome, Subject};
use crate::authenticate::Failure;
use crate::config::arguments::{ArgumentError, Arguments};
use crate::config::{Config, ConfigError};
use crate::login::{Refusal, Verdict};
use crate::store::{self, LogError, StoreError};

/// The result of a login. Success has one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// PAM_SUCCESS
    Admitted,
    /// PAM_IGNORE: the rest of the stack decides.
    NotNeeded,
    /// PAM_AUTH_ERR
    Refused,
    /// PAM_MAXTRIES: it is no use to try on.
    Locked,
    /// PAM_AUTHINFO_UNAVAIL: what the decision depends on cannot be found out.
    Unavailable,
    /// PAM_SERVICE_ERR: an administrator has to correct something.
    Misconfigured,
}

impl Conclusion {
    const fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Admitted(_) => Self::Admitted,
            Verdict::NotNeeded(_) => Self::NotNeeded,
            Verdict::Refused(Refusal::LockedOut { .. } | Refusal::LockedAtService { .. }) => {
                Self::Locked
            }
            Verdict::Refused(_) | Verdict::Again(_) => Self::Refused,
        }
    }

    /// Whether the login goes on, as far as this module decides.
    #[must_use]
    pub const fn is_admission(self) -> bool {
        match self {
            Self::Admitted | Self::NotNeeded => true,
            Self::Refused | Self::Locked | Self::Unavailable | Self::Misconfigured => false,
        }
    }
}

/// Why a login ends without a verdict. Always a refusal.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The password service would ask us for the password.
    #[error("the password service includes pam_onetime.so: take it out of that file")]
    Recursion,
    /// The module's line in pam.d.
    #[error(transparent)]
    Arguments(#[from] ArgumentError),
    /// What the configuration says.
    #[error("{path}: {error}")]
    Config {
        /// Where it is.
        path: String,
        /// What is wrong with it.
        error: ConfigError,
    },
    /// The file of the configuration.
    #[error("configuration: {}", .0.with_remedy())]
    ConfigFile(StoreError),
    /// The login itself.
    #[error(transparent)]
    Login(#[from] Failure<LogError>),
}

impl Trouble {
    const fn conclusion(&self) -> Conclusion {
        match self {
            Self::Recursion | Self::Arguments(_) | Self::Config { .. } | Self::ConfigFile(_) => {
                Conclusion::Misconfigured
            }
            Self::Login(Failure::Accounts(_) | Failure::System(_) | Failure::Random) => {
                Conclusion::Unavailable
            }
            // Reveals nothing that a wrong code does not reveal.
            Self::Login(
                Failure::UnknownUser
                | Failure::Conversation(_)
                | Failure::UserChanged
                | Failure::Service(_)
                | Failure::Note(_),
            ) => Conclusion::Refused,
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

/// What the administrator has set.
///
/// # Errors
/// [`Trouble`].
pub fn read_config(path: &Path) -> Result<Config, Trouble> {
    let text = store::read_config(path).map_err(Trouble::ConfigFile)?;
    Config::parse(&text)
        .map_err(|error| Trouble::Config { path: path.display().to_string(), error })
}

/// What the administrator has set for the service with this line in pam.d.
///
/// # Errors
/// [`Trouble`].
pub fn apply(arguments: &Arguments, config: Config) -> Result<Config, Trouble> {
    let path = || arguments.config.display().to_string();
    arguments.apply(config).map_err(|error| Trouble::Config { path: path(), error })
}

/// Logs how a login ended, in one line, and gives its result.
pub fn conclude(ended: Result<Verdict, Trouble>, subject: &Subject) -> Conclusion {
    match ended {
        Ok(verdict) => {
            let (outcome, reason) = audit::explain(verdict);
            audit::send(outcome, subject, &reason);
            Conclusion::of(verdict)
        }
        Err(trouble) => {
            audit::send(trouble.outcome(), subject, &trouble.to_string());
            trouble.conclusion()
        }
    }
}
