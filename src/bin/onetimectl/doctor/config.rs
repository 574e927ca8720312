//! `onetimectl config`: what is in force for each service that uses the module, and where
//! each value comes from; and what is wrong with a configuration, also of one that is not
//! in its place yet.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use pam_onetime::Overrides;
use pam_onetime::bytes_as_text::Readable;
use pam_onetime::store::read_config;
use pam_onetime::system::host_name;
use serde::Serialize;

use super::config_keys::{self, Fault, Key};
use super::roles::{Role, role};
use super::services::configured;
use super::stack::{ModuleType, Service, StackLine};
use super::{config_of, looking, service_names, service_text};
use crate::cli::{Cli, ConfigVerb};
use crate::error::without_numbers;
use crate::say::report::{VERSION, Versioned};
use crate::say::{self, Colour, Form};

/// No configuration is nearly as large.
const MAX_BYTES: u64 = 1024 * 1024;

pub(crate) fn run(cli: &Cli, verb: &ConfigVerb) -> anyhow::Result<ExitCode> {
    let form = if cli.json { Form::Json } else { Form::Text };
    match verb {
        ConfigVerb::Show => show(&cli.config, form),
        ConfigVerb::Check { file } => check(file.as_deref().unwrap_or(&cli.config), form),
    }
}

/// Everything that is wrong with the file, whoever owns it.
fn check(path: &Path, form: Form) -> anyhow::Result<ExitCode> {
    let file = path.display().to_string();
    let mut bytes = Vec::new();
    let opened = File::open(path).with_context(|| format!("cannot open {file}"))?;
    let mut start = opened.take(MAX_BYTES.saturating_add(1));
    start.read_to_end(&mut bytes).with_context(|| format!("cannot read {file}"))?;
    ensure!(start.limit() > 0, "{file}: larger than {MAX_BYTES} bytes");
    let faults = match String::from_utf8(bytes) {
        Ok(text) => config_keys::faults(&text),
        Err(error) => {
            let before = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
            let line = before.filter(|byte| **byte == b'\n').count().saturating_add(1);
            vec![Fault { line, what: "is not UTF-8".to_owned() }]
        }
    };
    match form {
        Form::Json => say::json(&faults.iter().map(Versioned::of).collect::<Vec<_>>())?,
        Form::Text if faults.is_empty() => say::line(&format!("{}: sound", Readable(&file)))?,
        Form::Text => {
            for Fault { line, what } in &faults {
                say::line(&format!("{}:{line}: {}", Readable(&file), Readable(what)))?;
            }
        }
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "from", rename_all = "snake_case")]
enum Source {
    Default,
    /// `onetime.toml`
    File {
        file: String,
        line: usize,
    },
    /// Of the line in pam.d.
    Argument,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Value {
    key: String,
    /// As TOML.
    value: String,
    source: Source,
}

/// As JSON the value is one.
#[derive(Serialize)]
struct JsonValue<'a> {
    key: &'a str,
    value: serde_json::Value,
    #[serde(flatten)]
    source: &'a Source,
}

/// What one line with the module has in force.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Policy {
    /// File and line in pam.d; `None`: no service uses the module.
    line: Option<String>,
    config: String,
    values: Result<Vec<Value>, String>,
}

#[derive(Serialize)]
struct JsonPolicy<'a> {
    version: u8,
    services: &'a [String],
    line: Option<&'a str>,
    config: &'a str,
    values: Option<Vec<JsonValue<'a>>>,
    error: Option<&'a str>,
}

/// Prints what is in force for each service; those that share a line are named together.
fn show(own: &Path, form: Form) -> anyhow::Result<ExitCode> {
    let mut policies = BTreeMap::<Policy, Vec<String>>::new();
    for name in service_names() {
        let Some(service) = Service::read(&name, &service_text) else { continue };
        for entry in service.stack(ModuleType::Auth) {
            if role(entry) == Role::Code {
                policies.entry(policy_of(entry)).or_default().push(name.clone());
            }
        }
    }
    if policies.is_empty() {
        policies.insert(policy_of_file(own), Vec::new());
    }
    let failed = policies.keys().any(|policy| policy.values.is_err());
    match form {
        Form::Json => say::json(&policies.iter().map(JsonPolicy::of).collect::<Vec<_>>())?,
        Form::Text => {
            for (nth, (policy, services)) in policies.iter().enumerate() {
                if nth > 0 {
                    say::line("")?;
                }
                print(policy, services)?;
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn policy_of(entry: &StackLine) -> Policy {
    let place = &entry.place;
    let line = format!("{}:{}", looking::service_path(&place.file), place.line);
    let (config, values) = match configured(entry, &config_of) {
        Ok((arguments, _)) => {
            let config = arguments.config.display().to_string();
            let values = read_config(&arguments.config).map_err(|error| error.with_remedy());
            let values = values.map(|text| values_of(&config, &text, &entry.arguments));
            (config, values)
        }
        Err(what) => (String::new(), Err(what)),
    };
    Policy { line: Some(line), config, values: values.map_err(|what| without_numbers(&what)) }
}

fn policy_of_file(path: &Path) -> Policy {
    let config = path.display().to_string();
    let text = config_of(path).and_then(|_| read_config(path).map_err(|it| it.with_remedy()));
    let values = text.map(|text| values_of(&config, &text, &[]));
    Policy { line: None, config, values: values.map_err(|what| without_numbers(&what)) }
}

/// Each key's value: of the line's arguments, else of the file, else the default. What is
/// read here has been read by the reader of logins before.
fn values_of(file: &str, text: &str, arguments: &[String]) -> Vec<Value> {
    let (of_file, _) = config_keys::keys(text);
    let of_key = |default: Key| {
        let name = default.path.rsplit('.').next().unwrap_or_default();
        let is_override = Overrides::KEYS.contains(&name);
        let given = arguments.iter().rev().find_map(|argument| match argument.split_once('=') {
            Some((key, value)) if key == name && is_override => Some(value),
            // They are one key: the later one holds.
            None if argument == "nullok" && default.path == "login.missing" => Some("ignore"),
            _ => None,
        });
        // Another section may have a key of the same name, and is no override.
        let given = given.filter(|_| !["code.period", "limits.period"].contains(&&*default.path));
        let in_file = of_file.iter().rev().find(|key| key.path == default.path);
        let (value, source) = match (given, in_file) {
            (Some(given), _) => (as_toml(given, &default.value), Source::Argument),
            (None, Some(key)) => {
                let source = Source::File { file: file.to_owned(), line: key.line };
                (key.value.clone(), source)
            }
            (None, None) if default.path == "issuer" => {
                (as_toml(&host_name().unwrap_or_default(), &default.value), Source::Default)
            }
            (None, None) => (default.value, Source::Default),
        };
        Value { key: default.path, value, source }
    };
    let of_line = |key: &str, default: &str, is_word: bool| {
        let given = arguments.iter().find_map(|argument| match argument.split_once('=') {
            Some((name, value)) if name == key => Some(value),
            None if is_word && argument == key => Some("true"),
            _ => None,
        });
        let source = if given.is_some() { Source::Argument } else { Source::Default };
        Value {
            key: key.to_owned(),
            value: as_toml(given.unwrap_or(default), if is_word { "false" } else { "\"\"" }),
            source,
        }
    };
    let line = [
        of_line("password", "verify", false),
        of_line("try_first_pass", "false", true),
        of_line("use_first_pass", "false", true),
        of_line("debug", "false", true),
    ];
    line.into_iter().chain(config_keys::defaults().into_iter().map(of_key)).collect()
}

/// An argument as TOML, by what its default is.
fn as_toml(argument: &str, default: &str) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    match default.chars().next() {
        Some('"') => quoted(argument),
        Some('[') => {
            format!("[{}]", argument.split(',').map(quoted).collect::<Vec<_>>().join(", "))
        }
        _ => argument.to_owned(),
    }
}

impl<'a> JsonPolicy<'a> {
    fn of((policy, services): (&'a Policy, &'a Vec<String>)) -> Self {
        let value = |toml: &str| {
            let table: Result<BTreeMap<String, serde_json::Value>, _> =
                toml::from_str(&format!("v = {toml}"));
            table.ok().and_then(|mut table| table.remove("v")).unwrap_or_else(|| toml.into())
        };
        let json =
            |it: &'a Value| JsonValue { key: &it.key, value: value(&it.value), source: &it.source };
        let values = policy.values.as_ref();
        Self {
            version: VERSION,
            services,
            line: policy.line.as_deref(),
            config: &policy.config,
            values: values.ok().map(|values| values.iter().map(json).collect()),
            error: values.err().map(String::as_str),
        }
    }
}

fn print(policy: &Policy, services: &[String]) -> anyhow::Result<()> {
    let names = match services {
        [] => "no service uses pam_onetime.so".to_owned(),
        names => names.join(", "),
    };
    let line = policy.line.as_deref().map(|line| format!(" ({line})")).unwrap_or_default();
    say::line(&format!("{}{}", Readable(&names), Readable(&line)))?;
    match &policy.values {
        Err(what) => {
            let refused = say::paint(Colour::BoldRed, "every login is refused").into_owned();
            say::line(&format!("  {refused}: {}", Readable(what)))?;
        }
        Ok(values) => {
            let keys = values.iter().map(|value| value.key.len()).max().unwrap_or(0);
            let texts = values.iter().map(|value| value.value.chars().count()).max();
            let width = texts.unwrap_or(0).min(32);
            for Value { key, value, source } in values {
                let source = match source {
                    Source::Default => "default".into(),
                    Source::File { file, line } => {
                        say::paint(Colour::Green, &format!("{file}:{line}")).into_owned()
                    }
                    Source::Argument => say::paint(Colour::Yellow, "argument").into_owned(),
                };
                let value = Readable(value).to_string();
                say::line(&format!("  {key:keys$}  {value:width$}  {source}"))?;
            }
        }
    }
    Ok(())
}
