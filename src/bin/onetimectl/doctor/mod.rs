//! `onetimectl doctor`: looks at the machine, and says what is wrong and how to
//! fix it. It changes nothing.
//!
//! `looking` reads the machine and asks sshd; what was read is judged by the other files,
//! which take values and return findings.

mod account_line;
mod ahead;
pub(crate) mod config;
mod config_keys;
mod finding;
mod known_services;
mod libpam;
mod looking;
mod machine;
mod module;
mod onetimed;
mod open_services;
mod password_service;
mod persons;
mod policy;
mod profile;
mod programs;
mod roles;
mod rules;
mod search;
mod second_ways;
mod services;
mod show_at;
mod sshd;
mod sshd_config;
mod stack;
mod store;
pub(crate) mod switch;
mod table;
mod units;
mod walk;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pam_onetime::audit::syslog_listens;
use pam_onetime::config::Config;
use pam_onetime::store::read_config;
use pam_onetime::{clock_synchronized, system};

use crate::cli::Cli;
use crate::say::{self, Form};
use finding::{Finding, FindingId, Level};
use looking::{header, read_text, service_text};
use sshd_config::SshdConfig;

pub(crate) fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let now = system::now().ok();
    let own = config_of(&cli.config);
    let Logins { mut findings, module_files, users } = logins(own.as_ref().ok());
    findings.extend(modules(module_files));
    let usable = own.as_ref().ok().map(|config| (cli.config.as_path(), config));
    let policies = policy::judge(usable, &service_names(), &service_text, &config_of, &|group| {
        system::find_group(group).err()
    });
    let dir = match &own {
        Ok(config) => {
            let file = cli.config.display().to_string();
            findings.push(Finding::sound(FindingId::ConfigurationSound, file));
            let dir = PathBuf::from(&config.store.dir);
            findings.extend(store::judge(&dir, now, config));
            findings.extend(shown(config, &dir, &users));
            findings.extend(policy::judge_drawing(config));
            let host = system::host_name().ok();
            findings.extend(policy::judge_issuer(config, host.as_deref()));
            findings.extend(onetimed::judge(
                &config.daemon,
                &|name| Ok(system::Person::find(name)?.map(|person| person.uid)),
                &|name| service_text(name).is_some(),
            ));
            Some(dir)
        }
        Err(what) => {
            let remedy = "correct it: every login with a code is refused (onetime.toml(5))";
            findings.push(Finding::new(FindingId::ConfigurationRefused, what, remedy));
            None
        }
    };
    findings.extend(policies);
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
    Ok(exit_code(&findings))
}

/// Whether anything is a failure.
fn exit_code(findings: &[Finding]) -> ExitCode {
    let failed = findings.iter().any(|finding| finding.level == Level::Fail);
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Says so where no service lists the module: a secret that is issued now asks nobody for
/// a code. Only the lines themselves are looked at; [`run`] follows them.
pub(crate) fn warn_where_unused() {
    let lists = |name: &String| service_text(name).is_some_and(|text| services::is_meant(&text));
    if !looking::service_names().iter().any(lists) {
        say::warn_with(
            "warning: no service uses pam_onetime.so, so no login asks for a code yet",
            "list it in /etc/pam.d: see README.md, \"Set up\"; onetimectl doctor looks closer",
        );
    }
}

/// What is said of secrets that are shown at logins, and of pending users who see none.
fn shown(config: &Config, store: &Path, users: &BTreeSet<String>) -> Vec<Finding> {
    let mut found = show_at::judge(config, &service_names());
    // The store is looked through only where it matters.
    if !users.is_empty()
        && !show_at::is_shown_by_any(users, &service_text, &config_of)
        && looking::has_pending(store)
    {
        found.push(show_at::nothing_shown());
    }
    found
}

/// What is found of the services of libpam and of the programs that use them.
struct Logins {
    findings: Vec<Finding>,
    /// The files that services name as the module by an absolute path.
    module_files: BTreeSet<String>,
    /// The services that use the module.
    users: BTreeSet<String>,
}

/// The services of libpam, and sshd, other programs and the units that use them.
fn logins(config: Option<&Config>) -> Logins {
    // Of a configuration that cannot be used, the usual store is looked at.
    let store =
        config.map_or_else(|| Config::default().store.dir, |config| config.store.dir.clone());
    let store = PathBuf::from(store);
    let accounts = looking::accounts(&store);
    let units = looking::units();
    let mut sshd_units = units.iter().filter(|unit| unit.is_of_sshd());
    let other_file = sshd_units.find_map(|unit| unit.sshd_file(&service_text));
    let file = other_file.clone().unwrap_or_else(|| format!("{}/sshd_config", looking::SSHD_DIR));
    let text = read_text(Path::new(&file));
    let sshd_config = text.map(|text| SshdConfig::read(&file, &text, &looking::included));
    let member = |group: &str| {
        let passwd = system::Passwd::read().ok()?;
        system::members(group, &passwd).ok()??.into_iter().next()
    };
    let ask = |connection: &sshd::Connection| looking::ask_sshd(other_file.as_deref(), connection);
    let machine = sshd::SshdMachine { ask: &ask, member: &member };
    let in_force = sshd::InForce::find(&file, sshd_config.as_ref(), &machine);

    let names = service_names();
    let socket = looking::socket();
    let report = services::judge(
        &names,
        &services::ServicesMachine {
            files: &service_text,
            configs: &config_of,
            path: &looking::service_path,
            is_program: &looking::is_program,
            has_module: &looking::has_module,
            has_members: &looking::has_members,
            accounts,
            of_sshd: in_force.services(),
            has_sshd: in_force.is_installed(),
            password_service: config.map(|config| config.password.service.clone()),
            socket,
        },
    );
    let mut findings = report.findings;
    findings.extend(profile::judge(&names, &looking::profile_names(), &service_text, socket));
    findings.extend(account_line::judge(&report.users, &service_text, &config_of));
    for service in &report.password_services {
        findings.extend(report.shared.get(service).map(|name| password_service::shared(name)));
        findings.extend(password_service::judge(service, &service_text));
    }
    findings.extend(sshd::judge(&in_force, &report.sshd, accounts));
    findings.extend(others(&units, &report.users, &store));
    let mut of_units = report.users.clone();
    if socket == onetimed::Socket::Listening {
        findings.extend(looking::socket_findings());
        // It is one of those who write, by its program's name.
        of_units.insert("onetimed".to_owned());
    }
    findings.extend(units::judge(&units, &of_units, &in_force.services(), &store));
    Logins { findings, module_files: report.module_files, users: report.users }
}

/// The ways in past PAM that other programs have, and past a code.
fn others(units: &[units::Unit], users: &BTreeSet<String>, store: &Path) -> Vec<Finding> {
    let files = second_ways::ProgramFiles {
        read: &looking::read_whole,
        matching: &looking::matching,
        is_program: &looking::is_program,
        units,
    };
    let mut found = second_ways::judge(users, &files);
    let polkit = stack::Service::read("polkit-1", &service_text);
    let in_force = polkit.and_then(|service| services::first_configured(&service, &config_of));
    if let Some((_, config)) = in_force {
        let shadow = read_text(Path::new("/etc/shadow")).unwrap_or_default();
        let people = second_ways::Administrators {
            members: &looking::members,
            needs_code: &|user| looking::needs_code(user, store, &config),
            has_password: &|user| !looking::is_locked(user, &shadow),
        };
        found.extend(second_ways::judge_administrators(users, &files, &people));
    }
    found
}

/// The services that libpam knows.
fn service_names() -> Vec<String> {
    looking::service_names().into_iter().filter(|name| services::is_service(name)).collect()
}

/// The module, in each directory that libpam may look in, and these other files of it.
fn modules(others: BTreeSet<String>) -> Vec<Finding> {
    let dirs = looking::module_dirs();
    let mut found = Vec::new();
    if dirs.is_empty() {
        found.push(module::no_libpam());
    }
    let mut files = BTreeSet::new();
    for dir in dirs {
        let path = dir.join("pam_onetime.so");
        match judge_module(&path, &dir) {
            Some(judged) => found.extend(judged),
            None => found.push(module::missing(&dir.display().to_string())),
        }
        files.insert(path);
    }
    for path in others.into_iter().map(PathBuf::from) {
        let path = path.canonicalize().unwrap_or(path);
        if let Some(dir) = path.parent().filter(|_| !files.contains(&path)) {
            found.extend(judge_module(&path, dir).into_iter().flatten());
        }
    }
    found
}

/// What is to be said of a file of the module; `None` if it is not there.
fn judge_module(path: &Path, dir: &Path) -> Option<Vec<Finding>> {
    let (file, above) = (fs::metadata(path).ok()?, fs::metadata(dir).ok()?);
    let (name, dir) = (path.display().to_string(), dir.display().to_string());
    let judged = [
        module::ModulePath { path: &name, uid: file.uid(), mode: file.mode() }.judge(),
        module::ModulePath { path: &dir, uid: above.uid(), mode: above.mode() }.judge(),
        module::judge_header(&name, &header(path), &header(Path::new("/proc/self/exe"))),
    ];
    let found: Vec<_> = judged.into_iter().flatten().collect();
    Some(if found.is_empty() { vec![module::sound(&name)] } else { found })
}

fn selinux(store: Option<&Path>) -> Vec<Finding> {
    let enforce = read_text(Path::new("/sys/fs/selinux/enforce"));
    let mut label = vec![0; 256];
    let length = store
        .and_then(|dir| rustix::fs::lgetxattr(dir, "security.selinux", label.as_mut_slice()).ok());
    label.truncate(length.unwrap_or(0));
    let label = String::from_utf8(label).ok();
    let audit =
        enforce.as_ref().and_then(|_| looking::audit_tail(Path::new("/var/log/audit/audit.log")));
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
