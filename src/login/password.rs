//! What a login knows of the password, and the proof that lets a secret be shown.

use super::Refusal;
#[cfg(any(test, feature = "daemon"))]
use super::{Grant, Verdict};
#[cfg(any(test, feature = "daemon"))]
use crate::config::arguments::PasswordMode;

/// Evidence that whoever is at the other end may see the account's secret.
///
/// A secret is shown only to code that has one. The constructors below are all
/// there are, and `tests/it/house.rs` lists the functions that call them.
#[derive(Debug)]
pub struct PasswordProof(());

impl PasswordProof {
    /// The nested transaction has just verified the password.
    pub(crate) const fn by_transaction() -> Self {
        Self(())
    }

    /// `show_without_password` says that the login needs none.
    pub(super) const fn by_configuration() -> Self {
        Self(())
    }

    /// A login that verifies the password itself has just succeeded by a code.
    #[cfg(any(test, feature = "daemon"))]
    #[must_use]
    pub const fn by_verdict(verdict: Verdict, mode: PasswordMode) -> Option<Self> {
        match (verdict, mode) {
            (
                Verdict::Admitted(Grant::Code | Grant::RecoveryCode { .. } | Grant::Activated),
                PasswordMode::Verify,
            ) => Some(Self(())),
            (
                Verdict::Admitted(_)
                | Verdict::NotNeeded(_)
                | Verdict::Again(_)
                | Verdict::Refused(_),
                PasswordMode::Verify | PasswordMode::Stack | PasswordMode::None,
            ) => None,
        }
    }

    /// The caller can read the record file itself (`onetimectl`, as root).
    #[must_use]
    pub const fn by_administrator() -> Self {
        Self(())
    }
}

/// What is known about the password when the code is due.
#[derive(Debug)]
pub enum PasswordCheck {
    /// Verified in this login.
    Right(PasswordProof),
    /// Could not be verified in this login.
    Wrong(PasswordFault),
    /// An earlier module of the stack checks it (`password=stack`).
    InStack,
    /// Something else does, an ssh key for instance (`password=none`).
    Without,
}

/// Why a password counts as wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordFault {
    /// The password service says that it is wrong.
    Password,
    /// sshd had decided to refuse, and sent something else in its place.
    RefusedBySshd,
    /// The password service could not say.
    Service {
        /// The PAM result of the service, a number of `_pam_types.h`.
        result: i32,
    },
}

impl PasswordFault {
    pub(super) const fn refusal(self) -> Refusal {
        match self {
            Self::Password => Refusal::WrongPassword,
            Self::RefusedBySshd => Refusal::RefusedBySshd,
            Self::Service { result } => Refusal::PasswordService { result },
        }
    }
}
