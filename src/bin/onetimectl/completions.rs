//! `onetimectl completions`: what `clap_complete` writes for a shell, and what it does not
//! know: where that shell finds the names of users and groups.

use clap::{Arg, Command, CommandFactory, ValueHint};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::say;

const NAME: &str = "onetimectl";
/// The name of values that are groups: clap has no hint for them.
const GROUP: &str = "GROUP";

pub(crate) fn run(shell: Shell) -> anyhow::Result<()> {
    Ok(say::write(&script(shell)?)?)
}

fn script(shell: Shell) -> anyhow::Result<String> {
    let mut command = Cli::command();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, NAME, &mut script);
    let script = String::from_utf8(script)?;
    Ok(match shell {
        Shell::Bash => bash(&script, &command),
        Shell::Fish => fish(&script, &command),
        Shell::Zsh => script.replace(&format!(":{GROUP}:_default"), &format!(":{GROUP}:_groups")),
        Shell::Elvish | Shell::PowerShell | _ => script,
    })
}

/// What the shell is to complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    User,
    Group,
    Other,
}

impl Value {
    fn of(argument: &Arg) -> Self {
        let names = argument.get_value_names().unwrap_or_default();
        if argument.get_value_hint() == ValueHint::Username {
            Self::User
        } else if names.iter().any(|name| name == GROUP) {
            Self::Group
        } else {
            Self::Other
        }
    }
}

/// The verbs whose arguments are users, each with its words (`token add`).
fn verbs_of_users(command: &Command) -> Vec<Vec<&str>> {
    let mut found = Vec::new();
    for verb in command.get_subcommands() {
        if verb.get_positionals().any(|argument| Value::of(argument) == Value::User) {
            found.push(vec![verb.get_name()]);
        }
        for mut words in verbs_of_users(verb) {
            words.insert(0, verb.get_name());
            found.push(words);
        }
    }
    found
}

/// Every option that takes a value: its name with the dashes, and what is to complete it.
fn options(command: &Command) -> Vec<(String, Value)> {
    let of_verbs = command.get_subcommands().flat_map(options);
    let own = command.get_opts().filter(|option| option.get_action().takes_values());
    let names = own.flat_map(|option| {
        let long = option.get_long().map(|long| format!("--{long}"));
        let short = option.get_short().map(|short| format!("-{short}"));
        long.into_iter().chain(short).map(|name| (name, Value::of(option)))
    });
    let mut all: Vec<_> = names.chain(of_verbs).collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all.dedup();
    all
}

/// A function around the one of `clap_complete`, by which bash completes instead.
fn bash(script: &str, command: &Command) -> String {
    let options = options(command);
    let those = |wanted: Value| {
        let names = options.iter().filter(|(_, value)| *value == wanted);
        names.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join("|")
    };
    let verbs: Vec<_> = verbs_of_users(command).iter().map(|words| words.join(" ")).collect();
    // The words are joined by single blanks, and an option may be between them.
    let verbs: Vec<_> = verbs.iter().map(|verb| format!("*\" {verb} \"*")).collect();
    let around = format!(
        r#"
_{NAME}_names() {{
    _{NAME} "$@"
    case "$3" in
        {groups}) COMPREPLY=( $(compgen -g -- "$2") ); return ;;
        {users}) COMPREPLY=( $(compgen -u -- "$2") ); return ;;
        {others}) return ;;
    esac
    if [[ "$2" == -* ]]; then return; fi
    case " ${{COMP_WORDS[*]:0:COMP_CWORD}} " in
        {verbs}) COMPREPLY=( $(compgen -u -- "$2") ) ;;
    esac
}}
"#,
        groups = those(Value::Group),
        users = those(Value::User),
        others = those(Value::Other),
        verbs = verbs.join("|"),
    );
    // It is told to bash at the end, once for each of bash's ages.
    let (functions, told) = match script.rfind("\nif [[ \"${BASH_VERSINFO[0]}\"") {
        Some(at) => script.split_at(at),
        None => (script, ""),
    };
    let told = told.replace(&format!("-F _{NAME} "), &format!("-F _{NAME}_names "));
    format!("{functions}{around}{told}")
}

/// fish has functions for both; `clap_complete` names them for no argument that is not an
/// option, and for no group.
fn fish(script: &str, command: &Command) -> String {
    let groups: Vec<_> = options(command)
        .into_iter()
        .filter(|(_, value)| *value == Value::Group)
        .map(|(name, _)| format!(" -l {} ", name.trim_start_matches('-')))
        .collect();
    let mut lines: Vec<_> = script.lines().map(str::to_owned).collect();
    for line in &mut lines {
        if line.ends_with(" -r") && groups.iter().any(|group| line.contains(group)) {
            line.push_str(" -f -a \"(__fish_complete_groups)\"");
        }
    }
    for words in verbs_of_users(command) {
        let (verb, below) = words.split_first().unwrap_or((&"", &[]));
        let below: String =
            below.iter().map(|word| format!("; and __fish_seen_subcommand_from {word}")).collect();
        lines.push(format!(
            "complete -c {NAME} -n \"__fish_{NAME}_using_subcommand {verb}{below}\" -f -a \"(__fish_complete_users)\""
        ));
    }
    lines.push(String::new());
    lines.join("\n")
}
