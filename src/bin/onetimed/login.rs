//! One connection: who asks, whether they may, the login, and its end.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::Path;

use pam_onetime::audit::{self, Outcome, Subject};
use pam_onetime::authenticate::{LoginSettings, Machine, authenticate};
use pam_onetime::callers::Asker;
use pam_onetime::conclusion::{self, Trouble};
use pam_onetime::config::{Config, DaemonPolicy};
use pam_onetime::login::ports::Door;
use pam_onetime::relay::{Begin, OwnChange};
use pam_onetime::system::{self, Person, SystemError, name_of};
use pam_onetime::{Arguments, PasswordService, store};
use rustix::net::sockopt::socket_peercred;

use crate::accounts::AccountsOf;
use crate::cli::Cli;
use crate::door::SocketDoor;
use crate::ending::{end, give_up};
use crate::own;
use crate::talk::{Opening, Talk};

/// Why a peer may not ask.
enum NotPermitted {
    /// No user: a subordinate id (subuid(5)), for instance, of which one user has thousands.
    NoUser(u32),
    /// For somebody else, and its account is not named at this service.
    ForOthers,
    /// Who it is, or whom it asks for, cannot be found out.
    Unknown(SystemError),
}

impl fmt::Display for NotPermitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUser(uid) => write!(f, "uid {uid} is no user's (getent passwd {uid})"),
            Self::ForOthers => f.write_str(
                "a program that is not root's may ask for its own user alone, unless its account \
                 and the service are in daemon.may_ask of onetime.toml",
            ),
            Self::Unknown(error) => f.write_str(&error.with_remedy()),
        }
    }
}

/// Serves one connection, which is one login.
pub(crate) fn serve(socket: OwnedFd, cli: &Cli) {
    // Who is at the other end, as the kernel has it.
    let Ok(peer) = socket_peercred(&socket) else { return };
    let uid = peer.uid.as_raw();
    let mut talk = Talk::new(socket);
    // Whoever says nothing is not worth a line in the log, nor are thousands of numbers.
    let name = match peer_name(uid) {
        Ok(name) => name,
        Err(nobody) => return talk.refuse(&nobody.to_string()),
    };
    let Ok(opening) = talk.begin() else { return };
    let own = Own { uid, name: &name, cli };
    let begin = match opening {
        Opening::Login(begin) => begin,
        Opening::Status => return own.serve(&mut talk, None),
        Opening::Change(change) => return own.serve(&mut talk, Some(change.what)),
    };
    let mut subject =
        Subject { service: begin.service.clone(), ruser: Some(name.clone()), ..Subject::default() };
    let config = match conclusion::read_config(&cli.config) {
        Ok(config) => config,
        Err(trouble) => return give_up(&mut talk, trouble, subject, &begin.user),
    };
    let asker = match asker(uid, &name, &begin, &config.daemon) {
        Ok(asker) => asker,
        Err(refused) => {
            let reason = refused.to_string();
            subject.user = system::name_for_log(&begin.user);
            audit::send(Outcome::Refused, &subject, &reason);
            return talk.refuse(&reason);
        }
    };
    log_in(&mut talk, *begin, Who { asker, name }, config, &cli.config, subject);
}

/// Whoever asks about themselves, or changes their own account.
struct Own<'o> {
    uid: u32,
    name: &'o str,
    cli: &'o Cli,
}

impl Own<'_> {
    fn serve(&self, talk: &mut Talk, change: Option<OwnChange>) {
        let Self { uid, name, cli } = self;
        let subject = own::subject(name);
        let config = match conclusion::read_config(&cli.config) {
            Ok(config) => config,
            Err(trouble) => {
                audit::send(Outcome::Failed, &subject, &trouble.to_string());
                return talk.refuse("the configuration cannot be read: see the log");
            }
        };
        let person = match Person::find(name) {
            Ok(Some(person)) if person.uid == *uid => person,
            Ok(Some(_) | None) => {
                return talk.refuse("the user database has no user of this program's uid");
            }
            Err(error) => {
                audit::send(Outcome::Failed, &subject, &error.with_remedy());
                return talk.refuse("the user database does not answer: see the log");
            }
        };
        match change {
            Some(change) => own::change(talk, &person, change, config, &cli.config),
            None => match own::status(&person, &config) {
                Ok(status) => talk.report(&status),
                Err(error) => {
                    audit::send(Outcome::Failed, &subject, &error.to_string());
                    talk.refuse("the account cannot be read: see the log");
                }
            },
        }
    }
}

/// Who asks.
struct Who {
    asker: Asker,
    name: String,
}

fn peer_name(uid: u32) -> Result<String, NotPermitted> {
    match name_of(uid) {
        Ok(Some(name)) => Ok(name.as_str().to_owned()),
        // Needs no name.
        Ok(None) | Err(_) if uid == 0 => Ok("root".to_owned()),
        Ok(None) => Err(NotPermitted::NoUser(uid)),
        Err(error) => Err(NotPermitted::Unknown(error)),
    }
}

/// What the peer is, for whom it asks.
fn asker(
    uid: u32,
    name: &str,
    begin: &Begin,
    policy: &DaemonPolicy,
) -> Result<Asker, NotPermitted> {
    if uid == 0 {
        return Ok(Asker::Root);
    }
    // Of both, the account that may do less: it asks for others.
    if policy.permits(name, &begin.service) {
        return Ok(Asker::Service);
    }
    // The name that its uid has.
    if begin.user == name {
        return Ok(Asker::User);
    }
    match Person::find(&begin.user) {
        Ok(Some(person)) if person.uid == uid => Ok(Asker::User),
        Ok(Some(_) | None) => Err(NotPermitted::ForOthers),
        Err(error) => Err(NotPermitted::Unknown(error)),
    }
}

fn log_in(
    talk: &mut Talk,
    begin: Begin,
    Who { asker, name }: Who,
    config: Config,
    path: &Path,
    mut subject: Subject,
) {
    let settings = Arguments::read(begin.line.iter().map(String::as_str))
        .and_then(|arguments| arguments.relayed(asker, path))
        .map_err(Trouble::from)
        .and_then(|arguments| Ok((conclusion::apply(&arguments, config)?, arguments)));
    let (config, arguments) = match settings {
        Ok(settings) => settings,
        Err(trouble) => return give_up(talk, trouble, subject, &begin.user),
    };
    let service = PasswordService::relayed(&begin);
    let claimed_rhost = begin.rhost.clone().filter(|rhost| !rhost.is_empty());
    let open_as = name.clone();
    let mut door = SocketDoor::new(talk, begin, asker, name, service);
    subject = Subject {
        ruser: door.ruser(),
        rhost: door.rhost(),
        claimed_rhost: claimed_rhost.filter(|_| !asker.is_believed()),
        tty: door.tty(),
        ..subject
    };
    let settings = LoginSettings { config: &config, arguments: &arguments };
    let open =
        || Ok(AccountsOf { store: store::open_for_a_login(&config.store)?, asker, name: open_as });
    let ended =
        authenticate(&mut door, &Machine, settings, open, &mut subject).map_err(Trouble::from);
    let conclusion = conclusion::conclude(ended, &subject);
    end(door, conclusion, asker);
}
