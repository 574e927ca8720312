//! `make bench`: pam_onetime beside pam_google_authenticator and pam_oath, beside an older
//! build of its own, and beside what no such module can do without, in one run on one
//! machine. It writes BENCHMARKS.md, which says what is measured and how.
//!
//! ```text
//! make bench [PART="login growth ..."] [BEFORE=COMMIT|FILE.so|none] [QUICK=1] [LONG=1] [FRESH=1]
//! ```
//!
//! A part that was measured on a quiet machine, with the same programs, is not measured again
//! unless it is named, or all of it is to be FRESH. Exit codes: 0 measured, 3 measured, but the
//! machine was too noisy for some verdicts.
#![expect(unreachable_pub, reason = "no other crate uses a program for tests")]

mod before;
mod beside;
#[path = "../../tests/common/mod.rs"]
mod common;
mod count;
mod crowd;
mod daemon;
mod field;
mod figures;
mod footprint;
mod growth;
mod login;
mod noise;
mod plot;
mod resume;
mod ssh;
mod tool;

use std::process::{Command, ExitCode};
use std::sync::OnceLock;
use std::time::Instant;

use before::{Before, NONE, USUAL};
use common::finish;
use figures::Extent;
use noise::Spread;
use resume::Done;

/// What a part is measured with.
pub struct Setting {
    /// How much of it.
    pub extent: Extent,
    /// What is measured beside it, in the parts that are about time and have a target for it.
    pub before: Option<Before>,
}

impl Setting {
    /// What an older build is called, also where it is not measured.
    pub fn older(&self) -> String {
        let name = self.before.as_ref().map_or(USUAL, |before| &before.name);
        format!("build of {name}")
    }
}

/// Measures, and says how steady the machine was, where that matters.
type Part = fn(&Setting) -> Option<Spread>;

const PARTS: [(&str, Part); 7] = [
    ("ssh", ssh::run),
    ("login", login::run),
    ("growth", growth::run),
    ("crowd", crowd::run),
    ("footprint", footprint::run),
    ("tool", tool::run),
    ("daemon", daemon::run),
];
/// Those in which an older build is measured.
const WITH_BEFORE: [&str; 2] = ["login", "tool"];
/// That which has more accounts with LONG=1.
const WITH_MOST: &str = "tool";

const NOISY: u8 = 3;

/// What make has passed on.
#[derive(Debug)]
pub struct Options {
    extent: Extent,
    fresh: bool,
    before: Option<String>,
    parts: Vec<String>,
}

impl Options {
    fn read(words: impl Iterator<Item = String>) -> Self {
        let mut options =
            Self { extent: Extent::Full, fresh: false, before: None, parts: Vec::new() };
        for word in words {
            match &*word {
                // Cargo's own.
                "--bench" => {}
                "quick" => options.extent = Extent::Quick,
                "long" => options.extent = Extent::Long,
                "fresh" => options.fresh = true,
                part if PARTS.iter().any(|(name, _)| *name == part) => options.parts.push(word),
                other => match other.strip_prefix("before=") {
                    Some(before) => options.before = Some(before.to_owned()),
                    None => panic!("no part {other}"),
                },
            }
        }
        let named = options.before.as_deref();
        if options.extent != Extent::Quick && named.is_some_and(|it| ![USUAL, NONE].contains(&it)) {
            options.extent = Extent::Aside;
        }
        options
    }

    /// The parts to measure. What was named is measured in any case.
    fn wanted(&self, done: &Done<'_>) -> Vec<(&'static str, Part)> {
        let wanted = |name: &str| match self.parts.is_empty() {
            true => !self.extent.writes() || !done.has(name),
            false => self.parts.iter().any(|part| part == name),
        };
        PARTS.into_iter().filter(|(name, _)| wanted(name)).collect()
    }
}

fn main() -> ExitCode {
    let options = Options::read(std::env::args().skip(1));
    let extent = options.extent;
    let done = Done::new(&options);
    if options.fresh && extent.writes() {
        PARTS.iter().for_each(|(name, _)| done.remove(name));
    }
    let parts = options.wanted(&done);
    if parts.is_empty() {
        println!(
            "each part was measured with these programs on this machine: FRESH=1 measures again, PART=... a part"
        );
        return ExitCode::SUCCESS;
    }
    let with_before = parts.iter().any(|(name, _)| WITH_BEFORE.contains(name));
    let before = if with_before { Before::find(options.before.as_deref()) } else { None };
    let setting = Setting { extent, before };
    let mut noisy = Vec::new();
    for (name, part) in parts {
        progress(name);
        if extent.writes() {
            done.remove(name);
        }
        let spread = part(&setting);
        let told = spread.map_or_else(|| "–".to_owned(), |spread| spread.to_string());
        extent.publish_row("when", &[&name, &common::when_and_where(), &told]);
        if spread.is_some_and(Spread::is_noisy) {
            noisy.push(name);
        } else if extent.writes() {
            done.add(name);
        }
    }
    conditions(extent);
    progress("done");
    if noisy.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!(
        "the machine was too noisy for a verdict in: {}. Once it is quiet, the next run measures what is left.",
        noisy.join(", ")
    );
    ExitCode::from(NOISY)
}

/// On what, and with which lines in pam.d: as they were used.
fn conditions(extent: Extent) {
    let said = |program: &str, arguments: &[&str]| {
        finish(Command::new(program).args(arguments), b"").ok().trim().to_owned()
    };
    let version = |package: &str| said("dpkg-query", &["-W", "-f", "${Version}", package]);
    let lscpu = said("lscpu", &[]);
    let processor = |key: &str| {
        let value = lscpu.lines().find_map(|line| line.strip_prefix(key));
        value.unwrap_or("unknown").trim().to_owned()
    };
    let disk = ["-no", "FSTYPE,OPTIONS", "-T", env!("CARGO_TARGET_TMPDIR")];
    let lines = [
        format!("Processor: {}.", processor("Model name:")),
        format!("Virtual machine: {}.", processor("Hypervisor vendor:")),
        format!("File system: {}.", said("findmnt", &disk).replace("  ", " ")),
        format!("{}, {}.", said("rustc", &["-V"]), said("valgrind", &["--version"])),
        format!(
            "Linux-PAM {}, libpam-google-authenticator {}, libpam-oath {}, C library {}.",
            version("libpam0g"),
            version("libpam-google-authenticator"),
            version("libpam-oath"),
            version("libc6"),
        ),
    ];
    let text: String = lines.iter().map(|line| format!("- {line}\n")).collect();
    extent.publish("machine", &text);
    let line = |module: &str| format!("auth     required  {}\n", field::auth_line(module, 1));
    let auth: String = field::MODULES.iter().map(|module| line(module)).collect();
    let account = "account  required  pam_permit.so\n";
    let google = field::google_file("SECRET");
    let oath = field::oath_line("u0000000", "SECRET-IN-HEXADECIMAL");
    extent.publish(
        "conditions",
        &format!(
            "One of the first three lines, and the fourth:\n\n```\n{auth}{account}```\n\nA file of pam_google_authenticator, and a line of pam_oath's:\n\n```\n{google}\n{oath}```\n"
        ),
    );
}

/// Says what is being done, and how long it has taken up to here.
fn progress(what: &str) {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    let seconds = BEGIN.get_or_init(Instant::now).elapsed().as_secs();
    eprintln!("[{:2}:{:02}] {what}", seconds / 60, seconds % 60);
}
