//! The person at this terminal, as a [`Door`]: texts and prompts that `onetimed` sends.

use std::io::{BufRead, Read, Write, stdin, stdout};

use pam_onetime::login::ports::{
    ConversationError, Door, Echo, MAX_ANSWER, PasswordAnswer, RawAnswer, Tone,
};
use pam_onetime::login::{AccountNote, NoteError, Output, ServiceFault, ServiceReport};

/// The terminal.
pub(crate) struct Terminal;

fn failed(error: &dyn std::fmt::Display) -> ConversationError {
    ConversationError(error.to_string())
}

/// What is typed, without the newline.
fn read_line() -> std::io::Result<RawAnswer> {
    let mut line = RawAnswer::new(Vec::with_capacity(MAX_ANSWER.saturating_add(2)));
    let most = u64::try_from(MAX_ANSWER.saturating_add(2)).unwrap_or(u64::MAX);
    stdin().lock().take(most).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(line)
}

impl Door for Terminal {
    fn service(&self) -> Option<String> {
        None
    }

    fn ruser(&self) -> Option<String> {
        None
    }

    fn rhost(&self) -> Option<String> {
        None
    }

    fn tty(&self) -> Option<String> {
        None
    }

    fn output(&self) -> Output {
        Output::Terminal
    }

    fn wants_silence(&self) -> bool {
        false
    }

    fn user(&mut self) -> Result<String, ConversationError> {
        Err(failed(&"onetimed knows who asks"))
    }

    fn current_user(&self) -> Option<String> {
        None
    }

    fn left_password(&self) -> Option<RawAnswer> {
        None
    }

    fn ask_password(&mut self) -> Result<RawAnswer, ConversationError> {
        self.ask("Password: ", Echo::Off)
    }

    fn leave_password(&mut self, _password: Option<&[u8]>) {}

    fn verify_password(&mut self, _: &str, _: &str, _: &[u8]) -> PasswordAnswer {
        PasswordAnswer::Wrong
    }

    fn hear_service(&mut self) -> Result<ServiceReport, ServiceFault> {
        Ok(ServiceReport::default())
    }

    fn note_account(&mut self, note: AccountNote) -> Result<(), NoteError> {
        note.withdraw();
        Ok(())
    }

    fn ask(&mut self, prompt: &str, echo: Echo) -> Result<RawAnswer, ConversationError> {
        match echo {
            Echo::Off => {
                let typed = rpassword::prompt_password(prompt).map_err(|error| failed(&error))?;
                Ok(RawAnswer::new(typed.into_bytes()))
            }
            Echo::On => {
                let mut out = stdout().lock();
                out.write_all(prompt.as_bytes())
                    .and_then(|()| out.flush())
                    .and_then(|()| read_line())
                    .map_err(|error| failed(&error))
            }
        }
    }

    fn show(&mut self, text: &str, _tone: Tone) -> Result<(), ConversationError> {
        let mut out = stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.write_all(b"\n"))
            .and_then(|()| out.flush())
            .map_err(|error| failed(&error))
    }
}
