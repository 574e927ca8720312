//! Reads sshd_config(5): which line sets the keywords that matter to a code, and
//! which Match blocks do. What is in force is for sshd itself to say; this names
//! the line, or is used where sshd does not answer. Text in, values out.

use std::collections::BTreeMap;

use super::stack::Location;

/// As deep as sshd follows includes.
const MAX_DEPTH: u32 = 16;

/// The files that a pattern after `Include` means: name and text of each.
pub(crate) type Includes<'a> = dyn Fn(&str) -> Vec<(String, String)> + 'a;

/// What can go wrong with a code, as `sshd -T` spells it.
pub(super) const KEYWORDS: [&str; 7] = [
    "usepam",
    "kbdinteractiveauthentication",
    "passwordauthentication",
    "authenticationmethods",
    "pubkeyauthentication",
    "pamservicename",
    "persourcepenalties",
];

/// The keyword of [`KEYWORDS`] that a word means.
pub(super) fn keyword(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    // Its name until OpenSSH 8.7.
    let word = match word.as_str() {
        "challengeresponseauthentication" => "kbdinteractiveauthentication",
        word => word,
    };
    KEYWORDS.into_iter().find(|known| *known == word)
}

/// The value of a keyword, and the line that sets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// In lower case, to be compared with the words that are known.
    pub(super) value: String,
    pub(super) place: Location,
}

/// A line of a Match block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Override {
    pub(super) keyword: &'static str,
    /// The words after Match.
    pub(super) criteria: Vec<String>,
    pub(super) setting: Setting,
}

/// The keywords that matter, as the files set them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SshdConfig {
    /// For everybody: the first value of each.
    pub(super) settings: BTreeMap<&'static str, Setting>,
    /// For some logins.
    pub(super) overrides: Vec<Override>,
}

impl SshdConfig {
    /// Reads the text of the file `name`, and what it includes.
    pub(crate) fn read(name: &str, text: &str, includes: &Includes<'_>) -> Self {
        let mut config = Self::default();
        config.add(name, text, None, 0, includes);
        config
    }

    /// A Match block ends with its file.
    fn add(
        &mut self,
        name: &str,
        text: &str,
        within: Option<&[String]>,
        depth: u32,
        includes: &Includes<'_>,
    ) {
        let mut within = within.map(<[String]>::to_vec);
        for (line, text) in (1..).zip(text.lines()) {
            let words = words(text);
            let Some((first, arguments)) = words.split_first() else { continue };
            match first.to_ascii_lowercase().as_str() {
                "match" if arguments.first().is_some_and(|a| a.eq_ignore_ascii_case("all")) => {
                    within = None;
                }
                "match" => within = Some(arguments.to_vec()),
                "include" if depth < MAX_DEPTH => {
                    for (name, text) in arguments.iter().flat_map(|pattern| includes(pattern)) {
                        let depth = depth.saturating_add(1);
                        self.add(&name, &text, within.as_deref(), depth, includes);
                    }
                }
                first => {
                    let Some(keyword) = keyword(first) else { continue };
                    let place = Location { file: name.to_owned(), line };
                    let value = arguments.join(" ").to_ascii_lowercase();
                    self.set(keyword, Setting { value, place }, within.as_deref());
                }
            }
        }
    }

    fn set(&mut self, keyword: &'static str, setting: Setting, within: Option<&[String]>) {
        match within {
            None => {
                self.settings.entry(keyword).or_insert(setting);
            }
            Some(criteria) => {
                let criteria = criteria.to_vec();
                self.overrides.push(Override { keyword, criteria, setting });
            }
        }
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

    fn read(text: &str) -> SshdConfig {
        let file = |name: &str, text: &str| vec![(name.to_owned(), text.to_owned())];
        let includes = |pattern: &str| match pattern {
            "conf.d/*.conf" => file("a.conf", "UsePAM no\nPasswordAuthentication no\n"),
            "match.conf" => file("m.conf", "Match User bob\n\nPasswordAuthentication yes\n"),
            "loop" => file("loop", "Include loop\n"),
            _ => Vec::new(),
        };
        SshdConfig::read("c", text, &includes)
    }

    fn line(config: &SshdConfig, keyword: &str) -> String {
        let Setting { value, place } = &config.settings[keyword];
        format!("{value} {place}")
    }

    #[test]
    fn the_first_value_of_a_keyword_holds_wherever_it_is() {
        let config = read(" usepam = \"yes\" # c\nInclude conf.d/*.conf\nUsePAM no\nInclude loop");
        assert_eq!(line(&config, "usepam"), "yes c:1");
        assert_eq!(line(&config, "passwordauthentication"), "no a.conf:2");
        let config = read("Include match.conf\nPasswordAuthentication no\n");
        let [bob] = config.overrides.as_slice() else { panic!("{config:?}") };
        assert_eq!((bob.criteria.join(" "), bob.setting.place.line), ("User bob".to_owned(), 3));
        assert_eq!(line(&config, "passwordauthentication"), "no c:2");
        let config = read("Match User bob\nUsePAM no\nMatch all\nUsePAM yes\n");
        assert_eq!(line(&config, "usepam"), "yes c:4");
        let config = read("ChallengeResponseAuthentication no");
        assert_eq!(line(&config, "kbdinteractiveauthentication"), "no c:1");
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
            read(&text);
            fits(&pattern, &text);
        }
    }
}
