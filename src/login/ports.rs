//! What the driver of a login needs of the world, as two traits: the [`Door`] (the user
//! and the application), and the [`Accounts`]. libpam's handle is one
//! door and the store of files one place of accounts; both are tried by scripts too.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    AccountNote, Judgement, NoteError, Output, PasswordProof, ServiceFault, ServiceReport, Verdict,
};
use crate::account::{Account, Recovery, UserName};
use crate::callers::Asker;

/// PAM_MAX_RESP_SIZE: bytes of an answer that are considered. A longer one is wrong.
pub const MAX_ANSWER: usize = 512;

/// What somebody typed. It is overwritten when it is dropped.
pub type RawAnswer = Zeroizing<Vec<u8>>;

/// Whoever carries prompts to a person and answers back.
pub trait Door {
    /// Who asks.
    fn asker(&self) -> Asker {
        Asker::Root
    }
    /// The service that is logged in to (PAM_SERVICE).
    fn service(&self) -> Option<String>;
    /// On whose behalf the user logs in (PAM_RUSER).
    fn ruser(&self) -> Option<String>;
    /// The host that the user comes from (PAM_RHOST).
    fn rhost(&self) -> Option<String>;
    /// The terminal (PAM_TTY).
    fn tty(&self) -> Option<String>;
    /// What the application prints to, if it does.
    fn output(&self) -> Output;
    /// Whether the application wants no texts that need no answer (PAM_SILENT).
    fn wants_silence(&self) -> bool;

    /// The name to authenticate, asked for if the application has not said it. Its bytes
    /// are text as [`crate::bytes_as_text`] makes it.
    ///
    /// # Errors
    /// [`ConversationError`].
    fn user(&mut self) -> Result<String, ConversationError>;
    /// The name as it is now: another module may have changed it.
    fn current_user(&self) -> Option<String>;

    /// The password that an earlier module has left, if one has (PAM_AUTHTOK).
    fn left_password(&self) -> Option<RawAnswer>;
    /// The password: what an earlier module has left, else what the user answers to
    /// the usual prompt, which later modules then get.
    ///
    /// # Errors
    /// [`ConversationError`].
    fn ask_password(&mut self) -> Result<RawAnswer, ConversationError>;
    /// Leaves a password for later modules, or takes back the one that was left.
    fn leave_password(&mut self, password: Option<&[u8]>);
    /// Asks the password service whether the password is the user's.
    fn verify_password(&mut self, service: &str, user: &str, password: &[u8]) -> PasswordAnswer;
    /// What the service that has found the password right says besides: of the account,
    /// and to the user. Only to be asked once the login is admitted: the time that it
    /// takes would show that the password was right. Where no password was verified,
    /// there is nothing to say.
    ///
    /// # Errors
    /// [`ServiceFault`]: the login is refused.
    fn hear_service(&mut self) -> Result<ServiceReport, ServiceFault>;
    /// Keeps what the service says of the account until the application asks for it.
    ///
    /// # Errors
    /// [`NoteError`]: the login is refused, since the verdict would be lost.
    fn note_account(&mut self, note: AccountNote) -> Result<(), NoteError>;

    /// Asks for one answer. An application that reports success and gives no text has been
    /// given nothing but Enter.
    ///
    /// # Errors
    /// [`ConversationError`].
    fn ask(&mut self, prompt: &str, echo: Echo) -> Result<RawAnswer, ConversationError>;
    /// Shows a text that needs no answer.
    ///
    /// # Errors
    /// [`ConversationError`]: the application cannot show any.
    fn show(&mut self, text: &str, tone: Tone) -> Result<(), ConversationError>;
}

/// What the password service said.
#[derive(Debug)]
pub enum PasswordAnswer {
    /// The password is right.
    Right(PasswordProof),
    /// It is wrong, or the user has none or may not log in.
    Wrong,
    /// The service could not say.
    Unavailable(ServiceFault),
}

/// Whether what is typed is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Echo {
    /// The answer is shown while it is typed.
    On,
    /// The answer is hidden, as a password is.
    Off,
}

/// How a text is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    /// As information (PAM_TEXT_INFO).
    Info,
    /// As an error (PAM_ERROR_MSG).
    Error,
}

/// The application did not carry a prompt or an answer: why, in PAM's own word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the conversation failed ({0})")]
pub struct ConversationError(pub String);

/// Where accounts are kept, as far as a login uses it.
pub trait Accounts {
    /// Why an account cannot be read or written. Each refuses the login.
    type Error: std::fmt::Display;
    /// An account as it was read, with what shows whether it has changed since.
    type Snapshot: AsRef<Account>;

    /// The account of `user`, whose uid is `uid`; `None` if they have no record.
    ///
    /// # Errors
    /// [`Self::Error`]: what cannot be found out is not "no record".
    fn load(&self, user: &UserName, uid: u32) -> Result<Option<Self::Snapshot>, Self::Error>;

    /// Judges the account as it is now, makes the state that follows durable, and only
    /// then returns the verdict. Nobody else changes the account between the two.
    /// `known` is what was loaded before: where nothing has changed, it is judged.
    /// `judge` is called again where somebody else was quicker.
    ///
    /// # Errors
    /// [`Self::Error`]: then nothing was decided.
    fn update(
        &self,
        user: &UserName,
        uid: u32,
        known: Option<&Self::Snapshot>,
        judge: impl FnMut(Option<&Account>) -> Judgement,
    ) -> Result<Verdict, Self::Error>;

    /// Puts a new account in force, unless the user has one.
    ///
    /// # Errors
    /// [`Self::Error`].
    fn enroll(&self, account: &Account) -> Result<(), Self::Error>;

    /// Gives an account recovery codes, unless it has some.
    ///
    /// # Errors
    /// [`Self::Error`], also if there is no such account.
    fn add_recovery(&self, user: &UserName, recovery: Recovery) -> Result<Addition, Self::Error>;

    /// For the log: whose locks had to be taken over since this was last asked, because
    /// others did not let go of them.
    fn take_overs(&self) -> Vec<String>;
}

/// What [`Accounts::add_recovery`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addition {
    /// The codes are in force.
    Added,
    /// The account has codes already, which still hold.
    AlreadyThere,
}
