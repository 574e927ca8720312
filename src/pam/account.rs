//! The account hook, and the note that the authenticate hook leaves for it on libpam's
//! handle: sshd, su, sudo and login ask both in one process.

use std::ffi::CStr;

use pam::constants::PamResultCode;
use pam::module::PamHandle;

use super::{door, password};
use crate::audit::{self, Admin, Outcome, Subject};
use crate::config::arguments::Arguments;
use crate::login::{AccountAnswer, AccountNote, AccountVerdict};

/// The name of the note among the data of a handle.
const KEY: &str = "pam_onetime_account";

/// What libpam keeps until the application ends the handle.
struct Noted {
    note: AccountNote,
    subject: Subject,
}

/// An application whose account phase does not reach us would let in whom the password
/// service refuses, without a word.
impl Drop for Noted {
    fn drop(&mut self) {
        if self.note.is_waiting() {
            let reason = format!(
                "{}, and nothing has asked for it: add to the file of this service: account required pam_onetime.so",
                explain(self.note.verdict())
            );
            audit::send(Outcome::Failed, &self.subject, &reason);
        }
    }
}

/// Keeps a note until the application asks for it.
pub(super) fn note(pamh: &mut PamHandle, note: AccountNote) -> Result<(), PamResultCode> {
    let subject = subject(pamh, note.name.clone());
    pamh.set_data(KEY, Box::new(Noted { note, subject }))
}

/// Another authentication begins: what was noted before is not about it.
pub(super) fn forget(pamh: &PamHandle) {
    if let Some(noted) = noted(pamh) {
        noted.note.withdraw();
    }
}

fn noted(pamh: &PamHandle) -> Option<&Noted> {
    // SAFETY: nothing else is kept under this key.
    unsafe { pamh.get_data::<Noted>(KEY) }.ok()
}

/// Answers what was noted. Success is not among the answers.
pub(super) fn answer(pamh: &mut PamHandle, line: &[&CStr]) -> PamResultCode {
    // Where the password service has a line with this module, nothing is noted.
    if password::is_nested(pamh) {
        return PamResultCode::PAM_IGNORE;
    }
    if let Err(error) = Arguments::parse(line) {
        let name = door::user(pamh).unwrap_or_default();
        audit::send(Outcome::Failed, &subject(pamh, name), &format!("account: {error}"));
        return PamResultCode::PAM_SERVICE_ERR;
    }
    let Some(noted) = noted(pamh) else { return PamResultCode::PAM_IGNORE };
    let (outcome, reason, result) = match noted.note.answer(door::user(pamh).as_deref()) {
        AccountAnswer::Nothing => return PamResultCode::PAM_IGNORE,
        AccountAnswer::ChangePassword => {
            (Outcome::Admitted, explain(noted.note.verdict()), PamResultCode::PAM_NEW_AUTHTOK_REQD)
        }
        AccountAnswer::Refused { result } => {
            (Outcome::Refused, explain(noted.note.verdict()), refusal(result))
        }
        AccountAnswer::OtherUser => {
            let reason = "the user name was changed after the authentication".to_owned();
            (Outcome::Failed, reason, PamResultCode::PAM_AUTH_ERR)
        }
    };
    audit::send(outcome, &noted.subject, &reason);
    result
}

/// For the log.
fn explain(verdict: AccountVerdict) -> String {
    match verdict {
        AccountVerdict::Valid => "the password service has nothing against the account".to_owned(),
        AccountVerdict::PasswordExpired => {
            "the password service says that the password must be changed".to_owned()
        }
        AccountVerdict::Refused { result } => format!(
            "the password service refuses the account (PAM result {result}): look at the account lines of its file"
        ),
    }
}

/// The service's own result, as long as it refuses.
fn refusal(result: i32) -> PamResultCode {
    match PamResultCode::try_from(result) {
        Ok(PamResultCode::PAM_SUCCESS | PamResultCode::PAM_IGNORE) | Err(_) => {
            PamResultCode::PAM_SYSTEM_ERR
        }
        Ok(code) => code,
    }
}

fn subject(pamh: &PamHandle, user: String) -> Subject {
    Subject {
        user,
        service: door::service(pamh).unwrap_or_default(),
        ruser: door::who_asks(pamh),
        rhost: door::rhost(pamh),
        claimed_rhost: None,
        tty: door::tty(pamh),
        admin: Admin::default(),
    }
}
