//! `examples/pam_client.rs` in a world: a PAM application that prints each
//! message, each result by number, and takes any bytes for an answer.

use std::fmt::Write as _;
use std::process::Command;

use super::process::{Finished, finish};
use super::world::World;

// libpam's results, as a `ClientRun` has them (`_pam_types.h`).
pub const SUCCESS: i32 = 0;
pub const SERVICE_ERR: i32 = 3;
pub const PERM_DENIED: i32 = 6;
pub const AUTH_ERR: i32 = 7;
pub const AUTHINFO_UNAVAIL: i32 = 9;
pub const MAXTRIES: i32 = 11;
pub const MODULE_UNKNOWN: i32 = 28;

/// What the application was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Prompt(String),
    PromptEcho(String),
    Info(String),
    Error(String),
    Result(String, i32),
}

/// What the user answers, in turn.
#[derive(Debug, Default)]
pub struct Answers(String);

impl Answers {
    pub fn new(lines: &[&str]) -> Self {
        Self(lines.iter().flat_map(|line| [line, "\n"]).collect())
    }

    /// Any bytes but NUL.
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.push_str("hex:");
        for byte in bytes {
            write!(self.0, "{byte:02x}").expect("a string takes it");
        }
        self.0.push('\n');
        self
    }

    pub fn line(mut self, line: &str) -> Self {
        self.0.push_str(line);
        self.0.push('\n');
        self
    }
}

/// A call in the making.
pub struct Client<'w> {
    world: &'w World,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl<'w> Client<'w> {
    pub fn new(world: &'w World, service: &str, user: &str) -> Self {
        let arguments = [service, user].map(str::to_owned).to_vec();
        Self { world, arguments, environment: Vec::new() }
    }

    /// `flags=N`, `rhost=X`, `tty=X`, `ruser=X`, `times=N`, or an operation.
    pub fn option(mut self, option: &str) -> Self {
        self.arguments.push(option.to_owned());
        self
    }

    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The command, for who wants to drive it.
    pub fn command(&self) -> Command {
        let mut command = example(self.world, "pam_client");
        command.args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    #[track_caller]
    pub fn run(&self, answers: &Answers) -> ClientRun {
        let finished = finish(&mut self.command(), answers.0.as_bytes());
        ClientRun::read(finished)
    }
}

/// A program of `examples/`, in the world.
#[track_caller]
pub fn example(world: &World, name: &str) -> Command {
    world.command(&world.program(&super::example_path(name)))
}

/// How a call went.
#[derive(Debug)]
pub struct ClientRun {
    pub events: Vec<Event>,
    /// Open descriptors before and after each transaction.
    pub descriptors: Vec<(usize, usize)>,
    pub stderr: String,
}

impl ClientRun {
    #[track_caller]
    pub fn read(finished: Finished) -> Self {
        let mut run =
            Self { events: Vec::new(), descriptors: Vec::new(), stderr: finished.stderr.clone() };
        for line in finished.stdout.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let text = rest.to_owned();
            run.events.push(match word {
                "prompt" => Event::Prompt(text),
                "prompt_echo" => Event::PromptEcho(text),
                "info" => Event::Info(text),
                "error" => Event::Error(text),
                "result" => {
                    let (operation, number) = rest.split_once(' ').expect("operation and number");
                    Event::Result(operation.to_owned(), number.parse().expect("a number"))
                }
                "descriptors" => {
                    let (before, after) = rest.split_once(' ').expect("two numbers");
                    let numbers = [before, after].map(|n| n.parse().expect("a number"));
                    run.descriptors.push((numbers[0], numbers[1]));
                    continue;
                }
                other => panic!("pam_client said {other:?}: {}", finished.text()),
            });
        }
        run
    }

    /// The result of the first operation.
    #[track_caller]
    pub fn result(&self) -> i32 {
        let results = self.events.iter().filter_map(|event| match event {
            Event::Result(_, number) => Some(*number),
            _ => None,
        });
        results.into_iter().next().unwrap_or_else(|| panic!("no result: {self:?}"))
    }

    /// Everything but the results.
    pub fn dialogue(&self) -> Vec<&Event> {
        self.events.iter().filter(|event| !matches!(event, Event::Result(..))).collect()
    }
}
