//! A program that is run: how it is set up, how a person logs in by it, and what is seen of
//! it meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::conf;
use crate::people::{End, Met, PASSWORD, People, Person};
use crate::stage::{Init, Stage, TRACE};
use crate::system::{Suite, System};
use crate::table::{Kind, Meeting, Seen, Texts};

/// One way to use a program.
#[derive(Clone)]
pub(crate) struct Program {
    /// Its name in docs/callers.toml.
    pub(crate) name: &'static str,
    /// This way; unique within a suite.
    pub(crate) run: &'static str,
    pub(crate) kind: Kind,
    pub(crate) suite: Suite,
    /// What is installed for it, beside what every system has; its own package first.
    pub(crate) packages: &'static [&'static str],
    /// Whose version is written down.
    pub(crate) package: &'static str,
    /// Whether it needs a systemd: one of `packages` must be systemd-sysv.
    pub(crate) init: Init,
    /// Its PAM services, each traced; what it says as PAM_SERVICE comes first.
    pub(crate) services: &'static [&'static str],
    pub(crate) stack: Stack,
    /// Whether secrets may be shown at its service: of the real key, where it came is seen.
    pub(crate) shows: bool,
    /// Sizes of harmless texts; nothing where they would stop it.
    pub(crate) texts: Option<[usize; 2]>,
    /// Configures and starts it, once.
    pub(crate) prepare: fn(&Stage),
    /// Logs this person in.
    pub(crate) login: fn(&Stage, &Person) -> Met,
    /// Whether CI runs it.
    pub(crate) cheap: bool,
}

/// Which PAM configuration it has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stack {
    /// The files of `conf/pam.d`, by the names of its services.
    Shipped,
    /// Debian's own, with our profile in common-auth.
    Profile,
    /// Debian's own, with this file of `conf/pam.d` in the place of common-auth, and above what
    /// it has for accounts; the whole of that file where Debian has none for it.
    Include(&'static str),
    /// This text, for each of its services.
    Text(&'static str),
}

/// The sizes of a line, and of a QR code with its key.
pub(crate) const TEXTS: Option<[usize; 2]> = Some([60, 2500]);

/// How long the end of a session is waited for: some daemons leave it to their own end.
const CLOSING: Duration = Duration::from_secs(10);

impl Program {
    /// A program of terminals, of Debian 12, to be changed where another differs.
    pub(crate) const PLAIN: Self = Self {
        name: "",
        run: "",
        kind: Kind::Terminal,
        suite: Suite::Bookworm,
        packages: &[],
        package: "",
        init: Init::None,
        services: &[],
        stack: Stack::Profile,
        shows: false,
        texts: TEXTS,
        prepare: |_| (),
        login: |_, _| Met { end: End::Refused, person: String::new(), output: String::new() },
        cheap: false,
    };

    /// Runs it for each person.
    #[track_caller]
    pub(crate) fn watch(&self) -> Seen {
        let stage = Stage::enter(&System::with(self.suite, self.packages), self.init);
        stage.install();
        if self.shows {
            let shown: String = self.services.iter().map(|it| format!("{it:?}, ")).collect();
            let toml = conf("onetime.toml");
            let line = toml.lines().find(|line| line.starts_with("#show_at")).expect("its line");
            stage.write(
                "/etc/onetime/onetime.toml",
                &toml.replace(line, &format!("show_at = [{shown}]")),
            );
        }
        let people = People::settle(&stage);
        self.set_stack(&stage);
        (self.prepare)(&stage);
        let texts = self.services.iter().map(|it| stage.read(&format!("/etc/pam.d/{it}")));
        let texts: Vec<_> = texts.collect();
        self.set_trace(&stage, &texts, "");

        let (disabled, _) = self.log_in(&stage, &people.disabled);
        let (pending, met) = self.log_in(&stage, &people.pending);
        let key = people.pending.key.as_deref().expect("who is pending has a key");
        let places = Places::of(&stage, &met);
        let key = places.with_key(key);
        let (activating, met) = self.log_in(&stage, &people.activating);
        if met.end == End::LetIn && activating.meeting.gave_a_code() {
            let status = stage.shell("onetimectl list --active");
            // What an account of a service asks onetimed activates nobody.
            let euid = activating.events.iter().find(|event| event["phase"] == "auth");
            let by = euid.map_or_else(String::new, |event| who(&stage, &text(event, "euid")));
            assert_eq!(
                status.contains("pia"),
                ["root", "user"].contains(&by.as_str()),
                "a right code by {by}: {status}\n{}",
                stage.logged()
            );
        }
        let (active, _) = self.log_in(&stage, &people.active);

        let texts = self.texts.map(|sizes| {
            let [short, long] = sizes;
            self.set_trace(&stage, &texts, &format!("info={short} info={long} error={short} ask"));
            let (login, met) = self.log_in(&stage, &people.disabled);
            let places = Places::of(&stage, &met);
            let asked = login.meeting.asked.iter().find(|it| it.starts_with("Second word: "));
            let second = asked.and_then(|it| it.split("-> ").nth(1)).unwrap_or("not asked");
            Texts {
                sizes,
                short: places.with_text("info", short),
                long: places.with_text("info", long),
                error: places.with_text("error", short),
                second: second.to_owned(),
                end: met.end.name().to_owned(),
            }
        });
        self.seen(&stage, &active, [disabled, pending, activating].map(|it| it.meeting), key, texts)
    }

    fn seen(
        &self,
        stage: &Stage,
        active: &Login,
        others: [Meeting; 3],
        key: BTreeSet<String>,
        texts: Option<Texts>,
    ) -> Seen {
        let [disabled, pending, activating] = others;
        let version = stage.run("dpkg-query", &["-W", "-f", "${Package} ${Version}", self.package]);
        // The end of an earlier session of another service may come in between.
        let is_own = |event: &&Value| event["service"].as_str() == self.services.first().copied();
        let own: Vec<_> = active.events.iter().filter(is_own).cloned().collect();
        let events = if own.is_empty() { &active.events } else { &own };
        let phases = || events.iter().filter(|event| event["event"] == "phase");
        let first = phases().find(|event| event["phase"] == "auth").or_else(|| phases().next());
        let first =
            first.unwrap_or_else(|| panic!("{}: PAM is not called\n{}", self.run, stage.logged()));
        let is_set = |item: &str| {
            phases().any(|event| event[item].as_str().is_some_and(|it| !it.is_empty()))
        };
        Seen {
            program: self.name.to_owned(),
            run: self.run.to_owned(),
            kind: self.kind,
            suite: self.suite.name().to_owned(),
            package: version.ok(),
            service: text(first, "service"),
            phases: phases_of(stage, events),
            runs_as: who(stage, &text(first, "euid")),
            host: host(&text(first, "rhost")).to_owned(),
            tty: is_set("tty"),
            ruser: is_set("ruser"),
            silent: first["flags"].as_i64().is_some_and(|flags| flags & 0x8000 != 0),
            threads: phases().any(|event| text(event, "threads") != "1"),
            disabled,
            pending,
            activating,
            active: active.meeting.clone(),
            key,
            texts,
        }
    }

    #[track_caller]
    fn set_stack(&self, stage: &Stage) {
        match self.stack {
            Stack::Shipped => self.services.iter().for_each(|service| stage.ship(service)),
            Stack::Profile => {
                stage.shell("DEBIAN_FRONTEND=noninteractive pam-auth-update --enable onetime");
            }
            Stack::Include(file) => {
                stage.ship(file);
                for service in self.services {
                    let path = format!("/etc/pam.d/{service}");
                    let ours = including(&stage.read(&path), file);
                    stage.write(&path, &ours.unwrap_or_else(|| conf(&format!("pam.d/{file}"))));
                }
            }
            Stack::Text(text) => {
                for service in self.services {
                    stage.write(&format!("/etc/pam.d/{service}"), text);
                }
            }
        }
    }

    /// Puts the trace module first in each service; and last, with these words, if any.
    #[track_caller]
    fn set_trace(&self, stage: &Stage, texts: &[String], words: &str) {
        for (service, text) in self.services.iter().zip(texts) {
            assert!(!text.is_empty(), "there is no /etc/pam.d/{service}");
            stage.write(&format!("/etc/pam.d/{service}"), &traced(text, words));
        }
    }

    #[track_caller]
    fn log_in(&self, stage: &Stage, person: &Person) -> (Login, Met) {
        stage.traced();
        let met = (self.login)(stage, person);
        let mut events = stage.traced();
        // A session that was opened is closed, by a process that we do not wait for.
        let end = Instant::now() + CLOSING;
        while is_closing(stage, &events) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
            events.extend(stage.traced());
        }
        let mut asked = Vec::new();
        let mut prompts = events.iter().filter(|event| event["event"] == "said");
        for answer in events.iter().filter(|event| event["event"] == "answer") {
            let is_prompt =
                |event: &&Value| ["hidden", "visible"].contains(&text(event, "style").as_str());
            let prompt = prompts.find(is_prompt).map(|event| text(event, "words"));
            asked.push(format!("{}-> {}", prompt.unwrap_or_default(), text(answer, "kind")));
        }
        let meeting = Meeting { end: met.end.name().to_owned(), asked };
        (Login { meeting, events }, met)
    }
}

struct Login {
    meeting: Meeting,
    events: Vec<Value>,
}

/// Whether a session is still to be closed, or the process that has closed it has not ended: it
/// may call PAM once more.
fn is_closing(stage: &Stage, events: &[Value]) -> bool {
    let of = |phase: &'static str| events.iter().filter(move |event| event["phase"] == phase);
    let runs = |event: &Value| stage.path(&format!("/proc/{}", event["pid"])).exists();
    of("close_session").count() < of("open_session").count() || of("close_session").any(runs)
}

fn text(event: &Value, name: &str) -> String {
    event[name].as_str().unwrap_or_default().to_owned()
}

impl Meeting {
    fn gave_a_code(&self) -> bool {
        self.asked.iter().any(|it| it.ends_with("code"))
    }
}

/// This service with the file included, as the file says; nothing where the password is
/// checked in no place that it names.
fn including(service: &str, file: &str) -> Option<String> {
    const AUTH: &str = "@include common-auth";
    let is_account =
        |line: &&str| line.starts_with("account") || *line == "@include common-account";
    service.contains(AUTH).then_some(())?;
    let first = service.lines().find(is_account)?;
    let account = format!("account include {file}\n{first}");
    Some(service.replace(AUTH, &format!("auth include {file}")).replacen(first, &account, 1))
}

/// The service's text with the trace module first in each of its types.
fn traced(service: &str, words: &str) -> String {
    const TYPES: [&str; 4] = ["auth", "account", "session", "password"];
    let types_of = |line: &str| -> Vec<&str> {
        let words: Vec<_> = line.split_whitespace().collect();
        let (first, second) = (words.first().unwrap_or(&""), words.get(1).unwrap_or(&""));
        let of_type = |name: &str| TYPES.into_iter().filter(|it| *it == name).collect::<Vec<_>>();
        match *first {
            "@include" => match second.strip_prefix("common-") {
                // The name goes on: common-session-noninteractive.
                Some(name) => of_type(name.split('-').next().unwrap_or_default()),
                None => TYPES.to_vec(),
            },
            first => of_type(first.trim_start_matches('-')),
        }
    };
    let types: BTreeSet<_> = service.lines().flat_map(types_of).collect();
    let mut lines: Vec<String> = types
        .iter()
        .map(|it| format!("{it} optional pam_trace.so log={TRACE} password={PASSWORD}"))
        .collect();
    let last_auth = service
        .lines()
        .enumerate()
        .filter(|(_, line)| types_of(line).contains(&"auth"))
        .map(|(index, _)| index)
        .last();
    for (index, line) in service.lines().enumerate() {
        lines.push(line.to_owned());
        if Some(index) == last_auth && !words.is_empty() {
            lines.push(format!("auth optional pam_trace.so log={TRACE} {words}"));
        }
    }
    lines.join("\n") + "\n"
}

/// The phases in their order; those that one process has after another, together.
fn phases_of(stage: &Stage, events: &[Value]) -> Vec<String> {
    let mut processes: BTreeMap<i64, usize> = BTreeMap::new();
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for event in events.iter().filter(|event| event["event"] == "phase") {
        let next = processes.len() + 1;
        let number = *processes.entry(event["pid"].as_i64().unwrap_or(0)).or_insert(next);
        let (uid, euid) = (who(stage, &text(event, "uid")), who(stage, &text(event, "euid")));
        let ids = if uid == euid { euid } else { format!("{euid}, started by {uid}") };
        let process = format!("{} {number} ({ids})", text(event, "exe"));
        let phase = text(event, "phase");
        match groups.last_mut() {
            Some((last, phases)) if *last == process => phases.push(phase),
            _ => groups.push((process, vec![phase])),
        }
    }
    groups
        .into_iter()
        .map(|(process, phases)| format!("{}: {process}", phases.join(", ")))
        .collect()
}

/// Whose number this is: a user's whom we have made, or an account of the system's.
fn who(stage: &Stage, uid: &str) -> String {
    let passwd = stage.read("/etc/passwd");
    let mut lines = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let name = lines.find(|words| words.get(2) == Some(&uid)).map(|words| words[0].to_owned());
    match uid.parse() {
        Ok(1000..60000) => "user".to_owned(),
        _ => name.unwrap_or_else(|| uid.to_owned()),
    }
}

/// What kind of PAM_RHOST this is.
fn host(rhost: &str) -> &'static str {
    match rhost.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() => "any",
        Ok(_) => "address",
        Err(_) if rhost.is_empty() => "none",
        Err(_) => "name",
    }
}

/// Everywhere that a text may have come to.
struct Places(Vec<(String, String)>);

impl Places {
    fn of(stage: &Stage, met: &Met) -> Self {
        let mut places = vec![
            ("person".to_owned(), met.person.clone()),
            ("output".to_owned(), met.output.clone()),
            ("syslog".to_owned(), stage.logged()),
        ];
        // What the journal keeps is known as what was logged.
        let is_journal = |name: &str| name.contains("/log/journal/");
        places.extend(stage.changed_files().into_iter().filter(|(name, _)| !is_journal(name)));
        Self(places)
    }

    /// Where this key is, in groups of letters or not.
    fn with_key(&self, key: &str) -> BTreeSet<String> {
        let squeeze = |text: &str| text.split_whitespace().collect::<String>();
        let here = self.0.iter().filter(|(_, text)| squeeze(text).contains(key));
        here.map(|(place, _)| place.clone()).collect()
    }

    /// Where this harmless text is.
    fn with_text(&self, name: &str, size: usize) -> BTreeSet<String> {
        let [begin, end] = ["BEGIN", "END"].map(|it| format!("STANDIN-{name}-{size}-{it}"));
        let here = self.0.iter().filter(|(_, text)| text.contains(&begin));
        here.map(|(place, text)| match text.contains(&end) {
            true => place.clone(),
            false => format!("{place} (cut)"),
        })
        .collect()
    }
}
