//! What an import reports: who was imported, what was left behind, how many of
//! each.

use std::collections::BTreeMap;

use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::say;
use crate::say::report::Row;

/// What came of a user.
#[derive(Debug, Serialize)]
pub(super) struct ImportReport {
    pub(super) result: Completion,
    /// How many were found.
    pub(super) tokens: usize,
    /// Whether codes are asked for from now on.
    pub(super) activated: bool,
    pub(super) not_carried_over: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// Whether it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Completion {
    Imported,
    /// By a dry run.
    WouldBeImported,
    /// A key in stock, which no line of the map gives to anybody.
    Unmapped,
}

/// So many names are enough where all would be too many.
pub(super) const NAMED: usize = 3;

impl ImportReport {
    /// Of a key that stays in stock.
    pub(super) const fn unmapped() -> Self {
        Self {
            result: Completion::Unmapped,
            tokens: 1,
            activated: false,
            not_carried_over: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

impl Completion {
    /// As a person reads it.
    const fn text(self) -> &'static str {
        match self {
            Self::Imported => "imported",
            Self::WouldBeImported => "would be imported",
            Self::Unmapped => "in no line of the map",
        }
    }
}

/// The report as text. Of the keys in stock, the first `named` are named.
pub(super) fn table(rows: &[Row<ImportReport>], named: usize) -> String {
    let good = rows.iter().filter_map(|row| Some((&row.user, row.result.as_ref().ok()?)));
    let (spare, done): (Vec<_>, Vec<_>) =
        good.partition(|(_, report)| report.result == Completion::Unmapped);
    let mut text = String::new();
    if !done.is_empty() {
        let longest = done.iter().map(|(user, _)| user.width()).max().unwrap_or(0);
        let user_width = longest.max("USER".len());
        let result_width = Completion::WouldBeImported.text().len();
        let widths = [user_width, result_width, "TOKENS".len(), 0];
        let mut line = |cells: [&str; 4]| {
            text.push_str(&say::columns(cells.into_iter().zip(widths)));
            text.push('\n');
        };
        line(["USER", "RESULT", "TOKENS", "ACTIVATED"]);
        for (user, report) in &done {
            let activated = if report.activated { "yes" } else { "no" };
            line([user, report.result.text(), &report.tokens.to_string(), activated]);
        }
        text.push('\n');
    }
    notes(&mut text, "Not carried over:", &done, |report| &report.not_carried_over);
    notes(&mut text, "Warnings:", &done, |report| &report.warnings);
    if !spare.is_empty() {
        let names: Vec<_> = spare.iter().map(|(name, _)| *name).collect();
        let names = names_of(&names, named);
        text.push_str(&format!("{} keys are in no line of the map: {names}\n\n", spare.len()));
    }
    let failed = rows.len().saturating_sub(done.len()).saturating_sub(spare.len());
    let completion = match done.first() {
        Some((_, report)) => report.result,
        None => Completion::Imported,
    };
    text.push_str(&format!("{} {}, {failed} failed.", done.len(), completion.text()));
    text
}

/// What is true of many is written once, with the names of the first.
fn notes<'a>(
    text: &mut String,
    heading: &str,
    all: &[(&'a String, &'a ImportReport)],
    of: impl Fn(&'a ImportReport) -> &'a Vec<String>,
) {
    let mut by_note: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for (user, report) in all {
        for note in of(report) {
            by_note.entry(note).or_default().push(user);
        }
    }
    if by_note.is_empty() {
        return;
    }
    text.push_str(heading);
    for (note, users) in by_note {
        text.push_str(&format!("\n  {}: {note}", names_of(&users, NAMED)));
    }
    text.push_str("\n\n");
}

/// The first `named` of these names, and how many more there are.
fn names_of(names: &[&String], named: usize) -> String {
    let mut text = String::new();
    for (name, number) in names.iter().take(named).zip(0_usize..) {
        text.push_str(if number == 0 { "" } else { ", " });
        text.push_str(name);
    }
    let more = names.len().saturating_sub(named);
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
