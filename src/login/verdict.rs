//! How a login, or one attempt of it, can end, and why.

use crate::account::Timestamp;

/// How a login, or one attempt of it, ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The login succeeds: PAM_SUCCESS.
    Admitted(Grant),
    /// This module has nothing to say: the rest of the stack decides.
    NotNeeded(NotNeeded),
    /// Ask once more.
    Again(Refusal),
    /// The login fails.
    Refused(Refusal),
}

/// Why a user is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// No record: the password suffices.
    PasswordAlone,
    /// Pending, and the code was skipped or not asked for: the password
    /// suffices for now.
    Skipped,
    /// Pending, and the code was right: active from now on.
    Activated,
    /// Active, and the code was right.
    Code,
    /// Active, and a recovery code was right.
    RecoveryCode {
        /// How many are left.
        left: usize,
    },
    /// The configuration asks for no code.
    Exempt(Exemption),
}

/// Why no code is needed from a user whose password other modules check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotNeeded {
    /// The user has no record: codes are off.
    NotEnabled,
    /// Pending, and the code was skipped or not asked for.
    Skipped,
    /// The configuration asks for no code.
    Exempt(Exemption),
}

/// Why the configuration asks for no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exemption {
    /// `exempt_groups`
    Group,
    /// `exempt_networks`
    Network,
    /// `remember`
    RememberedHost,
}

/// Why a user is refused. For the log; the user does not see which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The password, whatever the code.
    WrongPassword,
    /// The password service could not verify the password.
    PasswordService {
        /// The PAM result of the service, a number of `_pam_types.h`.
        result: i32,
    },
    /// No token shows this code near this step, or no recovery code is this.
    WrongCode,
    /// The token showed it, but it, or a later one, has been used.
    SpentCode,
    /// A counter token is far ahead: the next code would bring it back.
    OutOfStep,
    /// All codes of this time are spent, because the clock was set back.
    ClockWentBack {
        /// From this time on, codes are accepted again.
        until: Timestamp,
    },
    /// Not 6 to 8 digits.
    NotACode,
    /// The password in place of a code.
    PasswordAgain,
    /// No code was given.
    NoCode,
    /// Too many wrong codes.
    LockedOut {
        /// From this second on, codes are accepted again.
        until: Timestamp,
    },
    /// Too many wrong codes through the service's account that asks; elsewhere the user's
    /// codes are accepted.
    LockedAtService {
        /// From this second on, codes are accepted there again.
        until: Timestamp,
    },
    /// sshd had decided to refuse and sent no answer of the user's.
    RefusedBySshd,
    /// The record was removed while the code was being typed.
    Disabled,
    /// Pending, and a code is required, at a service that activates none.
    NotActivated,
    /// No record, and the configuration demands one.
    NotEnrolled,
    /// No record, and whether the configuration demands one cannot be found out.
    GroupUnknown,
    /// Pending, and too late to activate.
    DeadlinePassed,
    /// Pending, and issued later than now: the clock was wrong then, or is now, and the
    /// deadline cannot be judged.
    DeadlineUnknown,
}
