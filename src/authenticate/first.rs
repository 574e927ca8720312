//! The first answer of a login: the password, alone or with a code at its end
//! (`prompt=combined`), and what the password service says of it.

use super::{Host, Login};
use crate::account::{Account, Phase};
use crate::config::Missing;
use crate::config::arguments::{FirstPass, PasswordMode};
use crate::login::ports::{ConversationError, Door, Echo, MAX_ANSWER, PasswordAnswer, RawAnswer};
use crate::login::{Answer, PasswordCheck, PasswordFault};
use crate::messages;

/// The answer to the first prompt.
pub(super) enum FirstAnswer {
    /// Nothing was asked: other modules check the password.
    Nothing,
    /// The password, which was verified.
    Password(PasswordCheck),
    /// Password and code in one (`prompt=combined`), not yet taken apart.
    Combined(RawAnswer),
}

impl<D: Door, H: Host> Login<'_, D, H> {
    /// The first prompt, if there is one, and the password where it is alone.
    pub(super) fn ask_first(&mut self) -> Result<FirstAnswer, ConversationError> {
        match self.arguments.password {
            PasswordMode::Stack | PasswordMode::None => Ok(FirstAnswer::Nothing),
            PasswordMode::Verify if self.config.login.is_combined() => {
                self.ask_combined().map(FirstAnswer::Combined)
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
        let password = self.door.ask_password()?;
        Ok(self.verify(&password))
    }

    fn ask_combined(&mut self) -> Result<RawAnswer, ConversationError> {
        match (self.arguments.first_pass, self.door.left_password()) {
            (_, Some(left)) => Ok(left),
            (FirstPass::Use, None) => Err(ConversationError("PAM_AUTHTOK_ERR".to_owned())),
            (FirstPass::Default | FirstPass::Try, None) => {
                let prompt = messages::prompt_combined(self.config.login.language);
                self.door.ask(prompt, Echo::Off)
            }
        }
    }

    /// Lets a user whom nothing is known of go through what others go through.
    pub(super) fn turn_away(&mut self, first: &FirstAnswer) -> Result<(), ConversationError> {
        match first {
            FirstAnswer::Combined(answer) => drop(self.verify(answer)),
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
        account: Option<&Account>,
    ) -> (PasswordCheck, Option<Answer>) {
        match first {
            FirstAnswer::Password(check) => (check, None),
            FirstAnswer::Nothing => (self.check_stacked(account), None),
            FirstAnswer::Combined(all) => {
                let (check, answer) = self.split_combined(&all, account);
                (check, Some(answer))
            }
        }
    }

    /// What is known of a password that was typed together with a code. A user who
    /// needs none has typed the password alone.
    fn split_combined(&mut self, all: &[u8], account: Option<&Account>) -> (PasswordCheck, Answer) {
        let Some(account) = account else {
            return (self.verify_and_leave(all), Answer::Empty);
        };
        // A pending user may have typed a code or not: the whole is tried first.
        if account.phase() == Phase::Pending
            && let right @ PasswordCheck::Right(_) = self.verify_and_leave(all)
        {
            return (right, Answer::Empty);
        }
        let mut wrong = None;
        for (password, answer) in Answer::splits(all, &account.record) {
            let check = self.verify_and_leave(password);
            if let PasswordCheck::Right(_) = check {
                return (check, answer);
            }
            wrong = wrong.or(Some((check, answer)));
        }
        // No code; or a password that ends in digits, from a remembered host perhaps.
        match (self.verify_and_leave(all), wrong) {
            (right @ PasswordCheck::Right(_), _) => (right, Answer::Empty),
            (check, wrong) => wrong.unwrap_or((check, Answer::Empty)),
        }
    }

    fn verify_and_leave(&mut self, password: &[u8]) -> PasswordCheck {
        let check = self.verify(password);
        self.door.leave_password(Some(password));
        check
    }

    /// Earlier modules or an ssh key answer for the password. But libpam does
    /// not report whether an earlier `required` module failed, so before a
    /// secret is shown the password they left is verified here.
    fn check_stacked(&mut self, account: Option<&Account>) -> PasswordCheck {
        let may_be_shown = match account.map(Account::phase) {
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

    fn verify(&mut self, password: &[u8]) -> PasswordCheck {
        if password.len() > MAX_ANSWER {
            return PasswordCheck::Wrong(PasswordFault::Password);
        }
        let service = &self.config.password.service;
        PasswordCheck::Wrong(match self.door.verify_password(service, self.name, password) {
            PasswordAnswer::Right(proof) => return PasswordCheck::Right(proof),
            PasswordAnswer::Wrong if Answer::is_sshd_refusal(password) => {
                PasswordFault::RefusedBySshd
            }
            PasswordAnswer::Wrong => PasswordFault::Password,
            PasswordAnswer::Unavailable { result } => PasswordFault::Service { result },
        })
    }
}
