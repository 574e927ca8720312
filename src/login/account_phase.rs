//! What the password service says besides "right": texts for the user, and whether the
//! account may be used. The latter is noted when the user authenticates, and answered when
//! the application asks in its account phase.

use std::cell::Cell;

use super::ports::Tone;
use crate::bytes_as_text::Readable;

/// What the password service says once the login is admitted.
#[derive(Debug, Default)]
pub struct ServiceReport {
    /// Whether the account may be used.
    pub verdict: AccountVerdict,
    /// What its modules say to the user, in their order.
    pub texts: Vec<(Tone, String)>,
}

/// Whether an account may be used, by the password service's account phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccountVerdict {
    /// Nothing is against it.
    #[default]
    Valid,
    /// The password must be changed first.
    PasswordExpired,
    /// It may not be used, or the service could not say.
    Refused {
        /// The PAM result of the service, a number of `_pam_types.h`.
        result: i32,
    },
}

/// A verdict that waits for the application to ask for it. Nothing is noted of an
/// account that is valid.
#[derive(Debug)]
pub struct AccountNote {
    /// The name that was authenticated, as the application gave it.
    given: String,
    /// The canonical name, for the log.
    pub name: String,
    verdict: AccountVerdict,
    state: Cell<NoteState>,
}

/// What became of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoteState {
    /// The application has not asked.
    Waiting,
    /// It has asked.
    Answered,
    /// Another authentication has begun: the note is of no interest any more.
    Withdrawn,
}

/// What the account phase answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountAnswer {
    /// There is nothing to say: the other modules decide.
    Nothing,
    /// The application has to have the password changed.
    ChangePassword,
    /// The login is refused.
    Refused {
        /// The PAM result of the service, a number of `_pam_types.h`.
        result: i32,
    },
    /// The login is refused: it is about another user than the one who authenticated.
    OtherUser,
}

impl AccountNote {
    /// Of a user who has just authenticated.
    #[must_use]
    pub const fn new(given: String, name: String, verdict: AccountVerdict) -> Self {
        Self { given, name, verdict, state: Cell::new(NoteState::Waiting) }
    }

    /// What was noted.
    #[must_use]
    pub const fn verdict(&self) -> AccountVerdict {
        self.verdict
    }

    /// The answer to an application whose user is `user` now. That a password must be
    /// changed is said once, since it is changed then; a refusal holds.
    pub fn answer(&self, user: Option<&str>) -> AccountAnswer {
        let before = self.state.get();
        if before == NoteState::Withdrawn {
            return AccountAnswer::Nothing;
        }
        self.state.set(NoteState::Answered);
        if user != Some(self.given.as_str()) {
            return AccountAnswer::OtherUser;
        }
        match (self.verdict, before) {
            (AccountVerdict::Valid, _)
            | (AccountVerdict::PasswordExpired, NoteState::Answered | NoteState::Withdrawn) => {
                AccountAnswer::Nothing
            }
            (AccountVerdict::PasswordExpired, NoteState::Waiting) => AccountAnswer::ChangePassword,
            (AccountVerdict::Refused { result }, _) => AccountAnswer::Refused { result },
        }
    }

    /// Another authentication begins.
    pub fn withdraw(&self) {
        self.state.set(NoteState::Withdrawn);
    }

    /// Whether the application has never asked.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.state.get() == NoteState::Waiting
    }
}

/// Why the password service could not say whether a password is right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceFault {
    /// It is broken, or not set up.
    #[error("the password service could not verify the password (PAM result {0})")]
    Result(i32),
    /// It has no file of its own with lines that verify passwords.
    #[error(
        "no file with auth lines in pam.d for the password service \"{}\", and libpam would take \
         \"other\"",
        Readable(service)
    )]
    NoFile {
        /// Its name.
        service: String,
        /// The PAM result that stands for it.
        result: i32,
    },
    /// It asked for something else than the password, or a second time.
    #[error(
        "the password service asked \"{}\", and gets no answer but the password, once",
        Readable(prompt)
    )]
    Asked {
        /// What it asked, cut to a line of the log.
        prompt: String,
        /// The PAM result that stands for it.
        result: i32,
    },
    /// One of its modules changed the user's name to that of somebody else.
    #[error("the password service proved another user (\"{}\")", Readable(name))]
    OtherUser {
        /// The name at the end.
        name: String,
        /// The PAM result that stands for it.
        result: i32,
    },
}

impl ServiceFault {
    /// A number of `_pam_types.h`.
    #[must_use]
    pub const fn result(&self) -> i32 {
        match self {
            Self::Result(result)
            | Self::NoFile { result, .. }
            | Self::Asked { result, .. }
            | Self::OtherUser { result, .. } => *result,
        }
    }

    /// What an admin can do about it; `None` where only the number is known.
    #[must_use]
    pub const fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Result(_) => None,
            Self::NoFile { .. } => Some("put it into /etc/pam.d, or correct password.service"),
            Self::Asked { .. } => {
                Some("a second module there needs use_first_pass; pam_krb5.so needs defer_pwchange")
            }
            Self::OtherUser { .. } => {
                Some("take the module that changes the user's name out of its file")
            }
        }
    }

    /// With the remedy, for the log.
    #[must_use]
    pub fn with_remedy(&self) -> String {
        match self.remedy() {
            Some(remedy) => format!("{self}: {remedy}"),
            None => self.to_string(),
        }
    }
}

/// The verdict could not be kept for the account phase: why, in PAM's own word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what the password service says of the account could not be kept ({0})")]
pub struct NoteError(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    fn note(verdict: AccountVerdict) -> AccountNote {
        AccountNote::new("alice".to_owned(), "alice".to_owned(), verdict)
    }

    #[test]
    fn an_expired_password_is_said_once_and_a_refusal_holds() {
        let expired = note(AccountVerdict::PasswordExpired);
        assert!(expired.is_waiting());
        assert_eq!(expired.answer(Some("alice")), AccountAnswer::ChangePassword);
        assert!(!expired.is_waiting());
        assert_eq!(expired.answer(Some("alice")), AccountAnswer::Nothing);
        let refused = note(AccountVerdict::Refused { result: 13 });
        for _ in 0..3 {
            assert_eq!(refused.answer(Some("alice")), AccountAnswer::Refused { result: 13 });
        }
        assert_eq!(note(AccountVerdict::Valid).answer(Some("alice")), AccountAnswer::Nothing);
    }

    #[test]
    fn a_note_about_another_user_refuses() {
        for user in [Some("bob"), Some("Alice"), Some(""), None] {
            for verdict in [AccountVerdict::PasswordExpired, AccountVerdict::Refused { result: 6 }]
            {
                let note = note(verdict);
                assert_eq!(note.answer(user), AccountAnswer::OtherUser, "{user:?}");
                assert_eq!(note.answer(user), AccountAnswer::OtherUser, "{user:?}, once more");
            }
        }
    }

    #[test]
    fn a_note_that_another_login_has_withdrawn_says_nothing_and_does_not_wait() {
        let refused = note(AccountVerdict::Refused { result: 13 });
        refused.withdraw();
        assert!(!refused.is_waiting());
        assert_eq!(refused.answer(Some("alice")), AccountAnswer::Nothing);
        assert_eq!(refused.answer(Some("bob")), AccountAnswer::Nothing);
    }

    #[test]
    fn every_fault_that_a_line_can_cause_has_a_remedy() {
        let asked = ServiceFault::Asked { prompt: "New password: ".to_owned(), result: 19 };
        let text = asked.with_remedy();
        assert!(text.contains("asked \"New password: \"") && text.contains("defer_pwchange"));
        let no_file = ServiceFault::NoFile { service: "typo".to_owned(), result: 3 };
        assert!(
            no_file
                .with_remedy()
                .ends_with(": put it into /etc/pam.d, or correct password.service")
        );
        assert_eq!(no_file.result(), 3);
        let other = ServiceFault::OtherUser { name: "bob".to_owned(), result: 10 };
        assert!(other.with_remedy().contains("another user (\"bob\")"), "{other}");
        assert_eq!((asked.result(), other.result(), ServiceFault::Result(9).result()), (19, 10, 9));
        assert_eq!(ServiceFault::Result(9).with_remedy(), ServiceFault::Result(9).to_string());
    }
}
