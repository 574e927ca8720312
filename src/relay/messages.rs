//! What both ends say, as serde has it.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::bytes_as_text::{to_bytes, to_text};
use crate::conclusion::Conclusion;
use crate::login::AccountVerdict;
use crate::login::ports::{Echo, MAX_ANSWER, RawAnswer, Tone};

/// A text that may hold a password, a code or a key. Its `Debug` does not.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
pub struct Secret(pub String);

impl Secret {
    /// Of what somebody typed. What is too long to be right stays so.
    #[must_use]
    pub fn of(typed: &[u8]) -> Self {
        Self(to_text(typed.get(..=MAX_ANSWER).unwrap_or(typed)))
    }

    /// As it was typed.
    #[must_use]
    pub fn typed(&self) -> RawAnswer {
        RawAnswer::new(to_bytes(&self.0).into_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Begins a login.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Begin {
    /// The name to authenticate.
    pub user: String,
    /// PAM_SERVICE.
    pub service: String,
    /// The arguments of the module's line in pam.d.
    #[serde(default)]
    pub line: Vec<String>,
    /// What an earlier module has left (PAM_AUTHTOK).
    #[serde(default)]
    pub password: Option<Secret>,
    /// PAM_RHOST.
    #[serde(default)]
    pub rhost: Option<String>,
    /// PAM_TTY.
    #[serde(default)]
    pub tty: Option<String>,
    /// PAM_RUSER, or who has started the program.
    #[serde(default)]
    pub ruser: Option<String>,
    /// Whether the program prints to a terminal.
    #[serde(default)]
    pub terminal: bool,
    /// PAM_SILENT.
    #[serde(default)]
    pub silent: bool,
    /// PAM_DISALLOW_NULL_AUTHTOK.
    #[serde(default)]
    pub disallow_null_authtok: bool,
}

/// Answers a question.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Continue {
    /// What was typed.
    pub answer: Secret,
}

/// What comes next.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Step {
    /// What is to be left for later modules; `None`: as it is.
    #[serde(default)]
    pub left: Option<Left>,
    /// To be shown, in this order.
    #[serde(default)]
    pub texts: Vec<Text>,
    /// To be answered.
    #[serde(default)]
    pub question: Option<Question>,
    /// The end.
    #[serde(default)]
    pub end: Option<End>,
}

/// The password for later modules.
#[derive(Debug, Serialize, Deserialize)]
pub struct Left {
    /// `None`: what there is, is to be forgotten.
    #[serde(default)]
    pub password: Option<Secret>,
}

/// A text that needs no answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Text {
    /// How it is to be taken.
    pub tone: Tone,
    /// It may hold a key.
    pub text: Secret,
}

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub struct Question {
    /// What is asked for.
    pub kind: QuestionKind,
    /// The prompt; empty for the password, for which the caller has its own.
    pub prompt: String,
    /// Whether the answer is seen while it is typed.
    pub echo: bool,
}

impl Question {
    /// As the port has it.
    #[must_use]
    pub const fn echo(&self) -> Echo {
        if self.echo { Echo::On } else { Echo::Off }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuestionKind {
    /// The password: by libpam's prompt, or what an earlier module has left.
    Password,
    /// An answer to this prompt.
    Prompt,
}

/// How a login has ended.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct End {
    /// The result.
    pub conclusion: Conclusion,
    /// For the account phase.
    pub account: AccountWord,
    /// The PAM result of an account that is refused, a number of `_pam_types.h`.
    pub result: i32,
    /// In microseconds, before a failure is reported.
    pub delay: u32,
}

/// [`AccountVerdict`] as a word.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountWord {
    /// Nothing is against it.
    Valid,
    /// The password must be changed first.
    PasswordExpired,
    /// It may not be used.
    Refused,
}

impl End {
    /// With what the password service says of the account.
    #[must_use]
    pub const fn new(conclusion: Conclusion, account: AccountVerdict, delay: u32) -> Self {
        let (account, result) = match account {
            AccountVerdict::Valid => (AccountWord::Valid, 0),
            AccountVerdict::PasswordExpired => (AccountWord::PasswordExpired, 0),
            AccountVerdict::Refused { result } => (AccountWord::Refused, result),
        };
        Self { conclusion, account, result, delay }
    }

    /// What the password service says of the account.
    #[must_use]
    pub const fn account(&self) -> AccountVerdict {
        match self.account {
            AccountWord::Valid => AccountVerdict::Valid,
            AccountWord::PasswordExpired => AccountVerdict::PasswordExpired,
            AccountWord::Refused => AccountVerdict::Refused { result: self.result },
        }
    }
}
