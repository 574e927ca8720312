//! Carries the questions of `onetimed` to the person at the door, and the answers back.

use super::messages::{Begin, Continue, End, QuestionKind, Secret, Step};
use super::wire::Wire;
use super::{INTERFACE, RelayError};
use crate::login::ports::Door;
use crate::login::{AccountNote, AccountVerdict, Output};

/// What the door does not know of a login.
#[derive(Debug)]
pub struct Request {
    /// The arguments of the module's line in pam.d.
    pub line: Vec<String>,
    /// PAM_DISALLOW_NULL_AUTHTOK.
    pub disallow_null_authtok: bool,
}

/// Has `onetimed` judge the login at `door`.
///
/// # Errors
/// [`RelayError`]: the login is refused.
pub fn authenticate<D: Door>(door: &mut D, request: Request) -> Result<End, RelayError> {
    let wire = Wire::connect()?;
    let given = door.user()?;
    let begin = Begin {
        user: given.clone(),
        service: door.service().unwrap_or_default(),
        line: request.line,
        password: door.left_password().map(|left| Secret::of(&left)),
        rhost: door.rhost(),
        tty: door.tty(),
        ruser: door.ruser(),
        terminal: door.output() == Output::Terminal,
        silent: door.wants_silence(),
        disallow_null_authtok: request.disallow_null_authtok,
    };
    let step = wire.call(&method("Begin"), &begin)?;
    drop(begin);
    let end = converse(&wire, door, step)?;
    // Whatever was decided is about the name that was given.
    if door.current_user().as_deref() != Some(given.as_str()) {
        return Err(RelayError::UserChanged);
    }
    let account = end.account();
    if end.conclusion.is_admission() && account != AccountVerdict::Valid {
        door.note_account(AccountNote::new(given.clone(), given, account))?;
    }
    Ok(end)
}

/// Does as `onetimed` says, from this step to the end.
pub(super) fn converse<D: Door>(
    wire: &Wire,
    door: &mut D,
    mut step: Step,
) -> Result<End, RelayError> {
    loop {
        match act(door, step)? {
            Next::Answer(answer) => {
                step = wire.call(&method("Continue"), &Continue { answer })?;
            }
            Next::End(end) => return Ok(end),
        }
    }
}

/// What follows a step.
enum Next {
    Answer(Secret),
    End(End),
}

fn act<D: Door>(door: &mut D, step: Step) -> Result<Next, RelayError> {
    let Step { left, texts, question, end } = step;
    if let Some(left) = left {
        let password = left.password.as_ref().map(Secret::typed);
        door.leave_password(password.as_ref().map(|password| password.as_slice()));
    }
    for text in texts {
        // As in a login without `onetimed`: every prompt explains itself.
        let _unseen = door.show(&text.text.0, text.tone).is_err();
    }
    match (question, end) {
        (Some(question), None) => {
            let answer = match question.kind {
                QuestionKind::Password => door.ask_password()?,
                QuestionKind::Prompt => door.ask(&question.prompt, question.echo())?,
            };
            Ok(Next::Answer(Secret::of(&answer)))
        }
        (None, Some(end)) => Ok(Next::End(end)),
        (None, None) | (Some(_), Some(_)) => Err(RelayError::Malformed),
    }
}

pub(super) fn method(name: &str) -> String {
    format!("{INTERFACE}.{name}")
}
