//! One login, from the hook to the result. The rules are in [`crate::login`];
//! this is the driver that asks, shows, stores, logs.

use std::ffi::{CStr, CString};
use std::path::Path;

use pam::constants::{PAM_SILENT, PamFlag, PamResultCode};
use pam::module::PamHandle;
use pam::secret::SecretBytes;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use super::handle::{self, Echo, Tone};
use super::password::{self, Verified};
use super::sys::MAX_RESPONSE;
use crate::account::{Account, Phase, Recovery};
use crate::audit::{self, Outcome, Subject};
use crate::config::arguments::{ArgumentError, Arguments, FirstPass, PasswordMode};
use crate::config::{Config, ConfigError, Missing};
use crate::enrollment::{self, Enrollment};
use crate::login::{
    Answer, Attempt, Circumstances, Fault, Grant, PasswordCheck, Plan, Prompt, Question, Refusal,
    Verdict, judge, plan,
};
use crate::messages;
use crate::store::{self, Loaded, Replace, Store, StoreError};
use crate::system::{self, Person, SystemError};

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
    #[error("configuration: {}", .0.with_remedy())]
    ConfigFile(StoreError),
    #[error("{}", .0.with_remedy())]
    Store(#[from] StoreError),
    #[error("{}", .0.with_remedy())]
    System(#[from] SystemError),
    #[error("no randomness for a new secret")]
    Random,
    #[error("unknown user")]
    UnknownUser,
    #[error("the conversation failed ({0:?})")]
    Conversation(PamResultCode),
    #[error("the user name was changed during the login")]
    UserChanged,
}

impl Trouble {
    const fn result(&self) -> PamResultCode {
        match self {
            Self::Recursion | Self::Arguments(_) | Self::Config { .. } | Self::ConfigFile(_) => {
                PamResultCode::PAM_SERVICE_ERR
            }
            Self::Store(_) | Self::System(_) | Self::Random => PamResultCode::PAM_AUTHINFO_UNAVAIL,
            // Tells no more than a wrong code does.
            Self::UnknownUser | Self::Conversation(_) | Self::UserChanged => {
                PamResultCode::PAM_AUTH_ERR
            }
        }
    }

    const fn outcome(&self) -> Outcome {
        match self {
            Self::UnknownUser | Self::Conversation(_) => Outcome::Refused,
            Self::Recursion
            | Self::Arguments(_)
            | Self::Config { .. }
            | Self::ConfigFile(_)
            | Self::Store(_)
            | Self::System(_)
            | Self::Random
            | Self::UserChanged => Outcome::Failed,
        }
    }
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
    let person = Person::find(&given)?;
    // The name of an unknown user is not logged: it may be a password, typed
    // at the wrong prompt.
    let known = person.as_ref().map(|person| person.name.as_str());
    subject.user = known.unwrap_or("(unknown)").to_owned();
    let login = Login {
        config: &config,
        arguments: &arguments,
        flags,
        name: known.unwrap_or(&given),
        subject,
    };

    // An unknown user meets the same prompt and the same check as a known one.
    let typed = login.ask_first(pamh)?;
    let Some(person) = &person else {
        login.turn_away(pamh, &typed)?;
        return Err(Trouble::UnknownUser);
    };
    let opened = Store::open(Path::new(&config.store.dir), Store::ROOT)
        .and_then(|store| Ok((store.load(&person.name, person.uid)?, store)));
    let (loaded, store) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            login.turn_away(pamh, &typed)?;
            return Err(error.into());
        }
    };
    let loaded = loaded.as_ref();
    let (password, answer) = login.split(pamh, typed, account(loaded));
    if arguments.debug {
        let (mode, phase) = (arguments.password, account(loaded).map(Account::phase));
        audit::debug(subject, &format!("password={mode:?} phase={phase:?}"));
    }
    let verdict = Candidate { login, store: &store, person, password: &password, answer }
        .decide(pamh, loaded)?;
    // Whatever was decided is about `given`.
    if handle::user_item(pamh).as_deref() != Some(given.as_str()) {
        return Err(Trouble::UserChanged);
    }
    Ok(verdict)
}

fn account(loaded: Option<&Loaded>) -> Option<&Account> {
    loaded.map(|loaded| &loaded.account)
}

/// What came of the first prompt.
enum Typed {
    /// Nothing was asked: others answer for the password.
    Nothing,
    /// The password, which was verified.
    Password(PasswordCheck),
    /// Password and code in one (`prompt=combined`), not yet taken apart.
    Combined(SecretBytes),
}

/// What does not change while a login goes on.
#[derive(Clone, Copy)]
struct Login<'a> {
    config: &'a Config,
    arguments: &'a Arguments,
    flags: PamFlag,
    /// The canonical name of a known user.
    name: &'a str,
    subject: &'a Subject,
}

impl Login<'_> {
    fn ask_first(&self, pamh: &mut PamHandle) -> Result<Typed, Trouble> {
        match self.arguments.password {
            PasswordMode::Stack | PasswordMode::None => Ok(Typed::Nothing),
            PasswordMode::Verify if self.config.login.is_combined() => {
                self.ask_combined(pamh).map(Typed::Combined)
            }
            PasswordMode::Verify => self.ask_password(pamh).map(Typed::Password),
        }
    }

    fn ask_password(&self, pamh: &mut PamHandle) -> Result<PasswordCheck, Trouble> {
        let left = handle::password_item(pamh);
        match (self.arguments.first_pass, left) {
            (FirstPass::Use, None) => return Ok(PasswordCheck::Wrong(Fault::Password)),
            (FirstPass::Use, Some(left)) => return Ok(self.verify(pamh, left.as_bytes())),
            (FirstPass::Try, Some(left)) => {
                if let right @ PasswordCheck::Right(_) = self.verify(pamh, left.as_bytes()) {
                    return Ok(right);
                }
                handle::set_password(pamh, None);
            }
            (FirstPass::Default | FirstPass::Try, _) => {}
        }
        let password = handle::ask_password(pamh).map_err(Trouble::Conversation)?;
        Ok(self.verify(pamh, password.as_bytes()))
    }

    fn ask_combined(&self, pamh: &mut PamHandle) -> Result<SecretBytes, Trouble> {
        let left = handle::password_item(pamh);
        match (self.arguments.first_pass, left) {
            (_, Some(left)) => Ok(left),
            (FirstPass::Use, None) => Err(Trouble::Conversation(PamResultCode::PAM_AUTHTOK_ERR)),
            (FirstPass::Default | FirstPass::Try, None) => {
                let prompt = messages::prompt_combined(self.config.login.language);
                handle::ask(pamh, prompt, Echo::Off)
                    .map_err(Trouble::Conversation)?
                    .ok_or(Trouble::Conversation(PamResultCode::PAM_CONV_ERR))
            }
        }
    }

    /// Lets a user whom nothing is known of go through what others go through.
    fn turn_away(&self, pamh: &mut PamHandle, typed: &Typed) -> Result<(), Trouble> {
        match typed {
            Typed::Combined(answer) => drop(self.verify(pamh, answer.as_bytes())),
            Typed::Password(_) | Typed::Nothing if self.config.login.uniform => {
                let prompt = messages::prompt(Prompt::Code, self.config);
                drop(self.ask_code(pamh, &prompt)?);
            }
            Typed::Password(_) | Typed::Nothing => {}
        }
        Ok(())
    }

    /// What is known of the password; and the code, if it came with it.
    fn split(
        &self,
        pamh: &mut PamHandle,
        typed: Typed,
        account: Option<&Account>,
    ) -> (PasswordCheck, Option<Answer>) {
        match typed {
            Typed::Password(check) => (check, None),
            Typed::Nothing => (self.check_stacked(pamh, account), None),
            Typed::Combined(all) => {
                let (check, answer) = self.split_combined(pamh, all.as_bytes(), account);
                (check, Some(answer))
            }
        }
    }

    /// What is known of a password that was typed together with a code. A user who
    /// needs none has typed the password alone.
    fn split_combined(
        &self,
        pamh: &mut PamHandle,
        all: &[u8],
        account: Option<&Account>,
    ) -> (PasswordCheck, Answer) {
        let Some(account) = account else {
            return (self.verify_and_hand_on(pamh, all), Answer::Empty);
        };
        // A pending user may have typed a code or not: the whole is tried first.
        if account.phase() == Phase::Pending
            && let right @ PasswordCheck::Right(_) = self.verify_and_hand_on(pamh, all)
        {
            return (right, Answer::Empty);
        }
        let mut wrong = None;
        for (password, answer) in Answer::splits(all, &account.record) {
            let check = self.verify_and_hand_on(pamh, password);
            if let PasswordCheck::Right(_) = check {
                return (check, answer);
            }
            wrong = wrong.or(Some((check, answer)));
        }
        // No code; or a password that ends in digits, from a remembered host perhaps.
        match (self.verify_and_hand_on(pamh, all), wrong) {
            (right @ PasswordCheck::Right(_), _) => (right, Answer::Empty),
            (check, wrong) => wrong.unwrap_or((check, Answer::Empty)),
        }
    }

    fn verify_and_hand_on(&self, pamh: &mut PamHandle, password: &[u8]) -> PasswordCheck {
        let check = self.verify(pamh, password);
        if let Ok(text) = CString::new(password) {
            handle::set_password(pamh, Some(&text));
            drop(Zeroizing::new(text.into_bytes()));
        }
        check
    }

    /// Earlier modules or an ssh key answer for the password. But libpam does
    /// not tell whether an earlier `required` module failed, so before a
    /// secret is shown the password they left is verified here.
    fn check_stacked(&self, pamh: &mut PamHandle, account: Option<&Account>) -> PasswordCheck {
        let may_be_shown = match account.map(Account::phase) {
            Some(Phase::Pending) => true,
            Some(Phase::Active { .. }) => false,
            None => self.config.login.missing == Missing::Enrol,
        };
        match self.arguments.password {
            PasswordMode::None => PasswordCheck::Without,
            PasswordMode::Verify | PasswordMode::Stack => match handle::password_item(pamh) {
                Some(password) if may_be_shown => self.verify(pamh, password.as_bytes()),
                Some(_) | None => PasswordCheck::InStack,
            },
        }
    }

    fn verify(&self, pamh: &mut PamHandle, password: &[u8]) -> PasswordCheck {
        if password.len() > MAX_RESPONSE {
            return PasswordCheck::Wrong(Fault::Password);
        }
        let service = &self.config.password.service;
        PasswordCheck::Wrong(
            match password::verify(pamh, service, self.name, password, self.flags) {
                Verified::Right(proof) => return PasswordCheck::Right(proof),
                Verified::Wrong if Answer::is_sshd_refusal(password) => Fault::RefusedBySshd,
                Verified::Wrong => Fault::Password,
                Verified::Failed(code) => Fault::Service { result: code as i32 },
            },
        )
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

    /// Whether texts are shown that need no answer.
    const fn speaks(&self) -> bool {
        self.flags & PAM_SILENT == 0 || !self.config.login.honour_silent
    }

    /// Shows a text, unless the application wants silence. Where it cannot
    /// show any, the login goes on: every prompt explains itself.
    fn tell(&self, pamh: &PamHandle, text: &str, tone: Tone) {
        if self.speaks() {
            let _unseen = handle::tell(pamh, text, tone).is_err();
        }
    }
}

/// A known user, up to whom it is to give a right code.
struct Candidate<'a> {
    login: Login<'a>,
    store: &'a Store,
    person: &'a Person,
    password: &'a PasswordCheck,
    /// The code, if it came with the password.
    answer: Option<Answer>,
}

impl Candidate<'_> {
    fn decide(mut self, pamh: &PamHandle, loaded: Option<&Loaded>) -> Result<Verdict, Trouble> {
        let config = self.login.config;
        let both = config.login.require_groups.0.iter().chain(&config.login.exempt_groups.0);
        let groups = self.person.groups_among(both)?;
        let circumstances = Circumstances {
            password: self.password,
            rhost: self.login.subject.rhost.as_deref(),
            service: &self.login.subject.service,
            groups: &groups,
            now: system::now()?,
        };
        let issued;
        let mut loaded = loaded;
        let mut settled = plan(account(loaded), &circumstances, config);
        if let Plan::Issue = settled {
            issued = self.issue(&circumstances)?;
            loaded = issued.as_ref();
            settled = plan(account(loaded), &circumstances, config);
        }
        match settled {
            Plan::Done(verdict) => Ok(verdict),
            Plan::Ask(question) => self.ask(pamh, loaded, circumstances, &question),
            Plan::Pretend(verdict) => {
                if self.answer.is_none() {
                    let prompt = messages::prompt(Prompt::Code, config);
                    drop(self.login.ask_code(pamh, &prompt)?);
                }
                Ok(verdict)
            }
            // A record has just been issued, so there is one.
            Plan::Issue => Ok(Verdict::Refused(Refusal::Disabled)),
        }
    }

    /// Issues a record to a user who has none (`missing = "enrol"`).
    fn issue(&self, circumstances: &Circumstances<'_>) -> Result<Option<Loaded>, Trouble> {
        let config = self.login.config;
        let issuer = config.issuer.clone().map_or_else(system::host_name, Ok)?;
        let Person { name, uid, .. } = self.person;
        let record = enrollment::new_record(
            &mut SysRng,
            config,
            name.clone(),
            self.person.uid(),
            issuer,
            circumstances.now,
        )
        .map_err(|_| Trouble::Random)?;
        // Another login may have been quicker: its record serves both.
        let _issued = self.store.issue(&Account::fresh(record), Replace::No)?;
        let reason = "enabled at login: a new secret was issued";
        audit::send(Outcome::Changed, self.login.subject, reason);
        Ok(self.store.load(name, *uid)?)
    }

    fn ask(
        &mut self,
        pamh: &PamHandle,
        loaded: Option<&Loaded>,
        circumstances: Circumstances<'_>,
        question: &Question<'_>,
    ) -> Result<Verdict, Trouble> {
        let login = self.login;
        if let Some(invitation) = &question.show {
            for enrollment in Enrollment::of(invitation) {
                let text = messages::invitation(&enrollment, login.config);
                login.tell(pamh, &text, Tone::Info);
            }
        }
        let mut prompt = messages::prompt(question.prompt, login.config);
        let mut tries_left = question.tries;
        loop {
            tries_left = tries_left.saturating_sub(1);
            let answer = match self.answer.take() {
                Some(answer) => {
                    tries_left = 0;
                    answer
                }
                None => login.ask_code(pamh, &prompt)?,
            };
            let circumstances = Circumstances { now: system::now()?, ..circumstances };
            let attempt = Attempt { circumstances, answer: &answer, tries_left };
            let Person { name, uid, .. } = self.person;
            let verdict = self
                .store
                .update(name, *uid, loaded, |account| judge(account, &attempt, login.config))?;
            if let Verdict::Again(_) = verdict
                && tries_left > 0
            {
                prompt = messages::prompt_again(question.prompt, login.config).into();
                continue;
            }
            self.tell_verdict(pamh, verdict);
            return Ok(verdict);
        }
    }

    /// Says after the verdict what the user needs to know; never why they are
    /// refused, except that it is no use to try on.
    fn tell_verdict(&self, pamh: &PamHandle, verdict: Verdict) {
        let language = self.login.config.login.language;
        match verdict {
            Verdict::Admitted(Grant::Activated) => {
                self.login.tell(pamh, messages::activated(language), Tone::Info);
                self.issue_recovery_codes(pamh);
            }
            Verdict::Admitted(Grant::RecoveryCode { left }) => {
                self.login.tell(pamh, &messages::recovered(left, language), Tone::Info);
            }
            Verdict::Refused(Refusal::LockedOut { .. }) => {
                self.login.tell(pamh, messages::locked(language), Tone::Error);
            }
            Verdict::Admitted(_)
            | Verdict::NotNeeded(_)
            | Verdict::Again(_)
            | Verdict::Refused(_) => {}
        }
    }

    /// Issues recovery codes once the account is active, if so configured. The
    /// login has succeeded already, and stands even where this does not.
    fn issue_recovery_codes(&self, pamh: &PamHandle) {
        let config = self.login.config;
        let count = usize::try_from(config.enrollment.recovery_codes.get()).unwrap_or(0);
        // Codes that nobody sees are of no use.
        if count == 0 || !self.login.speaks() {
            return;
        }
        let mut codes = Vec::new();
        let amended = self.store.amend_record(&self.person.name, |account| {
            let mut account = account.clone();
            if account.record.recovery.is_none() {
                let (recovery, new) =
                    Recovery::generate(&mut SysRng, count).map_err(|_| Trouble::Random)?;
                account.record.recovery = Some(recovery);
                codes = new;
            }
            Ok::<_, Trouble>(account)
        });
        match amended {
            Ok(()) if codes.is_empty() => {}
            Ok(()) => {
                let text = messages::recovery_codes(&codes, config.login.language);
                self.login.tell(pamh, &text, Tone::Info);
            }
            Err(trouble) => {
                let reason = format!("no recovery codes were issued: {trouble}");
                audit::send(Outcome::Failed, self.login.subject, &reason);
            }
        }
    }
}

fn read_config(arguments: &Arguments) -> Result<Config, Trouble> {
    let text = store::read_config(&arguments.config).map_err(Trouble::ConfigFile)?;
    Config::parse(&text)
        .and_then(|config| arguments.apply(config))
        .map_err(|error| Trouble::Config { path: arguments.config.display().to_string(), error })
}
