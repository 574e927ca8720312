//! The story of one login, from the name to the verdict. The rules are in
//! [`crate::login`]; this is the driver that asks, shows, has the verdict stored, and
//! reports it. It is between a [`Door`] (libpam's handle), the [`Accounts`] (the
//! store) and the [`Host`] (clock, users, log), and knows none of them.

mod first;
mod host;
mod pace;
#[cfg(test)]
mod tests;

use first::KnownAccount;
pub use host::{Host, Machine};
use pace::Pace;

use crate::account::{Account, Phase, Recovery, Timestamp};
use crate::audit::{Outcome, Subject};
use crate::callers::Asker;
use crate::config::arguments::Arguments;
use crate::config::{Config, GroupNames};
use crate::enrollment::{self, Canvas, Enrollment};
use crate::login::ports::{
    Accounts, Addition, ConversationError, Door, Echo, MAX_ANSWER, RawAnswer, Tone,
};
use crate::login::{
    AccountNote, AccountVerdict, Answer, Attempt, Circumstances, CodeNeed, FixedVerdict, Grant,
    GroupAnswer, Membership, NoteError, PasswordCheck, PasswordFault, Plan, Prompt, Question,
    Refusal, ServiceFault, Verdict, View, WithoutRecord, judge, plan, plan_without_record,
};
use crate::messages;
use crate::system::{self, Person, SystemError};

/// Why a login ends without a verdict. Always a refusal.
#[derive(Debug, thiserror::Error)]
pub enum Failure<E> {
    /// The system does not know the user. The person who logs in does not see that.
    #[error("unknown user")]
    UnknownUser,
    /// A prompt or an answer got lost.
    #[error(transparent)]
    Conversation(#[from] ConversationError),
    /// The password service, which found the password right, failed afterwards.
    #[error("{}", .0.with_remedy())]
    Service(#[from] ServiceFault),
    /// What it says of the account could not be kept.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The decision is about another user than the one who logs in now.
    #[error("the user name was changed during the login")]
    UserChanged,
    /// The store cannot be read or written.
    #[error("{0}")]
    Accounts(E),
    /// The system did not say what the rules depend on.
    #[error("{}", .0.with_remedy())]
    System(#[from] SystemError),
    /// The kernel gave no random bytes.
    #[error("no randomness for a new secret")]
    Random,
}

/// What the administrator has set for this login.
#[derive(Debug, Clone, Copy)]
pub struct LoginSettings<'a> {
    /// The configuration, with what the service's line in pam.d overrides.
    pub config: &'a Config,
    /// The service's line in pam.d: how the password is verified, and what else is logged.
    pub arguments: &'a Arguments,
}

/// One login. `open` opens the accounts, once there is a password to judge. `subject`
/// is for the log: the user's name is filled in as soon as it is known.
///
/// # Errors
/// [`Failure`]: the login is refused.
pub fn authenticate<D: Door, H: Host, A: Accounts>(
    door: &mut D,
    host: &H,
    settings: LoginSettings<'_>,
    open: impl FnOnce() -> Result<A, A::Error>,
    subject: &mut Subject,
) -> Result<Verdict, Failure<A::Error>> {
    let pace = Pace::start(host, settings.config);
    let ended = log_in(door, host, settings, open, subject, &pace);
    match ended {
        Ok(Verdict::Admitted(_)) => {}
        // Who needs no code may be refused by another module.
        Ok(Verdict::NotNeeded(_) | Verdict::Again(_) | Verdict::Refused(_)) | Err(_) => pace.wait(),
    }
    ended
}

fn log_in<D: Door, H: Host, A: Accounts>(
    door: &mut D,
    host: &H,
    settings: LoginSettings<'_>,
    open: impl FnOnce() -> Result<A, A::Error>,
    subject: &mut Subject,
    pace: &Pace<'_, H>,
) -> Result<Verdict, Failure<A::Error>> {
    // The user. The name of an unknown one is not logged: it may be a password, typed at
    // the wrong prompt.
    let given = door.user()?;
    let (person, failure) = match host.person(&given) {
        Ok(person) => (person, Failure::UnknownUser),
        Err(error) => (None, Failure::System(error)),
    };
    let known = person.as_ref().map(|person| person.name.as_str());
    subject.user = known.unwrap_or(system::UNKNOWN).to_owned();
    let name = known.unwrap_or(&given);
    let LoginSettings { config, arguments } = settings;
    let asker = door.asker();
    let view = View::of(&subject.service, || door.output(), config).of_asker(asker);
    let mut login = Login { door, host, config, arguments, name, subject, pace, asker, view };

    // The password. A user who is unknown, or cannot be looked up, meets the same prompt
    // and the same check.
    let first = login.ask_first()?;
    let Some(person) = &person else {
        login.turn_away(first)?;
        return Err(failure);
    };

    // The account, and what else is to be known before the password is verified.
    let opened = open().map_err(Failure::Accounts).and_then(|accounts| {
        let account = accounts.load(&person.name, person.uid).map_err(Failure::Accounts)?;
        Ok((account, accounts, Surroundings::of(config, host, person)?))
    });
    let (account, accounts, surroundings) = match opened {
        Ok(opened) => opened,
        Err(failure) => {
            login.turn_away(first)?;
            return Err(failure);
        }
    };
    login.log_unknown_groups(&surroundings.groups);
    let record = account.as_ref().map(AsRef::as_ref);
    let circumstances = surroundings.with(&login, &NOT_YET_KNOWN);
    let known = record.map(|account| KnownAccount {
        account,
        need: CodeNeed::of(account, &circumstances, config),
        now: circumstances.now,
    });
    let (password, answer) = login.split(first, known)?;
    login.debug(record);

    let mut decision =
        Decision { login: &mut login, accounts, person, surroundings, password, answer };
    let made = decision.make(account);
    for what in decision.accounts.take_overs() {
        host.log(Outcome::Changed, decision.login.subject, &what);
    }
    let verdict = made?;
    // Whatever was decided is about the name that was given.
    if login.door.current_user().as_deref() != Some(given.as_str()) {
        return Err(Failure::UserChanged);
    }
    match verdict {
        Verdict::Admitted(_) | Verdict::NotNeeded(_) => login.hear_service(&given)?,
        Verdict::Again(_) | Verdict::Refused(_) => {}
    }
    Ok(verdict)
}

/// A known user, their password as far as it is known, and the code if it came with it.
struct Decision<'l, 'a, D, H, A> {
    login: &'l mut Login<'a, D, H>,
    accounts: A,
    person: &'a Person,
    surroundings: Surroundings,
    password: PasswordCheck,
    answer: Option<Answer>,
}

/// The password before it is verified.
const NOT_YET_KNOWN: PasswordCheck = PasswordCheck::Wrong(PasswordFault::Password);

/// What the machine says of this login.
struct Surroundings {
    groups: Vec<GroupAnswer>,
    now: Timestamp,
}

impl Surroundings {
    fn of(config: &Config, host: &impl Host, person: &Person) -> Result<Self, SystemError> {
        let groups = config.login.require_groups.0.iter().chain(&config.login.exempt_groups.0);
        Ok(Self { groups: host.groups_among(person, groups), now: host.now()? })
    }

    fn with<'c, D, H>(
        &'c self,
        Login { subject, asker, view, .. }: &Login<'c, D, H>,
        password: &'c PasswordCheck,
    ) -> Circumstances<'c> {
        Circumstances {
            password,
            rhost: subject.rhost.as_deref(),
            service: &subject.service,
            asker: *asker,
            view: *view,
            groups: &self.groups,
            now: self.now,
        }
    }
}

impl<D: Door, H: Host, A: Accounts> Decision<'_, '_, D, H, A> {
    /// Plan, show and ask, judge and commit, report.
    fn make(&mut self, account: Option<A::Snapshot>) -> Result<Verdict, Failure<A::Error>> {
        let config = self.login.config;
        let circumstances = self.surroundings.with(self.login, &self.password);

        // Plan.
        let account = match account {
            Some(account) => account,
            None => match plan_without_record(&circumstances, config) {
                WithoutRecord::Fixed(fixed) => return self.settle(fixed),
                WithoutRecord::Issue => match self.enroll(circumstances.now)? {
                    Some(account) => account,
                    None => return Ok(Verdict::Refused(Refusal::Disabled)),
                },
            },
        };
        let question = match plan(account.as_ref(), &circumstances, config) {
            Plan::Ask(question) => question,
            Plan::Fixed(fixed) => return self.settle(fixed),
        };

        // Show and ask, judge and commit.
        self.login.show_invitation(&question);
        let mut prompt = messages::prompt(question.prompt, config);
        let mut tries_left = question.tries;
        let verdict = loop {
            tries_left = tries_left.saturating_sub(1);
            let answer = match self.answer.take() {
                Some(answer) => {
                    tries_left = 0;
                    answer
                }
                None => self.login.ask_code(&prompt)?,
            };
            let circumstances = Circumstances { now: self.login.host.now()?, ..circumstances };
            let attempt = Attempt { circumstances, answer: &answer, tries_left };
            let Person { name, uid, .. } = self.person;
            let verdict = self
                .accounts
                .update(name, *uid, Some(&account), |account| judge(account, &attempt, config))
                .map_err(Failure::Accounts)?;
            if !matches!(verdict, Verdict::Again(_)) || tries_left == 0 {
                break verdict;
            }
            prompt = messages::prompt_again(question.prompt, config).into();
        };

        // Report.
        self.report(verdict);
        Ok(verdict)
    }

    /// Ends a login in which there is nothing to ask, or the answer does not count.
    fn settle(&mut self, fixed: FixedVerdict) -> Result<Verdict, Failure<A::Error>> {
        match fixed {
            FixedVerdict::Done(verdict) => Ok(verdict),
            FixedVerdict::Pretend(verdict) => {
                if self.answer.is_none() {
                    self.login.pretend()?;
                }
                Ok(verdict)
            }
        }
    }

    /// Issues a record to a user who has none (`missing = "enrol"`). `None` if it was
    /// removed at once.
    fn enroll(&self, now: Timestamp) -> Result<Option<A::Snapshot>, Failure<A::Error>> {
        let Login { config, host, subject, .. } = &*self.login;
        let issuer = config.issuer.clone().map_or_else(|| host.name(), Ok)?;
        let Person { name, uid, .. } = self.person;
        let record = enrollment::new_record(
            &mut host.rng(),
            config,
            name.clone(),
            self.person.uid(),
            issuer,
            now,
        )
        .map_err(|_| Failure::Random)?;
        // Another login may have been quicker: its record serves both.
        self.accounts.enroll(&Account::fresh(record)).map_err(Failure::Accounts)?;
        host.log(Outcome::Changed, subject, "enabled at login: a new secret was issued");
        self.accounts.load(name, *uid).map_err(Failure::Accounts)
    }

    /// Says after the verdict what the user needs to know; never why they are
    /// refused, except that it is no use to try on.
    fn report(&mut self, verdict: Verdict) {
        let language = self.login.config.login.language;
        match verdict {
            Verdict::Admitted(Grant::Activated) => {
                self.login.show(messages::activated(language), Tone::Info);
                self.issue_recovery_codes();
            }
            Verdict::Admitted(Grant::RecoveryCode { left }) => {
                self.login.show(&messages::recovered(left, language), Tone::Info);
            }
            Verdict::Refused(Refusal::LockedOut { .. } | Refusal::LockedAtService { .. }) => {
                self.login.show(messages::locked(language), Tone::Error);
            }
            Verdict::Admitted(_)
            | Verdict::NotNeeded(_)
            | Verdict::Again(_)
            | Verdict::Refused(_) => {}
        }
    }

    /// Issues recovery codes once the account is active, if so configured. The
    /// login has succeeded already, and stays so even where this does not.
    fn issue_recovery_codes(&mut self) {
        let config = self.login.config;
        let count = usize::try_from(config.enrollment.recovery_codes.get()).unwrap_or(0);
        // Codes that nobody sees are useless.
        if count == 0 || !self.login.view.has_secrets() || !self.login.shows_texts() {
            return;
        }
        let failed = |what: &dyn std::fmt::Display, login: &Login<'_, D, H>| {
            let reason = format!("no recovery codes were issued: {what}");
            login.host.log(Outcome::Failed, login.subject, &reason);
        };
        let Ok((recovery, codes)) = Recovery::generate(&mut self.login.host.rng(), count) else {
            return failed(&Failure::<A::Error>::Random, self.login);
        };
        match self.accounts.add_recovery(&self.person.name, recovery) {
            Ok(Addition::AlreadyThere) => {}
            Ok(Addition::Added) => {
                let text = messages::recovery_codes(&codes, config.login.language);
                self.login.show(&text, Tone::Info);
            }
            Err(error) => failed(&error, self.login),
        }
    }
}

/// What does not change while a login goes on.
struct Login<'a, D, H> {
    door: &'a mut D,
    host: &'a H,
    config: &'a Config,
    arguments: &'a Arguments,
    /// The canonical name of a known user.
    name: &'a str,
    subject: &'a Subject,
    pace: &'a Pace<'a, H>,
    asker: Asker,
    view: View,
}

impl<D: Door, H: Host> Login<'_, D, H> {
    /// Names the groups because of which a rule cannot be applied as it is meant.
    fn log_unknown_groups(&self, answers: &[GroupAnswer]) {
        let Config { login: policy, .. } = self.config;
        let lists =
            [("require_groups", &policy.require_groups), ("exempt_groups", &policy.exempt_groups)];
        for (key, GroupNames(names)) in lists {
            for GroupAnswer { group, membership } in answers {
                if let Membership::Unknown(fault) = membership
                    && names.contains(group)
                {
                    let remedy = fault.remedy();
                    let reason = format!("{key}: {group}: {fault} ({remedy})");
                    self.host.log(Outcome::Failed, self.subject, &reason);
                }
            }
        }
    }

    /// Asks for a code as an active user is asked, and ignores it.
    fn pretend(&mut self) -> Result<(), ConversationError> {
        let prompt = messages::prompt(Prompt::Code, self.config);
        self.ask_code(&prompt).map(drop)
    }

    fn ask_code(&mut self, prompt: &str) -> Result<Answer, ConversationError> {
        let echo = if self.config.login.echo { Echo::On } else { Echo::Off };
        let typed = self.ask(prompt, echo)?;
        // A program may give its one answer to every prompt: what is left as the password.
        Ok(match self.door.left_password() {
            _ if typed.len() > MAX_ANSWER => Answer::NotACode,
            Some(password) => Answer::after(&password, &typed),
            None => Answer::read(&typed),
        })
    }

    /// Hears what else the password service has to say, now that the login is admitted:
    /// earlier it would show which factor was right.
    fn hear_service<E>(&mut self, given: &str) -> Result<(), Failure<E>> {
        let report = self.door.hear_service()?;
        if report.verdict != AccountVerdict::Valid {
            let note = AccountNote::new(given.to_owned(), self.name.to_owned(), report.verdict);
            self.door.note_account(note)?;
        }
        for (tone, text) in &report.texts {
            self.show(text, *tone);
        }
        Ok(())
    }

    fn ask(&mut self, prompt: &str, echo: Echo) -> Result<RawAnswer, ConversationError> {
        self.pace.wait();
        let typed = self.door.ask(prompt, echo);
        self.pace.hear();
        typed
    }

    /// Whether texts are shown that need no answer.
    fn shows_texts(&self) -> bool {
        self.view.has_texts() && (!self.door.wants_silence() || !self.config.login.honour_silent)
    }

    /// QR code and key of each token, if the question permits it.
    fn show_invitation(&mut self, question: &Question<'_>) {
        let Some(invitation) = &question.show else { return };
        for enrollment in Enrollment::of(invitation) {
            let canvas = match self.view {
                View::Everything => Canvas::login(self.config.enrollment.qr),
                View::Prompts | View::Texts | View::ShortSecrets => None,
            };
            let language = self.config.login.language;
            for text in messages::invitation(&enrollment, language, canvas) {
                self.show(&text, Tone::Info);
            }
        }
    }

    /// Shows a text, unless the application wants silence. Where it cannot
    /// show any, the login goes on: every prompt explains itself.
    fn show(&mut self, text: &str, tone: Tone) {
        if self.shows_texts() {
            let _unseen = self.door.show(text, tone).is_err();
        }
    }

    fn debug(&self, account: Option<&Account>) {
        if self.arguments.debug {
            let mode = self.arguments.password.word();
            let phase = match account.map(Account::phase) {
                None => "none",
                Some(Phase::Pending) => "pending",
                Some(Phase::Active { .. }) => "active",
            };
            self.host.debug(self.subject, &format!("password={mode} phase={phase}"));
        }
    }
}
