//! ProFTPD: where `AuthOrder` does not end the matter with PAM's refusal, mod_auth_unix checks
//! the password itself.

use std::collections::BTreeSet;

use super::super::finding::{Finding, FindingId};
use super::{ConfigLines, ProgramFiles, words};

/// Where it reads its configuration, the first before the others.
const FILES: [&str; 3] =
    ["/etc/proftpd/proftpd.conf", "/etc/proftpd.conf", "/usr/local/etc/proftpd.conf"];
/// The services that it uses unless AuthPAMConfig names another.
const SERVICES: [&str; 2] = ["proftpd", "ftp"];

/// A server, or what holds for all.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    Main,
    Global,
    /// A virtual host, by its line.
    Host(String),
}

/// What a directive says of the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// A refusal by PAM is final.
    Final,
    /// The password is checked past PAM.
    Open,
    /// No password of the system is checked at all.
    Other,
}

impl Order {
    fn of(modules: &[String]) -> Self {
        let mut has_pam = false;
        for module in modules.iter().map(|module| module.to_ascii_lowercase()) {
            match module.as_str() {
                "mod_auth_pam.c*" => return Self::Final,
                "mod_auth_unix.c" | "mod_auth_unix.c*" => return Self::Open,
                "mod_auth_pam.c" => has_pam = true,
                _ => {}
            }
        }
        if has_pam { Self::Final } else { Self::Other }
    }
}

struct Directive {
    scope: Scope,
    order: Order,
    /// Whether it holds whatever modules there are.
    is_certain: bool,
    place: String,
}

pub(super) fn judge(users: &BTreeSet<String>, machine: &ProgramFiles<'_>) -> Vec<Finding> {
    let include = |line: &str| {
        let words = words(line);
        let (first, rest) = words.split_first()?;
        first.eq_ignore_ascii_case("Include").then(|| rest.first().cloned().unwrap_or_default())
    };
    let found = FILES
        .iter()
        .find_map(|file| ConfigLines::read(file, machine, &include).map(|lines| (*file, lines)));
    let Some((file, lines)) = found else { return Vec::new() };
    let (directives, services, hosts) = read(&lines);
    let asks = |name: &str| users.contains(name);
    if !SERVICES.into_iter().any(asks) && !services.iter().any(|name| asks(name)) {
        return Vec::new();
    }
    let mut found: Vec<_> = lines.unreadable("ProFTPD").into_iter().collect();
    for scope in [Scope::Main].into_iter().chain(hosts) {
        found.extend(open(&scope, &directives).map(|place| finding(file, &scope, place)));
    }
    found
}

/// The directives, the services that are named, and the virtual hosts.
fn read(lines: &ConfigLines) -> (Vec<Directive>, Vec<String>, Vec<Scope>) {
    let (mut directives, mut services, mut hosts) = (Vec::new(), Vec::new(), Vec::new());
    let mut scope = Scope::Main;
    // The blocks that are open, and whether what is in them holds for certain.
    let mut conditions: Vec<bool> = Vec::new();
    for line in &lines.lines {
        let words = words(line.text.trim_start_matches('<').trim_end_matches('>'));
        let Some((first, rest)) = words.split_first() else { continue };
        let name = first.to_ascii_lowercase();
        let argument = rest.first().map(|word| word.to_ascii_lowercase()).unwrap_or_default();
        match (line.text.starts_with('<'), name.as_str()) {
            (true, "global") => scope = Scope::Global,
            (true, "virtualhost") => {
                scope = Scope::Host(line.place());
                hosts.push(scope.clone());
            }
            (true, "/global" | "/virtualhost") => scope = Scope::Main,
            (true, name) if name.starts_with("/if") => drop(conditions.pop()),
            (true, name) if name.starts_with("if") => {
                conditions.push(name == "ifmodule" && argument == "mod_auth_pam.c");
            }
            (false, "authpamconfig") => services.extend(rest.first().cloned()),
            (false, name @ ("authorder" | "authpam")) => {
                let order = match name {
                    "authorder" => Order::of(rest),
                    _ if ["off", "no", "false", "0"].contains(&argument.as_str()) => Order::Open,
                    _ => continue,
                };
                directives.push(Directive {
                    scope: scope.clone(),
                    order,
                    is_certain: conditions.iter().all(|certain| *certain),
                    place: line.place(),
                });
            }
            _ => {}
        }
    }
    (directives, services, hosts)
}

/// Whether a server lets in past PAM; by which line, if it is by one.
fn open(scope: &Scope, directives: &[Directive]) -> Option<Option<String>> {
    let of = |scope: &Scope| -> Vec<&Directive> {
        directives.iter().filter(|directive| directive.scope == *scope).collect()
    };
    // A virtual host has nothing of the main server.
    let mut own = of(scope);
    if !own.iter().any(|directive| directive.is_certain) {
        own.extend(of(&Scope::Global));
    }
    if let Some(open) = own.iter().find(|directive| directive.order == Order::Open) {
        return Some(Some(open.place.clone()));
    }
    let is_said = own.iter().any(|directive| directive.is_certain);
    (!is_said).then_some(None)
}

fn finding(file: &str, scope: &Scope, place: Option<String>) -> Finding {
    let server = match scope {
        Scope::Main | Scope::Global => String::new(),
        Scope::Host(place) => format!(" in the virtual host of {place}"),
    };
    let by = place.unwrap_or_else(|| format!("no AuthOrder in {file}"));
    let what = format!(
        "ProFTPD{server} checks the password itself after PAM has refused, and a password alone \
         lets in: {by}"
    );
    let remedy = format!(
        "in {file}, and in each VirtualHost: AuthOrder mod_auth_pam.c* mod_auth_unix.c; the * \
         makes PAM's refusal final; then restart proftpd"
    );
    Finding::new(FindingId::ProftpdSecondWay, what, remedy)
}

#[cfg(test)]
mod tests {
    use super::super::tests::judged;
    use super::*;

    #[test]
    fn where_pams_refusal_is_not_final_the_line_is_named() {
        const MAIN: &str = "/etc/proftpd/proftpd.conf";
        let closed = "AuthOrder mod_auth_pam.c* mod_auth_unix.c\n";
        let open_host = "<VirtualHost 192.0.2.1>\nPort 2121\n</VirtualHost>\n";
        let open_global = "<Global>\n AuthOrder mod_auth_unix.c\n</Global>\n";
        for (text, named) in [
            ("# AuthOrder mod_auth_pam.c* mod_auth_unix.c\n".to_owned(), Some("no AuthOrder in")),
            (closed.to_owned(), None),
            ("authorder \"mod_auth_pam.c*\" \\\n mod_auth_unix.c\n".to_owned(), None),
            ("AuthOrder mod_auth_pam.c\n".to_owned(), None),
            ("AuthOrder mod_auth_pam.c mod_auth_unix.c\n".to_owned(), Some("proftpd.conf:1")),
            ("\nAuthOrder mod_auth_unix.c mod_auth_pam.c*\n".to_owned(), Some("proftpd.conf:2")),
            ("AuthOrder mod_sql.c\n".to_owned(), None),
            (format!("{closed}AuthPAM off\n"), Some("proftpd.conf:2")),
            (format!("<IfModule mod_auth_pam.c>\n{closed}</IfModule>\n"), None),
            (format!("<IfModule mod_x.c>\n{closed}</IfModule>\n"), Some("no AuthOrder in")),
            (format!("<Global>\n{closed}</Global>\n{open_host}"), None),
            (format!("{closed}{open_host}"), Some("virtual host of /etc/proftpd/proftpd.conf:2")),
            (open_global.to_owned(), Some("proftpd.conf:2")),
            (format!("{closed}{open_global}"), None),
            ("Include /etc/proftpd/conf.d/*.conf\n".to_owned(), Some("conf.d/a.conf:1")),
        ] {
            let files = [
                (MAIN, text.as_str()),
                ("/etc/proftpd/conf.d/a.conf", "AuthOrder mod_auth_unix.c"),
            ];
            let found = judged(&["proftpd"], &files);
            match (named, found.as_slice()) {
                (None, []) => {}
                (Some(named), [(FindingId::ProftpdSecondWay, what)]) => {
                    assert!(what.contains(named), "{text}: {what}");
                }
                (_, found) => panic!("{text}: {found:?}"),
            }
        }
        // Its service asks for no code; or has another name.
        let other = "AuthPAMConfig files\n";
        assert_eq!(judged(&["sshd", "files"], &[(MAIN, "")]), []);
        assert_eq!(judged(&["sshd", "files"], &[(MAIN, other)]).len(), 1);
        assert_eq!(judged(&["proftpd"], &[]), []);
    }
}
