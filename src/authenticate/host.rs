//! What a login asks of the machine it runs on, besides libpam and the store.

use std::time::Duration;

use rand::TryRng;
use rand::rngs::SysRng;

use crate::account::Timestamp;
use crate::audit::{self, Outcome, Subject};
use crate::login::GroupAnswer;
use crate::system::{self, Person, SystemError};

/// The clock, the users, the host's name, chance, and the log.
pub trait Host {
    /// The system's time, in whole seconds.
    ///
    /// # Errors
    /// [`SystemError::Clock`].
    fn now(&self) -> Result<Timestamp, SystemError>;

    /// A clock that nobody sets, for how long something takes.
    fn uptime(&self) -> Duration;

    /// Returns when [`Host::uptime`] is as late as this, at once if it is already.
    fn wait_until(&self, uptime: Duration);

    /// The user whom the system knows by this name.
    ///
    /// # Errors
    /// [`SystemError`]: "cannot say" is not "unknown".
    fn person(&self, given: &str) -> Result<Option<Person>, SystemError>;

    /// For each of `groups`, whether the user is a member.
    fn groups_among<'a>(
        &self,
        person: &Person,
        groups: impl Iterator<Item = &'a String>,
    ) -> Vec<GroupAnswer>;

    /// The host's name, as an issuer of codes.
    ///
    /// # Errors
    /// [`SystemError::HostName`].
    fn name(&self) -> Result<String, SystemError>;

    /// Where new secrets come from.
    fn rng(&self) -> impl TryRng;

    /// Writes the audit line.
    fn log(&self, outcome: Outcome, subject: &Subject, reason: &str);

    /// Writes a line for who looks for a fault (`debug`).
    fn debug(&self, subject: &Subject, what: &str);
}

/// The host that the module runs on: its clock, name and users.
#[derive(Debug, Clone, Copy)]
pub struct Machine;

impl Host for Machine {
    fn now(&self) -> Result<Timestamp, SystemError> {
        system::now()
    }

    fn uptime(&self) -> Duration {
        system::uptime()
    }

    fn wait_until(&self, uptime: Duration) {
        system::wait_until(uptime);
    }

    fn person(&self, given: &str) -> Result<Option<Person>, SystemError> {
        Person::find(given)
    }

    fn groups_among<'a>(
        &self,
        person: &Person,
        groups: impl Iterator<Item = &'a String>,
    ) -> Vec<GroupAnswer> {
        person.groups_among(groups)
    }

    fn name(&self) -> Result<String, SystemError> {
        system::host_name()
    }

    fn rng(&self) -> impl TryRng {
        SysRng
    }

    fn log(&self, outcome: Outcome, subject: &Subject, reason: &str) {
        audit::send(outcome, subject, reason);
    }

    fn debug(&self, subject: &Subject, what: &str) {
        audit::debug(subject, what);
    }
}
