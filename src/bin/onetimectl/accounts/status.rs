//! `onetimectl status` and `list`: what there is to say of accounts, and which of them are
//! shown.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{BufWriter, IsTerminal};
use std::process::ExitCode;

use clap::error::ErrorKind;
use pam_onetime::account::{Account, Failures, Phase, Timestamp};
use pam_onetime::config::{Limits, Span};
use pam_onetime::login::in_force;
use pam_onetime::store::Store;
use pam_onetime::system::now;
use serde::{Serialize, Serializer};

use crate::accounts::table::StatusTable;
use crate::cli::{Filters, ListOptions, SelectionOptions};
use crate::context::Context;
use crate::error::ToolError;
use crate::people::{Everybody, Origin, People, User, select};
use crate::say::progress::{Progress, ProgressOutput};
use crate::say::report::{self, Row};
use crate::say::{self, Form};
use crate::side_by_side::side_by_side;

#[derive(Serialize)]
pub(crate) struct StatusRow {
    pub(crate) otp: bool,
    pub(crate) activated: bool,
    #[serde(serialize_with = "rfc_3339")]
    pub(crate) issued: Option<Timestamp>,
    #[serde(serialize_with = "rfc_3339")]
    pub(crate) since: Option<Timestamp>,
    #[serde(serialize_with = "rfc_3339")]
    pub(crate) last_login: Option<Timestamp>,
    /// Until when it must be activated.
    #[serde(serialize_with = "rfc_3339")]
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) tokens: usize,
    /// Steps that a totp token's clock is ahead, that of the token furthest off.
    pub(crate) drift: i32,
    /// `None`: none were issued.
    pub(crate) recovery_codes_left: Option<usize>,
    pub(crate) failures: u32,
    /// Only while locked.
    #[serde(serialize_with = "rfc_3339")]
    pub(crate) locked_until: Option<Timestamp>,
    /// What accounts of services (`may_ask`) have failed with the user, where that still counts.
    pub(crate) services: Vec<AtService>,
}

/// What the account of a service has failed with a user: it counts there, and nowhere else.
#[derive(Serialize)]
pub(crate) struct AtService {
    /// The account of the service.
    pub(crate) account: String,
    pub(crate) failures: u32,
    /// Only while the user is locked there.
    #[serde(serialize_with = "rfc_3339")]
    pub(crate) locked_until: Option<Timestamp>,
}

impl AtService {
    /// `None`: nothing of it counts any more.
    fn of(account: String, failures: Failures, now: Timestamp, limits: &Limits) -> Option<Self> {
        let (failures, locked_until) = counted(failures, now, limits);
        let counts = failures > 0 || locked_until.is_some();
        counts.then_some(Self { account, failures, locked_until })
    }
}

/// How many wrong codes count, and until when they lock; `None`: they do not.
fn counted(failures: Failures, now: Timestamp, limits: &Limits) -> (u32, Option<Timestamp>) {
    let failures = in_force(failures, now, limits);
    let locked_until = Some(failures.locked_until).filter(|until| *until > now);
    (failures.recent(now, limits.period), locked_until)
}

fn rfc_3339<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(Timestamp::to_rfc_3339).serialize(serializer)
}

impl StatusRow {
    fn of(
        account: Option<&Account>,
        services: Vec<AtService>,
        now: Timestamp,
        limits: &Limits,
    ) -> Self {
        let state = account.map(|account| &account.state);
        let (failures, locked_until) =
            state.map_or((0, None), |state| counted(state.failures, now, limits));
        let since = account.and_then(|account| match account.phase() {
            Phase::Pending => None,
            Phase::Active { since } => Some(since),
        });
        Self {
            otp: account.is_some(),
            activated: since.is_some(),
            issued: account.map(|account| account.record.issued_at),
            since,
            last_login: state.and_then(|state| state.last_login),
            deadline: account.and_then(|account| account.record.deadline),
            tokens: account.map_or(0, |account| account.record.tokens.len()),
            drift: account.map_or(0, furthest_off),
            recovery_codes_left: account.and_then(Account::recovery_codes_left),
            failures,
            locked_until,
            services,
        }
    }

    /// What counts at the accounts of services; empty if nothing does. `date` writes a time.
    pub(crate) fn at_services(&self, date: fn(Timestamp) -> String) -> String {
        let services = self.services.iter().map(|it| match it.locked_until {
            Some(until) => format!("{}: locked until {}", it.account, date(until)),
            None => format!("{}: {}", it.account, it.failures),
        });
        services.collect::<Vec<_>>().join(", ")
    }

    /// Whether it is locked, if only at the account of a service.
    pub(crate) fn is_locked(&self) -> bool {
        self.locked_until.is_some() || self.services.iter().any(|it| it.locked_until.is_some())
    }

    /// Whether one of the filters matches this account, or no filter is given.
    fn passes(&self, options: &ListOptions, now: Timestamp) -> bool {
        let Filters { pending, active, locked, disabled } = options.filters;
        let is_wanted = (pending && self.otp && !self.activated)
            || (active && self.activated)
            || (locked && self.is_locked())
            || (disabled && !self.otp)
            || !(pending || active || locked || disabled);
        let is_old = |age| self.last_event().is_some_and(|at| now.since(at) > age);
        is_wanted && options.older_than.and_then(Span::seconds).is_none_or(is_old)
    }

    /// When something last came of the account's codes, or of the secret; `None` if there
    /// is none.
    fn last_event(&self) -> Option<Timestamp> {
        self.last_login.or(self.since).or(self.issued)
    }

    /// The word of the phase.
    pub(crate) const fn state(&self) -> &'static str {
        match (self.otp, self.activated) {
            (false, _) => "disabled",
            (true, false) => "pending",
            (true, true) => "active",
        }
    }
}

/// Without users: everybody who is enabled.
pub(crate) fn run(context: &Context, whom: &SelectionOptions) -> anyhow::Result<ExitCode> {
    let options = ListOptions::default();
    if whom.is_empty() {
        return list(context, &options);
    }
    let store = context.store()?;
    let people = select(whom, Everybody::Enabled(&store))?;
    show(context, &store, &people, &options).map(|(code, _)| code)
}

/// Everybody who is enabled, or whom a filter lets through; and how many they are.
pub(crate) fn list(context: &Context, options: &ListOptions) -> anyhow::Result<ExitCode> {
    if options.csv && context.form == Form::Json {
        // An option of every verb conflicts with none of one verb's by itself.
        let what = "the argument '--csv' cannot be used with '--json'";
        return Err(say::usage(ErrorKind::ArgumentConflict, what));
    }
    let store = context.store()?;
    let people = candidates(&store, options)?;
    let is_table = context.form == Form::Text && !options.csv;
    let is_for_all = !options.filters.disabled && options.groups.is_empty();
    if people.names().is_empty() && is_table && is_for_all {
        say::line("Nobody is enabled.")?;
        return Ok(ExitCode::SUCCESS);
    }
    let (code, summary) = show(context, &store, &people, options)?;
    if is_table {
        match summary.users {
            0 if code == ExitCode::SUCCESS => say::line("Nobody is in such a state.")?,
            0 => {}
            // Programs read rows.
            _ if !options.summary && !std::io::stdout().is_terminal() => {}
            _ => say::line(&format!("\n{summary}"))?,
        }
    }
    Ok(code)
}

/// Those who may be shown: who have a record and, if they are asked for, who do not.
fn candidates(store: &Store, options: &ListOptions) -> anyhow::Result<People> {
    if options.groups.is_empty() {
        return match options.filters.disabled {
            true => People::enabled_or_ordinary(store),
            false => People::enabled(store),
        };
    }
    let groups = SelectionOptions { users: Vec::new(), groups: options.groups.clone(), all: false };
    let members = select(&groups, Everybody::Enabled(store))?;
    let mut names: BTreeSet<String> = members.names().iter().cloned().collect();
    if !options.filters.disabled {
        let enabled: BTreeSet<_> = People::enabled(store)?.names().iter().cloned().collect();
        names.retain(|name| enabled.contains(name));
    }
    People::of(names.into_iter().collect(), Origin::Elsewhere)
}

/// How many accounts were shown, by their states.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Summary {
    pub(crate) users: usize,
    pub(crate) disabled: usize,
    pub(crate) pending: usize,
    pub(crate) active: usize,
    pub(crate) locked: usize,
}

impl Summary {
    pub(crate) fn count(&mut self, row: &StatusRow) {
        let one = |counted: bool| usize::from(counted);
        self.users = self.users.saturating_add(1);
        self.disabled = self.disabled.saturating_add(one(!row.otp));
        self.pending = self.pending.saturating_add(one(row.otp && !row.activated));
        self.active = self.active.saturating_add(one(row.activated));
        self.locked = self.locked.saturating_add(one(row.is_locked()));
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { users, disabled, pending, active, locked } = self;
        let word = if *users == 1 { "user" } else { "users" };
        write!(
            f,
            "{users} {word}: {disabled} disabled, {pending} pending, {active} active; {locked} locked"
        )
    }
}

fn show(
    context: &Context,
    store: &Store,
    people: &People,
    options: &ListOptions,
) -> anyhow::Result<(ExitCode, Summary)> {
    let now = now()?;
    let progress = Progress::of(people.names().len());
    let mut summary = Summary::default();
    let mut table = StatusTable::of(people.names(), options);
    // Thousands of rows, and nothing is changed: printed in larger pieces.
    let out = ProgressOutput { progress: &progress, out: std::io::stdout().lock() };
    let out = BufWriter::with_capacity(64 * 1024, out);
    let code = each_account(context, store, people, now, |rows| {
        let rows = rows.filter(|row| {
            progress.step();
            // What cannot be read is in no state: it is always reported.
            row.result.as_ref().map_or(true, |status| status.passes(options, now))
        });
        let rows = rows.inspect(|row| row.result.iter().for_each(|status| summary.count(status)));
        report::print(context.form, out, &progress, rows, |out, user, status| {
            table.row(out, user, status)
        })
    })?;
    say::write(&String::from_utf8(table.rest()?)?)?;
    Ok((code, summary))
}

/// Hands `take` the row of each account, in their order.
pub(crate) fn each_account<A>(
    context: &Context,
    store: &Store,
    people: &People,
    now: Timestamp,
    take: impl FnOnce(&mut dyn Iterator<Item = Row<StatusRow>>) -> A,
) -> A {
    let row = |name: &String| Row::of(people, name, |user| look(context, store, user, now));
    side_by_side(people.names(), row, take)
}

/// A user whom the system does not know can have a record all the same.
fn look(
    context: &Context,
    store: &Store,
    user: &User,
    now: Timestamp,
) -> anyhow::Result<StatusRow> {
    let account = store.inspect_as(&user.name, user.uid())?;
    if account.is_none() && user.person.is_none() {
        return Err(ToolError::UNKNOWN.into());
    }
    let limits = &context.config.limits;
    let services = match &account {
        Some(account) => store
            .service_failures(account)?
            .filter_map(|(name, failures)| AtService::of(name, failures, now, limits))
            .collect(),
        None => Vec::new(),
    };
    Ok(StatusRow::of(account.as_ref(), services, now, limits))
}

fn furthest_off(account: &Account) -> i32 {
    let drifts = account.record.tokens.iter().map(|(id, _)| account.state.token(*id).drift);
    drifts.max_by_key(|drift| drift.unsigned_abs()).unwrap_or(0)
}
