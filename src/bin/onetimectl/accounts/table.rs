//! Accounts as a table for people, or as CSV (RFC 4180) for programs: the columns that were
//! chosen, and what is in each.

use std::borrow::Cow;
use std::io::{self, Write};

use pam_onetime::account::Timestamp;
use pam_onetime::bytes_as_text::Readable;
use unicode_width::UnicodeWidthStr;

use crate::accounts::status::StatusRow;
use crate::cli::{Column, ListOptions};
use crate::say;

/// What a table has if no columns are chosen.
const OF_TABLE: [Column; 8] = [
    Column::User,
    Column::Otp,
    Column::Activated,
    Column::Since,
    Column::LastCodeLogin,
    Column::Drift,
    Column::Recovery,
    Column::Failures,
];

/// What CSV has then: everything, each thing once.
const OF_CSV: [Column; 12] = [
    Column::User,
    Column::State,
    Column::Issued,
    Column::Deadline,
    Column::Since,
    Column::LastCodeLogin,
    Column::Tokens,
    Column::Drift,
    Column::Recovery,
    Column::Failures,
    Column::LockedUntil,
    Column::Services,
];

impl Column {
    /// Its heading; in lower case and with dashes it is the column's name.
    const fn heading(self) -> &'static str {
        match self {
            Self::User => "USER",
            Self::State => "STATE",
            Self::Otp => "OTP",
            Self::Activated => "ACTIVATED",
            Self::Issued => "ISSUED",
            Self::Deadline => "DEADLINE",
            Self::Since => "SINCE",
            Self::LastCodeLogin => "LAST CODE LOGIN",
            Self::Tokens => "TOKENS",
            Self::Drift => "DRIFT",
            Self::Recovery => "RECOVERY",
            Self::Failures => "FAILURES",
            Self::LockedUntil => "LOCKED UNTIL",
            Self::Services => "SERVICES",
        }
    }

    const fn is_time(self) -> bool {
        match self {
            Self::Issued
            | Self::Deadline
            | Self::Since
            | Self::LastCodeLogin
            | Self::LockedUntil => true,
            Self::User
            | Self::State
            | Self::Otp
            | Self::Activated
            | Self::Tokens
            | Self::Drift
            | Self::Recovery
            | Self::Failures
            | Self::Services => false,
        }
    }

    /// What is in it; empty if there is nothing to say. `date` writes a time.
    fn cell<'a>(
        self,
        user: &'a str,
        status: &StatusRow,
        date: fn(Timestamp) -> String,
    ) -> Cow<'a, str> {
        let word = |yes: bool| Cow::Borrowed(if yes { "yes" } else { "no" });
        let time = |time: Option<Timestamp>| Cow::Owned(time.map(date).unwrap_or_default());
        let nothing = Cow::Borrowed("");
        match self {
            Self::User => Cow::Borrowed(user),
            Self::State => Cow::Borrowed(status.state()),
            Self::Otp => word(status.otp),
            Self::Activated if !status.otp => nothing,
            Self::Activated => word(status.activated),
            Self::Issued => time(status.issued),
            Self::Deadline => time(status.deadline),
            Self::Since => time(status.since),
            Self::LastCodeLogin => time(status.last_login),
            Self::Tokens if !status.otp => nothing,
            Self::Tokens => Cow::Owned(status.tokens.to_string()),
            Self::Drift if status.drift == 0 => nothing,
            Self::Drift => Cow::Owned(format!("{:+}", status.drift)),
            Self::Recovery => {
                Cow::Owned(status.recovery_codes_left.map(|n| n.to_string()).unwrap_or_default())
            }
            Self::Failures => Cow::Owned(status.failures.to_string()),
            Self::LockedUntil => time(status.locked_until),
            Self::Services => Cow::Owned(status.at_services(date)),
        }
    }
}

/// Rows as they come, in the form that was asked for.
pub(super) enum StatusTable {
    Text(TextTable),
    Csv { columns: Vec<Column>, begun: bool },
}

impl StatusTable {
    pub(super) fn of(users: &[String], options: &ListOptions) -> Self {
        let chosen = options.columns.clone();
        let or = |usual: &[Column]| if chosen.is_empty() { usual.to_vec() } else { chosen.clone() };
        if options.csv {
            Self::Csv { columns: or(&OF_CSV), begun: false }
        } else {
            Self::Text(TextTable::of(users, or(&OF_TABLE)))
        }
    }

    /// Writes a row, the first one with the heading before it.
    pub(super) fn row(
        &mut self,
        out: &mut impl Write,
        user: &str,
        status: &StatusRow,
    ) -> io::Result<()> {
        match self {
            Self::Text(table) => table.row(out, user, status),
            Self::Csv { columns, begun } => {
                if !std::mem::replace(begun, true) {
                    csv_header(out, columns)?;
                }
                let cells = columns.iter().map(|column| {
                    if *column == Column::Drift && status.otp {
                        // A number, where a table has nothing.
                        Cow::Owned(status.drift.to_string())
                    } else {
                        column.cell(user, status, Timestamp::to_rfc_3339)
                    }
                });
                csv_line(out, cells)
            }
        }
    }

    /// What is still to be written: the heading of CSV of which no row has come, since a
    /// table without rows is one.
    pub(super) fn rest(&self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        match self {
            Self::Csv { columns, begun: false } => csv_header(&mut rest, columns)?,
            Self::Csv { begun: true, .. } | Self::Text(_) => {}
        }
        Ok(rest)
    }
}

/// Columns that are as wide from the first row on as the widest needs: later rows are not
/// known yet.
pub(super) struct TextTable {
    columns: Vec<(Column, usize)>,
    begun: bool,
}

impl TextTable {
    fn of(users: &[String], columns: Vec<Column>) -> Self {
        let longest = users.iter().map(|user| Readable(user).to_string().width()).max();
        let width = |column: Column| {
            let cells = if column == Column::User {
                longest.unwrap_or(0)
            } else if column == Column::State {
                "disabled".len()
            } else if column.is_time() {
                DATE_WIDTH
            } else {
                0
            };
            column.heading().len().max(cells)
        };
        let columns = columns.into_iter().map(|column| (column, width(column))).collect();
        Self { columns, begun: false }
    }

    fn row(&mut self, out: &mut impl Write, user: &str, status: &StatusRow) -> io::Result<()> {
        if !std::mem::replace(&mut self.begun, true) {
            self.line(out, self.columns.iter().map(|(column, _)| column.heading().into()))?;
        }
        let chosen = |column| self.columns.iter().any(|(chosen, _)| *chosen == column);
        let cells = self.columns.iter().map(|(column, _)| match (column, status.locked_until) {
            (Column::Failures, until) => {
                let here = match until {
                    Some(until) => format!("locked until {}", until.to_minute()),
                    None => status.failures.to_string(),
                };
                let there = status.at_services(Timestamp::to_minute);
                let is_said = there.is_empty() || chosen(Column::Services);
                Cow::Owned(if is_said { here } else { format!("{here}; {there}") })
            }
            (column, _) => match column.cell(user, status, Timestamp::to_minute) {
                empty if empty.is_empty() => Cow::Borrowed("-"),
                cell => cell,
            },
        });
        self.line(out, cells)
    }

    fn line<'a>(
        &self,
        out: &mut impl Write,
        cells: impl Iterator<Item = Cow<'a, str>>,
    ) -> io::Result<()> {
        let widths = self.columns.iter().map(|(_, width)| *width);
        writeln!(out, "{}", say::columns(cells.zip(widths)))
    }
}

fn csv_header(out: &mut impl Write, columns: &[Column]) -> io::Result<()> {
    let name = |column: &Column| column.heading().to_ascii_lowercase().replace(' ', "_");
    csv_line(out, columns.iter().map(|column| Cow::Owned(name(column))))
}

/// A line of RFC 4180. Spreadsheets take a cell that begins with one of these characters
/// for a formula, quoted or not: such a text gets an apostrophe before it.
fn csv_line<'a>(out: &mut impl Write, cells: impl Iterator<Item = Cow<'a, str>>) -> io::Result<()> {
    let cell = |cell: Cow<'a, str>| {
        let is_number = cell.parse::<i64>().is_ok();
        let formula = !is_number && cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
        let text = if formula { Cow::Owned(format!("'{cell}")) } else { cell };
        match text.contains([',', '"', '\r', '\n']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text.into_owned(),
        }
    };
    write!(out, "{}\r\n", cells.map(cell).collect::<Vec<_>>().join(","))
}

/// Of what [`Timestamp::to_minute`] writes.
const DATE_WIDTH: usize = "2026-11-28 04:31 UTC".len();

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(cells: &[&str]) -> String {
        let mut out = Vec::new();
        csv_line(&mut out, cells.iter().map(|cell| Cow::Borrowed(*cell))).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn csv_is_quoted_as_rfc_4180_says_and_never_a_formula() {
        assert_eq!(csv(&["a", "", "b c"]), "a,,b c\r\n");
        assert_eq!(csv(&["a,b", "say \"x\"", "l\nm"]), "\"a,b\",\"say \"\"x\"\"\",\"l\nm\"\r\n");
        for start in ["=", "+", "-", "@", "\t", "\r"] {
            let cell = csv(&[&format!("{start}cmd|x!A1")]);
            assert!(cell.trim_start_matches('"').starts_with(&format!("'{start}")), "{cell:?}");
        }
        assert_eq!(csv(&["-3", "+2"]), "-3,+2\r\n", "a number is none");
    }

    #[test]
    fn each_column_is_in_line_also_where_letters_are_wide() {
        let users = ["\u{674e}\u{56db}", "alice"].map(str::to_owned);
        let mut table = TextTable::of(&users, vec![Column::User, Column::Otp]);
        table.begun = true;
        let mut out = Vec::new();
        for user in &users {
            table.line(&mut out, [user.into(), "x".into()].into_iter()).unwrap();
        }
        assert_eq!(String::from_utf8(out).unwrap(), "\u{674e}\u{56db}   x\nalice  x\n");
    }
}
