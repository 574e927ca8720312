//! A login that `onetimed` decides, over a socket: for programs that are not root's, and
//! may read no secret. The module's part, and what both ends have in common.
//!
//! The protocol is Varlink, `org.pam-onetime.Login1.varlink` beside this file: JSON that
//! ends with a NUL. One connection is one login.

mod ask;
mod error;
mod messages;
#[cfg(feature = "daemon")]
mod own;
mod wire;

pub use ask::{Request, authenticate};
pub use error::RelayError;
pub use messages::{
    AccountWord, Begin, Continue, End, Left, Question, QuestionKind, Secret, Step, Text,
};
#[cfg(feature = "daemon")]
pub use own::{Change, OwnChange, OwnStatus, own_change, own_status};

/// Where `onetimed` listens.
pub const SOCKET: &str = "/run/onetime/socket";

/// The interface: its methods and errors begin so. An incompatible one has another number.
pub const INTERFACE: &str = "org.pam-onetime.Login1";

/// Its description.
pub const DESCRIPTION: &str = include_str!("org.pam-onetime.Login1.varlink");

/// The most bytes of one message to `onetimed`: an answer is at most 512 bytes, each of them
/// six as JSON has it, and a line in pam.d some hundred.
pub const MAX_CALL: usize = 16 * 1024;

/// The most bytes of one message from `onetimed`: QR codes and keys of four tokens.
pub const MAX_REPLY: usize = 256 * 1024;
