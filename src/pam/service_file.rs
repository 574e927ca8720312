//! What libpam does not say of the password service: whether it has a file of its own with
//! `auth` lines, and whether that has an account phase. In the place of either it takes the service
//! `other`, which accepts on some machines whatever password is the system's, and refuses
//! everybody on others; nobody has asked for that. Files whose account lines have
//! pam_deny.so alone were shipped when that phase was not used.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::service_lines::{LineWord, lines, words};

/// Where libpam looks for the file of a service.
const DIRECTORIES: [&str; 3] = ["/etc/pam.d", "/usr/lib/pam.d", "/usr/etc/pam.d"];
/// A file that is larger is not read to its end, and counts as one with all lines.
const MAX_BYTES: u64 = 64 * 1024;
/// As deep as libpam follows includes.
const MAX_DEPTH: u32 = 16;
/// Modules that know nothing of the account. Lines with no other decide nothing.
const IDLE: [&str; 2] = ["pam_deny.so", "pam_permit.so"];

/// Those of them that every libpam looks in (since 1.2.0). The other is one that some are
/// built with (`VENDORDIR`, since 1.4.0), and look in last.
const EVERYWHERE: [&str; 2] = ["/etc/pam.d", "/usr/lib/pam.d"];
/// How a libpam that looks there has it, as the format of a path.
const VENDOR_FORMAT: &[u8] = b"\0/usr/etc/pam.d/%s\0";
/// No libpam is nearly as large.
const MAX_LIBRARY_BYTES: u64 = 1024 * 1024;

/// The file of a service, as it was when libpam read it: once for both phases.
pub(super) struct ServiceFile {
    name: String,
    text: String,
    /// Where this libpam looks for what the file includes, as far as that is known.
    directories: &'static [&'static str],
}

impl ServiceFile {
    /// The file that `service` has of its own; `None` if it has none with `auth` lines. One
    /// where this libpam might not look counts as none.
    pub(super) fn find(service: &str) -> Option<Self> {
        let name = file_name(service);
        let file = match read_in(&EVERYWHERE, &name) {
            Some(text) => Self { name, text, directories: &EVERYWHERE },
            None => {
                let text = read_in(&DIRECTORIES, &name).filter(|_| looks_in_vendor_dir())?;
                Self { name, text, directories: &DIRECTORIES }
            }
        };
        has_auth(service, &|name| file.read_in(file.directories, name)).then_some(file)
    }

    /// Whether the account phase says anything of accounts. What cannot be found out is
    /// "yes": then libpam asks, and what comes of it holds.
    pub(super) fn has_account_phase(&self) -> bool {
        is_asked(&self.name, &|name| self.read_in(&DIRECTORIES, name))
    }

    fn read_in(&self, directories: &[&str], name: &str) -> Option<String> {
        if name == self.name { Some(self.text.clone()) } else { read_in(directories, name) }
    }
}

/// Whether the libpam of this process looks in `/usr/etc/pam.d`, by what its file says. What
/// cannot be read does not: then libpam might take `other`.
fn looks_in_vendor_dir() -> bool {
    let Some(path) = super::sys::libpam_path() else { return false };
    let mut bytes = Vec::new();
    let file = File::open(path).map(|file| file.take(MAX_LIBRARY_BYTES));
    let read = file.and_then(|mut file| file.read_to_end(&mut bytes));
    read.is_ok() && bytes.windows(VENDOR_FORMAT.len()).any(|window| window == VENDOR_FORMAT)
}

fn has_auth(service: &str, read: &dyn Fn(&str) -> Option<String>) -> bool {
    let text = read(&file_name(service));
    text.is_some_and(|text| has_line(&text, read, 0, &|kind, _| kind.eq_ignore_ascii_case("auth")))
}

/// As libpam makes it of a service's name.
fn file_name(service: &str) -> String {
    service.to_ascii_lowercase()
}

/// The text of a service's file, where the first of the directories has one.
fn read_in(directories: &[&str], name: &str) -> Option<String> {
    // An absolute path stays what it is.
    directories.iter().find_map(|directory| read(&Path::new(directory).join(name)))
}

/// The text of a file that is there.
fn read(path: &PathBuf) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_BYTES.saturating_add(1)).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn is_asked(file: &str, read: &dyn Fn(&str) -> Option<String>) -> bool {
    let wanted =
        |kind: &str, rest: &[LineWord]| kind.eq_ignore_ascii_case("account") && !is_idle(rest);
    read(file).is_none_or(|text| has_line(&text, read, 0, &wanted))
}

/// Whether a file, or one that it includes, has such a line: its kind, and what follows.
/// What cannot be read might have one; libpam refuses then.
fn has_line(
    text: &str,
    read: &dyn Fn(&str) -> Option<String>,
    depth: u32,
    wanted: &dyn Fn(&str, &[LineWord]) -> bool,
) -> bool {
    if depth > MAX_DEPTH || u64::try_from(text.len()).is_ok_and(|length| length > MAX_BYTES) {
        return true;
    }
    let included = |words: &[LineWord]| {
        let included = read(words.first().map_or("", |word| &*word.text));
        included.is_none_or(|text| has_line(&text, read, depth.saturating_add(1), wanted))
    };
    lines(text).iter().any(|(_, line)| {
        let words = words(line);
        let Some((kind, rest)) = words.split_first() else { return false };
        if kind.text.eq_ignore_ascii_case("@include") {
            return included(rest);
        }
        if !wanted(kind.text.strip_prefix('-').unwrap_or(&kind.text), rest) {
            return false;
        }
        // `include` takes the lines of that kind in another file, of which there may be none.
        match rest.split_first() {
            Some((control, rest))
                if !control.bracketed && control.text.eq_ignore_ascii_case("include") =>
            {
                included(rest)
            }
            Some(_) | None => true,
        }
    })
}

/// Whether what follows `account` names a module that knows nothing of the account.
fn is_idle(words: &[LineWord]) -> bool {
    let module = words.get(1).map_or("", |word| &*word.text);
    IDLE.contains(&module.rsplit('/').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_there_whose_file_libpam_opens_first_and_finds_auth_lines_in() {
        let root = tempfile::tempdir().unwrap();
        let [first, second] = ["etc", "lib"].map(|name| root.path().join(name));
        for directory in [&first, &second] {
            std::fs::create_dir(directory).unwrap();
        }
        let write = |directory: &Path, name: &str, text: &str| {
            std::fs::write(directory.join(name), text).unwrap();
        };
        write(&first, "here", "auth required pam_unix.so\n");
        write(&second, "vendor", "auth required pam_unix.so\n");
        write(&first, "emptied", "");
        write(&second, "emptied", "auth required pam_unix.so\n");
        std::fs::create_dir(first.join("directory")).unwrap();
        std::os::unix::fs::symlink("nowhere", first.join("dangling")).unwrap();
        std::os::unix::fs::symlink("here", first.join("link")).unwrap();
        let places = [first.to_str().unwrap(), second.to_str().unwrap()];
        for (service, there) in [
            ("here", true),
            ("HERE", true),
            ("Here", true),
            ("link", true),
            ("vendor", true),
            ("her", false),
            ("here ", false),
            ("emptied", false),
            ("directory", false),
            ("dangling", false),
        ] {
            let found = has_auth(service, &|name| read_in(&places, name));
            assert_eq!(found, there, "{service}");
        }
    }

    #[test]
    fn a_file_without_auth_lines_leaves_them_to_other_and_counts_as_none() {
        for (text, there) in [
            ("auth required pam_unix.so\n", true),
            ("-auth required pam_unix.so\n", true),
            ("AUTH required pam_unix.so\n", true),
            ("auth\n", true),
            ("auth include nowhere\n", true),
            ("@include common-auth\n", true),
            ("@include nowhere\n", true),
            (include_str!("../../conf/pam.d/onetime-password"), true),
            ("", false),
            ("\n\n", false),
            ("# auth required pam_unix.so\n", false),
            ("account required pam_unix.so\n", false),
            ("auth include s\n", true),
            ("auth include common-account\n", false),
            ("-AUTH Include common-account\n", false),
            ("auth substack common-account\n", true),
            ("@include common-account\n", false),
            ("# \\\nauthor\n", false),
        ] {
            let read = |name: &str| match name {
                "s" => Some(text.to_owned()),
                "common-auth" => Some("auth required pam_unix.so\n".to_owned()),
                "common-account" => Some("account required pam_sss.so\n".to_owned()),
                _ => None,
            };
            assert_eq!(has_auth("s", &read), there, "{text:?}");
        }
    }

    fn asked(text: &str) -> bool {
        let read = |name: &str| match name {
            "s" => Some(text.to_owned()),
            "common-auth" => Some("auth required pam_unix.so\n".to_owned()),
            "common-account" => Some("account required pam_sss.so\n".to_owned()),
            "loop" => Some("@include loop\n".to_owned()),
            _ => None,
        };
        is_asked("s", &read)
    }

    #[test]
    fn a_file_whose_account_lines_know_nothing_has_no_account_phase() {
        for text in [
            "",
            "auth required pam_unix.so\n",
            "@include common-auth\n",
            include_str!("../../conf/pam.d/onetime-password"),
            "auth required pam_unix.so\naccount required pam_deny.so\nsession required pam_deny.so\n",
            "account\trequired\tpam_permit.so\n",
            "-account [success=ok default=die] /lib/security/pam_deny.so # pam_sss.so\n",
            "# account required pam_sss.so\n",
            "account required \\\n pam_deny.so\n",
            // A line that says nothing does not end one that goes on.
            "account required \\\n\n# pam_sss.so\n pam_deny.so\n",
            "session required pam_sss.so\n",
        ] {
            assert!(!asked(text), "{text}");
        }
    }

    #[test]
    fn every_other_account_line_is_asked_and_so_is_what_cannot_be_read() {
        for text in [
            "account required pam_sss.so\n",
            "ACCOUNT required pam_sss.so\n",
            "-account required pam_sss.so\n",
            "account required pam_deny.so\naccount required pam_unix.so\n",
            "account [default=ignore success=ok] pam_krb5.so\n",
            "account required \\\n pam_sss.so\n",
            "account include common-account\n",
            "account substack system-auth\n",
            "@include common-account\n",
            "@include nowhere\n",
            "@INCLUDE nowhere\n",
            "@include\n",
            "@include loop\n",
            "account\n",
            "account required\n",
            "account [unfinished pam_deny.so\n",
            "# a comment \\\naccount required pam_sss.so\n",
            "auth required pam_unix.so # \\\naccount required pam_sss.so\n",
        ] {
            assert!(asked(text), "{text}");
        }
        assert!(is_asked("nowhere", &|_| None));
        let long = format!("# {}\n", "x".repeat(70_000));
        assert!(asked(&long));
    }
}
