//! Judges sshd_config(5) for a sshd whose stack uses the module. Text in,
//! findings out; sshd itself is not asked.

use std::collections::BTreeMap;

use pam_onetime::PasswordMode;

use super::finding::{Finding, FindingId};

/// As deep as sshd follows includes.
const MAX_DEPTH: u32 = 16;

/// The files that a pattern after `Include` stands for.
pub(crate) type Files<'a> = dyn Fn(&str) -> Vec<String> + 'a;

/// What can go wrong with a code.
const KEYWORDS: [&str; 5] = [
    "usepam",
    "kbdinteractiveauthentication",
    "passwordauthentication",
    "authenticationmethods",
    "pubkeyauthentication",
];

/// The settings that matter: the first value of each, and Match blocks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    values: BTreeMap<&'static str, String>,
    /// `keyword (criteria)`
    overridden: Vec<String>,
}

impl Settings {
    /// Reads the text of sshd_config, and what it includes.
    pub(crate) fn read(text: &str, files: &Files<'_>) -> Self {
        let mut settings = Self::default();
        settings.add(text, None, 0, files);
        settings
    }

    /// A Match block ends with its file.
    fn add(&mut self, text: &str, within: Option<&str>, depth: u32, files: &Files<'_>) {
        let mut within = within.map(str::to_owned);
        for line in text.lines() {
            let words = words(line);
            let Some((keyword, arguments)) = words.split_first() else { continue };
            match keyword.to_ascii_lowercase().as_str() {
                "match" if arguments.first().is_some_and(|a| a.eq_ignore_ascii_case("all")) => {
                    within = None;
                }
                "match" => within = Some(arguments.join(" ")),
                "include" if depth < MAX_DEPTH => {
                    for text in arguments.iter().flat_map(|pattern| files(pattern)) {
                        self.add(&text, within.as_deref(), depth.saturating_add(1), files);
                    }
                }
                // Its name until OpenSSH 8.7.
                "challengeresponseauthentication" => {
                    self.set("kbdinteractiveauthentication", arguments, within.as_deref());
                }
                keyword => self.set(keyword, arguments, within.as_deref()),
            }
        }
    }

    fn set(&mut self, keyword: &str, arguments: &[String], within: Option<&str>) {
        let Some(keyword) = KEYWORDS.into_iter().find(|known| *known == keyword) else { return };
        let value = arguments.join(" ").to_ascii_lowercase();
        match within {
            None => {
                self.values.entry(keyword).or_insert(value);
            }
            Some(criteria) => self.overridden.push(format!("{keyword} {value} (Match {criteria})")),
        }
    }

    fn is(&self, keyword: &str, wanted: &str, default: &str) -> bool {
        self.values.get(keyword).map_or(default, String::as_str) == wanted
    }

    /// Judges them for a stack that takes the password in this way.
    pub(crate) fn judge(&self, password: PasswordMode) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut add = |id, what: &str, remedy: &str| {
            let remedy = format!("in /etc/ssh/sshd_config: {remedy}; then reload sshd");
            found.push(Finding::new(id, what, remedy));
        };
        if !self.is("usepam", "yes", "no") {
            let what = "UsePAM is not yes: no code is ever asked for";
            add(FindingId::SshdWithoutPam, what, "UsePAM yes");
        }
        if !self.is("kbdinteractiveauthentication", "yes", "yes") {
            let what = "KbdInteractiveAuthentication is not yes: no code can be asked for";
            add(FindingId::SshdWithoutPrompts, what, "KbdInteractiveAuthentication yes");
        }
        if !self.is("passwordauthentication", "no", "yes") {
            let what = "PasswordAuthentication is not no: it cannot ask for a code";
            add(FindingId::SshdPasswordMethod, what, "PasswordAuthentication no");
        }
        let lists = Methods::read(self.values.get("authenticationmethods"));
        match password {
            PasswordMode::None if !lists.all(|list| list.has_key() && list.has_code()) => {
                let what = "password=none, but AuthenticationMethods does not ask for key and code: \
                            a code alone lets in, and users without a record need nothing";
                add(
                    FindingId::SshdCodeAlone,
                    what,
                    "AuthenticationMethods publickey,keyboard-interactive",
                );
            }
            PasswordMode::Verify | PasswordMode::Stack
                if lists.is_set() && !lists.all(List::has_code) =>
            {
                let what = "AuthenticationMethods lets in without keyboard-interactive: no code";
                add(
                    FindingId::SshdMethodWithoutCode,
                    what,
                    "keyboard-interactive in each list of AuthenticationMethods",
                );
            }
            PasswordMode::None | PasswordMode::Verify | PasswordMode::Stack => {}
        }
        for overridden in &self.overridden {
            let what = format!("a Match block overrides: {overridden}");
            add(FindingId::SshdMatchDiffers, &what, "see that those logins are meant to differ");
        }
        if found.is_empty() {
            let open = !lists.is_set() && !self.is("pubkeyauthentication", "no", "yes");
            let keys = if open { "; ssh keys are accepted without a code" } else { "" };
            found.push(Finding::sound(FindingId::SshdSound, format!("asks for codes{keys}")));
        }
        found
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
    fn read(value: Option<&'a String>) -> Self {
        let lists = value.into_iter().flat_map(|value| value.split_whitespace());
        let lists = lists.filter(|list| *list != "any").map(|list| {
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

/// Keyword and arguments of a line, with `=` or space between them.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim().chars().peekable();
    loop {
        let equals = words.len() == 1;
        while rest.next_if(|c| c.is_whitespace() || (equals && *c == '=')).is_some() {}
        let mut word = String::new();
        match rest.peek() {
            None | Some('#') => return words,
            Some('"') => {
                rest.next();
                word.extend(std::iter::from_fn(|| rest.next_if(|c| *c != '"')));
                rest.next();
            }
            Some(_) => {
                let keyword = words.is_empty();
                let ends = |c: &char| c.is_whitespace() || (keyword && *c == '=');
                word.extend(std::iter::from_fn(|| rest.next_if(|c| !ends(c))));
                if word.is_empty() {
                    // A `=` in the place of a keyword.
                    word.extend(rest.next());
                }
            }
        }
        words.push(word);
    }
}

/// Whether a file's name fits a pattern with `*` and `?`.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    if name.first() == Some(&'.') && pattern.first() != Some(&'.') {
        return false;
    }
    // `reached`: whether the pattern so far fits the first so many characters.
    let mut reached = vec![false; name.len().saturating_add(1)];
    if let Some(start) = reached.first_mut() {
        *start = true;
    }
    for wanted in pattern {
        let mut next = Vec::with_capacity(reached.len());
        let mut before = false;
        for (index, here) in reached.iter().enumerate() {
            let fits_one =
                index > 0 && (wanted == '?' || name.get(index.saturating_sub(1)) == Some(&wanted));
            let fits_any = wanted == '*' && (*here || next.last() == Some(&true));
            next.push(if wanted == '*' { fits_any } else { fits_one && before });
            before = *here;
        }
        reached = next;
    }
    reached.last() == Some(&true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "UsePAM yes\nKbdInteractiveAuthentication yes\nPasswordAuthentication no\n";

    fn read(text: &str) -> Settings {
        let files = |pattern: &str| match pattern {
            "conf.d/*.conf" => vec!["UsePAM no\n".to_owned(), GOOD.to_owned()],
            "match.conf" => vec!["Match User bob\nPasswordAuthentication yes\n".to_owned()],
            "loop" => vec!["Include loop\n".to_owned()],
            _ => Vec::new(),
        };
        Settings::read(text, &files)
    }

    #[test]
    fn the_first_value_of_a_keyword_holds_wherever_it_stands() {
        let settings =
            read(" usepam = \"yes\" # c\nInclude conf.d/*.conf\nUsePAM no\nInclude loop");
        assert_eq!(settings.judge(PasswordMode::Verify).len(), 1, "{settings:?}");
        let settings = read(&format!("Include match.conf\n{GOOD}"));
        assert_eq!(settings.overridden, ["passwordauthentication yes (Match User bob)"]);
        assert_eq!(settings.values["passwordauthentication"], "no");
        let settings = read("Match User bob\nUsePAM no\nMatch all\nUsePAM yes\n");
        assert_eq!(settings.values["usepam"], "yes");
    }

    #[test]
    fn each_fault_has_its_name() {
        use FindingId::*;
        use PasswordMode::{None, Stack, Verify};
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
            let found = read(&format!("{before}{GOOD}")).judge(mode);
            let ids: Vec<_> = found.iter().map(|finding| finding.id).collect();
            assert_eq!(ids, [id], "{before}: {found:?}");
        }
        let found =
            read(&format!("{GOOD}Match Group x\nAuthenticationMethods any\n")).judge(Verify);
        let differs = |f: &Finding| f.id == SshdMatchDiffers && f.what.contains("Match Group x");
        assert!(found.iter().any(differs));
        // What sshd does without a word in its configuration.
        let found: Vec<_> = read("").judge(Verify).into_iter().map(|f| f.id).collect();
        assert_eq!(found, [SshdWithoutPam, SshdPasswordMethod]);
        let keys = &read(GOOD).judge(Verify)[0].what;
        assert!(keys.contains("keys are accepted without a code"), "{keys}");
    }

    #[test]
    fn patterns_fit_as_in_a_shell() {
        for (pattern, name, does) in [
            ("*.conf", "a.conf", true),
            ("*.conf", ".conf", false),
            ("*.conf", "a.conf.bak", false),
            ("?a*", "xab", true),
            ("?a*", "a", false),
            ("*", "", true),
            ("a*b*c", "aXbYbc", true),
            ("plain", "plain", true),
        ] {
            assert_eq!(fits(pattern, name), does, "{pattern} {name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_text_is_too_strange(text in "(?s).{0,200}", pattern in ".{0,20}") {
            read(&text).judge(PasswordMode::None);
            fits(&pattern, &text);
        }
    }
}
