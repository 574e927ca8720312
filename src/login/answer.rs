//! What came back from the prompt.

use subtle::ConstantTimeEq;

use crate::code::{Code, RecoveryCode};

/// What came back from the prompt.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Nothing but Enter.
    Empty,
    /// Something that can be a code.
    Code(Code),
    /// Something that can be a recovery code.
    Recovery(RecoveryCode),
    /// Something that can be neither.
    NotACode,
    /// The password once more: what a program sends that gives one answer to every prompt.
    PasswordAgain,
    /// What sshd sends in place of an answer where it has already decided to
    /// refuse (root login not permitted, user not allowed).
    RefusedBySshd,
}

impl Answer {
    /// What `auth-pam.c` of OpenSSH sends as the password of a user it refuses.
    const SSHD_JUNK: &'static [u8] = b"\x08\n\r\x7fINCORRECT";

    /// Reads an answer that came after `password`. What equals it is no code, even if it
    /// could be one: who knows the password would have a guess at every login, which does
    /// not count as one.
    #[must_use]
    pub fn after(password: &[u8], typed: &[u8]) -> Self {
        match Self::read(typed) {
            Self::Code(_) | Self::Recovery(_) | Self::NotACode
                if bool::from(password.ct_eq(typed)) =>
            {
                Self::PasswordAgain
            }
            answer @ (Self::Empty
            | Self::Code(_)
            | Self::Recovery(_)
            | Self::NotACode
            | Self::PasswordAgain
            | Self::RefusedBySshd) => answer,
        }
    }

    /// Reads an answer.
    #[must_use]
    pub fn read(typed: &[u8]) -> Self {
        if typed.is_empty() {
            Self::Empty
        } else if Self::is_sshd_refusal(typed) {
            Self::RefusedBySshd
        } else {
            let recovery = || RecoveryCode::parse(typed).map(Self::Recovery);
            Code::parse(typed).map(Self::Code).or_else(recovery).unwrap_or(Self::NotACode)
        }
    }

    /// Whether sshd, not the user, sent this. It fills it up to the length of
    /// the real answer, by repeating it.
    #[must_use]
    pub fn is_sshd_refusal(typed: &[u8]) -> bool {
        typed.len() >= 4
            && typed.iter().zip(Self::SSHD_JUNK.iter().cycle()).all(|(byte, junk)| byte == junk)
    }
}
