//! One login, from the hook to the result. The rules are in [`crate::login`];
//! this is the driver that asks, shows, stores, logs.

use std::ffi::CStr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::unistd::User;
use pam::constants::{PAM_SILENT, PamFlag, PamResultCode};
use pam::module::PamHandle;
use pam::secret::SecretBytes;

use super::arguments::{ArgumentError, Arguments, PasswordMode};
use super::handle::{self, Echo, Tone};
use super::password::{self, Verified};
use super::sys::MAX_RESPONSE;
use crate::account::{Phase, Timestamp, UserName, UserNameError};
use crate::audit::{self, Outcome, Subject};
use crate::config::{Config, ConfigError};
use crate::enrollment::Enrollment;
use crate::login::{
    Answer, Attempt, Fault, Grant, PasswordCheck, Plan, Question, Refusal, Verdict, judge, plan,
};
use crate::messages;
use crate::store::{self, Store, StoreError};

/// Authenticates, logs one line, and says PAM's result.
pub(super) fn authenticate(pamh: &mut PamHandle, line: &[&CStr], flags: PamFlag) -> PamResultCode {
    let mut subject = Subject {
        service: handle::service(pamh).unwrap_or_default(),
        rhost: handle::rhost(pamh),
        tty: handle::tty(pamh),
        ..Subject::default()
    };
    match attempt(pamh, line, flags, &mut subject) {
        Ok(verdict) => {
            let (outcome, reason) = audit::explain(verdict);
            audit::send(outcome, &subject, &reason);
            result_of(verdict)
        }
        Err(trouble) => {
            audit::send(trouble.outcome(), &subject, &trouble.to_string());
            trouble.result()
        }
    }
}

/// Success has this one source, and PAM_IGNORE too.
const fn result_of(verdict: Verdict) -> PamResultCode {
    match verdict {
        Verdict::Admitted(_) => PamResultCode::PAM_SUCCESS,
        Verdict::NotNeeded(_) => PamResultCode::PAM_IGNORE,
        Verdict::Refused(Refusal::LockedOut { .. }) => PamResultCode::PAM_MAXTRIES,
        Verdict::Refused(_) | Verdict::Again(_) => PamResultCode::PAM_AUTH_ERR,
    }
}

/// Why a login ends without a verdict. Always a refusal.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the password service includes pam_onetime.so: take it out of that file")]
    Recursion,
    #[error(transparent)]
    Arguments(#[from] ArgumentError),
    #[error("{path}: {error}")]
    Config { path: String, error: ConfigError },
    #[error("configuration: {0}")]
    ConfigFile(StoreError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the password database cannot be read: {0}")]
    Passwd(nix::Error),
    #[error("unknown user")]
    UnknownUser,
    #[error("{0}")]
    UserName(#[from] UserNameError),
    #[error("the conversation failed ({0:?})")]
    Conversation(PamResultCode),
    #[error("the clock is before 1970")]
    Clock,
    #[error("the user name was changed during the login")]
    UserChanged,
}

impl Trouble {
    const fn result(&self) -> PamResultCode {
        match self {
            Self::Recursion | Self::Arguments(_) | Self::Config { .. } | Self::ConfigFile(_) => {
                PamResultCode::PAM_SERVICE_ERR
            }
            Self::Store(_) | Self::Passwd(_) | Self::Clock => PamResultCode::PAM_AUTHINFO_UNAVAIL,
            // Tells no more than a wrong code does.
            Self::UnknownUser | Self::UserName(_) | Self::Conversation(_) | Self::UserChanged => {
                PamResultCode::PAM_AUTH_ERR
            }
        }
    }

    const fn outcome(&self) -> Outcome {
        match self {
            Self::UnknownUser | Self::UserName(_) | Self::Conversation(_) => Outcome::Refused,
            Self::Recursion
            | Self::Arguments(_)
            | Self::Config { .. }
            | Self::ConfigFile(_)
            | Self::Store(_)
            | Self::Passwd(_)
            | Self::Clock
            | Self::UserChanged => Outcome::Failed,
        }
    }
}

/// A user of the password database.
struct Person {
    name: UserName,
    uid: u32,
}

fn attempt(
    pamh: &mut PamHandle,
    line: &[&CStr],
    flags: PamFlag,
    subject: &mut Subject,
) -> Result<Verdict, Trouble> {
    if password::is_nested(pamh) {
        return Err(Trouble::Recursion);
    }
    let arguments = Arguments::parse(line)?;
    let config = read_config(&arguments)?;
    let given = handle::user(pamh).map_err(Trouble::Conversation)?;
    let person = find_person(&given)?;
    // The name of an unknown user is not logged: it may be a password, typed
    // at the wrong prompt.
    let known = person.as_ref().map(|person| person.name.as_str());
    subject.user = known.unwrap_or("(unknown)").to_owned();
    let name = person.as_ref().map_or(given.as_str(), |person| person.name.as_str());
    let login = Login { config: &config, arguments: &arguments, flags, name };

    // An unknown user meets the same prompt and the same check as a known one.
    let asked = match arguments.password {
        PasswordMode::Verify => Some(login.verify_asked(pamh)?),
        PasswordMode::Stack | PasswordMode::None => None,
    };
    let Some(person) = &person else {
        return Err(Trouble::UnknownUser);
    };
    let store = Store::open(Path::new(&config.store.dir), Store::ROOT)?;
    let account = store.load(&person.name, person.uid)?;
    let phase = account.as_ref().map(crate::account::Account::phase);
    if arguments.debug {
        let (mode, nth) = (arguments.password, account.as_ref().map(|a| a.record.tokens.len()));
        audit::debug(subject, &format!("password={mode:?} phase={phase:?} tokens={nth:?}"));
    }
    let password = match asked {
        Some(check) => check,
        None => login.check_stacked(pamh, phase),
    };
    let verdict = match plan(account.as_ref(), &password, &config) {
        Plan::Done(verdict) => verdict,
        Plan::Ask(question) => login.ask(pamh, &store, person, &password, &question)?,
    };
    // Whatever was decided is about `given`.
    if handle::user_item(pamh).as_deref() != Some(given.as_str()) {
        return Err(Trouble::UserChanged);
    }
    Ok(verdict)
}

/// What does not change while a login goes on.
struct Login<'a> {
    config: &'a Config,
    arguments: &'a Arguments,
    flags: PamFlag,
    /// The canonical name of a known user.
    name: &'a str,
}

impl Login<'_> {
    fn verify_asked(&self, pamh: &mut PamHandle) -> Result<PasswordCheck, Trouble> {
        let password = handle::ask_password(pamh).map_err(Trouble::Conversation)?;
        Ok(self.verify(pamh, &password))
    }

    /// Earlier modules or an ssh key answer for the password. But libpam does
    /// not tell whether an earlier `required` module failed, so before a
    /// secret is shown the password they left is verified here.
    fn check_stacked(&self, pamh: &mut PamHandle, phase: Option<Phase>) -> PasswordCheck {
        match (self.arguments.password, phase) {
            (PasswordMode::None, _) => PasswordCheck::Without,
            (PasswordMode::Verify | PasswordMode::Stack, Some(Phase::Pending)) => {
                match handle::password_item(pamh) {
                    Some(password) => self.verify(pamh, &password),
                    None => PasswordCheck::InStack,
                }
            }
            (PasswordMode::Verify | PasswordMode::Stack, Some(Phase::Active { .. }) | None) => {
                PasswordCheck::InStack
            }
        }
    }

    fn verify(&self, pamh: &mut PamHandle, password: &SecretBytes) -> PasswordCheck {
        if password.len() > MAX_RESPONSE {
            return PasswordCheck::Wrong(Fault::Password);
        }
        let service = &self.config.password.service;
        PasswordCheck::Wrong(
            match password::verify(pamh, service, self.name, password, self.flags) {
                Verified::Right(proof) => return PasswordCheck::Right(proof),
                Verified::Wrong if Answer::is_sshd_refusal(password.as_bytes()) => {
                    Fault::RefusedBySshd
                }
                Verified::Wrong => Fault::Password,
                Verified::Failed(code) => Fault::Service { result: code as i32 },
            },
        )
    }

    fn ask(
        &self,
        pamh: &mut PamHandle,
        store: &Store,
        person: &Person,
        password: &PasswordCheck,
        question: &Question<'_>,
    ) -> Result<Verdict, Trouble> {
        if let Some(invitation) = &question.show {
            for enrollment in Enrollment::of(invitation) {
                let text = messages::invitation(&enrollment, self.config.enrollment.qr);
                self.tell(pamh, &text, Tone::Info);
            }
        }
        let mut prompt = messages::prompt(question.prompt, self.config);
        let mut tries_left = question.tries;
        loop {
            tries_left = tries_left.saturating_sub(1);
            let answer = self.ask_code(pamh, &prompt)?;
            let now = now()?;
            let attempt = Attempt { password, answer: &answer, tries_left, now };
            let verdict = store.update(&person.name, person.uid, |account| {
                judge(account, &attempt, self.config)
            })?;
            match verdict {
                Verdict::Again(_) if tries_left > 0 => {
                    prompt = messages::prompt_again(question.prompt, self.config);
                    continue;
                }
                Verdict::Admitted(Grant::Activated) => {
                    self.tell(pamh, messages::ACTIVATED, Tone::Info)
                }
                Verdict::Refused(Refusal::LockedOut { .. }) => {
                    self.tell(pamh, messages::LOCKED, Tone::Error);
                }
                Verdict::Admitted(_)
                | Verdict::NotNeeded(_)
                | Verdict::Again(_)
                | Verdict::Refused(_) => {}
            }
            return Ok(verdict);
        }
    }

    fn ask_code(&self, pamh: &PamHandle, prompt: &str) -> Result<Answer, Trouble> {
        let echo = if self.config.login.echo { Echo::On } else { Echo::Off };
        let typed = handle::ask(pamh, prompt, echo).map_err(Trouble::Conversation)?;
        Ok(match typed {
            Some(typed) if typed.len() > MAX_RESPONSE => Answer::NotACode,
            Some(typed) => Answer::read(typed.as_bytes()),
            // The application has nothing to answer with.
            None => return Err(Trouble::Conversation(PamResultCode::PAM_CONV_ERR)),
        })
    }

    /// Shows a text, unless the application wants silence. Where it cannot
    /// show any, the login goes on: every prompt explains itself.
    fn tell(&self, pamh: &PamHandle, text: &str, tone: Tone) {
        if self.flags & PAM_SILENT == 0 {
            let _unseen = handle::tell(pamh, text, tone).is_err();
        }
    }
}

fn read_config(arguments: &Arguments) -> Result<Config, Trouble> {
    let text = store::read_config(&arguments.config).map_err(Trouble::ConfigFile)?;
    Config::parse(&text)
        .and_then(|config| arguments.apply(config))
        .map_err(|error| Trouble::Config { path: arguments.config.display().to_string(), error })
}

/// The user by their canonical name: an alias must not be a second account.
fn find_person(given: &str) -> Result<Option<Person>, Trouble> {
    match User::from_name(given) {
        Ok(Some(user)) => {
            Ok(Some(Person { name: UserName::new(user.name)?, uid: user.uid.as_raw() }))
        }
        Ok(None) => Ok(None),
        Err(error) => Err(Trouble::Passwd(error)),
    }
}

fn now() -> Result<Timestamp, Trouble> {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => Ok(Timestamp(since.as_secs())),
        Err(_) => Err(Trouble::Clock),
    }
}
