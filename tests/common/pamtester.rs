//! The real pamtester in a world, on a terminal: each answer is typed only after a
//! prompt has appeared, as a person would. A prompt is a last line that ends in `:`,
//! `?` or `>`; pamtester's conversation function switches the echo (and drops what
//! was typed too early) before it shows the prompt, so no answer can be lost.

use regex::Regex;

use super::pty::Pty;
use super::world::World;

/// A call of pamtester in the making.
#[must_use]
pub struct Pamtester<'w> {
    world: &'w World,
    service: String,
    user: String,
    items: Vec<String>,
    operations: Vec<String>,
    /// As whom it runs: the services of others do not all run as root.
    runs_as: Option<String>,
}

/// How a call of pamtester went.
#[derive(Debug)]
pub struct PamtesterRun {
    pub success: bool,
    /// All that was on the terminal, as text.
    pub output: String,
    /// All that was on the terminal, byte by byte.
    pub transcript: Vec<u8>,
    /// The last line that pamtester itself wrote, e.g. `Authentication failure`.
    pub result: String,
    pub prompts: Vec<String>,
    /// Answers that nobody asked for.
    pub left_over: Vec<String>,
}

enum AfterLastAnswer {
    /// A further prompt fails the test.
    Nothing,
    /// A further prompt gets an end of file, as from a person who gives up.
    EndOfFile,
}

impl<'w> Pamtester<'w> {
    pub fn new(world: &'w World, service: &str, user: &str) -> Self {
        let [service, user] = [service, user].map(str::to_owned);
        let (items, operations) = (Vec::new(), Vec::new());
        Self { world, service, user, items, operations, runs_as: None }
    }

    /// Runs as this user of the world, as a screen locker does.
    pub fn run_by(mut self, user: &str) -> Self {
        self.runs_as = Some(user.to_owned());
        self
    }

    /// Sets a PAM item, such as `rhost=192.0.2.7`, `tty=pts/3` or `ruser=bob`.
    pub fn item(mut self, item: &str) -> Self {
        self.items.push(item.to_owned());
        self
    }

    /// Adds an operation, such as `acct_mgmt` or `authenticate(PAM_SILENT)`; without
    /// any, pamtester authenticates.
    pub fn operation(mut self, operation: &str) -> Self {
        self.operations.push(operation.to_owned());
        self
    }

    /// Answers the prompts in turn, whatever they say.
    #[track_caller]
    pub fn answers(self, answers: &[&str]) -> PamtesterRun {
        let script: Vec<_> = answers.iter().map(|answer| (None, *answer)).collect();
        self.converse(&script, AfterLastAnswer::EndOfFile)
    }

    /// Answers exactly these prompts; another prompt, one prompt more or an answer
    /// left over fails the test. Of a prompt the last line counts, trailing blanks do not.
    #[track_caller]
    pub fn script(self, script: &[(&str, &str)]) -> PamtesterRun {
        let script: Vec<_> =
            script.iter().map(|(prompt, answer)| (Some(*prompt), *answer)).collect();
        let run = self.converse(&script, AfterLastAnswer::Nothing);
        assert!(run.left_over.is_empty(), "nobody asked for {:?}:\n{}", run.left_over, run.output);
        run
    }

    #[track_caller]
    fn converse(
        mut self,
        script: &[(Option<&str>, &str)],
        after_last: AfterLastAnswer,
    ) -> PamtesterRun {
        if self.operations.is_empty() {
            self.operations.push("authenticate".to_owned());
        }
        let mut command = match &self.runs_as {
            Some(user) => self.world.command_as(user, "pamtester"),
            None => self.world.command("pamtester"),
        };
        command.args(self.items.iter().map(|item| format!("-I{item}")));
        command.args([&self.service, &self.user]).args(&self.operations);
        let mut pty = Pty::spawn(&command);

        let any_prompt = Regex::new(r"[^\n]*[:?>] ?\z").expect("a valid pattern");
        let mut script = script.iter();
        let mut prompts = Vec::new();
        while let Some(shown) = pty.expect_or_end(any_prompt.clone()) {
            let prompt = shown.lines().last().unwrap_or_default().trim().to_owned();
            match (script.next(), &after_last) {
                (Some((Some(expected), _)), _) if expected.trim() != prompt => {
                    panic!("prompt {expected:?} expected, {prompt:?} seen:\n{}", pty.text())
                }
                (Some((_, answer)), _) => pty.send_line(answer),
                (None, AfterLastAnswer::EndOfFile) => pty.send(b"\x04"),
                (None, AfterLastAnswer::Nothing) => {
                    panic!("prompt {prompt:?}, but no answer is left:\n{}", pty.text())
                }
            }
            prompts.push(prompt);
        }
        let success = pty.wait().success();
        let output = pty.text();
        let mut own = output.lines().filter_map(|line| line.strip_prefix("pamtester: "));
        PamtesterRun {
            success,
            result: own.next_back().unwrap_or_default().to_owned(),
            transcript: pty.transcript(),
            output,
            prompts,
            left_over: script.map(|(_, answer)| (*answer).to_owned()).collect(),
        }
    }
}
