//! Asks before something is destroyed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::process::ExitCode;

use rustix::termios::tcgetpgrp;

use crate::say::print::{ask, line};

/// What the admin wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    No,
}

impl Answer {
    /// Ends a run in which nothing was done.
    ///
    /// # Errors
    /// Those of writing.
    pub(crate) fn nothing_changed() -> anyhow::Result<ExitCode> {
        line("Nothing changed.")?;
        Ok(ExitCode::FAILURE)
    }
}

/// Asks a question, where there is a terminal to ask on; a script has decided
/// already, by calling the verb.
///
/// `input`: whether standard input has names or a file, and so no answer. Then the
/// answer comes from the terminal that the program runs on, if there is one.
///
/// # Errors
/// Those of reading the answer.
pub(crate) fn confirm(question: &str, input: Input) -> anyhow::Result<Answer> {
    let stdin = io::stdin();
    if !io::stderr().is_terminal() && input == Input::Data {
        return Ok(Answer::Yes);
    }
    let mut terminal: Box<dyn BufRead> = match input {
        Input::Answers if stdin.is_terminal() => Box::new(stdin.lock()),
        Input::Answers => return Ok(Answer::Yes),
        Input::Data => match File::open("/dev/tty") {
            // In the background nobody would answer, and reading would stop us.
            Ok(tty) if tcgetpgrp(&tty).is_ok_and(|group| group == rustix::process::getpgrp()) => {
                Box::new(BufReader::new(tty))
            }
            Ok(_) | Err(_) => return Ok(Answer::Yes),
        },
    };
    ask(&format!("{question} [y/N] "));
    let mut answer = String::new();
    terminal.read_line(&mut answer)?;
    Ok(match answer.trim() {
        "y" | "Y" | "yes" => Answer::Yes,
        _ => Answer::No,
    })
}

/// What standard input is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// The admin's answers.
    Answers,
    /// Names, or a file, that the verb reads.
    Data,
}

impl Input {
    /// By whether the verb reads it.
    pub(crate) const fn of(is_read: bool) -> Self {
        if is_read { Self::Data } else { Self::Answers }
    }
}
