//! A PAM application for the tests: it says every message it is given, takes
//! its answers from standard input byte for byte, and prints libpam's results
//! as numbers. pamtester can do neither 10 kB nor bytes that are no text.
//!
//! ```text
//! pam_client SERVICE USER [flags=N] [rhost=X] [tty=X] [ruser=X] [times=N] [time=N] [watch=1] [operation ...]
//! ```
//!
//! `times` is how often, `time` what the clock says all the while (seconds after 1970).
//! With `watch`, standard error gets a line for each prompt and result: how many
//! microseconds it came after the answer before it, or the beginning.
//! Operations: authenticate (default), setcred, acct_mgmt. On standard input one
//! answer a line: `hex:` and bytes, `null` (no answer), `nothing` (success, and not
//! even a null answer), `error` (the conversation fails), `user=NAME` (PAM_USER is
//! changed, and the next line is the answer), or
//! the answer as it is. On standard output one event a line: `prompt` and
//! `prompt_echo`, `info` and `error` with a message (newlines as `\n`), then
//! `result OPERATION NUMBER`, then `descriptors BEFORE AFTER`.

#[path = "../tests/libpam/mod.rs"]
mod libpam;

use std::cell::Cell;
use std::ffi::{CStr, CString, c_int};
use std::io::{BufRead, Write};
use std::os::unix::ffi::OsStringExt;
use std::time::Instant;

use libpam::{
    Answer, ERROR_MSG, Handle, PAM_RHOST, PAM_RUSER, PAM_TTY, PAM_USER, PROMPT_ECHO_OFF,
    Transaction, User,
};

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    // Any bytes: a user's name need not be text.
    let mut next = || {
        let argument = arguments.next().expect("pam_client SERVICE USER [options]");
        CString::new(argument.into_vec()).expect("an argument has no NUL")
    };
    let (service, user) = (next(), next());
    let (mut flags, mut times, mut items, mut operations) = (0, 1, Vec::new(), Vec::new());
    for argument in arguments {
        let argument = argument.into_string().expect("an option is text");
        match argument.split_once('=') {
            Some(("flags", value)) => flags = value.parse().expect("flags are a number"),
            Some(("times", value)) => times = value.parse().expect("times is a number"),
            Some(("rhost", value)) => items.push((PAM_RHOST, c_string(value))),
            Some(("tty", value)) => items.push((PAM_TTY, c_string(value))),
            Some(("ruser", value)) => items.push((PAM_RUSER, c_string(value))),
            Some(("watch", _)) => WATCH.set(Some(Instant::now())),
            Some(("time", value)) => libpam::clock::set(value.parse().expect("time is a number")),
            _ => operations.push(argument),
        }
    }
    if operations.is_empty() {
        operations.push("authenticate".to_owned());
    }
    for _ in 0..times {
        let before = descriptors();
        transaction(&service, &user, flags, &items, &operations);
        say(&format!("descriptors {before} {}", descriptors()));
    }
}

fn transaction(
    service: &CStr,
    user: &CStr,
    flags: c_int,
    items: &[(c_int, CString)],
    operations: &[String],
) {
    answered();
    let mut transaction = Transaction::start(service, user, Script);
    for (item, value) in items {
        assert_eq!(transaction.handle().set_item(*item, value), 0, "pam_set_item");
    }
    for operation in operations {
        let status = match operation.as_str() {
            "authenticate" => transaction.authenticate(flags),
            "setcred" => transaction.credentials(flags),
            "acct_mgmt" => transaction.account(flags),
            other => panic!("unknown operation {other}"),
        };
        watch();
        say(&format!("result {operation} {status}"));
    }
}

thread_local! {
    /// When the last answer was given, if somebody wants to know.
    static WATCH: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Says how long something took, since the last answer.
fn watch() {
    if let Some(since) = WATCH.get() {
        eprintln!("{}", since.elapsed().as_micros());
    }
}

fn answered() {
    if WATCH.get().is_some() {
        WATCH.set(Some(Instant::now()));
    }
}

/// Answers come from standard input; events go to standard output.
struct Script;

impl User for Script {
    fn answer(&mut self, handle: Handle, style: c_int, prompt: &CStr) -> Answer {
        watch();
        let word = if style == PROMPT_ECHO_OFF { "prompt" } else { "prompt_echo" };
        say(&format!("{word} {}", one_line(prompt)));
        let answer = answer(handle);
        answered();
        answer
    }

    fn read(&mut self, style: c_int, text: &CStr) {
        let word = if style == ERROR_MSG { "error" } else { "info" };
        say(&format!("{word} {}", one_line(text)));
    }
}

fn one_line(text: &CStr) -> String {
    text.to_string_lossy().replace('\n', "\\n")
}

/// The next answer; none at the end of the input.
fn answer(handle: Handle) -> Answer {
    let mut line = String::new();
    if std::io::stdin().lock().read_line(&mut line).expect("standard input is text") == 0 {
        return Answer::Fail;
    }
    let line = line.trim_end_matches('\n');
    let bytes = match (line, line.split_once('=')) {
        ("null", _) => return Answer::Null,
        ("nothing", _) => return Answer::Nothing,
        ("error", _) => return Answer::Fail,
        (_, Some(("user", name))) => {
            handle.set_item(PAM_USER, &c_string(name));
            return answer(handle);
        }
        _ => match line.strip_prefix("hex:") {
            Some(digits) => (0..digits.len() / 2)
                .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("hex digits"))
                .collect(),
            None => line.as_bytes().to_vec(),
        },
    };
    Answer::Text(CString::new(bytes).expect("an answer has no NUL"))
}

fn c_string(text: &str) -> CString {
    CString::new(text).expect("an argument has no NUL")
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc is mounted").count()
}

fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).expect("somebody listens");
}
