//! How much of a login the person sees: what may be shown depends on the program that they
//! log in by, and is decided here. Pure.

use crate::callers::{Asker, Carrier, carrier};
use crate::config::Config;

/// What a program prints to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// A terminal, by standard output and standard error.
    Terminal,
    /// Something else, at least by one of them: a file, a pipe.
    Elsewhere,
}

/// What the person who logs in can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Prompts alone.
    Prompts,
    /// Short texts without a secret.
    Texts,
    /// Secrets too, in texts of less than 900 bytes: no QR code.
    ShortSecrets,
    /// Everything.
    Everything,
}

impl View {
    /// Of a login at `service`. A secret is shown where the configuration permits it; and
    /// by a program that prints, on a terminal alone: `output` is asked about that one only.
    #[must_use]
    pub fn of(service: &str, output: impl FnOnce() -> Output, config: &Config) -> Self {
        let permitted = config.enrollment.show_at.names(service);
        match carrier(service) {
            Carrier::Nothing => Self::Prompts,
            Carrier::Direct | Carrier::Printed | Carrier::Short if !permitted => Self::Texts,
            Carrier::Direct => Self::Everything,
            Carrier::Printed => match output() {
                Output::Terminal => Self::Everything,
                Output::Elsewhere => Self::Texts,
            },
            Carrier::Short => Self::ShortSecrets,
        }
    }

    /// As much of it as `asker` gets.
    #[must_use]
    pub const fn of_asker(self, asker: Asker) -> Self {
        match self {
            Self::ShortSecrets | Self::Everything if !asker.may_enroll() => Self::Texts,
            Self::Prompts | Self::Texts | Self::ShortSecrets | Self::Everything => self,
        }
    }

    /// Whether texts are shown that need no answer.
    #[must_use]
    pub const fn has_texts(self) -> bool {
        match self {
            Self::Prompts => false,
            Self::Texts | Self::ShortSecrets | Self::Everything => true,
        }
    }

    /// Whether a secret may be shown.
    #[must_use]
    pub const fn has_secrets(self) -> bool {
        match self {
            Self::Prompts | Self::Texts => false,
            Self::ShortSecrets | Self::Everything => true,
        }
    }
}
