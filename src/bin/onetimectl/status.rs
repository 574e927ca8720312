//! `onetimectl status` and `list`: a table of accounts.

use std::process::ExitCode;

use anyhow::anyhow;
use comfy_table::{Table, presets};
use jiff::tz::TimeZone;
use pam_onetime::account::{Account, Phase, Timestamp, UserName};
use pam_onetime::store::Store;
use pam_onetime::system::now;
use serde::Serialize;

use crate::context::{Context, User};
use crate::report::{self, Form, Row};

#[derive(Serialize)]
struct Told {
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

impl Told {
    fn of(account: Option<&Account>, now: Timestamp, period: u64) -> Self {
        let state = account.map(|account| &account.state);
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
            failures: state.map_or(0, |state| state.failures.recent(now, period)),
            locked_until: state
                .map(|state| state.failures.locked_until)
                .filter(|until| *until > now)
                .map(|until| until.0),
        }
    }

    fn cells(&self, user: &str) -> [String; 8] {
        let word = |yes| if yes { "yes" } else { "no" }.to_owned();
        let time = |time: Option<u64>| time.map_or_else(|| "-".to_owned(), date);
        [
            user.to_owned(),
            word(self.otp),
            if self.otp { word(self.activated) } else { "-".to_owned() },
            time(self.since),
            time(self.last_login),
            if self.drift == 0 { "-".to_owned() } else { format!("{:+}", self.drift) },
            self.recovery_codes_left.map_or_else(|| "-".to_owned(), |left| left.to_string()),
            match self.locked_until {
                Some(until) => format!("locked until {}", date(until)),
                None => self.failures.to_string(),
            },
        ]
    }
}

/// Without users: everybody who is enabled.
pub(crate) fn run(context: &Context, users: &[String]) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    let now = now()?;
    let names = if users.is_empty() { enabled(&store)? } else { users.to_vec() };
    let rows: Vec<_> = names
        .into_iter()
        .map(|user| {
            let result = look(context, &store, &user, now, users.is_empty());
            Row { user, result }
        })
        .collect();
    if context.form == Form::Text {
        report::say(&table(&rows));
    }
    report::finish(context.form, &rows)
}

fn look(
    context: &Context,
    store: &Store,
    user: &str,
    now: Timestamp,
    listed: bool,
) -> anyhow::Result<Told> {
    let person = User::find(user)?;
    let uid = person.person.as_ref().map(|person| person.uid);
    let account = match (uid, listed) {
        (Some(uid), _) => store.load(&person.name, uid)?,
        // A record whose user is gone.
        (None, true) => store.inspect(&person.name)?,
        (None, false) => match store.inspect(&person.name)? {
            None => return Err(anyhow!("this system knows no such user")),
            account => account,
        },
    };
    Ok(Told::of(account.as_ref(), now, context.config.limits.period))
}

pub(crate) fn enabled(store: &Store) -> anyhow::Result<Vec<String>> {
    let mut names = store.users()?.collect::<Result<Vec<UserName>, _>>()?;
    names.sort();
    Ok(names.into_iter().map(String::from).collect())
}

fn table(rows: &[Row<Told>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "USER",
        "OTP",
        "ACTIVATED",
        "SINCE",
        "LAST LOGIN",
        "DRIFT",
        "RECOVERY",
        "FAILURES",
    ]);
    for row in rows {
        if let Ok(told) = &row.result {
            table.add_row(told.cells(&row.user));
        }
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    if rows.is_empty() {
        return "Nobody is enabled.".to_owned();
    }
    table.trim_fmt()
}

fn furthest_off(account: &Account) -> i32 {
    let drifts = account.record.tokens.iter().map(|(id, _)| account.state.token(*id).drift);
    drifts.max_by_key(|drift| drift.unsigned_abs()).unwrap_or(0)
}

/// Local time, to the minute.
fn date(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    time.map_or_else(
        || "never".to_owned(),
        |time| time.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string(),
    )
}
