//! Numbers, and how they are printed: quantiles, tables, the places of BENCHMARKS.md
//! where they are.

use std::fmt::{self, Display, Formatter};

use crate::common::into_place;

/// The page that a full run writes.
const PAGE: &str = "BENCHMARKS.md";

/// How much is measured, and whether the page is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// A look: small numbers, printed and not written.
    Quick,
    Full,
    /// And a million accounts for the tool.
    Long,
    /// As much as a full run, beside a build that the page does not have: printed and not written.
    Aside,
}

impl Extent {
    pub fn of<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full | Self::Long | Self::Aside => full,
        }
    }

    /// Whether the page is written.
    pub fn writes(self) -> bool {
        match self {
            Self::Full | Self::Long => true,
            Self::Quick | Self::Aside => false,
        }
    }

    /// Tells a text, and in a full run writes it into its place.
    pub fn publish(self, place: &str, text: &str) {
        println!("\n{place}:\n\n{text}");
        self.write(PAGE, place, text);
    }

    /// In a full run, writes a text into its place on a page of the project.
    pub fn write(self, page: &str, place: &str, text: &str) {
        if self.writes() {
            into_place(page, place, |_| format!("{text}\n"));
        }
    }

    /// Tells whether a target was met.
    pub fn target(self, name: &str, bound: &str, measured: &str, verdict: Verdict) {
        self.publish_row("targets", &[&name, &bound, &measured, &verdict]);
    }

    /// Tells a row, and in a full run writes it into its table, in the place of the row
    /// that begins with the same cell.
    pub fn publish_row(self, place: &str, cells: &[&dyn Display]) {
        let line = row(cells);
        println!("{line}");
        if self.writes() {
            into_place(PAGE, place, |table| {
                let mut lines: Vec<&str> = table.lines().collect();
                let begin = row(&cells[..1]);
                match lines.iter_mut().find(|old| old.starts_with(&begin)) {
                    Some(old) => *old = &line,
                    None => lines.push(&line),
                }
                lines.iter().flat_map(|line| [line, "\n"]).collect()
            });
        }
    }
}

/// Whether a target was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Met,
    Missed,
    /// The machine was too noisy to say (noise.rs).
    Noisy,
    /// What it is compared with was not measured.
    Unknown,
}

impl Verdict {
    /// Of a target with two bounds.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Missed, _) | (_, Self::Missed) => Self::Missed,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Noisy, _) | (_, Self::Noisy) => Self::Noisy,
            (Self::Met, Self::Met) => Self::Met,
        }
    }
}

impl From<bool> for Verdict {
    /// Of what no noise changes: bytes, instructions, system calls.
    fn from(met: bool) -> Self {
        if met { Self::Met } else { Self::Missed }
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Met => "yes",
            Self::Missed => "**no**",
            Self::Noisy => "noisy",
            Self::Unknown => "–",
        })
    }
}

/// A Markdown table.
pub struct Table(String);

impl Table {
    pub fn new(columns: &[&str]) -> Self {
        let head: Vec<&dyn Display> = columns.iter().map(|column| column as &dyn Display).collect();
        let rule = format!("|---|{}", "---:|".repeat(columns.len() - 1));
        Self(format!("{}\n{rule}\n", row(&head)))
    }

    pub fn row(&mut self, cells: &[&dyn Display]) {
        self.0 += &row(cells);
        self.0.push('\n');
    }

    pub fn text(&self) -> &str {
        &self.0
    }
}

fn row(cells: &[&dyn Display]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| format!(" {cell} |")).collect();
    format!("|{}", cells.concat())
}

/// Sorted measurements.
pub struct Sample(Vec<f64>);

impl Sample {
    pub fn new(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        assert!(!values.is_empty(), "nothing was measured");
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    pub fn count(&self) -> f64 {
        self.0.len() as f64
    }

    pub fn min(&self) -> f64 {
        self.0[0]
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub fn quantile(&self, share: f64) -> f64 {
        self.0[((self.0.len() - 1) as f64 * share).round() as usize]
    }

    pub fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number <= -0.5 { format!("-{text}") } else { text }
}

/// `0.53 ×`.
pub fn times(ratio: f64) -> String {
    format!("{ratio:.2} ×")
}
