//! Lines of fields with a sign between them (CSV): how they are read, and their numbers.

use csv::{Position, ReaderBuilder, Trim};

/// Reads lines of any number of fields, each without the blanks around it. Blank lines and
/// comments, which begin with `#`, are passed over; a header is a line.
pub(crate) fn reader(text: &str, separator: u8) -> csv::Reader<&[u8]> {
    ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .trim(Trim::All)
        .delimiter(separator)
        .from_reader(text.as_bytes())
}

/// The line of a record, from 1 on. Its position is where the record before it ended: what
/// the reader passes over comes first.
pub(crate) fn line_of(text: &str, position: &Position) -> usize {
    let start = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let rest = text.get(start..).unwrap_or_default();
    let passed = rest.lines().take_while(|line| line.is_empty() || line.starts_with('#'));
    usize::try_from(position.line()).unwrap_or(usize::MAX).saturating_add(passed.count())
}
