//! The story of README, played for real and asserted step by step: a real
//! sshd and a real ssh client, Linux-PAM, the module, the tool, and oathtool for the
//! phone, in a world of their own. `cargo test` runs it silently; `make demo` has it
//! told (`--tell`); `make demo-interactive` lets the reader play (`--interactive`).

mod common;

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Instant;

use common::{ALICE_PASSWORD, Finished, Sshd, World, current_code, decode_qr, installed, secret};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    if has("--interactive") {
        return play();
    }
    let start = Instant::now();
    let steps = tell(if has("--tell") { Voice::Loud } else { Voice::Silent });
    println!("test the_story_of_the_readme ... ok ({steps} steps, {:.1?})", start.elapsed());
    ExitCode::SUCCESS
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Voice {
    Silent,
    Loud,
}

/// What happened to whoever logged in.
#[derive(Debug, PartialEq, Eq)]
enum End {
    In,
    Refused,
}

struct Stage<'w> {
    world: &'w World,
    sshd: Sshd<'w>,
    voice: Voice,
    steps: u32,
}

/// A login as the terminal showed it.
struct Scene {
    transcript: Vec<u8>,
    text: String,
    end: End,
}

impl Stage<'_> {
    fn step(&mut self, text: &str) {
        self.steps += 1;
        if self.voice == Voice::Loud {
            let bold = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let (on, off) = if bold { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
            println!("\n{on}{}. {text}{off}", self.steps);
        }
    }

    fn show(&self, text: &str) {
        if self.voice == Voice::Loud {
            for line in text.lines().filter(|line| !line.is_empty()) {
                println!("    {line}");
            }
        }
    }

    fn onetimectl(&self, arguments: &[&str]) -> String {
        self.show(&format!("# onetimectl {}", arguments.join(" ")));
        let finished: Finished = self.world.onetimectl(arguments);
        let text = finished.text();
        self.show(&text);
        finished.ok();
        text
    }

    /// Logs alice in by ssh: her password, then `code` if she is asked for one.
    fn ssh(&self, code: Option<&str>) -> Scene {
        self.show("$ ssh alice@host");
        let mut ssh = self.sshd.ssh("alice", &["echo", "Welcome, $(id -un)."]);
        ssh.expect("Password: ");
        ssh.send_line(ALICE_PASSWORD);
        if let Some(code) = code {
            ssh.expect(regex::Regex::new("One-time code[^\n]*: $").expect("a valid pattern"));
            ssh.send_line(code);
        }
        let end = if ssh.wait().success() { End::In } else { End::Refused };
        let text = ssh.text();
        assert_eq!(end == End::In, text.contains("Welcome, alice."), "{text}");
        // Not what ssh says of the host's key at each first connection.
        let seen: Vec<_> = text.lines().filter(|line| !line.starts_with("Warning: ")).collect();
        self.show(&seen.join("\n"));
        if let Some(code) = code {
            let typed = if code.is_empty() { "Enter" } else { code };
            self.show(&format!("(alice typed her password, then {typed})"));
        } else {
            self.show("(alice typed her password, and was asked for nothing else)");
        }
        Scene { transcript: ssh.transcript(), text, end }
    }
}

/// The story; returns how many steps it had.
fn tell(voice: Voice) -> u32 {
    let world = installed();
    // Before the first code, so that steps are counted from a fresh one.
    let sshd = Sshd::start(&world, "");
    let mut stage = Stage { world: &world, sshd, voice, steps: 0 };

    stage.step("Nothing is switched on: the password is enough.");
    assert!(stage.onetimectl(&["status", "alice"]).contains("alice  no   -"));
    assert_eq!(stage.ssh(None).end, End::In);

    stage.step("The admin switches alice on.");
    assert!(stage.onetimectl(&["enable", "alice"]).contains("enabled"));
    let issued = secret(&world, "alice");

    stage.step("At her next login the QR code and the key appear. She has no app yet: Enter.");
    let scene = stage.ssh(Some(""));
    assert_eq!(scene.end, End::In);
    let uri = decode_qr(&scene.transcript, 80, 80);
    assert!(uri.contains(&issued), "{uri}");

    stage.step("The next time they appear again. She scans the code and types what her app shows.");
    let first = current_code(&issued, -1);
    let scene = stage.ssh(Some(&first));
    assert_eq!(scene.end, End::In);
    assert_eq!(decode_qr(&scene.transcript, 80, 80), uri, "the same code as before");
    assert!(scene.text.contains("One-time codes are on now"), "{}", scene.text);
    assert!(stage.onetimectl(&["status", "alice"]).contains("alice  yes  yes"));

    stage.step("From now on the password alone is refused. No QR code any more.");
    let scene = stage.ssh(Some(""));
    assert_eq!(scene.end, End::Refused);
    assert!(!scene.text.contains('█') && !scene.text.contains("Key"), "{}", scene.text);

    stage.step("The code that she has used is refused.");
    assert_eq!(stage.ssh(Some(&first)).end, End::Refused);

    stage.step("The next code lets her in.");
    assert_eq!(stage.ssh(Some(&current_code(&issued, 0))).end, End::In);

    stage.step("Her phone is lost. The admin switches her off: the password is enough.");
    assert!(stage.onetimectl(&["disable", "alice", "--yes"]).contains("disabled"));
    assert_eq!(stage.ssh(None).end, End::In);

    stage.step("Switched on again, she gets a different secret and enrolls again.");
    assert!(stage.onetimectl(&["enable", "alice"]).contains("enabled"));
    let scene = stage.ssh(Some(""));
    assert_eq!(scene.end, End::In);
    let new_uri = decode_qr(&scene.transcript, 80, 80);
    assert!(new_uri != uri && new_uri.contains(&secret(&world, "alice")), "{new_uri}");

    stage.step("What the log says (syslog, authpriv).");
    let log: Vec<String> = world
        .syslog()
        .into_iter()
        .filter(|line| line.tag == "pam_onetime")
        .map(|line| line.text)
        .collect();
    stage.show(&log.join("\n"));
    assert!(log.iter().any(|line| line.contains("reason=\"code already used\"")), "{log:?}");
    assert!(!log.join(" ").contains(&issued) && !log.join(" ").contains(&first), "{log:?}");
    stage.steps
}

/// The reader plays alice and the admin, with their own phone.
fn play() -> ExitCode {
    if !std::io::stdin().is_terminal() {
        eprintln!("make demo-interactive needs a terminal; make demo plays the story by itself");
        return ExitCode::from(2);
    }
    let world = installed();
    println!(
        "A machine of its own, with a user alice, password {ALICE_PASSWORD}. Nothing of yours is \
         changed.\nBegin with 2, then log in with 1, scan the QR code and type the code; then log \
         in again."
    );
    loop {
        print!(
            "\n1 log in as alice   2 enable alice   3 status   4 disable alice   5 log   q quit > "
        );
        std::io::stdout().flush().expect("the terminal is there");
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line).expect("the terminal is there") == 0 {
            return ExitCode::SUCCESS;
        }
        let mut command = match line.trim() {
            // bob, who needs alice's password to become alice.
            "1" => {
                let mut command = world.command_as("bob", "su");
                command.args(["alice", "-c", "echo You are in, $(id -un)."]);
                command
            }
            "2" => tool(&world, &["enable", "alice", "--no-qr"]),
            "3" => tool(&world, &["status", "alice"]),
            "4" => tool(&world, &["disable", "alice"]),
            "5" => {
                let lines = world.syslog().into_iter().filter(|line| line.tag == "pam_onetime");
                lines.for_each(|line| println!("{}", line.text));
                continue;
            }
            "q" => return ExitCode::SUCCESS,
            _ => continue,
        };
        let status = command.status().expect("the world is there");
        if !status.success() {
            println!("(refused)");
        }
    }
}

fn tool(world: &World, arguments: &[&str]) -> std::process::Command {
    let mut command = world.command("onetimectl");
    command.args(arguments);
    command
}
