//! Why a login could not be carried to `onetimed` and back. Always a refusal.

use std::io;

use super::SOCKET;
use crate::bytes_as_text::Readable;
use crate::login::NoteError;
use crate::login::ports::ConversationError;

/// Why a login could not be carried to `onetimed` and back.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Nobody listens, or this program may not go there.
    #[error(
        "uid {uid} cannot read the store, and onetimed cannot be asked at {SOCKET}: {error} \
         (systemctl enable --now onetimed.socket)"
    )]
    Connect {
        /// As whom this program runs.
        uid: u32,
        /// What connect(2) said.
        error: io::Error,
    },
    /// Whoever listens is not root.
    #[error("{SOCKET} is held by uid {0}, not by onetimed: no password is given to it")]
    NotRoot(u32),
    /// The connection broke, or took too long.
    #[error("onetimed: {0}")]
    Io(io::Error),
    /// It ended the connection: it was restarted, perhaps.
    #[error("onetimed ended the connection in the middle of the login")]
    Ended,
    /// What it says is longer than it may be, or not of the protocol.
    #[error("onetimed: the answer cannot be understood (is it of another version?)")]
    Malformed,
    /// It refuses to judge this login.
    #[error("onetimed refuses to judge this login: {}", Readable(.0))]
    Refused(String),
    /// A prompt or an answer got lost.
    #[error(transparent)]
    Conversation(#[from] ConversationError),
    /// What it says of the account could not be kept.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The decision is about another user than the one who logs in now.
    #[error("the user name was changed during the login")]
    UserChanged,
}
