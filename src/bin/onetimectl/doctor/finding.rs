//! What a check found.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Ok,
    /// It works, but an admin should know.
    Warn,
    /// Somebody is refused, or let in, who should not be.
    Fail,
}

impl Level {
    /// The word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// A line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) check: &'static str,
    #[serde(rename = "result")]
    pub(crate) level: Level,
    pub(crate) what: String,
    /// How to mend it.
    pub(crate) remedy: Option<String>,
}

impl Finding {
    pub(crate) fn ok(check: &'static str, what: impl AsRef<str>) -> Self {
        Self { check, level: Level::Ok, what: printable(what.as_ref()), remedy: None }
    }

    pub(crate) fn new(
        check: &'static str,
        level: Level,
        what: impl AsRef<str>,
        remedy: impl AsRef<str>,
    ) -> Self {
        let (what, remedy) = (printable(what.as_ref()), printable(remedy.as_ref()));
        Self { check, level, what, remedy: Some(remedy) }
    }

    pub(crate) fn warn(
        check: &'static str,
        what: impl AsRef<str>,
        remedy: impl AsRef<str>,
    ) -> Self {
        Self::new(check, Level::Warn, what, remedy)
    }

    pub(crate) fn fail(
        check: &'static str,
        what: impl AsRef<str>,
        remedy: impl AsRef<str>,
    ) -> Self {
        Self::new(check, Level::Fail, what, remedy)
    }
}

/// Names out of files reach a terminal: no control characters among them.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Names, as many of them as fit a line, and how many there are.
#[derive(Debug, Default)]
pub(crate) struct Names {
    first: std::collections::BTreeSet<String>,
    count: usize,
}

/// How many names are told.
const TOLD: usize = 10;

impl Names {
    pub(crate) fn add(&mut self, name: impl Into<String>) {
        self.count = self.count.saturating_add(1);
        self.first.insert(name.into());
        if self.first.len() > TOLD {
            self.first.pop_last();
        }
    }

    pub(crate) const fn count(&self) -> usize {
        self.count
    }
}

impl std::fmt::Display for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let told: Vec<&str> = self.first.iter().map(String::as_str).collect();
        f.write_str(&told.join(", "))?;
        match self.count.saturating_sub(told.len()) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_names_are_told_in_order_and_the_rest_is_a_number() {
        let mut names = Names::default();
        for number in (0..100_000).rev() {
            names.add(format!("u{number:06}"));
        }
        assert!(names.to_string().starts_with("u000000, u000001, "), "{names}");
        assert!(names.to_string().ends_with("u000009 and 99990 more"), "{names}");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(Finding::ok("x", "a\u{1b}[2Jb\nc").what, "a?[2Jb?c");
    }
}
