//! Judges sshd by what it says is in force (`sshd -T`), for everybody and for the
//! logins that a Match block is about, together with the PAM services that it uses then.
//! Where it does not answer, what its files say is judged. Values in, findings out.

use std::collections::{BTreeMap, BTreeSet};

use pam_onetime::PasswordMode;

use super::finding::{Finding, FindingId};
use super::services::{Accounts, SshdStack};
use super::sshd_config::{KEYWORDS, Override, SshdConfig, keyword};

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
                .zip(["no", "yes", "yes", "any", "yes", "sshd", "no"].map(str::to_owned))
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

    /// Whether somebody who types something can get in.
    fn accepts_passwords(&self) -> bool {
        let methods = ["kbdinteractiveauthentication", "passwordauthentication"];
        let offered = methods.iter().any(|method| self.get(method) == "yes");
        let lists = Methods::read(self.get("authenticationmethods"));
        offered && (!lists.is_set() || lists.0.iter().any(List::has_password))
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

/// What is in force for the logins that a line of a Match block is about.
struct Block<'a> {
    line: &'a Override,
    /// What sshd says; none if it cannot be asked about such a login.
    settings: Option<Settings>,
}

/// What is in force, for everybody and for some.
pub(crate) struct InForce<'a> {
    config: Option<&'a SshdConfig>,
    /// The main file, for messages.
    file: &'a str,
    silence: Option<Silence>,
    /// None if neither sshd nor its files say.
    settings: Option<Settings>,
    blocks: Vec<Block<'a>>,
}

impl<'a> InForce<'a> {
    /// Asks sshd; without `config`, its files cannot be read. `file` is the first of them.
    pub(crate) fn find(
        file: &'a str,
        config: Option<&'a SshdConfig>,
        machine: &SshdMachine<'_>,
    ) -> Self {
        let asked = (machine.ask)(&Connection::any()).map(|answer| Settings::of_answer(&answer));
        let can_ask = asked.is_ok();
        let overrides = config.into_iter().flat_map(|config| &config.overrides).enumerate();
        let blocks = overrides.map(|(number, line)| {
            let connection = Connection::matching(&line.criteria, machine.member)
                .filter(|_| can_ask && number < MAX_ASKED);
            let answer = connection.and_then(|connection| (machine.ask)(&connection).ok());
            Block { line, settings: answer.map(|answer| Settings::of_answer(&answer)) }
        });
        let blocks = blocks.collect();
        let (silence, settings) = match asked {
            Ok(settings) => (None, Some(settings)),
            Err(silence) => (Some(silence), config.map(Settings::of_files)),
        };
        Self { config, file, silence, settings, blocks }
    }

    /// Whether there is an sshd.
    pub(crate) fn is_installed(&self) -> bool {
        self.silence != Some(Silence::NotInstalled)
    }

    /// The PAM services that it uses, for whomever.
    pub(crate) fn services(&self) -> BTreeSet<String> {
        let keyword = "pamservicename";
        let every = self.settings.as_ref().map_or("sshd", |settings| settings.get(keyword));
        let blocks = self.blocks.iter().filter(|block| block.line.keyword == keyword);
        let some = blocks.map(Block::value);
        [every].into_iter().chain(some).map(str::to_owned).collect()
    }
}

impl Block<'_> {
    /// What is in force of the keyword that its line sets.
    fn value(&self) -> &str {
        match &self.settings {
            Some(settings) => settings.get(self.line.keyword),
            None => &self.line.setting.value,
        }
    }
}

/// Judges sshd together with its services, each by `stacks`.
pub(crate) fn judge(
    in_force: &InForce<'_>,
    stacks: &BTreeMap<String, SshdStack>,
    accounts: Accounts,
) -> Vec<Finding> {
    let is_open = |stack: &SshdStack| matches!(stack, SshdStack::Open(_));
    let uses_us = |stack: &SshdStack| matches!(stack, SshdStack::Code(_) | SshdStack::Refused);
    let matters = stacks.values().any(uses_us)
        || (accounts == Accounts::Active
            && in_force.is_installed()
            && stacks.values().any(is_open));
    if !matters {
        return Vec::new();
    }
    let mut found: Vec<_> = in_force.silence.iter().map(Silence::finding).collect();
    let Some(settings) = &in_force.settings else {
        let what = format!("{} cannot be read, so what sshd does is not known", in_force.file);
        let remedy = "check that sshd has: UsePAM yes, KbdInteractiveAuthentication yes, \
                      PasswordAuthentication no";
        found.push(Finding::new(FindingId::SshdConfigUnreadable, what, remedy));
        return found;
    };
    let everybody = Judged { in_force, settings, stacks, accounts };
    found.extend(everybody.findings(None));
    for block in &in_force.blocks {
        found.extend(everybody.of_block(block));
    }
    if found.is_empty() {
        found.push(Finding::sound(FindingId::SshdSound, everybody.sound()));
    }
    let penalties = settings.get("persourcepenalties");
    if !["no", ""].contains(&penalties) {
        let what = "after a few failed logins sshd refuses an address for a while, with all who \
                    are behind it (PerSourcePenalties; PerSourcePenaltyExemptList exempts some)";
        found.push(Finding::sound(FindingId::SshdPenalties, what));
    }
    found
}

/// What is in force for some logins, and what is judged with it.
struct Judged<'a> {
    in_force: &'a InForce<'a>,
    settings: &'a Settings,
    stacks: &'a BTreeMap<String, SshdStack>,
    accounts: Accounts,
}

impl Judged<'_> {
    fn service(&self) -> &str {
        self.settings.get("pamservicename")
    }

    /// What is wrong for those logins; `only`: those of a Match block, by its line.
    fn findings(&self, only: Option<&Override>) -> Vec<Finding> {
        match self.stacks.get(self.service()) {
            Some(SshdStack::Code(password)) => breaches(self.settings, *password)
                .into_iter()
                .map(|breach| self.breach(&breach, only))
                .collect(),
            Some(SshdStack::Open(line))
                if self.accounts == Accounts::Active && self.settings.accepts_passwords() =>
            {
                vec![self.open(line, only)]
            }
            Some(SshdStack::Open(_) | SshdStack::Refused | SshdStack::Closed) | None => Vec::new(),
        }
    }

    fn breach(&self, breach: &Breach, only: Option<&Override>) -> Finding {
        let Breach { id, keyword, what, remedy } = breach;
        let line = self.in_force.config.and_then(|config| config.settings.get(keyword));
        let (set, place) = match line {
            Some(line) => (format!(" ({})", line.place), line.place.to_string()),
            // Below a Match line it would be for some logins only.
            None => (String::new(), format!("{}, above each Match", self.in_force.file)),
        };
        let whom = only.map_or(String::new(), |line| {
            format!("Match {} ({}): ", line.criteria.join(" "), line.setting.place)
        });
        let remedy = format!("in {place}: {remedy}; then reload sshd");
        Finding::new(*id, format!("{whom}{what}{set}"), remedy)
    }

    /// A password alone lets in by ssh, though somebody is to be asked for a code.
    fn open(&self, line: &str, only: Option<&Override>) -> Finding {
        let service = self.service();
        let config = self.in_force.config;
        let setting = only
            .map(|line| &line.setting)
            .or_else(|| config.and_then(|config| config.settings.get("pamservicename")));
        let by = setting.map_or(String::new(), |setting| format!(" by {}", setting.place));
        let whom =
            only.map_or(String::new(), |line| format!("Match {}: ", line.criteria.join(" ")));
        let what = format!(
            "{whom}accounts are active, and sshd uses the service {service}{by}, where a password \
             alone lets in: {line}"
        );
        let remedy = format!(
            "put pam_onetime.so in the place of what checks the password in /etc/pam.d/{service} \
             (README.md, \"Set up\"): an update may have put the file back"
        );
        Finding::new(FindingId::SshdWithoutCode, what, remedy)
    }

    /// About a line of a Match block that makes a difference.
    fn of_block(&self, block: &Block<'_>) -> Vec<Finding> {
        let Block { line, settings } = block;
        let Override { keyword, criteria, setting } = line;
        let value = block.value();
        if settings.is_some() && value == self.settings.get(keyword) {
            return Vec::new();
        }
        if *keyword == "pamservicename" {
            let mut there = settings.clone().unwrap_or_else(|| self.settings.clone());
            there.0.insert(keyword, value.to_owned());
            let there = Judged { settings: &there, ..*self };
            let before = self.findings(None);
            let found = there.findings(Some(line)).into_iter();
            // What is wrong for everybody has been said.
            return found.filter(|found| !before.iter().any(|said| said.id == found.id)).collect();
        }
        let criteria = criteria.join(" ");
        let place = &setting.place;
        let what = format!("Match {criteria} differs: {keyword} {value} ({place})");
        let remedy = format!("check that those logins are meant to differ: {place}");
        vec![Finding::new(FindingId::SshdMatchDiffers, what, remedy)]
    }

    fn sound(&self) -> String {
        if let Some(SshdStack::Open(_)) = self.stacks.get(self.service()) {
            return "accepts no password, and asks for no code".to_owned();
        }
        let methods = Methods::read(self.settings.get("authenticationmethods"));
        let open = !methods.is_set() && self.settings.get("pubkeyauthentication") != "no";
        let keys = if open { "; ssh keys are accepted without a code" } else { "" };
        format!("asks for codes{keys}")
    }
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

    fn has_password(&self) -> bool {
        self.has_code() || self.0.contains(&"password")
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

    const FILE: &str = "/etc/ssh/sshd_config";

    const GOOD: &str = "UsePAM yes\nKbdInteractiveAuthentication yes\nPasswordAuthentication no\n";

    fn config(text: &str) -> SshdConfig {
        SshdConfig::read(FILE, text, &|_: &str| Vec::new())
    }

    /// The findings for an sshd whose service takes the password in this way.
    fn judge(
        password: PasswordMode,
        config: Option<&SshdConfig>,
        machine: &SshdMachine<'_>,
    ) -> Vec<Finding> {
        let stacks = BTreeMap::from([("sshd".to_owned(), SshdStack::Code(password))]);
        let in_force = InForce::find(FILE, config, machine);
        super::judge(&in_force, &stacks, Accounts::NoneActive)
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

    /// The findings with these stacks, where `bob` has another service.
    fn with_services(
        everybody: (&str, SshdStack),
        bob: Option<(&str, SshdStack)>,
        before: &str,
        accounts: Accounts,
    ) -> Vec<Finding> {
        let answer = |service: &str| format!("{before}\n{GOOD}PAMServiceName {service}\n");
        let ask = |connection: &Connection| {
            let theirs = bob.as_ref().filter(|_| connection.user == "bob");
            Ok(answer(theirs.map_or(everybody.0, |(service, _)| service)))
        };
        let text = bob.as_ref().map_or(String::new(), |(service, _)| {
            format!("Match User bob\nPAMServiceName {service}\n")
        });
        let config = config(&text);
        let machine = SshdMachine { ask: &ask, member: &|_: &str| Option::None };
        let in_force = InForce::find(FILE, Some(&config), &machine);
        let stacks = [Some(everybody.clone()), bob.clone()].into_iter().flatten();
        let stacks: BTreeMap<_, _> =
            stacks.map(|(service, stack)| (service.to_owned(), stack)).collect();
        assert_eq!(in_force.services(), stacks.keys().cloned().collect());
        super::judge(&in_force, &stacks, accounts)
    }

    #[test]
    fn the_service_that_sshd_uses_is_the_one_that_counts_also_in_a_block() {
        let open = || SshdStack::Open("common-auth:1 pam_unix.so".to_owned());
        let code = || SshdStack::Code(Verify);
        let ids = |found: &[Finding]| found.iter().map(|f| f.id).collect::<Vec<_>>();

        let found = with_services(("ssh-code", code()), Option::None, "", Accounts::Active);
        assert_eq!(ids(&found), [SshdSound]);
        let found = with_services(("sshd", open()), Option::None, "", Accounts::Active);
        assert_eq!(ids(&found), [SshdWithoutCode]);
        assert!(found[0].what.contains("common-auth:1 pam_unix.so"), "{found:?}");
        assert!(found[0].remedy.as_ref().unwrap().contains("/etc/pam.d/sshd"), "{found:?}");
        // Nobody is to be asked, or nobody types a password.
        assert_eq!(with_services(("sshd", open()), Option::None, "", Accounts::NoneActive), []);
        let keys = "AuthenticationMethods publickey";
        let found = with_services(("sshd", open()), Option::None, keys, Accounts::Active);
        assert_eq!(ids(&found), [SshdSound]);

        let bob = Some(("plain", open()));
        let found = with_services(("sshd", code()), bob, "", Accounts::Active);
        assert_eq!(ids(&found), [SshdWithoutCode]);
        assert!(
            found[0].what.contains("Match User bob") && found[0].what.contains("sshd_config:2")
        );
        let bob = Some(("ssh-key", SshdStack::Code(None)));
        let found = with_services(("sshd", code()), bob, "", Accounts::Active);
        assert_eq!(ids(&found), [SshdCodeAlone]);
        let bob = Some(("other-code", code()));
        let found = with_services(("sshd", code()), bob, "", Accounts::Active);
        assert_eq!(ids(&found), [SshdSound]);
    }

    #[test]
    fn an_sshd_that_shuts_addresses_out_is_told() {
        let code = SshdStack::Code(Verify);
        let penalties = "PerSourcePenalties crash:90 authfail:5";
        let found = with_services(("sshd", code), Option::None, penalties, Accounts::Active);
        assert_eq!(found.iter().map(|f| f.id).collect::<Vec<_>>(), [SshdSound, SshdPenalties]);
        assert_eq!(found[1].remedy, Option::None);
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
