//! What confines programs that log in: the policies of packaging/selinux and
//! packaging/apparmor allow what logins do with the store, as strace shows it, and no more.
//! That the SELinux module fits into Debian's policy is tests/adversity/confined.rs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use regex::Regex;
use rustix::fs::FlockOperation;

use crate::common::{
    ALICE_PASSWORD, BOB_PASSWORD, Client, World, current_code, enable, finish, foreign_root, hasty,
    secret,
};

const STORE: &str = "/var/lib/onetime";

fn packaging(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

/// Something below the store: its path, with a slash at the end if it is a directory.
type Place = String;

/// SELinux's permissions that a login has used, by place.
#[derive(Default)]
struct Uses(BTreeMap<Place, BTreeSet<&'static str>>);

impl Uses {
    fn add(&mut self, place: &str, permissions: &[&'static str]) {
        self.0.entry(place.to_owned()).or_default().extend(permissions);
    }

    /// Of the directory that something is in.
    fn add_above(&mut self, place: &str, permissions: &[&'static str]) {
        let (above, _) = place.rsplit_once('/').expect("an absolute path");
        self.add(&format!("{above}/"), permissions);
    }

    /// Those on directories, or on files.
    fn all(&self, directories: bool) -> BTreeSet<&'static str> {
        let of_class = self.0.iter().filter(|(place, _)| place.ends_with('/') == directories);
        of_class.flat_map(|(_, permissions)| permissions).copied().collect()
    }

    /// Reads one system call that has succeeded, of `strace -f -y`.
    fn read(&mut self, call: &str) {
        static FORM: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"^\d+ +(\w+)\((.*)\) += \d+").expect("a valid pattern"));
        // `5</var/lib/onetime>, "users"`, or a path alone, or a descriptor alone.
        static AT: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r#"(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"([^"]*)""#).expect("a valid pattern")
        });
        static HELD: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"\d+<(/[^>]*)>").expect("a valid pattern"));
        if !call.contains(STORE) {
            return;
        }
        let Some(parts) = FORM.captures(call) else { return };
        let (name, arguments) = (&parts[1], &parts[2]);
        let join = |above: &str, name: &str| match name {
            absolute if absolute.starts_with('/') => absolute.to_owned(),
            "" => above.to_owned(),
            _ => format!("{above}/{name}"),
        };
        let mut places: Vec<_> = AT
            .captures_iter(arguments)
            .map(|parts| join(parts.get(1).map_or("", |above| above.as_str()), &parts[2]))
            .collect();
        if places.is_empty() {
            places.extend(HELD.captures_iter(arguments).map(|parts| parts[1].to_owned()));
        }
        places.retain(|place| place.starts_with(STORE));
        for place in &mut places {
            let below = place.strip_prefix(STORE).expect("it is below");
            if below.matches('/').count() < 2 && !below.contains('.') {
                place.push('/');
            }
        }
        if let [first, ..] = &places[..] {
            self.note(name, arguments, first, &places);
        }
    }

    fn note(&mut self, name: &str, arguments: &str, place: &str, places: &[Place]) {
        let is_directory = place.ends_with('/');
        match name {
            "openat" => {
                self.add(place, &["open"]);
                if arguments.contains("O_RDWR") {
                    self.add(place, &["read", "write"]);
                } else if arguments.contains("O_RDONLY") {
                    self.add(place, &["read"]);
                } else {
                    panic!("{name}({arguments})");
                }
                if arguments.contains("O_CREAT") {
                    self.add(place, &["create"]);
                    self.add_above(place, &["write", "add_name"]);
                }
                if !is_directory {
                    self.add_above(place, &["search"]);
                }
            }
            "newfstatat" | "fstat" | "lstat" | "stat" | "statx" => self.add(place, &["getattr"]),
            "fchmod" => self.add(place, &["setattr"]),
            "flock" => self.add(place, &["lock"]),
            "read" | "pread64" | "getdents64" => self.add(place, &["read"]),
            "write" | "pwrite64" | "ftruncate" => self.add(place, &["write"]),
            "rename" | "renameat" | "renameat2" => {
                for place in places {
                    // What has the new name goes, or gets the old one.
                    self.add(place, &["rename", "unlink"]);
                    self.add_above(place, &["write", "add_name", "remove_name"]);
                }
            }
            "unlinkat" => {
                self.add(place, &["unlink"]);
                self.add_above(place, &["write", "remove_name"]);
            }
            "close" | "fsync" | "fdatasync" | "lseek" | "fcntl" => {}
            _ => panic!("no policy knows {name}({arguments})"),
        }
    }
}

/// Has a user log in, under strace.
#[track_caller]
fn traced(world: &World, uses: &mut Uses, service: &str, user: &str, answers: &[&str]) {
    let inner = Client::new(world, service, user).command();
    let words: Vec<_> = inner.get_args().skip_while(|word| *word != "--").skip(1).collect();
    let mut strace = world.command("strace");
    // Of names all is shown, of what is read and written nothing.
    strace.args(["-f", "-y", "-s", "0", "-e", "trace=%file,%desc", "-o", "/tmp/trace"]);
    let text = answers.iter().flat_map(|answer| [answer, "\n"]).collect::<String>();
    let said = finish(strace.args(words), text.as_bytes()).ok();
    assert!(said.contains("result authenticate 0"), "{user} by {service}: {said}");
    world.read_text("/tmp/trace").lines().for_each(|call| uses.read(call));
}

/// Every kind of login that does something else with the store.
fn uses_of_logins() -> Uses {
    let world = hasty();
    let issues = "auth required pam_onetime.so missing=enrol\n";
    world.pam_service("issues", issues);
    let mut uses = Uses::default();
    // One without a record, one who gets one, and one for whom it was issued beforehand.
    traced(&world, &mut uses, "sshd", "bob", &[BOB_PASSWORD]);
    traced(&world, &mut uses, "issues", "bob", &[BOB_PASSWORD, ""]);
    world.onetimectl(&["enable", "dave", "--force"]).ok();
    for (file, line) in [
        ("passwd", "dave:x:2004:2004:Dave:/home/alice:/bin/sh"),
        ("shadow", "$(grep ^alice: /etc/shadow | sed s/alice/dave/)"),
    ] {
        world.run("sh", &["-euc", &format!("echo \"{line}\" >> /etc/{file}")]).ok();
    }
    // alice's password and salt are dave's now.
    let code = current_code(&secret(&world, "dave"), 0);
    traced(&world, &mut uses, "sshd", "dave", &[ALICE_PASSWORD, &code]);
    // Pending, active, and active while another holds the lock and does not go on.
    let key = enable(&world, "alice");
    traced(&world, &mut uses, "sshd", "alice", &[ALICE_PASSWORD, ""]);
    traced(&world, &mut uses, "sshd", "alice", &[ALICE_PASSWORD, &current_code(&key, -1)]);
    traced(&world, &mut uses, "sshd", "alice", &[ALICE_PASSWORD, &current_code(&key, 0)]);
    let state = fs::File::open(world.path(&format!("{STORE}/state/alice"))).expect("her state");
    rustix::fs::flock(&state, FlockOperation::LockExclusive).expect("nobody else has it");
    traced(&world, &mut uses, "sshd", "alice", &[ALICE_PASSWORD, &current_code(&key, 1)]);
    uses
}

/// The permissions in an `allow` rule of the interface for logins.
#[track_caller]
fn allowed(class: &str) -> BTreeSet<String> {
    let interface = packaging("selinux/onetime.if");
    let start = format!("\tallow $1 onetime_var_lib_t:{class} {{ ");
    let rule = interface.lines().find_map(|line| line.strip_prefix(&start));
    let rule = rule.unwrap_or_else(|| panic!("no rule for {class}"));
    rule.trim_end_matches(" };").split(' ').map(str::to_owned).collect()
}

/// The letters that AppArmor's rules have for a place.
fn letters(place: &str) -> BTreeSet<char> {
    let rule = Regex::new(r"(?m)^  owner (/\S+) (\w+),$").expect("a valid pattern");
    let text = packaging("apparmor/abstractions/onetime");
    let fits = |glob: &str| {
        let pattern = regex::escape(glob);
        let pattern = pattern.replace(r"\{", "(").replace(r"\}", ")").replace(',', "|");
        let pattern = pattern.replace(r"\*", "[^/]+");
        Regex::new(&format!("^{pattern}$")).expect("a valid pattern").is_match(place)
    };
    let rules = rule.captures_iter(&text).filter(|rule| fits(&rule[1]));
    rules.flat_map(|rule| rule[2].chars().collect::<Vec<_>>()).collect()
}

/// The letter of a permission.
fn letter(permission: &str) -> Option<char> {
    match permission {
        "read" => Some('r'),
        "write" | "create" | "rename" | "unlink" | "setattr" => Some('w'),
        "lock" => Some('k'),
        // Of directories AppArmor knows nothing else, and anybody may look at attributes.
        "getattr" | "open" | "search" | "add_name" | "remove_name" => None,
        _ => panic!("no letter for {permission}"),
    }
}

#[test]
fn the_policies_allow_logins_what_they_do_with_the_store_and_no_more() {
    let uses = uses_of_logins();
    let names = |permissions: BTreeSet<&str>| {
        permissions.into_iter().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    assert_eq!(names(uses.all(true)), allowed("dir"), "{:#?}", uses.0);
    assert_eq!(names(uses.all(false)), allowed("file"), "{:#?}", uses.0);
    for (place, permissions) in &uses.0 {
        let has = letters(place);
        // Names come and go in a directory by the rights to what has the name.
        let needed = permissions.iter().filter(|it| !(place.ends_with('/') && **it == "write"));
        let needed: BTreeSet<_> = needed.filter_map(|permission| letter(permission)).collect();
        assert!(needed.is_subset(&has), "{place}: {permissions:?}, and {has:?}");
    }
    for place in ["/var/lib/onetime/retired/x.toml", "/var/lib/onetime/retired/", "/var/lib/x"] {
        assert_eq!(letters(place), BTreeSet::new(), "{place}");
    }
}

#[test]
fn apparmor_takes_the_abstraction_in_the_profile_of_a_program_that_logs_in() {
    let directory = tempfile::tempdir().expect("a directory");
    let base = directory.path().join("apparmor.d");
    let root = foreign_root();
    finish(Command::new("cp").arg("-a").arg(root.join("etc/apparmor.d")).arg(&base), b"").ok();
    let parse = |profile: &str| {
        let mut parser = Command::new(root.join("usr/sbin/apparmor_parser"));
        // Nothing is loaded into the kernel, and nothing read from a cache.
        parser.args(["--skip-kernel-load", "--skip-cache", "--stdout", "--base"]).arg(&base);
        finish(&mut parser, profile.as_bytes())
    };
    let profile = "abi <abi/3.0>,\ninclude <tunables/global>\n\
                   profile daemon /usr/sbin/sshd {\n include <abstractions/base>\n \
                   include <abstractions/nameservice>\n include <abstractions/onetime>\n}\n";
    assert!(!parse(profile).success(), "it is not there yet");
    let abstraction = packaging("apparmor/abstractions/onetime");
    fs::write(base.join("abstractions/onetime"), abstraction).expect("it is written");
    let said = parse(profile);
    assert!(said.success() && said.stdout.len() > 1000, "{}", said.stderr);
}
