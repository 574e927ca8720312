//! `make bench`: pam_onetime beside pam_google_authenticator and pam_oath, and beside
//! what no such module can do without, in one run on one machine. It writes
//! BENCHMARKS.md, which says what is measured and how.
//!
//! ```text
//! make bench [PART="login growth ..."] [QUICK=1]
//! make bench AGAINST=/path/to/another/pam_onetime.so [QUICK=1]
//! ```
#![expect(unreachable_pub, reason = "no other crate uses a program for tests")]

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
mod plot;
mod tool;
mod versions;

use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use common::finish;
use figures::Extent;

type Part = fn(Extent);

const PARTS: [(&str, Part); 6] = [
    ("login", login::run),
    ("growth", growth::run),
    ("crowd", crowd::run),
    ("footprint", footprint::run),
    ("tool", tool::run),
    ("daemon", daemon::run),
];

fn main() {
    // Cargo adds an option of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let (quick, named): (Vec<&String>, Vec<&String>) =
        words.iter().partition(|word| *word == "quick");
    let extent = if quick.is_empty() { Extent::Full } else { Extent::Quick };
    if let Some(before) = named.iter().find_map(|name| name.strip_prefix("against=")) {
        return versions::run(extent, std::path::Path::new(before));
    }
    for name in &named {
        assert!(PARTS.iter().any(|(part, _)| part == name), "no part {name}");
    }
    for (name, part) in PARTS {
        if named.is_empty() || named.iter().any(|wanted| *wanted == name) {
            progress(name);
            part(extent);
            extent.publish_row("when", &[&name, &common::when_and_where()]);
        }
    }
    conditions(extent);
    progress("done");
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
