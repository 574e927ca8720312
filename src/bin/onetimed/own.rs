//! What users see and change of their own accounts (`onetime`): only after password and code,
//! and only what the administrator lets them change. Nothing is stored before the user has
//! what takes the place of the old: interrupted anywhere, the old holds.

use std::path::Path;

use pam_onetime::account::{Account, Phase, Recovery, State, TokenState};
use pam_onetime::audit::{self, Outcome, Subject};
use pam_onetime::authenticate::{Host, LoginSettings, Machine, authenticate};
use pam_onetime::callers::Asker;
use pam_onetime::code::RecoveryCode;
use pam_onetime::conclusion::{self, Conclusion, Trouble};
use pam_onetime::config::{Config, GroupNames, Language, Networks, Span};
use pam_onetime::enrollment::{Canvas, Enrollment, new_token};
use pam_onetime::login::ports::{ConversationError, Door, Echo, Tone};
use pam_onetime::login::{
    AccountVerdict, Answer, Invitation, PasswordProof, Verdict, in_force, proven_by,
};
use pam_onetime::relay::{Begin, OwnChange, OwnStatus};
use pam_onetime::store::{self, Store, StoreError};
use pam_onetime::system::{Person, SystemError};
use pam_onetime::{Arguments, PasswordService, messages};

use crate::door::SocketDoor;
use crate::ending::{end, give_up};
use crate::talk::Talk;

/// What the log calls the service.
const SERVICE: &str = "onetime";

/// How many recovery codes are issued at once, as `onetimectl recovery` does.
const RECOVERY_CODES: usize = 8;

/// How often a code of the new token may be mistyped. Its key is on the screen: this is no
/// guessing.
const TRIES: u32 = 10;

/// Why nothing was changed, or nothing can be said.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OwnError {
    #[error("{}", .0.with_remedy())]
    Store(#[from] StoreError),
    #[error("{}", .0.with_remedy())]
    System(#[from] SystemError),
    #[error(transparent)]
    Conversation(#[from] ConversationError),
    #[error("no randomness for new codes")]
    Random,
    #[error("no right code of the new token was given")]
    NotProven,
    #[error("there are several tokens (an administrator exchanges one: onetimectl token)")]
    SeveralTokens,
    #[error("the account was changed or locked meanwhile")]
    Changed,
    #[error("the password service refuses the account, or the password has expired")]
    Refused,
}

/// For the log.
pub(crate) fn subject(name: &str) -> Subject {
    let (user, service) = (name.to_owned(), SERVICE.to_owned());
    Subject { user, service, ruser: Some(name.to_owned()), ..Subject::default() }
}

impl OwnError {
    /// Whether something is broken, which an administrator has to look at.
    const fn outcome(&self) -> Outcome {
        match self {
            Self::Store(_) | Self::System(_) | Self::Random => Outcome::Failed,
            Self::Conversation(_)
            | Self::NotProven
            | Self::SeveralTokens
            | Self::Changed
            | Self::Refused => Outcome::Refused,
        }
    }

    /// What the user is told, who has proven to be one.
    fn for_user(&self, language: Language) -> String {
        let said = messages::own_unchanged(language);
        match self {
            Self::NotProven | Self::SeveralTokens | Self::Changed | Self::Refused => {
                format!("{said} ({self})")
            }
            Self::Store(_) | Self::System(_) | Self::Random | Self::Conversation(_) => {
                said.to_owned()
            }
        }
    }
}

/// What there is to say of the peer's own account.
pub(crate) fn status(person: &Person, config: &Config) -> Result<OwnStatus, OwnError> {
    let account = store::open(&config.store)?.load(&person.name, person.uid)?;
    let now = Machine.now()?;
    let Some(account) = account.map(|loaded| loaded.account) else {
        return Ok(OwnStatus::default());
    };
    let failures = in_force(account.state.failures, now, &config.limits);
    let left = account.recovery_codes_left();
    Ok(OwnStatus {
        otp: true,
        activated: account.state.activated_at.is_some(),
        recovery_codes_left: left.and_then(|left| u32::try_from(left).ok()),
        locked_until: (failures.locked_until > now).then_some(failures.locked_until.0),
    })
}

/// Changes the peer's own account, after a login of its own.
pub(crate) fn change(
    talk: &mut Talk,
    person: &Person,
    change: OwnChange,
    config: Config,
    path: &Path,
) {
    let name = person.name.as_str().to_owned();
    let mut subject = subject(&name);
    let may = match change {
        OwnChange::Recovery => config.self_service.recovery,
        OwnChange::Renew => config.self_service.renew,
    };
    if !may {
        let reason = format!(
            "users may not do that themselves here (self_service.{} in onetime.toml)",
            change.word()
        );
        audit::send(Outcome::Refused, &subject, &reason);
        return talk.refuse(&reason);
    }
    // A code is asked of everybody, and nothing is shown on the way.
    let mut config = config;
    config.login.exempt_groups = GroupNames::default();
    config.login.exempt_networks = Networks::default();
    config.login.remember = Span::default();
    let line = Arguments::read(std::iter::empty())
        .and_then(|arguments| arguments.relayed(Asker::User, path))
        .map_err(Trouble::from);
    let arguments = match line {
        Ok(arguments) => arguments,
        Err(trouble) => return give_up(talk, trouble, subject, &name),
    };
    let begin = Begin::of_own(&name, SERVICE);
    let service = PasswordService::relayed(&begin);
    let mut door = SocketDoor::new(talk, begin, Asker::User, name, service);
    let settings = LoginSettings { config: &config, arguments: &arguments };
    let open = || Ok(store::open(&config.store)?);
    let ended =
        authenticate(&mut door, &Machine, settings, open, &mut subject).map_err(Trouble::from);
    let proof = match &ended {
        Ok(verdict) => PasswordProof::by_verdict(*verdict, arguments.password),
        Err(_) => None,
    };
    let conclusion = match (ended, proof) {
        (Ok(verdict), None) if is_admission(verdict) => {
            audit::send(
                Outcome::Refused,
                &subject,
                "no code was needed, so nothing can be changed",
            );
            Conclusion::Refused
        }
        (Ok(_), Some(proof)) => {
            let (outcome, reason, conclusion) =
                match make(&mut door, person, change, &config, &proof) {
                    Ok(()) => (Outcome::Changed, change.done().to_owned(), Conclusion::Admitted),
                    Err(error) => {
                        let said = error.for_user(config.login.language);
                        let _unseen = door.show(&said, Tone::Error).is_err();
                        let reason = format!("{}: nothing was changed: {error}", change.word());
                        (error.outcome(), reason, Conclusion::Refused)
                    }
                };
            audit::send(outcome, &subject, &reason);
            conclusion
        }
        (ended, None) => conclusion::conclude(ended, &subject),
        (Err(trouble), Some(_)) => conclusion::conclude(Err(trouble), &subject),
    };
    end(door, conclusion, Asker::User);
}

const fn is_admission(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Admitted(_) | Verdict::NotNeeded(_) => true,
        Verdict::Again(_) | Verdict::Refused(_) => false,
    }
}

fn make(
    door: &mut SocketDoor<'_>,
    person: &Person,
    change: OwnChange,
    config: &Config,
    proof: &PasswordProof,
) -> Result<(), OwnError> {
    if door.account() != AccountVerdict::Valid {
        return Err(OwnError::Refused);
    }
    let store = store::open(&config.store)?;
    let account = store.load(&person.name, person.uid)?.ok_or(OwnError::Changed)?.account;
    // Issued anew since the code was right.
    if account.phase() == Phase::Pending {
        return Err(OwnError::Changed);
    }
    let mut own = Own { door, store, account, config };
    match change {
        OwnChange::Recovery => own.issue_recovery_codes(),
        OwnChange::Renew => own.renew(proof),
    }
}

/// The account as it was when the code was right, and the person at the other end.
struct Own<'o, 't> {
    door: &'o mut SocketDoor<'t>,
    store: Store,
    account: Account,
    config: &'o Config,
}

impl Own<'_, '_> {
    /// Shows new codes, and puts them in force once the user says that they are kept.
    fn issue_recovery_codes(&mut self) -> Result<(), OwnError> {
        let (recovery, codes) =
            Recovery::generate(&mut Machine.rng(), RECOVERY_CODES).map_err(|_| OwnError::Random)?;
        let language = self.language();
        self.show(&messages::recovery_codes(&codes, language))?;
        // Whatever is typed, somebody has read it.
        let _enter = self.door.ask(messages::own_keep(language), Echo::On)?;
        drop::<Vec<RecoveryCode>>(codes);
        self.amend(|account| {
            account.record.recovery = Some(recovery.clone());
            Ok(())
        })?;
        self.show(messages::own_recovery(language))
    }

    /// Shows a new key until a code of it is right, and puts it in the place of the old one.
    fn renew(&mut self, proof: &PasswordProof) -> Result<(), OwnError> {
        let [(id, old)] = self.account.record.tokens.as_slice() else {
            return Err(OwnError::SeveralTokens);
        };
        let (id, old) = (*id, old.clone());
        let token = new_token(&mut Machine.rng(), self.config).map_err(|_| OwnError::Random)?;
        // As if it were in force: so it is shown, and its codes are judged.
        let mut next = self.account.clone();
        next.record.deadline = None;
        next.record.tokens = vec![(id, token)];
        next.state = next.state.with_token(id, TokenState::default());
        let language = self.language();
        for enrollment in Enrollment::of(&Invitation::new(&next.record, proof)) {
            let canvas = Canvas::login(self.config.enrollment.qr);
            for text in messages::invitation(&enrollment, language, canvas) {
                self.show(&text)?;
            }
        }
        let proven = self.hear_code_of(&next)?;
        self.amend(|account| {
            // Exchanged by somebody else meanwhile.
            match account.record.tokens.as_slice() {
                [(there, token)] if *there == id && *token == old => {}
                _ => return Err(OwnError::Changed),
            }
            account.record.tokens.clone_from(&next.record.tokens);
            account.state = account.state.with_token(id, proven.token(id));
            // Whoever has the old phone may have been remembered.
            account.state.hosts = State::fresh(account.state.generation).hosts;
            Ok(())
        })?;
        self.show(messages::own_renewed(language))
    }

    /// The state once a code of the account, which is not in force, was right.
    fn hear_code_of(&mut self, account: &Account) -> Result<State, OwnError> {
        let language = self.language();
        let mut prompt = messages::own_new_code(language).to_owned();
        for _ in 0..TRIES {
            let typed = self.door.ask(&prompt, Echo::On)?;
            let now = Machine.now()?;
            if let Some(state) = proven_by(account, &Answer::read(&typed), now, &self.config.code) {
                return Ok(state);
            }
            prompt = messages::own_new_code_again(language);
        }
        Err(OwnError::NotProven)
    }

    /// Changes the account, unless it is another one by now, or locked.
    fn amend(&self, change: impl Fn(&mut Account) -> Result<(), OwnError>) -> Result<(), OwnError> {
        let (now, was) = (Machine.now()?, &self.account);
        self.store.amend_record(&was.record.user, now, |account| {
            let failures = in_force(account.state.failures, now, &self.config.limits);
            let is_same = account.record.generation == was.record.generation
                && account.record.uid == was.record.uid
                && account.phase() == was.phase();
            if !is_same || failures.locked_until > now {
                return Err(OwnError::Changed);
            }
            let mut next = account.clone();
            change(&mut next)?;
            Ok(next)
        })
    }

    fn show(&mut self, text: &str) -> Result<(), OwnError> {
        Ok(self.door.show(text, Tone::Info)?)
    }

    const fn language(&self) -> Language {
        self.config.login.language
    }
}
