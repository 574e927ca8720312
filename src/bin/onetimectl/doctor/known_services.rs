//! The programs that log people in, by their PAM services: the table of docs/callers.toml,
//! which is built in. Names in, answers out.

use std::sync::LazyLock;

use serde::Deserialize;

/// The table, as it is kept by hand.
const TABLE: &str = include_str!("../../../../docs/callers.toml");

#[derive(Debug, Default, Deserialize)]
struct Table {
    program: Vec<Program>,
}

/// A program that uses PAM, as far as it matters to a judgement: docs/callers.toml says what
/// each key is, and has more of them.
#[derive(Debug, Deserialize)]
pub(super) struct Program {
    /// As people call it.
    pub(super) name: String,
    services: Vec<String>,
    prompts: Answers,
    pub(super) texts: Texts,
    pub(super) runs_as: String,
    daemon: bool,
    pub(super) host: Option<RemoteHost>,
    pub(super) repeats: bool,
    #[cfg(test)]
    file: Option<String>,
}

/// Which prompts get an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answers {
    /// Each, from a person.
    Each,
    /// All the same one.
    One,
    /// The first alone.
    First,
    /// Nobody is ever asked.
    None,
}

/// What becomes of a text that needs no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Texts {
    /// The person sees it.
    Person,
    /// It is printed.
    Terminal,
    /// The person sees it if it is not long.
    Short,
    /// Nobody sees it.
    Dropped,
    /// It is written to a log.
    Log,
    /// It stops the program.
    Stops,
}

/// What the program says of the host that somebody logs in from (PAM_RHOST).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RemoteHost {
    /// Its address, where there is one.
    Address,
    /// A name.
    Name,
    /// Nothing.
    None,
    /// An address that is none: 0.0.0.0.
    Any,
}

/// What the programs of a service can ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prompts {
    /// A password and a code, as far as is known.
    Any,
    /// One password.
    One,
    /// Nothing by the store: they have no right to read it.
    WithoutRoot,
}

impl Program {
    const fn is_asked_by(&self) -> bool {
        match self.prompts {
            Answers::Each | Answers::One | Answers::First => true,
            Answers::None => false,
        }
    }

    /// Whether it gives one answer to all prompts, or has room for one prompt.
    pub(super) const fn is_asked_once(&self) -> bool {
        match self.prompts {
            Answers::One | Answers::First => true,
            Answers::Each | Answers::None => false,
        }
    }

    /// What it can ask.
    pub(super) fn prompts(&self) -> Prompts {
        if self.runs_as != "root" {
            return Prompts::WithoutRoot;
        }
        match self.prompts {
            Answers::Each | Answers::None => Prompts::Any,
            Answers::One | Answers::First => Prompts::One,
        }
    }
}

/// The programs of the table. A test reads it too: that it cannot be read is found there.
fn programs() -> &'static [Program] {
    static PROGRAMS: LazyLock<Vec<Program>> =
        LazyLock::new(|| toml::from_str::<Table>(TABLE).unwrap_or_default().program);
    &PROGRAMS
}

/// The program that uses a service: by the service's own name, or else by its family.
pub(super) fn program(service: &str) -> Option<&'static Program> {
    let own = |program: &&Program| program.services.iter().any(|name| name == service);
    let of_family = |program: &&Program| {
        let mut families = program.services.iter().filter_map(|name| name.strip_suffix('*'));
        families.any(|family| service.starts_with(family))
    };
    programs().iter().find(own).or_else(|| programs().iter().find(of_family))
}

/// Whether root's daemon uses the service, whoever logs in.
pub(super) fn is_of_daemon(service: &str) -> bool {
    program(service).is_some_and(|program| program.daemon)
}

/// Whether a program is known to ask for a password by this service.
pub(super) fn is_logged_in_to(service: &str) -> bool {
    service == "other" || program(service).is_some_and(Program::is_asked_by)
}

/// Whether the program of the service is known to ask nobody.
pub(super) fn asks_nobody(service: &str) -> bool {
    program(service).is_some_and(|program| !program.is_asked_by())
}

/// Whether each of several prompts gets an answer of its own.
pub(super) fn asks_each(service: &str) -> bool {
    program(service).is_none_or(|program| !program.is_asked_once())
}

/// Whether the program of the service runs as whoever is logged in, such as a screen locker.
pub(super) fn is_run_by_its_user(service: &str) -> bool {
    program(service).is_some_and(|program| program.runs_as == "user")
}

/// What the programs of a service can ask.
pub(super) fn prompts(service: &str) -> Prompts {
    program(service).map_or(Prompts::Any, Program::prompts)
}

#[cfg(test)]
mod tests {
    use pam_onetime::callers::{Carrier, PROVEN, carrier};

    use super::*;

    #[test]
    fn the_table_can_be_read_and_names_each_program_once_in_order() {
        let table: Table = toml::from_str(TABLE).unwrap();
        let names: Vec<_> = table.program.iter().map(|program| program.name.as_str()).collect();
        let mut sorted = names.clone();
        sorted.sort_by_key(|name| name.to_lowercase());
        sorted.dedup();
        assert_eq!(names, sorted);
        assert!(names.len() > 40, "{names:?}");
    }

    #[test]
    fn every_key_of_the_table_is_explained_at_its_head() {
        let table: toml::Table = TABLE.parse().unwrap();
        let known = |line: &str| Some(line.strip_prefix("#   ")?.split(' ').next()?.to_owned());
        let known: Vec<_> = TABLE.lines().filter_map(known).filter(|key| !key.is_empty()).collect();
        let optional = ["host", "file", "second_way", "note"];
        for program in table["program"].as_array().unwrap() {
            let program = program.as_table().unwrap();
            let keys: Vec<_> = program.keys().collect();
            assert!(keys.iter().all(|key| known.contains(key)), "{keys:?}: {known:?}");
            for key in known.iter().filter(|key| !optional.contains(&key.as_str())) {
                assert!(program.contains_key(key), "{:?} has no {key}", program["name"]);
            }
            // Who cannot read the store is told so.
            let cannot =
                program["setting"].as_str().unwrap().starts_with("cannot be served: it runs");
            let services = !program["services"].as_array().unwrap().is_empty();
            assert_eq!(
                cannot,
                services && program["runs_as"].as_str() != Some("root"),
                "{program:?}"
            );
        }
    }

    #[test]
    fn programs_that_share_a_service_are_judged_alike() {
        let judged = |program: &Program| {
            let Program { prompts, texts, runs_as, daemon, host, repeats, .. } = program;
            (*prompts, *texts, runs_as.clone(), *daemon, *host, *repeats)
        };
        for one in programs() {
            for service in &one.services {
                let shares = |other: &&Program| other.services.contains(service);
                for other in programs().iter().filter(shares) {
                    assert_eq!(judged(one), judged(other), "{service}");
                }
            }
        }
    }

    #[test]
    fn the_module_knows_of_each_service_what_the_table_says() {
        for program in programs() {
            for service in &program.services {
                let service = service.trim_end_matches('*');
                let known = carrier(service);
                let agrees = match program.texts {
                    Texts::Person => known == Carrier::Direct,
                    Texts::Terminal => known == Carrier::Printed,
                    Texts::Short => known == Carrier::Short,
                    Texts::Stops => known == Carrier::Nothing,
                    // No text of a size is safe there: nothing is shown unless it is named, or
                    // nothing at all, where nobody sees it.
                    Texts::Dropped | Texts::Log => {
                        known != Carrier::Printed && !PROVEN.contains(&service)
                    }
                };
                assert!(agrees, "{service}: {:?}, {known:?}", program.texts);
            }
        }
        for service in PROVEN {
            let texts = program(service).map(|program| program.texts);
            assert!(matches!(texts, Some(Texts::Person | Texts::Terminal)), "{service}: {texts:?}");
        }
        for service in ["sshd", "su", "gdm-password", "lightdm", "kde", "xdm", "polkit-1"] {
            assert!(program(service).is_some(), "{service}");
        }
    }

    #[test]
    fn what_a_program_can_ask_is_known_by_its_service() {
        for (service, expected) in [
            ("sddm", Prompts::One),
            ("i3lock", Prompts::WithoutRoot),
            ("postgresql", Prompts::WithoutRoot),
            ("sshd", Prompts::Any),
            ("gdm-password", Prompts::Any),
            ("of-nobody", Prompts::Any),
        ] {
            assert_eq!(prompts(service), expected, "{service}");
        }
    }

    #[test]
    fn a_service_is_known_by_its_own_name_or_by_its_family() {
        for (service, daemon, known) in [
            ("sshd", true, true),
            ("gdm-password", true, true),
            ("su-l", false, true),
            ("other", false, true),
            ("cron", true, false),
            ("gdm-launch-environment", true, false),
            ("common-auth", false, false),
            ("onetime-password", false, false),
        ] {
            assert_eq!(is_of_daemon(service), daemon, "{service}");
            assert_eq!(is_logged_in_to(service), known, "{service}");
        }
        assert!(asks_nobody("gdm-launch-environment") && !asks_nobody("gdm-password"));
    }

    #[test]
    fn what_the_table_names_of_ours_is_there() {
        let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/pam.d");
        for file in programs().iter().filter_map(|program| program.file.as_ref()) {
            assert!(shipped.join(file).is_file(), "{file}");
        }
    }
}
