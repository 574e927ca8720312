//! `onetimectl doctor`: reads the machine as an experienced admin would, and says
//! what is wrong and how to mend it. It changes nothing.
//!
//! Each check is a function of texts and values; this file reads them.

mod machine;
mod sshd;
mod stacks;
mod store;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use comfy_table::{Table, presets};
use pam_onetime::config::Config;
use pam_onetime::store::read_config;
use serde::Serialize;

use crate::cli::Cli;
use crate::report;

/// Where PAM's service files are, the one that wins first.
const PAM_DIRS: [&str; 2] = ["/etc/pam.d", "/usr/lib/pam.d"];

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Ok,
    Warn,
    Fail,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    check: String,
    result: Outcome,
    what: String,
    /// What to do; nothing where it is well.
    remedy: Option<String>,
}

impl Finding {
    fn ok(check: &str, what: impl Into<String>) -> Self {
        Self { check: check.to_owned(), result: Outcome::Ok, what: what.into(), remedy: None }
    }

    fn warn(check: &str, what: impl Into<String>, remedy: &str) -> Self {
        let remedy = Some(remedy.to_owned());
        Self { check: check.to_owned(), result: Outcome::Warn, what: what.into(), remedy }
    }

    fn fail(check: &str, what: impl Into<String>, remedy: &str) -> Self {
        let remedy = Some(remedy.to_owned());
        Self { check: check.to_owned(), result: Outcome::Fail, what: what.into(), remedy }
    }
}

pub(crate) fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let (config, mut findings) = configuration(&cli.config);
    let services = pam_services();
    let password_service = config.as_ref().map(|config| config.password.service.as_str());
    findings.extend(stacks::check(&services, password_service.unwrap_or("onetime-password")));
    if let Some(modes) = stacks::modes_of(&services, "sshd") {
        findings.extend(sshd::check(&sshd_config(), &modes));
    }
    findings.extend(machine::check());
    if let Some(config) = &config {
        findings.extend(store::check(config));
    }
    if cli.json {
        report::say(&serde_json::to_string_pretty(&findings)?);
    } else {
        report::say(&table(&findings));
    }
    let failed = findings.iter().any(|finding| finding.result == Outcome::Fail);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn configuration(path: &Path) -> (Option<Config>, Vec<Finding>) {
    let remedy = "every login is refused until it is mended; see onetime.toml(5)";
    let parsed = read_config(path)
        .map_err(|error| error.to_string())
        .and_then(|text| Config::parse(&text).map_err(|e| format!("{}: {e}", path.display())));
    match parsed {
        Ok(config) => {
            let finding = Finding::ok("configuration", format!("{} is valid", path.display()));
            (Some(config), vec![finding])
        }
        Err(what) => (None, vec![Finding::fail("configuration", what, remedy)]),
    }
}

/// The text of each service file, by its name.
fn pam_services() -> BTreeMap<String, String> {
    let mut services = BTreeMap::new();
    for dir in PAM_DIRS.into_iter().rev() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // Read as far as any such file reaches.
            let text = fs::read(entry.path()).unwrap_or_default();
            if entry.path().is_file() && text.len() < 1 << 20 {
                services.insert(name, String::from_utf8_lossy(&text).into_owned());
            }
        }
    }
    services
}

/// sshd's configuration with what it includes, as lines.
fn sshd_config() -> Option<String> {
    let main = fs::read_to_string("/etc/ssh/sshd_config").ok()?;
    let mut whole = String::new();
    for line in main.lines() {
        match sshd::included(line) {
            // A pattern's directory and its ending are all that is used in practice.
            Some(pattern) => sshd_includes(&pattern, &mut whole),
            None => {
                whole.push_str(line);
                whole.push('\n');
            }
        }
    }
    Some(whole)
}

fn sshd_includes(pattern: &str, whole: &mut String) {
    let pattern =
        if pattern.starts_with('/') { pattern.to_owned() } else { format!("/etc/ssh/{pattern}") };
    let (dir, name) = pattern.rsplit_once('/').unwrap_or(("/etc/ssh", &pattern));
    let mut files: Vec<_> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            match name.split_once('*') {
                Some((start, end)) => file.starts_with(start) && file.ends_with(end),
                None => file == name,
            }
        })
        .collect();
    files.sort();
    for file in files {
        whole.push_str(&fs::read_to_string(file).unwrap_or_default());
        whole.push('\n');
    }
}

fn table(findings: &[Finding]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["RESULT", "CHECK", "WHAT"]);
    for Finding { check, result, what, remedy } in findings {
        let word = match result {
            Outcome::Ok => "ok",
            Outcome::Warn => "warn",
            Outcome::Fail => "FAIL",
        };
        let what = match remedy {
            Some(remedy) => format!("{what}\n  -> {remedy}"),
            None => what.clone(),
        };
        table.add_row([word, check, &what]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}
