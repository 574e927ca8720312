//! pam-onetime
pub mod account;
pub mod audit;
pub mod code;
pub mod config;
pub mod enrollment;
pub mod login;
pub mod messages;
#[allow(unsafe_code, reason = "this is the room for it")]
pub(crate) mod pam;
pub mod store;
