//! TOML, as far as records and the configuration need it: tables of keys, whose values
//! are strings, integers, booleans and arrays of strings. Tables in tables, whichever
//! way they are written, are refused.
//!
//! The syntax is `toml_parser`'s, which the `toml` crate is built on too. A login does
//! without that crate: its values and their way through serde cost more than all else
//! that a login computes, and a quarter of the module's size (BENCHMARKS.md). Records
//! are written with `toml_writer`, by [`crate::store`].

use std::borrow::Cow;

use toml_parser::decoder::{Encoding, ScalarKind};
use toml_parser::parser::{EventReceiver, parse_document};
use toml_parser::{ErrorSink, Expected, ParseError, Raw, Source, Span};

/// A key's value. It may be a secret: there is no `Debug`.
#[cfg_attr(test, derive(Debug))]
pub enum Value<'t> {
    /// `"text"`, however it is quoted.
    String(Cow<'t, str>),
    /// A whole number, to any of TOML's bases.
    Integer(i64),
    /// `true` or `false`.
    Boolean(bool),
    /// An array of strings.
    Strings(Vec<Cow<'t, str>>),
    /// A date or a float, which nothing here is.
    Other,
}

/// A key and its value.
pub struct Entry<'t> {
    /// The key, without the table's name.
    pub key: Cow<'t, str>,
    /// Its value.
    pub value: Value<'t>,
    /// The byte of the text at which it begins.
    pub at: usize,
}

/// A table: `[name]`, `[[name]]`, or what stands before any of them.
pub struct Table<'t> {
    /// Its name; empty: the keys before the first header.
    pub name: Cow<'t, str>,
    /// Whether it is one of many: `[[name]]`.
    pub listed: bool,
    /// What is in it, in the order of the text.
    pub entries: Vec<Entry<'t>>,
    /// The byte of the text at which it begins.
    pub at: usize,
}

impl<'t> Table<'t> {
    fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// Takes a value out; `None` if there is none of this key.
    pub fn take(&mut self, key: &str) -> Option<Value<'t>> {
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(index).value)
    }
}

/// Why a text cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// The byte of the text at which it goes wrong.
    pub at: usize,
    /// What is wrong. It may quote a key, but never a value.
    pub what: String,
}

/// The tables of a text: first that of the keys before any header, then the others as
/// they come.
///
/// # Errors
/// [`SyntaxError`]: no TOML, or a key or a table twice.
pub fn parse(text: &str) -> Result<Vec<Table<'_>>, SyntaxError> {
    let source = Source::new(text);
    let mut error: Option<ParseError> = None;
    let first = Table { name: Cow::Borrowed(""), listed: false, entries: Vec::new(), at: 0 };
    let mut reader = Reader { source, before: Vec::new(), last: first, key: None, array: None };
    // Room for a record's tokens, and for those of a file that is mostly comments. The
    // lexer's own guess is far more, and all of it would be wiped.
    let mut tokens = Vec::with_capacity((text.len() / 3).min(256));
    tokens.extend(source.lex());
    parse_document(&tokens, &mut reader, &mut error);
    match error {
        None => {
            reader.before.push(reader.last);
            Ok(reader.before)
        }
        Some(error) => Err(explain(&error)),
    }
}

/// The number of the line, from 1, on which a byte of the text stands.
#[must_use]
pub fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count().saturating_add(1)
}

fn explain(error: &ParseError) -> SyntaxError {
    let mut what = error.description().to_owned();
    for (index, expected) in error.expected().unwrap_or_default().iter().enumerate() {
        what.push_str(if index == 0 { ", expected " } else { ", " });
        match expected {
            Expected::Literal("\n") => what.push_str("a new line"),
            Expected::Literal(literal) => {
                what.push('`');
                what.push_str(literal);
                what.push('`');
            }
            Expected::Description(description) => what.push_str(description),
            _ => what.push_str("something else"),
        }
    }
    let at = error.unexpected().or(error.context()).map_or(0, |span| span.start());
    SyntaxError { at, what }
}

/// Puts together what the parser tells piece by piece.
struct Reader<'t> {
    source: Source<'t>,
    /// The tables before the last one.
    before: Vec<Table<'t>>,
    /// The table that keys go to.
    last: Table<'t>,
    /// A key, or a table's name, and where it begins.
    key: Option<(Cow<'t, str>, usize)>,
    /// What the array that is open will be: strings, until something else is in it.
    array: Option<Value<'t>>,
}

impl<'t> Reader<'t> {
    fn raw(&self, span: Span, encoding: Option<Encoding>) -> Option<Raw<'t>> {
        let text = self.source.get(span)?.as_str();
        Some(Raw::new_unchecked(text, encoding, span))
    }

    /// A header is complete.
    fn open(&mut self, listed: bool, span: Span, error: &mut dyn ErrorSink) {
        let Some((name, at)) = self.key.take() else { return };
        let next = Table { name, listed, entries: Vec::new(), at };
        self.before.push(std::mem::replace(&mut self.last, next));
        let name = &self.last.name;
        let is_key = self.before.first().is_some_and(|first| first.has(name));
        let is_table = |table: &Table<'_>| table.name == *name && !(listed && table.listed);
        if is_key || self.before.iter().any(is_table) {
            refuse(error, span, format!("{name} stands twice"));
        }
    }

    /// A value is complete.
    fn add(&mut self, value: Value<'t>, span: Span, error: &mut dyn ErrorSink) {
        let Some((key, at)) = self.key.take() else { return };
        if self.last.has(&key) {
            refuse(error, span, format!("{key} stands twice"));
        }
        self.last.entries.push(Entry { key, value, at });
    }
}

fn refuse(error: &mut dyn ErrorSink, span: Span, what: impl Into<Cow<'static, str>>) {
    error.report_error(ParseError::new(what).with_unexpected(span));
}

impl EventReceiver for Reader<'_> {
    fn std_table_close(&mut self, span: Span, error: &mut dyn ErrorSink) {
        self.open(false, span, error);
    }

    fn array_table_close(&mut self, span: Span, error: &mut dyn ErrorSink) {
        self.open(true, span, error);
    }

    fn simple_key(&mut self, span: Span, encoding: Option<Encoding>, error: &mut dyn ErrorSink) {
        let mut key = Cow::Borrowed("");
        if let Some(raw) = self.raw(span, encoding) {
            raw.decode_key(&mut key, error);
        }
        self.key = Some((key, span.start()));
    }

    fn key_sep(&mut self, span: Span, error: &mut dyn ErrorSink) {
        refuse(error, span, "no key has a dot here: write it below a [table]");
    }

    fn scalar(&mut self, span: Span, encoding: Option<Encoding>, error: &mut dyn ErrorSink) {
        let Some(raw) = self.raw(span, encoding) else { return };
        let mut text = Cow::Borrowed("");
        let value = match raw.decode_scalar(&mut text, error) {
            ScalarKind::String => Value::String(text),
            ScalarKind::Boolean(value) => Value::Boolean(value),
            ScalarKind::Integer(radix) => match i64::from_str_radix(&text, radix.value()) {
                Ok(number) => Value::Integer(number),
                Err(_) => return refuse(error, span, "the number is too large"),
            },
            ScalarKind::DateTime | ScalarKind::Float => Value::Other,
        };
        match (&mut self.array, value) {
            (Some(Value::Strings(strings)), Value::String(string)) => strings.push(string),
            (Some(array), _) => *array = Value::Other,
            (None, value) => self.add(value, span, error),
        }
    }

    fn array_open(&mut self, span: Span, error: &mut dyn ErrorSink) -> bool {
        if self.array.is_some() {
            refuse(error, span, "an array in an array");
            return false;
        }
        self.array = Some(Value::Strings(Vec::new()));
        true
    }

    fn array_close(&mut self, span: Span, error: &mut dyn ErrorSink) {
        if let Some(array) = self.array.take() {
            self.add(array, span, error);
        }
    }

    fn inline_table_open(&mut self, span: Span, error: &mut dyn ErrorSink) -> bool {
        refuse(error, span, "no table in braces here: write it as a [table]");
        false
    }

    fn newline(&mut self, span: Span, error: &mut dyn ErrorSink) {
        if let Some(raw) = self.source.get(span) {
            raw.decode_newline(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Ways to write a table that we do not read.
    const IN_OTHER_WAYS: [&str; 2] = [
        "no key has a dot here: write it below a [table]",
        "no table in braces here: write it as a [table]",
    ];

    /// All values by table, key and, of tables that are listed, number.
    type Flat = BTreeMap<(String, usize, String), String>;

    fn ours(text: &str) -> Result<Flat, SyntaxError> {
        let mut flat = Flat::new();
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for table in parse(text)? {
            let number = seen.entry(table.name.to_string()).or_default();
            for Entry { key, value, .. } in table.entries {
                flat.insert((table.name.to_string(), *number, key.into()), format!("{value:?}"));
            }
            *number += 1;
        }
        Ok(flat)
    }

    /// The same as the `toml` crate has it; `None` if it holds what we have no use for.
    fn theirs(table: &toml::Table, name: &str, number: usize, flat: &mut Flat) -> Option<()> {
        for (key, value) in table {
            let nested = !name.is_empty();
            let value = match value {
                toml::Value::String(text) => Value::String(text.into()),
                toml::Value::Integer(number) => Value::Integer(*number),
                toml::Value::Boolean(value) => Value::Boolean(*value),
                toml::Value::Float(_) | toml::Value::Datetime(_) => Value::Other,
                toml::Value::Table(_) if nested => return None,
                toml::Value::Table(table) => {
                    theirs(table, key, 0, flat)?;
                    continue;
                }
                toml::Value::Array(values) => {
                    if !nested && !values.is_empty() && values.iter().all(toml::Value::is_table) {
                        for (number, value) in values.iter().enumerate() {
                            theirs(value.as_table()?, key, number, flat)?;
                        }
                        continue;
                    }
                    if values.iter().any(|value| value.is_array() || value.is_table()) {
                        return None;
                    }
                    match values.iter().map(toml::Value::as_str).collect::<Option<Vec<_>>>() {
                        Some(texts) => Value::Strings(texts.into_iter().map(Cow::from).collect()),
                        None => Value::Other,
                    }
                }
            };
            flat.insert((name.to_owned(), number, key.clone()), format!("{value:?}"));
        }
        Some(())
    }

    /// What a line may be put together of.
    fn line_of_toml() -> impl Strategy<Value = String> {
        let key = prop::sample::select(vec!["a", "b", "c", "a.b", "\"a\"", "'b c'", "a . c"]);
        let value = prop::sample::select(vec![
            "1",
            "-17",
            "+5",
            "0x1F",
            "1_000",
            "9223372036854775807",
            "9223372036854775808",
            "01",
            "1.5",
            "inf",
            "1979-05-27T07:32:00Z",
            "true",
            "false",
            "True",
            "\"x\"",
            "'x\\'",
            "\"\\u00fc\\n\"",
            "\"\\q\"",
            "\"\"\"two\nlines\"\"\"",
            "'''\nx'''",
            "[]",
            "[\"x\", 'y',]",
            "[\"x\",\n# c\n\"y\"]",
            "[1, \"x\"]",
            "[[1]]",
            "[{a=1}]",
            "{}",
            "{a = 1}",
            "{a.b = 'x'}",
            "{a = {b = 1}}",
            "\"x",
            "x",
            "",
        ]);
        let entry = (key.clone(), value).prop_map(|(key, value)| format!("{key} = {value}"));
        prop_oneof![
            8 => entry,
            2 => key.clone().prop_map(|key| format!("[{key}]")),
            1 => key.prop_map(|key| format!("[[{key}]] # c")),
            1 => prop::sample::select(vec!["", "# c", "  ", "= 1", "a", "[a", "]", "a = 1 b = 2"])
                .prop_map(str::to_owned),
        ]
    }

    #[test]
    fn what_is_wrong_is_said_with_what_was_expected_in_its_place() {
        for (text, at, what) in [
            ("a", 1, "key with no value, expected `=`"),
            ("[a]]", 3, "unexpected key or value, expected a new line, `#`"),
            ("= 1", 0, "unquoted keys cannot be empty, expected letters, numbers, `-`, `_`"),
            ("a = x", 4, "string values must be quoted, expected literal string"),
            ("a = 1\r", 6, "carriage return must be followed by newline, expected a new line"),
            ("a = 1\na = 2", 10, "a stands twice"),
        ] {
            assert_eq!(ours(text), Err(SyntaxError { at, what: what.to_owned() }), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]
        #[test]
        fn a_text_is_read_as_the_toml_crate_reads_it_or_refused(
            lines in prop::collection::vec(line_of_toml(), 0..7)
        ) {
            let text = lines.join("\n");
            match (ours(&text), toml::from_str::<toml::Table>(&text)) {
                (Ok(read), Ok(table)) => {
                    let mut flat = Flat::new();
                    prop_assert!(theirs(&table, "", 0, &mut flat).is_some(), "{}", text);
                    prop_assert_eq!(read, flat, "{}", text);
                }
                (Ok(read), Err(error)) => {
                    prop_assert!(false, "{text}\nread as {read:?}\nbut: {error}");
                }
                (Err(error), Ok(table)) => {
                    let known = theirs(&table, "", 0, &mut Flat::new()).is_some();
                    prop_assert!(!known || IN_OTHER_WAYS.contains(&&*error.what), "{text}\n{error:?}");
                }
                (Err(_), Err(_)) => {}
            }
        }
    }
}
