//! What an import reports: who was imported, what was left behind, how many of
//! each.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::OutputError;
use crate::say;

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

/// The report as text: a line for each user as they come, and what there is to say of many.
pub(super) struct Table {
    widths: [usize; 4],
    /// How many lines there are, and what they say came of the users.
    done: usize,
    completion: Completion,
    not_carried_over: Notes,
    warnings: Notes,
}

impl Table {
    /// One with room for names of this width, in columns of a terminal.
    pub(super) fn of(widest: usize) -> Self {
        let user = widest.max("USER".len());
        let result = Completion::WouldBeImported.text().len();
        Self {
            widths: [user, result, "TOKENS".len(), 0],
            done: 0,
            completion: Completion::Imported,
            not_carried_over: Notes::default(),
            warnings: Notes::default(),
        }
    }

    /// What is to be written of a user; before the first, what the columns are.
    pub(super) fn row(&mut self, user: &str, report: &ImportReport) -> Option<String> {
        match report.result {
            Completion::Unmapped => return None,
            Completion::Imported | Completion::WouldBeImported => {}
        }
        let mut text = String::new();
        let mut line = |cells: [&str; 4]| {
            text.push_str(&say::columns(cells.into_iter().zip(self.widths)));
            text.push('\n');
        };
        if self.done == 0 {
            line(["USER", "RESULT", "TOKENS", "ACTIVATED"]);
        }
        let activated = if report.activated { "yes" } else { "no" };
        line([user, report.result.text(), &report.tokens.to_string(), activated]);
        self.done = self.done.saturating_add(1);
        self.completion = report.result;
        report.not_carried_over.iter().for_each(|note| self.not_carried_over.add(note, user));
        report.warnings.iter().for_each(|note| self.warnings.add(note, user));
        Some(text)
    }

    /// Prints what there is to say of all together. `spare` names keys in stock, of which
    /// there are `spares`.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn end(
        self,
        failed: usize,
        mut spare: impl Iterator<Item = String>,
        spares: usize,
    ) -> Result<(), OutputError> {
        if self.done > 0 {
            say::write("\n")?;
        }
        self.not_carried_over.print("Not carried over:")?;
        self.warnings.print("Warnings:")?;
        if spares > 0 {
            say::write(&format!("{spares} keys are in no line of the map: "))?;
            names_of(&mut spare, spares)?;
            say::write("\n\n")?;
        }
        say::line(&format!("{} {}, {failed} failed.", self.done, self.completion.text()))
    }
}

/// So many different notes are kept: a file that has more has them to fill the memory.
const MOST_NOTES: usize = 1024;
/// The note in the place of one that is one too many.
const ONE_NOTE_MORE: &str = "more of too many different things to say: --json has all";

/// What is true of many is written once, with the names of the first.
#[derive(Default)]
struct Notes(BTreeMap<String, Noted>);

/// Of whom a note is true.
#[derive(Default)]
struct Noted {
    count: usize,
    first: Vec<String>,
}

impl Notes {
    fn add(&mut self, note: &str, user: &str) {
        let is_room = self.0.len() < MOST_NOTES || self.0.contains_key(note);
        let note = if is_room { note } else { ONE_NOTE_MORE };
        // Most notes are there already.
        if !self.0.contains_key(note) {
            self.0.insert(note.to_owned(), Noted::default());
        }
        if let Some(noted) = self.0.get_mut(note) {
            noted.count = noted.count.saturating_add(1);
            if noted.first.len() < NAMED {
                noted.first.push(user.to_owned());
            }
        }
    }

    fn print(self, heading: &str) -> Result<(), OutputError> {
        if self.0.is_empty() {
            return Ok(());
        }
        say::write(heading)?;
        for (note, Noted { count, first }) in self.0 {
            say::write("\n  ")?;
            names_of(&mut first.into_iter(), count)?;
            say::write(&format!(": {note}"))?;
        }
        say::write("\n\n")
    }
}

/// Prints the first of `count` names, and how many more there are.
fn names_of(first: &mut impl Iterator<Item = String>, count: usize) -> Result<(), OutputError> {
    let mut named = 0_usize;
    for name in first {
        say::write(if named == 0 { "" } else { ", " })?;
        say::write(&name)?;
        named = named.saturating_add(1);
    }
    match count.saturating_sub(named) {
        0 => Ok(()),
        more => say::write(&format!(" and {more} more")),
    }
}
