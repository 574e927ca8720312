//! The authenticate hook. As root it reads arguments and configuration, has
//! [`crate::authenticate`] do the login, and gives PAM's result. Others, who may read no
//! secret, have `onetimed` do it ([`crate::relay`]).

use std::ffi::CStr;

use pam::constants::{PAM_DISALLOW_NULL_AUTHTOK, PamFlag, PamResultCode};
use pam::module::PamHandle;

use super::door::{self, PamDoor};
use super::{account, password};
use crate::audit::{self, Outcome, Subject};
use crate::authenticate::{self, LoginSettings, Machine};
use crate::conclusion::{self, Conclusion, Trouble};
use crate::config::arguments::Arguments;
use crate::login::Verdict;
use crate::login::ports::Door;
use crate::relay::{self, End, Request};
use crate::{store, system};

/// Authenticates, logs one line, and gives PAM's result.
pub(super) fn authenticate(pamh: &mut PamHandle, line: &[&CStr], flags: PamFlag) -> PamResultCode {
    let nested = password::is_nested(pamh);
    account::forget(pamh);
    let mut door = PamDoor::new(pamh, flags);
    let mut subject = Subject {
        service: door.service().unwrap_or_default(),
        ruser: door.ruser(),
        rhost: door.rhost(),
        tty: door.tty(),
        ..Subject::default()
    };
    let conclusion = if nested {
        conclusion::conclude(Err(Trouble::Recursion), &subject)
    } else if rustix::process::geteuid().is_root() {
        let ended = log_in(&mut door, line, &mut subject);
        conclusion::conclude(ended, &subject)
    } else {
        let end = relayed(&mut door, line, flags, &mut subject);
        end.map_or(Conclusion::Unavailable, |end| {
            door::delay_failure(pamh, end.delay);
            end.conclusion
        })
    };
    result_of(conclusion)
}

/// PAM's result.
const fn result_of(conclusion: Conclusion) -> PamResultCode {
    match conclusion {
        Conclusion::Admitted => PamResultCode::PAM_SUCCESS,
        Conclusion::NotNeeded => PamResultCode::PAM_IGNORE,
        Conclusion::Refused => PamResultCode::PAM_AUTH_ERR,
        Conclusion::Locked => PamResultCode::PAM_MAXTRIES,
        Conclusion::Unavailable => PamResultCode::PAM_AUTHINFO_UNAVAIL,
        Conclusion::Misconfigured => PamResultCode::PAM_SERVICE_ERR,
    }
}

fn log_in(
    door: &mut PamDoor<'_>,
    line: &[&CStr],
    subject: &mut Subject,
) -> Result<Verdict, Trouble> {
    let arguments = Arguments::parse(line)?;
    let config = conclusion::apply(&arguments, conclusion::read_config(&arguments.config)?)?;
    let settings = LoginSettings { config: &config, arguments: &arguments };
    let open = || Ok(store::open_for_a_login(&config.store)?);
    Ok(authenticate::authenticate(door, &Machine, settings, open, subject)?)
}

/// The login as `onetimed` has decided it, which has written the line to the log; `None`
/// if it has not, and why is in the log.
fn relayed(
    door: &mut PamDoor<'_>,
    line: &[&CStr],
    flags: PamFlag,
    subject: &mut Subject,
) -> Option<End> {
    let request = Request {
        line: line.iter().map(|argument| argument.to_string_lossy().into_owned()).collect(),
        disallow_null_authtok: flags & PAM_DISALLOW_NULL_AUTHTOK != 0,
    };
    match relay::authenticate(door, request) {
        Ok(end) => Some(end),
        Err(error) => {
            let given = door.current_user();
            subject.user = given.map(|given| system::name_for_log(&given)).unwrap_or_default();
            audit::send(Outcome::Failed, subject, &error.to_string());
            None
        }
    }
}
