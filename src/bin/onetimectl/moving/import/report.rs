//! What an import reports: who was imported, what was left behind, how many of
//! each.

use std::collections::BTreeMap;

use comfy_table::{Table, presets};
use serde::Serialize;

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
}

impl Completion {
    /// As a person reads it.
    const fn text(self) -> &'static str {
        match self {
            Self::Imported => "imported",
            Self::WouldBeImported => "would be imported",
        }
    }
}

/// The report as text.
pub(super) fn table(rows: &[Row<ImportReport>]) -> String {
    let done: Vec<_> =
        rows.iter().filter_map(|row| Some((&row.user, row.result.as_ref().ok()?))).collect();
    let mut text = String::new();
    if !done.is_empty() {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["USER", "RESULT", "TOKENS", "ACTIVATED"]);
        for (user, report) in &done {
            table.add_row([
                (*user).clone(),
                report.result.text().to_owned(),
                report.tokens.to_string(),
                if report.activated { "yes" } else { "no" }.to_owned(),
            ]);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        text.push_str(&table.trim_fmt());
        text.push_str("\n\n");
    }
    notes(&mut text, "Not carried over:", &done, |report| &report.not_carried_over);
    notes(&mut text, "Warnings:", &done, |report| &report.warnings);
    let failed = rows.len().saturating_sub(done.len());
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
    const NAMED: usize = 3;
    let mut by_note: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
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
        let more = users.len().saturating_sub(NAMED);
        let named: Vec<_> = users.into_iter().take(NAMED).collect();
        text.push_str(&format!("\n  {}", named.join(", ")));
        if more > 0 {
            text.push_str(&format!(" and {more} more"));
        }
        text.push_str(&format!(": {note}"));
    }
    text.push_str("\n\n");
}
