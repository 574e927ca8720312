//! Dovecot: its cache repeats a success of PAM without asking, and a second database may know
//! the same passwords.

use std::collections::BTreeSet;

use super::super::finding::{Finding, FindingId};
use super::{ConfigLines, ProgramFiles};

/// Where it reads its configuration.
const FILES: [&str; 2] = ["/etc/dovecot/dovecot.conf", "/usr/local/etc/dovecot/dovecot.conf"];
/// What a service named after the protocol (`%s`) may be.
const PROTOCOLS: [&str; 8] =
    ["imap", "pop3", "smtp", "submission", "sieve", "managesieve", "lmtp", "doveadm"];

/// A `passdb` block.
#[derive(Debug, Default, Clone)]
struct Database {
    place: String,
    driver: String,
    /// The PAM service.
    service: Option<String>,
    /// By what its cache finds a success again, and the line; none: it is not cached.
    cache_key: Option<String>,
    /// Whether it is in the notation of Dovecot 2.4, where all is cached unless told not to.
    is_of_24: bool,
    is_kept_from_cache: bool,
}

impl Database {
    fn asks_one_of(&self, users: &BTreeSet<String>) -> bool {
        let service = self.service.as_deref().unwrap_or("dovecot");
        self.driver == "pam"
            && if service.contains('%') {
                PROTOCOLS.into_iter().any(|name| users.contains(name))
            } else {
                users.contains(service)
            }
    }

    fn set(&mut self, key: &str, value: &str, place: &str) {
        match key {
            "driver" | "passdb_driver" => {
                value.clone_into(&mut self.driver);
                self.is_of_24 |= key == "passdb_driver";
            }
            "args" => {
                for word in value.split_whitespace() {
                    match word.split_once('=') {
                        Some(("cache_key", key)) if !key.is_empty() => {
                            self.cache_key = Some(place.to_owned());
                        }
                        Some(_) => {}
                        None if word == "*" => self.service = Some("%s".to_owned()),
                        None => self.service = Some(word.to_owned()),
                    }
                }
            }
            "service_name" | "passdb_pam_service_name" | "pam_service_name" => {
                self.service = Some(value.to_owned());
                self.is_of_24 = true;
            }
            "use_cache" | "passdb_use_cache" => self.is_kept_from_cache = value == "no",
            _ => {}
        }
    }

    /// Where it says that a success is kept.
    fn is_cached(&self) -> Option<&str> {
        match &self.cache_key {
            _ if self.is_kept_from_cache => None,
            Some(place) => Some(place),
            None => self.is_of_24.then_some(self.place.as_str()),
        }
    }
}

pub(super) fn judge(users: &BTreeSet<String>, machine: &ProgramFiles<'_>) -> Vec<Finding> {
    let include = |line: &str| {
        let (first, rest) = line.split_once(char::is_whitespace)?;
        ["!include", "!include_try"].contains(&first).then(|| unquoted(rest).to_owned())
    };
    let read = |file: &&str| ConfigLines::read(file, machine, &include);
    let Some(lines) = FILES.iter().find_map(read) else { return Vec::new() };
    let (cache, databases) = databases(&lines);
    let asking: Vec<_> = databases.iter().filter(|it| it.asks_one_of(users)).collect();
    if asking.is_empty() {
        let of_dovecot = users.iter().any(|user| user == "dovecot");
        return lines.unreadable("Dovecot").filter(|_| of_dovecot).into_iter().collect();
    }
    let mut found: Vec<_> = lines.unreadable("Dovecot").into_iter().collect();
    let cached = asking.iter().find_map(|database| database.is_cached());
    if let (Some(size), Some(key)) = (&cache, cached) {
        let what = format!(
            "Dovecot repeats a success without asking, so that a code that was used lets in again: \
             {size} (auth_cache_size), {key}"
        );
        let remedy = format!(
            "take cache_key out of {key} (in Dovecot 2.4: use_cache = no in that passdb), or set \
             auth_cache_size = 0; then: doveadm reload"
        );
        found.push(Finding::new(FindingId::DovecotSecondWay, what, remedy));
    }
    for other in databases.iter().filter(|it| ["passwd", "shadow"].contains(&it.driver.as_str())) {
        let Database { place, driver, .. } = other;
        let what = format!(
            "Dovecot checks the password itself after PAM has refused, and a password alone lets \
             in: {place} (passdb, driver {driver})"
        );
        let remedy = format!("take that passdb out: {place}; then: doveadm reload");
        found.push(Finding::new(FindingId::DovecotSecondWay, what, remedy));
    }
    found
}

fn unquoted(text: &str) -> &str {
    text.trim().trim_matches(['"', '\''])
}

/// The line that makes a cache, if one does, and the databases.
fn databases(lines: &ConfigLines) -> (Option<String>, Vec<Database>) {
    let (mut cache, mut found) = (None, Vec::new());
    // The names of the blocks that are open, and the database that is read.
    let mut blocks: Vec<bool> = Vec::new();
    let mut open: Option<Database> = None;
    for line in &lines.lines {
        // A `#` after a blank begins a comment; a block may be in one line.
        let text = line.text.split(" #").next().unwrap_or_default();
        let text = text.replace('{', " {\n").replace('}', "\n}\n");
        for part in text.lines().map(str::trim).filter(|part| !part.is_empty()) {
            if let Some(head) = part.strip_suffix('{') {
                let mut words = head.split_whitespace();
                let is_database = words.next() == Some("passdb");
                blocks.push(is_database);
                if is_database {
                    let name = words.next().map(|name| unquoted(name).to_owned());
                    open = Some(Database {
                        place: line.place(),
                        is_of_24: name.is_some(),
                        driver: name.unwrap_or_default(),
                        ..Database::default()
                    });
                }
            } else if part == "}" {
                if blocks.pop() == Some(true) {
                    found.extend(open.take());
                }
            } else if let Some((key, value)) = part.split_once('=') {
                let (key, value) = (key.trim(), unquoted(value));
                match &mut open {
                    Some(database) => database.set(key, value, &line.place()),
                    None if key == "auth_cache_size" => {
                        let is_off = value.trim_end_matches(|c: char| !c.is_ascii_digit());
                        let is_off = is_off.chars().all(|c| c == '0');
                        cache = (!is_off).then(|| line.place());
                    }
                    None => {}
                }
            }
        }
    }
    // One that is not closed is one all the same.
    found.extend(open);
    (cache, found)
}

#[cfg(test)]
mod tests {
    use super::super::tests::judged;
    use super::*;

    #[test]
    fn a_cache_by_which_a_code_works_again_is_named_with_its_lines() {
        const MAIN: &str = "/etc/dovecot/dovecot.conf";
        let size = "auth_cache_size = 10M\n";
        let pam = |args: &str| format!("passdb {{\n  driver = pam\n  args = {args}\n}}\n");
        for (text, named) in [
            (format!("{size}{}", pam("cache_key=%u dovecot")), Some("dovecot.conf:4")),
            (format!("{size}{}", pam("\"cache_key=%u%r *\"")), Some("dovecot.conf:1 (auth_cache")),
            (format!("{size}{}", pam("cache_key=%u files")), None),
            (format!("{size}{}", pam("dovecot")), None),
            (format!("{size}{}", pam("cache_key= dovecot")), None),
            (pam("cache_key=%u dovecot"), None),
            (format!("{size}auth_cache_size = 0\n{}", pam("cache_key=%u dovecot")), None),
            (format!("{size}passdb pam {{\n}}\n"), Some("dovecot.conf:2")),
            (format!("{size}passdb pam {{\n use_cache = no\n}}\n"), None),
            (format!("{size}passdb pam {{ service_name = files }}\n"), None),
            (
                "passdb {\n driver = pam\n}\npassdb {\n driver = shadow\n}\n".to_owned(),
                Some(":4 ("),
            ),
            ("!include conf.d/*.conf\n".to_owned(), Some("conf.d/a.conf:3")),
            ("!include_try /nowhere/*\n# auth_cache_size = 1\n".to_owned(), None),
        ] {
            let part = "auth_cache_size=1k # c\npassdb {\n args = cache_key=%u\n driver=pam\n";
            let files = [(MAIN, text.as_str()), ("/etc/dovecot/conf.d/a.conf", part)];
            let found = judged(&["dovecot", "imap"], &files);
            match (named, found.as_slice()) {
                (None, []) => {}
                (Some(named), [(FindingId::DovecotSecondWay, what)]) => {
                    assert!(what.contains(named), "{text}: {what}");
                }
                (_, found) => panic!("{text}: {found:?}"),
            }
        }
        let cached = format!("{size}{}", pam("cache_key=%u dovecot"));
        assert_eq!(judged(&["sshd"], &[(MAIN, &cached)]), []);
    }
}
