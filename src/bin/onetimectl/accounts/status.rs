//! `onetimectl status` and `list`: a table of accounts.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::thread::{self, available_parallelism};

use anyhow::anyhow;
use jiff::tz::TimeZone;
use pam_onetime::account::{Account, Phase, Timestamp};
use pam_onetime::bytes_as_text::Readable;
use pam_onetime::config::Limits;
use pam_onetime::login::in_force;
use pam_onetime::store::Store;
use pam_onetime::system::now;
use serde::Serialize;

use crate::cli::{Filters, SelectionOptions};
use crate::context::Context;
use crate::people::{Everybody, People, User, select};
use crate::say::progress::{Progress, ProgressOutput};
use crate::say::report::{self, Row};
use crate::say::{self, Form};

#[derive(Serialize)]
struct StatusRow {
    otp: bool,
    activated: bool,
    /// Unix times.
    issued: Option<u64>,
    since: Option<u64>,
    last_login: Option<u64>,
    /// Until when it must be activated.
    deadline: Option<u64>,
    tokens: usize,
    /// Steps that a totp token's clock is ahead, that of the token furthest off.
    drift: i32,
    /// `None`: none were issued.
    recovery_codes_left: Option<usize>,
    failures: u32,
    /// Only while locked.
    locked_until: Option<u64>,
}

impl StatusRow {
    fn of(account: Option<&Account>, now: Timestamp, limits: &Limits) -> Self {
        let state = account.map(|account| &account.state);
        let failures = state.map(|state| in_force(state.failures, now, limits));
        let since = account.and_then(|account| match account.phase() {
            Phase::Pending => None,
            Phase::Active { since } => Some(since.0),
        });
        Self {
            otp: account.is_some(),
            activated: since.is_some(),
            issued: account.map(|account| account.record.issued_at.0),
            since,
            last_login: state.and_then(|state| state.last_login).map(|time| time.0),
            deadline: account.and_then(|account| account.record.deadline).map(|time| time.0),
            tokens: account.map_or(0, |account| account.record.tokens.len()),
            drift: account.map_or(0, furthest_off),
            recovery_codes_left: account.and_then(Account::recovery_codes_left),
            failures: failures.map_or(0, |failures| failures.recent(now, limits.period)),
            locked_until: failures
                .map(|failures| failures.locked_until)
                .filter(|until| *until > now)
                .map(|until| until.0),
        }
    }

    /// Whether one of the filters matches this account, or no filter is given.
    fn passes(&self, filters: Filters) -> bool {
        let Filters { pending, active, locked } = filters;
        (pending && self.otp && !self.activated)
            || (active && self.activated)
            || (locked && self.locked_until.is_some())
            || !(pending || active || locked)
    }

    fn cells<'a>(&self, user: &'a str, zone: &TimeZone) -> [Cow<'a, str>; 8] {
        let word = |yes| Cow::Borrowed(if yes { "yes" } else { "no" });
        let none = Cow::Borrowed("-");
        let time = |time: Option<u64>| match time {
            Some(time) => Cow::Owned(date(time, zone)),
            None => Cow::Borrowed("-"),
        };
        [
            Cow::Borrowed(user),
            word(self.otp),
            if self.otp { word(self.activated) } else { none.clone() },
            time(self.since),
            time(self.last_login),
            if self.drift == 0 { none.clone() } else { Cow::Owned(format!("{:+}", self.drift)) },
            self.recovery_codes_left.map_or(none, |left| Cow::Owned(left.to_string())),
            Cow::Owned(match self.locked_until {
                Some(until) => format!("locked until {}", date(until, zone)),
                None => self.failures.to_string(),
            }),
        ]
    }
}

/// Without users: everybody who is enabled.
pub(crate) fn run(context: &Context, whom: &SelectionOptions) -> anyhow::Result<ExitCode> {
    if whom.users.is_empty() && whom.groups.is_empty() && !whom.all {
        return list(context, Filters::default());
    }
    let store = context.store()?;
    let people = select(whom, Everybody::Enabled(&store))?;
    show(context, &store, &people, Filters::default())
}

/// Everybody who is enabled, or whom a filter lets through.
pub(crate) fn list(context: &Context, filters: Filters) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    let people = People::enabled(&store)?;
    if people.names().is_empty() && context.form == Form::Text {
        say::line("Nobody is enabled.");
        return Ok(ExitCode::SUCCESS);
    }
    show(context, &store, &people, filters)
}

fn show(
    context: &Context,
    store: &Store,
    people: &People,
    filters: Filters,
) -> anyhow::Result<ExitCode> {
    let now = now()?;
    let progress = Progress::of(people.names().len());
    let mut table = StatusTable::of(people.names());
    // Thousands of rows, and nothing is changed: printed in larger pieces.
    let out = ProgressOutput { progress: &progress, out: std::io::stdout().lock() };
    let out = BufWriter::with_capacity(64 * 1024, out);
    let row = |name: &String| Row::of(people, name, |user| look(context, store, user, now));
    let code = side_by_side(people.names(), row, |rows| {
        let rows = rows.filter(|row| {
            progress.step();
            // What cannot be read is in no state: it is always reported.
            row.result.as_ref().map_or(true, |status| status.passes(filters))
        });
        report::print(context.form, out, &progress, rows, |out, user, status| {
            table.row(out, user, status)
        })
    })?;
    if context.form == Form::Text && code == ExitCode::SUCCESS && table.header.is_some() {
        say::line("Nobody is in such a state.");
    }
    Ok(code)
}

/// How many accounts are read before their rows are printed.
const BATCH: usize = 512;

/// More threads would wait for the kernel rather than work.
const MAX_THREADS: usize = 8;

/// Does `work` for each, on all processors, while `print` takes the results: in
/// order, and never far ahead.
fn side_by_side<T: Sync, R: Send, A>(
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
    print: impl FnOnce(&mut dyn Iterator<Item = R>) -> A,
) -> A {
    let threads = available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
    let work = &work;
    // A thread that panics ends its channel, and at the end of the scope the program.
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|nth| {
                let (done, results) = sync_channel(1);
                scope.spawn(move || {
                    let mine = items.chunks(BATCH).skip(nth).step_by(threads);
                    let mut batches = mine.map(|batch| batch.iter().map(work).collect::<Vec<_>>());
                    // Until nobody wants to know any more.
                    batches.all(|batch| done.send(batch).is_ok())
                });
                results
            })
            .collect();
        print(&mut workers.iter().cycle().map_while(|worker| worker.recv().ok()).flatten())
    })
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
        return Err(anyhow!("this system knows no such user"));
    }
    Ok(StatusRow::of(account.as_ref(), now, &context.config.limits))
}

/// Columns that are as wide from the first row on as the widest needs: later
/// rows are not known yet.
struct StatusTable {
    widths: [usize; 8],
    zone: TimeZone,
    header: Option<[&'static str; 8]>,
}

impl StatusTable {
    fn of(users: &[String]) -> Self {
        let header =
            ["USER", "OTP", "ACTIVATED", "SINCE", "LAST LOGIN", "DRIFT", "RECOVERY", "FAILURES"];
        let mut widths = header.map(str::len);
        let [user, _, _, since, last_login, ..] = &mut widths;
        let longest = users.iter().map(|user| Readable(user).to_string().chars().count()).max();
        *user = longest.unwrap_or(0).max(*user);
        *since = DATE_WIDTH;
        *last_login = DATE_WIDTH;
        Self { widths, zone: TimeZone::system(), header: Some(header) }
    }

    fn row(&mut self, out: &mut impl Write, user: &str, status: &StatusRow) -> io::Result<()> {
        if let Some(header) = self.header.take() {
            self.line(out, &header.map(Cow::Borrowed))?;
        }
        self.line(out, &status.cells(user, &self.zone))
    }

    fn line(&self, out: &mut impl Write, cells: &[Cow<'_, str>; 8]) -> io::Result<()> {
        let mut line = String::with_capacity(128);
        for (cell, width) in cells.iter().zip(self.widths) {
            let blanks = width.saturating_sub(cell.chars().count()).saturating_add(2);
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', blanks));
        }
        writeln!(out, "{}", line.trim_end())
    }
}

fn furthest_off(account: &Account) -> i32 {
    let drifts = account.record.tokens.iter().map(|(id, _)| account.state.token(*id).drift);
    drifts.max_by_key(|drift| drift.unsigned_abs()).unwrap_or(0)
}

/// Of what [`date`] writes.
const DATE_WIDTH: usize = 16;

/// Local time, to the minute.
fn date(seconds: u64, zone: &TimeZone) -> String {
    let time = i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    time.map_or_else(
        || "never".to_owned(),
        |time| time.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string(),
    )
}
