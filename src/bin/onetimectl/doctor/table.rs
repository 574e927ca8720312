//! Prints the findings: a table with each remedy below its finding and,
//! where something is wrong, the name to look up in onetimectl(8), or JSON.

use crate::doctor::finding::{Finding, Level};
use crate::say::report::Versioned;
use crate::say::{self, Colour, Form};

pub(super) fn print(form: Form, findings: &[Finding]) -> anyhow::Result<()> {
    match form {
        Form::Json => say::json(&findings.iter().map(Versioned::of).collect::<Vec<_>>())?,
        Form::Text => {
            let checks = findings.iter().map(|finding| finding.check.word().len());
            let width = checks.max().unwrap_or(0).max("CHECK".len());
            say::line(&format!("{:width$}  RESULT  WHAT", "CHECK"))?;
            for Finding { id, check, level, what, remedy } in findings {
                // Padded first: colour takes no room in the column.
                let word = format!("{:6}", level.word());
                let word = say::paint(colour(*level), &word);
                let check = check.word();
                match remedy {
                    None => say::line(&format!("{check:width$}  {word}  {what}"))?,
                    Some(remedy) => {
                        say::line(&format!("{check:width$}  {word}  {what} [{}]", id.word()))?;
                        say::line(&format!("{:width$}          -> {remedy}", ""))?;
                    }
                }
            }
        }
    }
    Ok(())
}

const fn colour(level: Level) -> Colour {
    match level {
        Level::Ok => Colour::Green,
        Level::Warn => Colour::Yellow,
        Level::Fail => Colour::BoldRed,
    }
}
