//! Judges the systemd units of programs that ask for codes: a unit that makes the store
//! read-only refuses every login with a code. Text in, findings out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::finding::{Finding, FindingId};
use super::stack::{Location, ReadFile};

/// A unit: its name, and the settings of its section Service in the order in which systemd
/// reads them, from its file and the drop-ins.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) name: String,
    settings: Vec<Setting>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting {
    key: String,
    value: String,
    place: Location,
}

/// Units that are called otherwise than the services that their programs use.
const SERVICES: [(&str, &str); 7] = [
    ("polkit-agent-helper", "polkit-1"),
    ("gdm", "gdm-password"),
    ("gdm3", "gdm-password"),
    ("getty", "login"),
    ("serial-getty", "login"),
    ("console-getty", "login"),
    ("container-getty", "login"),
];

/// Units of sshd, whose services sshd_config names.
const SSHD: [&str; 2] = ["ssh", "sshd"];

impl Unit {
    /// Reads the files of a unit, each with its path: the unit's own, then its drop-ins.
    pub(crate) fn read(name: &str, files: &[(String, String)]) -> Self {
        let mut unit = Self { name: name.to_owned(), settings: Vec::new() };
        for (path, text) in files {
            unit.add(path, text);
        }
        unit
    }

    fn add(&mut self, path: &str, text: &str) {
        let mut section = String::new();
        let mut begun: Option<(usize, String)> = None;
        for (number, line) in (1..).zip(text.lines()) {
            let trimmed = line.trim();
            // Comments may be between the parts of a line.
            if trimmed.starts_with(['#', ';']) || (trimmed.is_empty() && begun.is_none()) {
                continue;
            }
            let (first, mut whole) = begun.take().unwrap_or((number, String::new()));
            if let Some(part) = trimmed.strip_suffix('\\') {
                whole.push_str(part);
                whole.push(' ');
                begun = Some((first, whole));
                continue;
            }
            whole.push_str(trimmed);
            if let Some(name) = whole.strip_prefix('[') {
                name.trim_end_matches(']').clone_into(&mut section);
            } else if let Some((key, value)) = whole.split_once('=')
                && section == "Service"
            {
                let place = Location { file: path.to_owned(), line: first };
                let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
                self.settings.push(Setting { key, value, place });
            }
        }
    }

    /// `polkit-agent-helper` for `polkit-agent-helper@.service`.
    fn stem(&self) -> &str {
        let stem = self.name.strip_suffix(".service").unwrap_or(&self.name);
        stem.split('@').next().unwrap_or(stem)
    }

    /// The words of the last command that starts the program.
    fn command(&self) -> Vec<&str> {
        self.start()
            .map_or("", |start| &start.value)
            .trim_start_matches(['-', '@', ':', '+', '!'])
            .split_whitespace()
            .collect()
    }

    /// The line that has its command: the last, as systemd has it.
    fn start(&self) -> Option<&Setting> {
        let is_start = |setting: &&Setting| setting.key == "ExecStart" && !setting.value.is_empty();
        self.settings.iter().rev().find(is_start)
    }

    /// The name of the program that its command starts.
    fn program(&self) -> Option<&str> {
        self.command().first().and_then(|path| path.rsplit('/').next())
    }

    /// Whether its command starts this program.
    pub(crate) fn starts(&self, program: &str) -> bool {
        self.program() == Some(program)
    }

    /// What its command has after the program, without quotes, and the line.
    pub(crate) fn arguments(&self) -> Option<(&Location, Vec<String>)> {
        let place = &self.start()?.place;
        let words = self.command().into_iter().skip(1);
        Some((place, words.map(|word| word.trim_matches(['"', '\'']).to_owned()).collect()))
    }

    /// Whether its program is sshd.
    pub(crate) fn is_of_sshd(&self) -> bool {
        SSHD.contains(&self.stem()) || self.starts("sshd")
    }

    /// Whether its program uses one of these services.
    fn uses(&self, services: &BTreeSet<String>, of_sshd: &BTreeSet<String>) -> bool {
        let stem = self.stem();
        let other = SERVICES.iter().find(|(unit, _)| *unit == stem).map(|(_, service)| *service);
        let is_sshd = self.is_of_sshd();
        let names = [Some(stem), self.program(), other].into_iter().flatten();
        names.into_iter().any(|name| services.contains(name))
            || (is_sshd && of_sshd.iter().any(|service| services.contains(service)))
    }

    /// What keeps the program from writing into `dir`, if something does.
    fn keeps_from_writing(&self, dir: &Path) -> Option<&Setting> {
        let mut rules: Vec<(PathBuf, Access, &Setting)> = Vec::new();
        for setting in &self.settings {
            let access = match setting.key.as_str() {
                "ProtectSystem" => {
                    rules.retain(|(_, _, rule)| rule.key != setting.key);
                    if setting.value == "strict" {
                        rules.push(("/".into(), Access::Kept, setting));
                    }
                    continue;
                }
                "DynamicUser" => {
                    rules.retain(|(_, _, rule)| rule.key != setting.key);
                    if ["yes", "true", "on", "1"].contains(&setting.value.as_str()) {
                        rules.push(("/".into(), Access::Kept, setting));
                    }
                    continue;
                }
                "ReadOnlyPaths"
                | "ReadOnlyDirectories"
                | "InaccessiblePaths"
                | "InaccessibleDirectories"
                | "TemporaryFileSystem"
                | "BindReadOnlyPaths" => Access::Kept,
                "ReadWritePaths" | "ReadWriteDirectories" | "BindPaths" => Access::Given,
                "StateDirectory" => {
                    let names = setting.value.split_whitespace();
                    let dirs = names.map(|name| Path::new("/var/lib").join(name));
                    rules.extend(dirs.map(|dir| (dir, Access::Given, setting)));
                    continue;
                }
                _ => continue,
            };
            if setting.value.is_empty() {
                rules.retain(|(_, _, rule)| rule.key != setting.key);
            }
            for word in setting.value.split_whitespace() {
                let path = word.trim_matches('"').trim_start_matches(['-', '+']);
                // A bind has its place after a colon, a file system its options.
                let path = if setting.key.starts_with("Bind") {
                    path.split(':').nth(1).unwrap_or(path)
                } else {
                    path.split(':').next().unwrap_or(path)
                };
                rules.push((path.into(), access, setting));
            }
        }
        // The longest path that leads to it decides.
        let mut covering = rules.into_iter().filter(|(path, _, _)| dir.starts_with(path));
        let first = covering.next()?;
        let decides = covering.fold(first, |best, rule| {
            let length = |path: &Path| path.components().count();
            if length(&rule.0) >= length(&best.0) { rule } else { best }
        });
        (decides.1 == Access::Kept).then_some(decides.2)
    }

    /// The file that the unit's sshd reads instead of the usual one: `-f`, in the command or
    /// in a variable of it that an EnvironmentFile sets.
    pub(crate) fn sshd_file(&self, files: &ReadFile<'_>) -> Option<String> {
        let mut words = Vec::new();
        for word in self.command() {
            match word.strip_prefix('$') {
                None => words.push(word.to_owned()),
                Some(name) => {
                    let name = name.trim_start_matches('{').trim_end_matches('}');
                    let value = self.variable(name, files).unwrap_or_default();
                    words.extend(value.split_whitespace().map(str::to_owned));
                }
            }
        }
        let at = words.iter().position(|word| word.starts_with("-f"))?;
        match words.get(at)?.strip_prefix("-f") {
            Some("") => words.get(at.saturating_add(1)).cloned(),
            file => file.map(str::to_owned),
        }
    }

    fn variable(&self, name: &str, files: &ReadFile<'_>) -> Option<String> {
        let set = |line: &str| {
            let value = line.trim().strip_prefix(name)?.strip_prefix('=')?;
            Some(value.trim().trim_matches(['"', '\'']).to_owned())
        };
        self.settings.iter().rev().find_map(|setting| match setting.key.as_str() {
            "Environment" => set(setting.value.trim_matches(['"', '\''])),
            "EnvironmentFile" => {
                files(setting.value.trim_start_matches('-'))?.lines().rev().find_map(set)
            }
            _ => None,
        })
    }
}

/// Whether a unit's program may write into a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Kept,
    Given,
}

/// Judges the units whose programs use one of `services`, which ask for codes; `of_sshd`
/// are the services of sshd.
pub(crate) fn judge(
    units: &[Unit],
    services: &BTreeSet<String>,
    of_sshd: &BTreeSet<String>,
    store: &Path,
) -> Vec<Finding> {
    let using = units.iter().filter(|unit| unit.uses(services, of_sshd));
    let kept = using.filter_map(|unit| Some((unit, unit.keeps_from_writing(store)?)));
    kept.map(|(unit, Setting { key, value, place })| {
        let Unit { name, .. } = unit;
        let store = store.display();
        let what = format!(
            "{name} keeps its program from writing into {store}, so logins with a code are \
             refused: {key}={value} ({place})"
        );
        let remedy = format!(
            "make /etc/systemd/system/{name}.d/onetime.conf with: [Service] and, on a line of its \
             own, ReadWritePaths=-{store}; then systemctl daemon-reload"
        );
        Finding::new(FindingId::UnitStoreReadOnly, what, remedy)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STORE: &str = "/var/lib/onetime";

    fn unit(name: &str, texts: &[&str]) -> Unit {
        let files: Vec<_> =
            (1..).zip(texts).map(|(n, text)| (format!("f{n}"), (*text).to_owned())).collect();
        Unit::read(name, &files)
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_unit_that_makes_the_store_read_only_is_found_whatever_does_it() {
        for (texts, place) in [
            (&["[Service]\nProtectSystem=strict\n"][..], Some("f1:2")),
            (&["[Service]\nProtectSystem=full\n"], None),
            (&["[Unit]\nProtectSystem=strict\n"], None),
            (&["[Service]\nProtectSystem=strict\n", "[Service]\nProtectSystem=\n"], None),
            (&["[Service]\nProtectSystem=strict\nReadWritePaths=/run \\\n# c\n /var/lib\n"], None),
            (
                &["[Service]\nProtectSystem=strict\nReadWritePaths=/var/lib/onetimes\n"],
                Some("f1:2"),
            ),
            (
                &[
                    "[Service]\nProtectSystem=strict\n",
                    "[Service]\nReadWritePaths=-/var/lib/onetime\n",
                ],
                None,
            ),
            (
                &[
                    "[Service]\nProtectSystem=strict\nReadWritePaths=/var\n",
                    "[Service]\nReadWritePaths=\n",
                ],
                Some("f1:2"),
            ),
            (&["[Service]\nReadOnlyPaths=-/var\n"], Some("f1:2")),
            (
                &["[Service]\nInaccessiblePaths=/var/lib/onetime\nReadWritePaths=/var\n"],
                Some("f1:2"),
            ),
            (&["[Service]\nTemporaryFileSystem=/var:ro\n"], Some("f1:2")),
            (&["[Service]\nTemporaryFileSystem=/var\nBindPaths=/var/lib/onetime\n"], None),
            (&["[Service]\nDynamicUser=yes\n"], Some("f1:2")),
            (&["[Service]\nProtectSystem=strict\nStateDirectory=onetime\n"], None),
            (&[""], None),
        ] {
            let found = judge(
                &[unit("polkit-agent-helper@.service", texts)],
                &names(&["polkit-1"]),
                &names(&[]),
                Path::new(STORE),
            );
            match place {
                None => assert_eq!(found, [], "{texts:?}"),
                Some(place) => {
                    assert_eq!(found[0].id, FindingId::UnitStoreReadOnly, "{texts:?}");
                    assert!(found[0].what.contains(&format!("({place})")), "{found:?}");
                    let remedy = found[0].remedy.as_ref().unwrap();
                    assert!(remedy.contains("polkit-agent-helper@.service.d/onetime.conf"));
                    assert!(remedy.contains("ReadWritePaths=-/var/lib/onetime;"), "{remedy}");
                }
            }
        }
    }

    #[test]
    fn only_units_of_programs_that_ask_for_codes_are_judged() {
        let strict = |exec: &str| format!("[Service]\nExecStart={exec}\nProtectSystem=strict\n");
        for (name, exec, services, judged) in [
            ("ssh.service", "/usr/sbin/sshd -D $SSHD_OPTS", &["ssh-code"][..], true),
            ("my-ssh.service", "-/usr/sbin/sshd -D", &["ssh-code"], true),
            ("ssh.service", "/usr/sbin/sshd", &["sudo"], false),
            ("getty@.service", "-/sbin/agetty -o x", &["login"], true),
            ("lightdm.service", "/usr/sbin/lightdm", &["lightdm"], true),
            ("mail.service", "/usr/sbin/dovecot", &["dovecot"], true),
            ("cron.service", "/usr/sbin/cron -f", &["login"], false),
        ] {
            let unit = unit(name, &[&strict(exec)]);
            let found = judge(&[unit], &names(services), &names(&["ssh-code"]), Path::new(STORE));
            assert_eq!(!found.is_empty(), judged, "{name} {exec} {services:?}");
        }
    }

    #[test]
    fn the_file_that_a_unit_gives_to_sshd_is_known() {
        let files = |path: &str| {
            (path == "/etc/default/ssh").then(|| "# c\nSSHD_OPTS=\"-4 -f /etc/my\"\n".to_owned())
        };
        for (text, file) in [
            ("ExecStart=/usr/sbin/sshd -D -f /etc/x", Some("/etc/x")),
            ("ExecStart=/usr/sbin/sshd -D -f/etc/x", Some("/etc/x")),
            ("ExecStart=/usr/sbin/sshd -D", None),
            ("ExecStart=/usr/sbin/sshd -D $SSHD_OPTS", None),
            (
                "EnvironmentFile=-/etc/default/ssh\nExecStart=/usr/sbin/sshd -D $SSHD_OPTS",
                Some("/etc/my"),
            ),
            ("Environment=O=-f/y\nExecStart=/usr/sbin/sshd ${O}", Some("/y")),
            (
                "ExecStart=/usr/sbin/sshd -f /a\nExecStart=\nExecStart=/usr/sbin/sshd -f /b",
                Some("/b"),
            ),
        ] {
            let unit = unit("ssh.service", &[&format!("[Service]\n{text}\n")]);
            assert_eq!(unit.sshd_file(&files).as_deref(), file, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_unit_is_too_strange(text in "(?s).{0,300}") {
            let unit = unit("ssh.service", &[&text, "[Service]\nProtectSystem=strict\n"]);
            unit.sshd_file(&|_: &str| Some(text.clone()));
            judge(&[unit], &names(&["ssh"]), &names(&[]), Path::new(STORE));
        }
    }
}
