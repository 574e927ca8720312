//! Lines of fields with a sign between them (CSV): how they are read, and their numbers.

use std::io::{Read as _, Take};

use csv::{Position, ReaderBuilder, StringRecord, Trim};

use super::FormatError;

/// Bytes; no record is longer, however many lines a quotation mark makes part of it.
const MAX_RECORD: u64 = 64 * 1024;

/// The records of a file, of any number of fields, each without the blanks around it. Blank
/// lines and comments, which begin with `#`, are passed over; a header is a record.
pub(crate) struct Records<'a> {
    text: &'a str,
    csv: csv::Reader<Take<&'a [u8]>>,
}

impl<'a> Records<'a> {
    /// Those of a text whose fields have this sign between them.
    pub(crate) fn of(text: &'a str, separator: u8) -> Self {
        let csv = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .comment(Some(b'#'))
            .trim(Trim::All)
            .delimiter(separator)
            .from_reader(text.as_bytes().take(MAX_RECORD));
        Self { text, csv }
    }

    /// Reads the next one; its line, or `None` at the end.
    ///
    /// # Errors
    /// It is not CSV, or too long. The error does not quote it.
    pub(crate) fn read(&mut self, record: &mut StringRecord) -> Result<Option<usize>, FormatError> {
        let (line, passed) = start_of(self.text, self.csv.position());
        self.csv.get_mut().set_limit(passed.saturating_add(MAX_RECORD));
        // The reader's own words could quote it.
        let there = self.csv.read_record(record);
        let there = there.map_err(|_| FormatError::new(line, "not CSV"))?;
        let rest = self.csv.get_ref();
        if rest.limit() == 0 && !rest.get_ref().is_empty() {
            let what = format!("a record is longer than {MAX_RECORD} bytes");
            return Err(FormatError::new(line, what)
                .with_remedy("look for a quotation mark that is not closed"));
        }
        Ok(there.then_some(line))
    }
}

/// The line of a record, from 1 on, and how many bytes at most are passed over before it. Its
/// position is where the record before it ended.
fn start_of(text: &str, position: &Position) -> (usize, u64) {
    let start = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let mut line = usize::try_from(position.line()).unwrap_or(usize::MAX);
    let mut bytes = 0_usize;
    let rest = text.get(start..).unwrap_or_default();
    for passed in rest.lines().take_while(|line| line.is_empty() || line.starts_with('#')) {
        line = line.saturating_add(1);
        // An end of line has two bytes at most.
        bytes = bytes.saturating_add(passed.len()).saturating_add(2);
    }
    (line, u64::try_from(bytes).unwrap_or(u64::MAX))
}
