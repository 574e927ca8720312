//! The first answer of a login: the password, alone or with a code at its end
//! (`prompt=combined`), and what the password service says of it.

use super::{Host, Login};
use crate::account::{Account, Phase, Timestamp};
use crate::audit::Outcome;
use crate::config::Missing;
use crate::config::arguments::{FirstPass, PasswordMode};
use crate::login::ports::{ConversationError, Door, Echo, MAX_ANSWER, PasswordAnswer, RawAnswer};
use crate::login::{Answer, CodeNeed, PasswordCheck, PasswordFault, ServiceFault, separate};
use crate::messages;

/// The answer to the first prompt.
pub(super) enum FirstAnswer {
    /// Nothing was asked: other modules check the password.
    Nothing,
    /// The password, which was verified.
    Password(PasswordCheck),
    /// Password and code in one (`prompt=combined`), not yet taken apart.
    Combined(RawAnswer, Origin),
}

/// Where an answer is from.
#[derive(Clone, Copy)]
pub(super) enum Origin {
    /// An earlier module has left it: the first pass.
    EarlierModule,
    /// The user has just typed it.
    User,
}

/// An account, and what decides where a password ends and the code begins.
#[derive(Clone, Copy)]
pub(super) struct KnownAccount<'k> {
    pub(super) account: &'k Account,
    pub(super) need: CodeNeed,
    pub(super) now: Timestamp,
}

impl<D: Door, H: Host> Login<'_, D, H> {
    /// The first prompt, if there is one, and the password where it is alone.
    pub(super) fn ask_first(&mut self) -> Result<FirstAnswer, ConversationError> {
        match self.arguments.password {
            PasswordMode::Stack | PasswordMode::None => Ok(FirstAnswer::Nothing),
            PasswordMode::Verify if self.config.login.is_combined() => {
                self.ask_combined().map(|(all, origin)| FirstAnswer::Combined(all, origin))
            }
            PasswordMode::Verify => self.ask_password().map(FirstAnswer::Password),
        }
    }

    fn ask_password(&mut self) -> Result<PasswordCheck, ConversationError> {
        let left = self.door.left_password();
        match (self.arguments.first_pass, left) {
            (FirstPass::Use, None) => return Ok(PasswordCheck::Wrong(PasswordFault::Password)),
            (FirstPass::Use, Some(left)) => return Ok(self.verify(&left)),
            (FirstPass::Try, Some(left)) => {
                if let right @ PasswordCheck::Right(_) = self.verify(&left) {
                    return Ok(right);
                }
                self.door.leave_password(None);
            }
            (FirstPass::Default | FirstPass::Try, _) => {}
        }
        self.pace.wait();
        let password = self.door.ask_password()?;
        self.pace.hear();
        Ok(self.verify(&password))
    }

    fn ask_combined(&mut self) -> Result<(RawAnswer, Origin), ConversationError> {
        match (self.arguments.first_pass, self.door.left_password()) {
            (_, Some(left)) => Ok((left, Origin::EarlierModule)),
            (FirstPass::Use, None) => Err(ConversationError("PAM_AUTHTOK_ERR".to_owned())),
            (FirstPass::Default | FirstPass::Try, None) => {
                let prompt = messages::prompt_combined(self.config.login.language);
                Ok((self.ask(prompt, Echo::Off)?, Origin::User))
            }
        }
    }

    /// Lets a user whom nothing is known of go through what others go through.
    pub(super) fn turn_away(&mut self, first: FirstAnswer) -> Result<(), ConversationError> {
        match first {
            FirstAnswer::Combined(all, origin) => {
                self.check_combined(&all, origin, None)?;
            }
            FirstAnswer::Password(_) | FirstAnswer::Nothing if self.config.login.uniform => {
                self.pretend()?
            }
            FirstAnswer::Password(_) | FirstAnswer::Nothing => {}
        }
        Ok(())
    }

    /// What is known of the password; and the code, if it came with it.
    pub(super) fn split(
        &mut self,
        first: FirstAnswer,
        known: Option<KnownAccount<'_>>,
    ) -> Result<(PasswordCheck, Option<Answer>), ConversationError> {
        match first {
            FirstAnswer::Password(check) => Ok((check, None)),
            FirstAnswer::Nothing => {
                Ok((self.check_stacked(known.map(|known| known.account)), None))
            }
            FirstAnswer::Combined(all, origin) => {
                let (check, answer) = self.check_combined(&all, origin, known)?;
                Ok((check, Some(answer)))
            }
        }
    }

    /// What is known of a password that was typed together with a code. With
    /// `try_first_pass` the user is asked if the first pass is not right: whether the
    /// password is wrong or a code is missing, they see the same.
    fn check_combined(
        &mut self,
        all: &[u8],
        origin: Origin,
        known: Option<KnownAccount<'_>>,
    ) -> Result<(PasswordCheck, Answer), ConversationError> {
        let checked = self.verify_combined(all, known);
        let missing = matches!(checked, (_, Answer::Empty))
            && known.is_some_and(|known| known.need == CodeNeed::Needed);
        match (self.arguments.first_pass, origin) {
            (FirstPass::Try, Origin::EarlierModule)
                if missing || !matches!(checked, (PasswordCheck::Right(_), _)) =>
            {
                self.door.leave_password(None);
                let (all, _) = self.ask_combined()?;
                Ok(self.verify_combined(&all, known))
            }
            (FirstPass::Default | FirstPass::Try | FirstPass::Use, _) => Ok(checked),
        }
    }

    /// Asks the password service, once: where the code begins is decided before. A user
    /// without a record has typed the password alone.
    fn verify_combined(
        &mut self,
        all: &[u8],
        known: Option<KnownAccount<'_>>,
    ) -> (PasswordCheck, Answer) {
        let (password, answer) = match known {
            Some(KnownAccount { account, need, now }) if all.len() <= MAX_ANSWER => {
                separate(all, account, need, now, &self.config.code)
            }
            Some(_) | None => (all, Answer::Empty),
        };
        let check = self.verify(password);
        self.door.leave_password(Some(password));
        (check, answer)
    }

    /// Earlier modules or an ssh key answer for the password. But libpam does
    /// not report whether an earlier `required` module failed, so before a
    /// secret is shown the password they left is verified here.
    fn check_stacked(&mut self, account: Option<&Account>) -> PasswordCheck {
        let may_be_shown = self.view.has_secrets()
            && match account.map(Account::phase) {
                Some(Phase::Pending) => true,
                Some(Phase::Active { .. }) => false,
                None => self.config.login.missing == Missing::Enrol,
            };
        match self.arguments.password {
            PasswordMode::None => PasswordCheck::Without,
            PasswordMode::Verify | PasswordMode::Stack => match self.door.left_password() {
                Some(password) if may_be_shown => self.verify(&password),
                Some(_) | None => PasswordCheck::InStack,
            },
        }
    }

    /// A fault that can be removed is named in a line of its own.
    fn log_fault(&self, fault: &ServiceFault) {
        if fault.remedy().is_some() {
            self.host.log(Outcome::Failed, self.subject, &fault.with_remedy());
        }
    }

    fn verify(&mut self, password: &[u8]) -> PasswordCheck {
        // A longer one, or one with a NUL, would not reach the service as it was typed.
        if password.len() > MAX_ANSWER || password.contains(&0) {
            return PasswordCheck::Wrong(PasswordFault::Password);
        }
        let service = &self.config.password.service;
        PasswordCheck::Wrong(match self.door.verify_password(service, self.name, password) {
            PasswordAnswer::Right(proof) => return PasswordCheck::Right(proof),
            PasswordAnswer::Wrong if Answer::is_sshd_refusal(password) => {
                PasswordFault::RefusedBySshd
            }
            PasswordAnswer::Wrong => PasswordFault::Password,
            PasswordAnswer::Unavailable(fault) => {
                self.log_fault(&fault);
                PasswordFault::Service { result: fault.result() }
            }
        })
    }
}
