//! The person at the other end of a connection, as the [`Door`] of a login.

use std::mem::take;

use pam_onetime::callers::Asker;
use pam_onetime::conclusion::Conclusion;
use pam_onetime::login::ports::{ConversationError, Door, Echo, PasswordAnswer, RawAnswer, Tone};
use pam_onetime::login::{
    AccountNote, AccountVerdict, NoteError, Output, ServiceFault, ServiceReport,
};
use pam_onetime::relay::{Begin, End, Left, Question, QuestionKind, Secret, Step, Text};
use pam_onetime::{PasswordItems, PasswordService};

use crate::talk::{Talk, TalkError};

/// The other end of a connection.
pub(crate) struct SocketDoor<'t> {
    talk: &'t mut Talk,
    begin: Begin,
    asker: Asker,
    /// Who asks, by the kernel; of root's programs, whom they name.
    ruser: Option<String>,
    /// What is left as the password now.
    left: Option<RawAnswer>,
    /// What the other end has not been told yet.
    next: Step,
    service: PasswordService,
    account: AccountVerdict,
}

impl<'t> SocketDoor<'t> {
    pub(crate) fn new(
        talk: &'t mut Talk,
        begin: Begin,
        asker: Asker,
        peer: String,
        service: PasswordService,
    ) -> Self {
        let ruser = if asker.is_believed() { begin.ruser.clone() } else { Some(peer) };
        let left = begin.password.as_ref().map(Secret::typed);
        let (next, account) = (Step::default(), AccountVerdict::Valid);
        Self { talk, begin, asker, ruser, left, next, service, account }
    }

    /// The delay that the password service wants after a failure, in microseconds.
    pub(crate) const fn delay(&self) -> u32 {
        self.service.delay()
    }

    /// What the password service says of the account.
    pub(crate) const fn account(&self) -> AccountVerdict {
        self.account
    }

    /// Says how the login has ended.
    pub(crate) fn end(mut self, conclusion: Conclusion, delay: u32) {
        let end = End::new(conclusion, self.account, delay);
        let step = Step { end: Some(end), ..take(&mut self.next) };
        // Nobody is told, then, and nobody is let in.
        let _gone = self.talk.say(step).is_err();
    }

    fn put(&mut self, question: Question) -> Result<RawAnswer, ConversationError> {
        let step = Step { question: Some(question), ..take(&mut self.next) };
        let answer = self.talk.ask(step).map_err(|error: TalkError| {
            ConversationError(format!("the program at the other end: {error}"))
        })?;
        Ok(answer.answer.typed())
    }

    fn believed(&self, said: &Option<String>) -> Option<String> {
        said.clone().filter(|said| self.asker.is_believed() && !said.is_empty())
    }
}

impl Door for SocketDoor<'_> {
    fn asker(&self) -> Asker {
        self.asker
    }

    fn service(&self) -> Option<String> {
        Some(self.begin.service.clone())
    }

    fn ruser(&self) -> Option<String> {
        self.ruser.clone()
    }

    fn rhost(&self) -> Option<String> {
        self.believed(&self.begin.rhost)
    }

    fn tty(&self) -> Option<String> {
        self.believed(&self.begin.tty)
    }

    fn output(&self) -> Output {
        if self.begin.terminal { Output::Terminal } else { Output::Elsewhere }
    }

    fn wants_silence(&self) -> bool {
        self.begin.silent
    }

    fn user(&mut self) -> Result<String, ConversationError> {
        Ok(self.begin.user.clone())
    }

    /// The other end sees to it that it is the same at its end.
    fn current_user(&self) -> Option<String> {
        Some(self.begin.user.clone())
    }

    fn left_password(&self) -> Option<RawAnswer> {
        self.left.clone()
    }

    fn ask_password(&mut self) -> Result<RawAnswer, ConversationError> {
        if let Some(left) = &self.left {
            return Ok(left.clone());
        }
        let kind = QuestionKind::Password;
        let password = self.put(Question { kind, prompt: String::new(), echo: false })?;
        self.left = Some(password.clone());
        Ok(password)
    }

    fn leave_password(&mut self, password: Option<&[u8]>) {
        self.left = password.map(|password| RawAnswer::new(password.to_vec()));
        self.next.left = Some(Left { password: password.map(Secret::of) });
    }

    fn verify_password(&mut self, service: &str, user: &str, password: &[u8]) -> PasswordAnswer {
        let items = PasswordItems { rhost: self.rhost(), tty: self.tty(), ruser: self.ruser() };
        self.service.verify(service, user, password, &items)
    }

    fn hear_service(&mut self) -> Result<ServiceReport, ServiceFault> {
        self.service.hear()
    }

    fn note_account(&mut self, note: AccountNote) -> Result<(), NoteError> {
        self.account = note.verdict();
        // It waits at the other end.
        note.withdraw();
        Ok(())
    }

    fn ask(&mut self, prompt: &str, echo: Echo) -> Result<RawAnswer, ConversationError> {
        let echo = match echo {
            Echo::On => true,
            Echo::Off => false,
        };
        self.put(Question { kind: QuestionKind::Prompt, prompt: prompt.to_owned(), echo })
    }

    fn show(&mut self, text: &str, tone: Tone) -> Result<(), ConversationError> {
        let text = Text { tone, text: Secret(text.to_owned()) };
        self.next.texts.push(text);
        Ok(())
    }
}
