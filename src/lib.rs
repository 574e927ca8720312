//! pam-onetime: one-time codes for Linux logins that an administrator switches
//! on and users enroll in by logging in.
//!
//! The crate is the PAM module `pam_onetime.so` (built as a cdylib) and, as a
//! library, what `onetimectl` and the tests share with it.
//!
//! # The way of one login
//!
//! 1. libpam calls `pam_sm_authenticate` in `pam`, which catches panics and hands
//!    over to `pam::hook`: module arguments and configuration ([`config`]). From here
//!    on [`authenticate::authenticate`] is the whole story, over a
//!    [`login::ports::Door`] (libpam's handle) and the [`login::ports::Accounts`] (the
//!    store).
//! 2. The user's canonical name comes from the password database. The password is
//!    verified by a libpam transaction of its own (`pam::password`). Only that makes a
//!    [`login::PasswordProof`], and only with one can a secret be shown.
//! 3. [`store::Store::load`] reads the [`account::Account`]: what was issued
//!    and what logins have done since. What is missing or damaged is an error,
//!    never "nothing".
//! 4. [`login::plan`] decides what to show and to ask. It is pure.
//! 5. The user sees the QR code ([`enrollment`], [`messages`]) or not, and
//!    types a code.
//! 6. [`store::Store::update`] claims the account, reads it again and has
//!    [`login::judge`] decide, which is pure too. The state that follows is on
//!    disk before the verdict can be read: [`login::Judgement`] sees to that.
//! 7. One line goes to syslog ([`audit`]), one result to libpam.
//!
//! **Who gets in is decided in [`login`]**, in two functions, and nowhere else.
//!
//! # The house
//!
//! Each room uses only rooms below it; `tests/it/house.rs` reads the arrows.
//!
//! ```text
//! pam                  the only room that touches libpam: a door, and the hooks
//! relay                a login that onetimed decides, carried over a socket
//! conclusion           how a login ends: its line in the log, and its result
//! authenticate         the story of a login, over a door and accounts
//! store                rules of accounts over records and states on disk
//! system               time, host name, users and groups
//! audit  messages      what is written to the log, and shown to users
//! enrollment           otpauth URI, QR code, key
//! login                plan and judge, and the ports that a login needs
//! config               onetime.toml and module arguments
//! account              record, state, phase
//! code                 TOTP and HOTP
//! callers              how programs bring a text to the person, and whom they name
//! fields               how serde reads a field
//! bytes_as_text        names that are not UTF-8, as text without loss
//! service_lines        files in pam.d, as lines and words
//! ```

// What runs inside a login neither panics nor prints, counts without overflow, and forgets
// no case. Unit tests fail by panicking.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::cast_lossless,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        clippy::disallowed_methods,
        clippy::exit,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::match_wildcard_for_single_variants,
        clippy::panic,
        clippy::print_stderr,
        clippy::print_stdout,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used,
        clippy::wildcard_enum_match_arm,
    )
)]

pub mod account;
pub mod audit;
pub mod authenticate;
pub mod bytes_as_text;
pub mod callers;
pub mod code;
pub mod conclusion;
pub mod config;
pub mod enrollment;
pub mod fields;
pub mod login;
pub mod messages;
#[expect(unsafe_code, reason = "the room for it")]
pub(crate) mod pam;
pub mod relay;
pub mod service_lines;
pub mod store;
pub mod system;

/// Whatever is freed is wiped first. A destructor overwrites what it knows of; parsers,
/// buffers that grew and strings handed to libpam leave copies that it does not. Miri
/// interprets each byte that is wiped, and would take hours.
#[cfg_attr(not(miri), global_allocator)]
static WIPED: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

/// The module's line in pam.d, for programs that read it before libpam does.
pub use config::arguments::{ArgumentError, Arguments, Overrides, PasswordMode};
#[cfg(feature = "tool")]
pub use pam::kernel::{ClockSync, clock_synchronized};
/// The nested conversation, for the fuzz targets.
#[cfg(fuzzing)]
pub use pam::nested;
/// The password service, for who has no handle of libpam's.
pub use pam::{PasswordItems, PasswordService};
