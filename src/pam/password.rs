//! Verifies a password by a libpam transaction of its own, on a service whose
//! file holds pam_unix, pam_sss or whatever the machine uses. Nothing of
//! shadow(5) or crypt(3) is written here.
//!
//! This is the one place where a [`PasswordProof`] is made of a password.

use std::ffi::{CStr, CString, c_int, c_void};
use std::rc::Rc;

use pam::constants::{PAM_DISALLOW_NULL_AUTHTOK, PAM_SILENT, PamFlag, PamResultCode};
use pam::module::PamHandle;

use super::dialogue::{self, Dialogue};
use super::door::{self, SUCCESS};
use super::service_file::ServiceFile;
use super::sys;
use crate::bytes_as_text::to_bytes;
use crate::login::ports::PasswordAnswer;
use crate::login::{AccountVerdict, PasswordProof, ServiceFault, ServiceReport};
use crate::relay::Begin;
use crate::system::{Person, SystemError};

/// Set in the nested handle's PAM environment, so that this module knows
/// itself when the nested service's file includes it.
const NESTED: &CStr = c"PAM_ONETIME_NESTED";
const NESTED_IS_SET: &CStr = c"PAM_ONETIME_NESTED=1";

/// Whether this login is itself a password check of ours.
pub(super) fn is_nested(pamh: &mut PamHandle) -> bool {
    door::has_variable(pamh, NESTED)
}

/// What the modules of the password service see of the login besides the user.
#[derive(Debug, Default)]
pub struct Items {
    /// From where (PAM_RHOST).
    pub rhost: Option<String>,
    /// PAM_TTY.
    pub tty: Option<String>,
    /// On whose behalf (PAM_RUSER).
    pub ruser: Option<String>,
}

/// The password service of one login.
pub struct PasswordService {
    flags: PamFlag,
    /// The transaction that has found the password right, until it has said the rest.
    proven: Option<Proven>,
    /// The longest delay that a module asked for, in microseconds.
    delay: u32,
}

impl PasswordService {
    /// For a login with these flags of `pam_authenticate`.
    #[must_use]
    pub const fn new(flags: PamFlag) -> Self {
        let flags = flags & (PAM_DISALLOW_NULL_AUTHTOK | PAM_SILENT);
        Self { flags, proven: None, delay: 0 }
    }

    /// For a login at the other end of a socket.
    #[must_use]
    pub const fn relayed(begin: &Begin) -> Self {
        let silent = if begin.silent { PAM_SILENT } else { 0 };
        let no_empty = if begin.disallow_null_authtok { PAM_DISALLOW_NULL_AUTHTOK } else { 0 };
        Self::new(silent | no_empty)
    }

    /// Asks `service` whether `password` is `user`'s.
    pub fn verify(
        &mut self,
        service: &str,
        user: &str,
        password: &[u8],
        items: &Items,
    ) -> PasswordAnswer {
        self.proven = None;
        let unavailable = |code| PasswordAnswer::Unavailable(ServiceFault::Result(code as i32));
        let Some(file) = ServiceFile::find(service) else {
            let (service, result) = (service.to_owned(), PamResultCode::PAM_SERVICE_ERR as i32);
            return PasswordAnswer::Unavailable(ServiceFault::NoFile { service, result });
        };
        let mut transaction = match Transaction::start(service, user, password) {
            Ok(transaction) => transaction,
            Err(code) => return unavailable(code),
        };
        let status = transaction
            .set_items(items)
            .and_then(|()| transaction.run(sys::pam_authenticate, self.flags));
        self.delay = self.delay.max(transaction.dialogue.delay());
        // Whatever came of it depends on an answer that was not given.
        if let Some(fault) = transaction.asked() {
            return PasswordAnswer::Unavailable(fault);
        }
        let verdict = match status {
            Ok(()) => AccountVerdict::Valid,
            Err(PamResultCode::PAM_NEW_AUTHTOK_REQD) => AccountVerdict::PasswordExpired,
            Err(
                PamResultCode::PAM_AUTH_ERR
                | PamResultCode::PAM_USER_UNKNOWN
                | PamResultCode::PAM_MAXTRIES
                | PamResultCode::PAM_PERM_DENIED
                | PamResultCode::PAM_ACCT_EXPIRED
                | PamResultCode::PAM_CRED_INSUFFICIENT,
            ) => return PasswordAnswer::Wrong,
            Err(code) => return unavailable(code),
        };
        if let Some(fault) = transaction.other_user(user) {
            return PasswordAnswer::Unavailable(fault);
        }
        self.proven =
            Some(Proven { transaction, file, user: user.to_owned(), flags: self.flags, verdict });
        PasswordAnswer::Right(PasswordProof::by_transaction())
    }

    /// What the service that has found the password right says besides.
    ///
    /// # Errors
    /// [`ServiceFault`].
    pub fn hear(&mut self) -> Result<ServiceReport, ServiceFault> {
        self.proven.take().map_or_else(|| Ok(ServiceReport::default()), Proven::report)
    }

    /// The delay, in microseconds, that its modules want after a failure. It belongs to the
    /// end of the login, where it applies to any failure: waited for at once, a wrong
    /// password would betray itself before the code prompt.
    #[must_use]
    pub const fn delay(&self) -> u32 {
        self.delay
    }
}

/// A transaction that has found the password right.
struct Proven {
    transaction: Transaction,
    file: ServiceFile,
    user: String,
    flags: PamFlag,
    /// What authentication said of the account.
    verdict: AccountVerdict,
}

impl Proven {
    /// Asks the service's account phase, if it has one, and takes what both phases say to
    /// the user.
    fn report(mut self) -> Result<ServiceReport, ServiceFault> {
        let status = if self.file.has_account_phase() {
            self.transaction.run(sys::pam_acct_mgmt, self.flags)
        } else {
            Ok(())
        };
        let fault = self.transaction.asked().or_else(|| self.transaction.other_user(&self.user));
        if let Some(fault) = fault {
            return Err(fault);
        }
        let verdict = match status {
            Ok(()) => self.verdict,
            Err(PamResultCode::PAM_NEW_AUTHTOK_REQD) => AccountVerdict::PasswordExpired,
            Err(code) => AccountVerdict::Refused { result: code as i32 },
        };
        Ok(ServiceReport { verdict, texts: self.transaction.dialogue.take_texts() })
    }
}

/// What pam_authenticate and pam_acct_mgmt have in common.
type Phase = unsafe extern "C" fn(pamh: *mut PamHandle, flags: c_int) -> c_int;

/// A nested handle, ended when dropped.
struct Transaction {
    pamh: *mut PamHandle,
    status: c_int,
    /// The handle holds a pointer to it.
    dialogue: Rc<Dialogue>,
}

impl Transaction {
    fn start(service: &str, user: &str, password: &[u8]) -> Result<Self, PamResultCode> {
        let text = |text: &[u8]| CString::new(text).map_err(|_| PamResultCode::PAM_BUF_ERR);
        let (service, user) = (text(service.as_bytes())?, text(&to_bytes(user))?);
        let dialogue = Rc::new(Dialogue::with(password));
        let conversation = sys::Conversation {
            function: dialogue::converse,
            data: Rc::as_ptr(&dialogue).cast_mut().cast(),
        };
        let mut pamh = std::ptr::null_mut();
        // SAFETY: the strings and the conversation live until the call
        // returns, and libpam copies them; `dialogue`, to which it keeps a
        // pointer, is dropped after the handle.
        let status = unsafe {
            sys::pam_start(service.as_ptr(), user.as_ptr(), &raw const conversation, &raw mut pamh)
        };
        if status != SUCCESS || pamh.is_null() {
            return Err(result(status).err().unwrap_or(PamResultCode::PAM_SYSTEM_ERR));
        }
        let mut transaction = Self { pamh, status, dialogue };
        let delay: sys::FailDelayFn = dialogue::record_delay;
        transaction.set(sys::PAM_FAIL_DELAY, delay as *const c_void)?;
        // SAFETY: the handle is valid and the text NUL-terminated; libpam copies it.
        result(unsafe { sys::pam_putenv(pamh, NESTED_IS_SET.as_ptr()) })?;
        Ok(transaction)
    }

    /// Lets the nested modules see from where the user comes.
    fn set_items(&mut self, items: &Items) -> Result<(), PamResultCode> {
        for (item, value) in [
            (sys::PAM_RHOST, &items.rhost),
            (sys::PAM_TTY, &items.tty),
            (sys::PAM_RUSER, &items.ruser),
        ] {
            if let Some(value) = value {
                let value = CString::new(value.as_str()).map_err(|_| PamResultCode::PAM_BUF_ERR)?;
                self.set(item, value.as_ptr().cast())?;
            }
        }
        Ok(())
    }

    fn set(&mut self, item: c_int, value: *const c_void) -> Result<(), PamResultCode> {
        // SAFETY: the handle is valid; the value is a NUL-terminated string,
        // which libpam copies, or the delay function, which is never freed.
        result(unsafe { sys::pam_set_item(self.pamh, item, value) })
    }

    fn run(&mut self, phase: Phase, flags: PamFlag) -> Result<(), PamResultCode> {
        let flags = c_int::try_from(flags).map_err(|_| PamResultCode::PAM_SYSTEM_ERR)?;
        // SAFETY: the handle is valid, and so is what its callbacks point to.
        self.status = unsafe { phase(self.pamh, flags) };
        result(self.status)
    }

    /// What the modules asked besides the password.
    fn asked(&self) -> Option<ServiceFault> {
        let prompt = self.dialogue.asked()?;
        Some(ServiceFault::Asked { prompt, result: PamResultCode::PAM_CONV_ERR as i32 })
    }

    /// Who was proven is who was asked about: a module may have changed the name.
    fn other_user(&self, asked: &str) -> Option<ServiceFault> {
        // SAFETY: the handle is valid for as long as the transaction is there.
        let name = unsafe { self.pamh.as_ref() }.and_then(door::user).unwrap_or_default();
        if name == asked || is_same_person(&name, asked).unwrap_or(false) {
            return None;
        }
        Some(ServiceFault::OtherUser { name, result: PamResultCode::PAM_USER_UNKNOWN as i32 })
    }
}

/// Whether both names are those of one known user. What cannot be found out is not "yes".
fn is_same_person(name: &str, other: &str) -> Result<bool, SystemError> {
    let (Some(one), Some(other)) = (Person::find(name)?, Person::find(other)?) else {
        return Ok(false);
    };
    Ok(one.uid == other.uid)
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // SAFETY: the handle is valid, and not used again.
        let _ = unsafe { sys::pam_end(self.pamh, self.status) };
    }
}

fn result(code: c_int) -> Result<(), PamResultCode> {
    match PamResultCode::try_from(code) {
        Ok(PamResultCode::PAM_SUCCESS) => Ok(()),
        Ok(code) => Err(code),
        Err(_) => Err(PamResultCode::PAM_SYSTEM_ERR),
    }
}
