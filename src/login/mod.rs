//! Who gets in: every rule about it is here, in [`plan()`] (what to show and to
//! ask) and [`judge()`] (the verdict, and what the account becomes).
//!
//! Both are pure: no clock, no randomness, no file, no libpam. The driver of a login
//! ([`crate::authenticate`]) and `onetimectl verify` call them and do as they say.
//! What the driver needs of the world, it gets through the two traits of [`ports`].

mod account_phase;
mod ahead;
mod answer;
mod at_service;
mod combined;
mod find;
mod judge;
mod limits;
mod password;
mod plan;
pub mod ports;
mod verdict;
mod view;

pub use account_phase::{
    AccountAnswer, AccountNote, AccountVerdict, NoteError, ServiceFault, ServiceReport,
};
pub use ahead::{TimeAhead, time_ahead};
pub use answer::Answer;
pub use at_service::{ServiceJudgement, judge_at_service};
pub use combined::{CodeNeed, separate};
#[cfg(any(test, feature = "daemon"))]
pub use find::proven_by;
pub use find::{ResyncError, resync};
pub use judge::{Attempt, Judgement, judge};
pub use limits::in_force;
pub use password::{PasswordCheck, PasswordFault, PasswordProof};
pub use plan::{
    Circumstances, FixedVerdict, GroupAnswer, GroupFault, Invitation, Membership, PENDING_TRIES,
    Plan, Prompt, Question, WithoutRecord, plan, plan_without_record,
};
pub use verdict::{Exemption, Grant, NotNeeded, Refusal, Verdict};
pub use view::{Output, View};

#[cfg(test)]
mod tests;
