//! Judges sshd, whose stack uses the module, by what it says is in force
//! (`sshd -T`), for everybody and for the logins that a Match block is about. Where
//! it does not answer, what its files say is judged. Values in, findings out.

use std::collections::BTreeMap;

use pam_onetime::PasswordMode;

use super::finding::{Finding, FindingId};
use super::sshd_config::{KEYWORDS, Override, SshdConfig, keyword};

/// The main file, for messages.
const FILE: &str = "/etc/ssh/sshd_config";

/// Match blocks about which sshd is asked; each takes a run of it.
const MAX_ASKED: usize = 100;

/// Why sshd does not say what is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Silence {
    /// There is no sshd in the usual directories.
    NotInstalled,
    /// It does not accept its configuration, for this reason.
    Refused(String),
    /// It cannot answer here, for this reason: no host keys, no /run/sshd.
    Failed(String),
}

/// Asks sshd: what `sshd -T -C` prints for a connection.
type Ask<'a> = dyn Fn(&Connection) -> Result<String, Silence> + 'a;

/// What the machine can be asked.
pub(crate) struct SshdMachine<'a> {
    pub(crate) ask: &'a Ask<'a>,
    /// Somebody who is in a group.
    pub(crate) member: &'a dyn Fn(&str) -> Option<String>,
}

/// A connection that sshd is asked about. All of it is always given: a Match block
/// about something that is not makes sshd refuse to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connection {
    user: String,
    host: String,
    address: String,
    local_address: String,
    local_port: String,
}

impl Connection {
    /// Of nobody in particular; the addresses are those of documentation (RFC 5737).
    fn any() -> Self {
        Self {
            user: "no-such-user".to_owned(),
            host: "host.invalid".to_owned(),
            address: "192.0.2.1".to_owned(),
            local_address: "192.0.2.2".to_owned(),
            local_port: "22".to_owned(),
        }
    }

    /// One that satisfies these criteria; `None` where that is not certain.
    fn matching(criteria: &[String], member: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let mut connection = Self::any();
        for pair in criteria.chunks(2) {
            let [criterion, patterns] = pair else { return None };
            let example = example(patterns)?;
            match criterion.to_ascii_lowercase().as_str() {
                "user" => connection.user = example,
                // Of a pattern nobody is known to be a member.
                "group" if !patterns.contains(['*', '?', ',']) => {
                    connection.user = member(patterns)?;
                }
                "host" => connection.host = example,
                "address" => connection.address = example,
                "localaddress" => connection.local_address = example,
                "localport" => connection.local_port = example,
                _ => return None,
            }
        }
        Some(connection)
    }

    /// As after `sshd -C`.
    pub(crate) fn specification(&self) -> String {
        let Self { user, host, address, local_address, local_port } = self;
        format!("user={user},host={host},addr={address},laddr={local_address},lport={local_port}")
    }
}

/// Something that fits the first of these patterns; none if some are excluded.
fn example(patterns: &str) -> Option<String> {
    let first = patterns.split(',').next().filter(|first| !first.is_empty())?;
    let first = first.split('/').next().unwrap_or(first);
    (!patterns.contains('!')).then(|| first.replace(['*', '?'], "1"))
}

/// The values of the keywords that matter.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Settings(BTreeMap<&'static str, String>);

impl Settings {
    /// What sshd does without a word in its configuration.
    fn defaults() -> Self {
        Self(
            KEYWORDS
                .into_iter()
                .zip(["no", "yes", "yes", "any", "yes"].map(str::to_owned))
                .collect(),
        )
    }

    /// Of what `sshd -T` prints.
    fn of_answer(answer: &str) -> Self {
        let mut settings = Self::defaults();
        for line in answer.lines() {
            let (word, value) = line.split_once(' ').unwrap_or((line, ""));
            if let Some(keyword) = keyword(word) {
                settings.0.insert(keyword, value.trim().to_ascii_lowercase());
            }
        }
        settings
    }

    fn of_files(config: &SshdConfig) -> Self {
        let mut settings = Self::defaults();
        for (keyword, setting) in &config.settings {
            settings.0.insert(keyword, setting.value.clone());
        }
        settings
    }

    fn get(&self, keyword: &str) -> &str {
        self.0.get(keyword).map_or("", String::as_str)
    }
}

/// A rule that is broken: by which keyword, how, and what it should be.
struct Breach {
    id: FindingId,
    keyword: &'static str,
    what: &'static str,
    remedy: &'static str,
}

/// What is wrong for a stack that takes the password in this way.
fn breaches(settings: &Settings, password: PasswordMode) -> Vec<Breach> {
    let mut found = Vec::new();
    let mut add = |id, keyword, what, remedy| found.push(Breach { id, keyword, what, remedy });
    if settings.get("usepam") != "yes" {
        let what = "UsePAM is not yes: no code is ever asked for";
        add(FindingId::SshdWithoutPam, "usepam", what, "UsePAM yes");
    }
    let keyword = "kbdinteractiveauthentication";
    if settings.get(keyword) != "yes" {
        let what = "KbdInteractiveAuthentication is not yes: no code can be asked for";
        add(FindingId::SshdWithoutPrompts, keyword, what, "KbdInteractiveAuthentication yes");
    }
    let keyword = "passwordauthentication";
    if settings.get(keyword) != "no" {
        let what = "PasswordAuthentication is not no: it cannot ask for a code";
        add(FindingId::SshdPasswordMethod, keyword, what, "PasswordAuthentication no");
    }
    let keyword = "authenticationmethods";
    let lists = Methods::read(settings.get(keyword));
    match password {
        PasswordMode::None if !lists.all(|list| list.has_key() && list.has_code()) => {
            let what = "password=none, but AuthenticationMethods does not ask for key and code: \
                        a code alone lets in, and users without a record need nothing";
            let remedy = "AuthenticationMethods publickey,keyboard-interactive";
            add(FindingId::SshdCodeAlone, keyword, what, remedy);
        }
        PasswordMode::Verify | PasswordMode::Stack
            if lists.is_set() && !lists.all(List::has_code) =>
        {
            let what = "AuthenticationMethods lets in without keyboard-interactive: no code";
            let remedy = "keyboard-interactive in each list of AuthenticationMethods";
            add(FindingId::SshdMethodWithoutCode, keyword, what, remedy);
        }
        PasswordMode::None | PasswordMode::Verify | PasswordMode::Stack => {}
    }
    found
}

/// Judges sshd for a stack that takes the password in this way; without `config`,
/// its files cannot be read.
pub(crate) fn judge(
    password: PasswordMode,
    config: Option<&SshdConfig>,
    machine: &SshdMachine<'_>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let asked = (machine.ask)(&Connection::any()).map(|answer| Settings::of_answer(&answer));
    if let Err(silence) = &asked {
        found.push(silence.finding());
    }
    let settings = match (&asked, config) {
        (Ok(settings), _) => settings.clone(),
        (Err(_), Some(config)) => Settings::of_files(config),
        (Err(_), None) => {
            let what = format!("{FILE} cannot be read, so what sshd does is not known");
            let remedy = "check that sshd has: UsePAM yes, KbdInteractiveAuthentication yes, \
                          PasswordAuthentication no";
            found.push(Finding::new(FindingId::SshdConfigUnreadable, what, remedy));
            return found;
        }
    };
    for Breach { id, keyword, what, remedy } in breaches(&settings, password) {
        let line = config.and_then(|config| config.settings.get(keyword));
        let place = line.map_or(FILE.to_owned(), |line| line.place.to_string());
        let set = if line.is_some() { format!(" ({place})") } else { String::new() };
        let remedy = format!("in {place}: {remedy}; then reload sshd");
        found.push(Finding::new(id, format!("{what}{set}"), remedy));
    }
    let ask = asked.is_ok().then_some(machine.ask);
    found.extend(judge_overrides(config, &settings, ask, machine.member));
    if found.is_empty() {
        let methods = Methods::read(settings.get("authenticationmethods"));
        let open = !methods.is_set() && settings.get("pubkeyauthentication") != "no";
        let keys = if open { "; ssh keys are accepted without a code" } else { "" };
        found.push(Finding::sound(FindingId::SshdSound, format!("asks for codes{keys}")));
    }
    found
}

/// The lines of Match blocks that make a difference. Where sshd can be asked about a
/// login that the block is about, only those that it says are in force.
fn judge_overrides(
    config: Option<&SshdConfig>,
    settings: &Settings,
    ask: Option<&Ask<'_>>,
    member: &dyn Fn(&str) -> Option<String>,
) -> Vec<Finding> {
    let overrides = config.into_iter().flat_map(|config| &config.overrides);
    let mut found = Vec::new();
    for (number, Override { keyword, criteria, setting }) in overrides.enumerate() {
        let connection = Connection::matching(criteria, member).filter(|_| number < MAX_ASKED);
        let answer = ask.zip(connection).and_then(|(ask, connection)| ask(&connection).ok());
        let in_force = answer.map(|answer| Settings::of_answer(&answer));
        let value = in_force.as_ref().map_or(setting.value.as_str(), |there| there.get(keyword));
        if in_force.is_some() && value == settings.get(keyword) {
            continue;
        }
        let criteria = criteria.join(" ");
        let place = &setting.place;
        let what = format!("Match {criteria} differs: {keyword} {value} ({place})");
        let remedy = "check that those logins are meant to differ";
        found.push(Finding::new(FindingId::SshdMatchDiffers, what, remedy));
    }
    found
}

impl Silence {
    fn finding(&self) -> Finding {
        let instead = "its files are read instead";
        match self {
            Self::NotInstalled => Finding::new(
                FindingId::SshdNotAsked,
                format!("there is no sshd to ask what is in force: {instead}"),
                "install sshd, or take pam_onetime.so out of /etc/pam.d/sshd",
            ),
            Self::Refused(why) => Finding::new(
                FindingId::SshdConfigRefused,
                format!("{why}: sshd does not start with it"),
                "correct the line; sshd -t says whether sshd accepts it",
            ),
            Self::Failed(why) => Finding::new(
                FindingId::SshdNotAsked,
                format!("sshd does not say what is in force ({why}): {instead}"),
                "start sshd, which makes what is missing (host keys, /run/sshd); \
                 sshd -T says whether it answers",
            ),
        }
    }

    /// Of what `sshd -T` says when it fails: a line of its configuration, or
    /// something else.
    pub(crate) fn of(complaint: &str) -> Self {
        let first = complaint.lines().next().unwrap_or_default().trim().to_owned();
        if first.starts_with('/') && first.contains("line ") {
            Self::Refused(first)
        } else {
            Self::Failed(first)
        }
    }
}

/// One of the lists of AuthenticationMethods.
struct List<'a>(Vec<&'a str>);

impl List<'_> {
    fn has_code(&self) -> bool {
        self.0.contains(&"keyboard-interactive")
    }

    fn has_key(&self) -> bool {
        ["publickey", "hostbased", "gssapi-with-mic"].iter().any(|key| self.0.contains(key))
    }
}

/// AuthenticationMethods; not set, or `any`: none.
struct Methods<'a>(Vec<List<'a>>);

impl<'a> Methods<'a> {
    fn read(value: &'a str) -> Self {
        let lists = value.split_whitespace().filter(|list| *list != "any").map(|list| {
            // keyboard-interactive:pam is one way of it.
            let methods = list.split(',').map(|method| method.split(':').next().unwrap_or(method));
            List(methods.collect())
        });
        Self(lists.collect())
    }

    const fn is_set(&self) -> bool {
        !self.0.is_empty()
    }

    fn all(&self, holds: impl Fn(&List<'a>) -> bool) -> bool {
        self.is_set() && self.0.iter().all(holds)
    }
}

#[cfg(test)]
mod tests {
    use FindingId::*;
    use PasswordMode::{None, Stack, Verify};

    use super::*;

    const GOOD: &str = "UsePAM yes\nKbdInteractiveAuthentication yes\nPasswordAuthentication no\n";

    fn config(text: &str) -> SshdConfig {
        SshdConfig::read(FILE, text, &|_: &str| Vec::new())
    }

    /// The findings where sshd does not answer.
    fn unasked(text: &str, password: PasswordMode) -> Vec<Finding> {
        let silent = |_: &Connection| Err(Silence::NotInstalled);
        let machine = SshdMachine { ask: &silent, member: &|_: &str| Option::None };
        let mut found = judge(password, Some(&config(text)), &machine);
        assert_eq!(found.remove(0).id, SshdNotAsked);
        found
    }

    #[test]
    fn each_fault_has_its_name_whether_sshd_answers_or_not() {
        let both = "AuthenticationMethods publickey,keyboard-interactive:pam\n";
        let either = "AuthenticationMethods publickey,keyboard-interactive publickey\n";
        for (before, mode, id) in [
            ("", Verify, SshdSound),
            ("", Stack, SshdSound),
            ("UsePAM no\n", Verify, SshdWithoutPam),
            ("ChallengeResponseAuthentication no\n", Verify, SshdWithoutPrompts),
            ("PasswordAuthentication yes\n", Verify, SshdPasswordMethod),
            ("", None, SshdCodeAlone),
            (both, None, SshdSound),
            (either, None, SshdCodeAlone),
            ("AuthenticationMethods any\n", None, SshdCodeAlone),
            ("AuthenticationMethods keyboard-interactive\n", None, SshdCodeAlone),
            (either, Verify, SshdMethodWithoutCode),
        ] {
            // What sshd says counts, whatever the files say.
            let answer = format!("{GOOD}{before}").to_ascii_lowercase();
            let ask = |_: &Connection| Ok(answer.clone());
            let machine = SshdMachine { ask: &ask, member: &|_: &str| Option::None };
            let asked = judge(mode, Some(&config("UsePAM no")), &machine);
            let ids: Vec<_> = asked.iter().map(|finding| finding.id).collect();
            assert_eq!(ids, [id], "{before}: {asked:?}");

            let found = unasked(&format!("{before}{GOOD}"), mode);
            let ids: Vec<_> = found.iter().map(|finding| finding.id).collect();
            let ids: Vec<_> = ids.into_iter().filter(|id| *id != SshdSound).collect();
            let expected: Vec<_> = [id].into_iter().filter(|id| *id != SshdSound).collect();
            assert_eq!(ids, expected, "{before}: {found:?}");
        }
        // What sshd does without a word in its configuration.
        let found: Vec<_> = unasked("", Verify).into_iter().map(|f| f.id).collect();
        assert_eq!(found, [SshdWithoutPam, SshdPasswordMethod]);
    }

    #[test]
    fn the_line_that_sets_it_is_named() {
        let found = unasked(&format!("# c\nUsePAM no\n{GOOD}"), Verify);
        assert!(found[0].what.contains("sshd_config:2"), "{found:?}");
        assert!(found[0].remedy.as_ref().unwrap().contains("sshd_config:2: UsePAM yes"));
    }

    #[test]
    fn a_block_differs_if_sshd_says_so_for_a_login_that_it_is_about() {
        let text = "Match User bob,al*\nPasswordAuthentication yes\n\
                    Match Group staff Address 10.0.0.0/8\nPasswordAuthentication yes\n\
                    Match User *,!root\nPasswordAuthentication no\n";
        let good = GOOD.to_ascii_lowercase();
        let ask = |connection: &Connection| {
            let differs = connection.user == "bob";
            Ok(if differs {
                good.replace("passwordauthentication no", "passwordauthentication yes")
            } else {
                good.clone()
            })
        };
        let member = |group: &str| (group == "staff").then(|| "carol".to_owned());
        let found = judge(Verify, Some(&config(text)), &SshdMachine { ask: &ask, member: &member });
        let named: Vec<_> = found.iter().map(|finding| (finding.id, &finding.what)).collect();
        let [(SshdMatchDiffers, bob), (SshdMatchDiffers, others)] = named.as_slice() else {
            panic!("{named:?}")
        };
        // Which logins the last is about is not certain: the file counts.
        assert!(bob.contains("bob,al*") && others.contains("!root"), "{named:?}");
    }

    #[test]
    fn a_connection_satisfies_the_criteria_or_there_is_none() {
        let member = |group: &str| (group == "staff").then(|| "carol".to_owned());
        for (criteria, expected) in [
            (
                "Host *.example.org LocalPort 2222",
                Some(
                    "user=no-such-user,host=1.example.org,addr=192.0.2.1,laddr=192.0.2.2,lport=2222",
                ),
            ),
            (
                "group staff address 10.0.0.0/8,192.168.*",
                Some("user=carol,host=host.invalid,addr=10.0.0.0,laddr=192.0.2.2,lport=22"),
            ),
            ("Group nobody-there", Option::None),
            ("Group st*", Option::None),
            ("User !root,*", Option::None),
            ("Canonical", Option::None),
            ("RDomain x", Option::None),
        ] {
            let words: Vec<_> = criteria.split(' ').map(str::to_owned).collect();
            let found = Connection::matching(&words, &member);
            let found = found.map(|connection| connection.specification());
            assert_eq!(found.as_deref(), expected, "{criteria}");
        }
    }

    #[test]
    fn a_refused_configuration_is_not_taken_for_an_sshd_that_cannot_answer() {
        for (complaint, id) in [
            ("/etc/ssh/sshd_config: line 1: Bad configuration option: Foo\nx", SshdConfigRefused),
            (
                "/etc/ssh/sshd_config line 3: Directive 'UsePAM' is not allowed within a Match block",
                SshdConfigRefused,
            ),
            ("Missing privilege separation directory: /run/sshd", SshdNotAsked),
            ("sshd: no hostkeys available -- exiting.", SshdNotAsked),
            ("/etc/ssh/sshd_config: No such file or directory", SshdNotAsked),
            ("", SshdNotAsked),
        ] {
            assert_eq!(Silence::of(complaint).finding().id, id, "{complaint}");
        }
        assert_eq!(Silence::NotInstalled.finding().id, SshdNotAsked);
        let silent = |_: &Connection| Err(Silence::NotInstalled);
        let machine = SshdMachine { ask: &silent, member: &|_: &str| Option::None };
        let found = judge(Verify, Option::None, &machine);
        assert_eq!(found[1].id, SshdConfigUnreadable);
    }
}
