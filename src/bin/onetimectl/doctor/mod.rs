//! `onetimectl doctor`: looks at the machine, and says what is wrong and how to
//! fix it. It changes nothing.
//!
//! Here the machine is read, with bounds, and sshd is asked; what was read is judged by the other
//! files, which take values and return findings.

mod ahead;
mod finding;
mod machine;
mod module;
mod password_service;
mod persons;
mod roles;
mod rules;
mod services;
mod sshd;
mod sshd_config;
mod stack;
mod store;
mod table;
mod walk;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use pam_onetime::audit::syslog_listens;
use pam_onetime::config::Config;
use pam_onetime::store::read_config;
use pam_onetime::{clock_synchronized, system};

use crate::cli::Cli;
use crate::say::Form;
use finding::{Finding, FindingId, Level};
use sshd_config::SshdConfig;

/// Where libpam looks for services, the first before the others.
const SERVICE_DIRS: [&str; 3] = ["/etc/pam.d", "/usr/lib/pam.d", "/usr/etc/pam.d"];
const SSHD_DIR: &str = "/etc/ssh";
/// Where sshd may be, the first before the others.
const SSHD_PROGRAMS: [&str; 3] = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"];
/// No configuration is nearly as large.
const MAX_TEXT_BYTES: u64 = 1024 * 1024;
/// So much of the audit log's end is read.
const AUDIT_TAIL_BYTES: u64 = 1024 * 1024;

pub(crate) fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let now = system::now().ok();
    let mut findings = Vec::new();

    let mut names = BTreeSet::new();
    for dir in SERVICE_DIRS {
        names.extend(file_names(Path::new(dir)).into_iter().filter(|n| services::is_service(n)));
    }
    let names: Vec<_> = names.into_iter().collect();
    let report = services::judge(&names, &service_text, &config_of);
    findings.extend(report.findings);

    let own = config_of(&cli.config);
    let mut password_services = report.password_services;
    if let Ok(config) = &own {
        password_services.insert(config.password.service.clone());
    }
    for service in &password_services {
        findings.extend(password_service::judge(service, &service_text));
    }
    if let Some(password) = report.sshd {
        findings.extend(sshd(password));
    }
    findings.extend(modules());
    let dir = match &own {
        Ok(config) => {
            let file = cli.config.display().to_string();
            findings.push(Finding::sound(FindingId::ConfigurationSound, file));
            let dir = PathBuf::from(&config.store.dir);
            findings.extend(store::judge(&dir, now, config));
            Some(dir)
        }
        Err(what) => {
            let remedy = "correct it: every login with a code is refused (onetime.toml(5))";
            findings.push(Finding::new(FindingId::ConfigurationRefused, what, remedy));
            None
        }
    };
    let timesyncd = Path::new("/run/systemd/timesync/synchronized").exists();
    findings.push(machine::judge_clock(machine::Clock {
        now,
        kernel: clock_synchronized(),
        timesyncd,
    }));
    findings.push(machine::judge_log(match fs::metadata("/dev/log") {
        Ok(there) if there.file_type().is_socket() => match syslog_listens() {
            Ok(()) => machine::Log::Listening,
            Err(_) => machine::Log::Silent,
        },
        Ok(_) => machine::Log::Other,
        Err(_) => machine::Log::Nothing,
    }));
    findings.extend(selinux(dir.as_deref()));

    table::print(if cli.json { Form::Json } else { Form::Text }, &findings)?;
    let failed = findings.iter().any(|finding| finding.level == Level::Fail);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn sshd(password: pam_onetime::PasswordMode) -> Vec<Finding> {
    let file = format!("{SSHD_DIR}/sshd_config");
    let text = read_text(Path::new(&file));
    let config = text.map(|text| SshdConfig::read(&file, &text, &included));
    let member = |group: &str| {
        let passwd = system::Passwd::read().ok()?;
        system::members(group, &passwd).ok()??.into_iter().next()
    };
    sshd::judge(password, config.as_ref(), &sshd::SshdMachine { ask: &ask_sshd, member: &member })
}

/// What sshd says is in force for a connection. It reads its own configuration,
/// needs its host keys and /run/sshd, and changes nothing.
fn ask_sshd(connection: &sshd::Connection) -> Result<String, sshd::Silence> {
    let program = SSHD_PROGRAMS.into_iter().find(|program| Path::new(program).is_file());
    let program = program.ok_or(sshd::Silence::NotInstalled)?;
    #[expect(clippy::disallowed_methods, reason = "the admin's tool, not a login")]
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null());
    command.args(["-T", "-C", &connection.specification()]);
    let output =
        command.output().map_err(|error| sshd::Silence::Failed(format!("{program}: {error}")))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(sshd::Silence::of(&String::from_utf8_lossy(&output.stderr)))
    }
}

/// The files that sshd includes for a pattern: name and text of each.
fn included(pattern: &str) -> Vec<(String, String)> {
    let path = Path::new(SSHD_DIR).join(pattern);
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Vec::new();
    };
    let names = file_names(dir).into_iter().filter(|there| sshd_config::fits(name, there));
    let paths = names.map(|name| dir.join(name));
    paths.filter_map(|path| Some((path.display().to_string(), read_text(&path)?))).collect()
}

/// The module, in each directory that libpam may look in.
fn modules() -> Vec<Finding> {
    let mut dirs = BTreeSet::new();
    for above in ["/usr/lib", "/lib", "/usr/lib64", "/lib64"] {
        let above = Path::new(above);
        let below = fs::read_dir(above).into_iter().flatten().flatten().map(|entry| entry.path());
        dirs.extend([above.join("security")]);
        dirs.extend(below.map(|dir| dir.join("security")));
    }
    let dirs = dirs.into_iter().filter(|dir| dir.join("pam_unix.so").exists());
    // One directory may have several names.
    let dirs: BTreeSet<_> = dirs.filter_map(|dir| dir.canonicalize().ok()).collect();
    let mut found = Vec::new();
    if dirs.is_empty() {
        found.push(module::no_libpam());
    }
    let own = header(Path::new("/proc/self/exe"));
    for dir in dirs {
        let path = dir.join("pam_onetime.so");
        let name = path.display().to_string();
        let (Ok(file), Ok(above)) = (fs::metadata(&path), fs::metadata(&dir)) else {
            found.push(module::missing(&dir.display().to_string()));
            continue;
        };
        let judged = [
            module::ModulePath { path: &name, uid: file.uid(), mode: file.mode() }.judge(),
            module::ModulePath {
                path: &dir.display().to_string(),
                uid: above.uid(),
                mode: above.mode(),
            }
            .judge(),
            module::judge_header(&name, &header(&path), &own),
        ];
        let before = found.len();
        found.extend(judged.into_iter().flatten());
        if found.len() == before {
            found.push(module::sound(&name));
        }
    }
    found
}

fn selinux(store: Option<&Path>) -> Vec<Finding> {
    let enforce = read_text(Path::new("/sys/fs/selinux/enforce"));
    let mut label = vec![0; 256];
    let length = store
        .and_then(|dir| rustix::fs::lgetxattr(dir, "security.selinux", label.as_mut_slice()).ok());
    label.truncate(length.unwrap_or(0));
    let label = String::from_utf8(label).ok();
    let audit = enforce.as_ref().and_then(|_| tail(Path::new("/var/log/audit/audit.log")));
    machine::judge_selinux(machine::Selinux {
        enforce: enforce.as_deref(),
        label: label.as_deref(),
        audit: audit.as_deref(),
    })
}

/// The configuration in `path`, or what is wrong with it.
fn config_of(path: &Path) -> Result<Config, String> {
    let text = read_config(path).map_err(|error| error.with_remedy())?;
    Config::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// The text of a service by its name, or of a file by its absolute path.
fn service_text(name: &str) -> Option<String> {
    if name.starts_with('/') {
        return read_text(Path::new(name));
    }
    SERVICE_DIRS.iter().find_map(|dir| read_text(&Path::new(dir).join(name)))
}

/// The names of the files in a directory, sorted; none if it cannot be read.
fn file_names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// The beginning of a regular file, as text.
fn read_text(path: &Path) -> Option<String> {
    // Opening a FIFO would wait for its other end.
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_TEXT_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The end of a file, as text.
fn tail(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok().filter(fs::Metadata::is_file)?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(AUDIT_TAIL_BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.take(AUDIT_TAIL_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The first bytes of a file that is loaded or run.
fn header(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let is_file = fs::metadata(path).is_ok_and(|there| there.is_file());
    if let Ok(file) = File::open(path)
        && is_file
    {
        let room = u64::try_from(module::HEADER_BYTES).unwrap_or(0);
        let read = file.take(room).read_to_end(&mut bytes);
        if read.is_err() {
            bytes.clear();
        }
    }
    bytes
}
