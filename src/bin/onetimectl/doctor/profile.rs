//! The profile of pam-auth-update(8), by which every service of Debian's `common-auth` asks
//! for a code: whether it is chosen and in force, and what its services are. pam-auth-update
//! itself is silent where it changes nothing. Text in, findings out.

use super::finding::{Finding, FindingId};
use super::known_services::{Prompts, prompts};
use super::onetimed::Socket;
use super::open_services::{is_never_asked, is_part_by_name};
use super::roles::{Role, role};
use super::stack::{ModuleType, ReadFile, Service};

/// What packages bring.
const PROFILES: &str = "/usr/share/pam-configs";
/// What pam-auth-update has written last, by kind of lines.
const SAVED: &str = "/var/lib/pam";
/// The kinds of files, and the type of their lines.
const KINDS: [(&str, &str); 5] = [
    ("auth", "auth"),
    ("account", "account"),
    ("password", "password"),
    ("session", "session"),
    ("session-noninteractive", "session"),
];
/// Between these two lines of a file, and after the third, the lines are pam-auth-update's.
const BEGIN: &str = "# here are the per-package modules (the \"Primary\" block)";
const FALLBACK: &str = "# here's the fallback if no module succeeds";
const MORE: &str = "# and here are more per-package modules (the \"Additional\" block)";
const END: &str = "# end of pam-auth-update config";

/// What is said of the profile; nothing where no package has brought one. `files` reads a
/// service by its name, or a file by its path; `services` are the names of all services,
/// `profiles` those of the profiles.
pub(super) fn judge(
    services: &[String],
    profiles: &[String],
    files: &ReadFile<'_>,
    socket: Socket,
) -> Vec<Finding> {
    let Some(name) = find(profiles, files) else { return Vec::new() };
    let missing = missing_files(name, files);
    let is_in_force = lists_us(ModuleType::Auth, files);
    let mut found = Vec::new();
    if !missing.is_empty() {
        let what = format!(
            "pam-auth-update was told to use the profile {name}, and it is not in force: no line \
             of pam_onetime.so is in {}",
            missing.join(", ")
        );
        let remedy = format!(
            "pam-auth-update --enable {name}, and look again; to do without it: pam-auth-update \
             --disable {name}"
        );
        found.push(Finding::new(FindingId::ProfileNotInForce, what, remedy));
    }
    if !is_in_force || !missing.is_empty() {
        found.extend(first_edit(files).map(|edit| edited(name, &edit)));
    }
    found.extend(covered(name, is_in_force, &Covered::find(services, files, socket)));
    found.sort_by_key(|finding| finding.id);
    found
}

/// The name of the profile that lists the module.
pub(super) fn find<'a>(profiles: &'a [String], files: &ReadFile<'_>) -> Option<&'a str> {
    let ours = |name: &&String| {
        files(&format!("{PROFILES}/{name}")).is_some_and(|text| super::services::is_meant(&text))
    };
    profiles.iter().find(ours).map(String::as_str)
}

/// The files in which lines of the profile should be, since it was chosen, and are not.
fn missing_files(name: &str, files: &ReadFile<'_>) -> Vec<String> {
    let chosen = format!("Module: {name}");
    let kinds = [("auth", ModuleType::Auth), ("account", ModuleType::Account)];
    let missing = kinds.into_iter().filter(|(kind, lines)| {
        let saved = files(&format!("{SAVED}/{kind}")).unwrap_or_default();
        saved.lines().any(|line| line == chosen) && !lists_us(*lines, files)
    });
    missing.map(|(kind, _)| format!("/etc/pam.d/common-{kind}")).collect()
}

/// Whether the shared file of this kind has a line of the module.
fn lists_us(kind: ModuleType, files: &ReadFile<'_>) -> bool {
    let service = Service::read(&format!("/etc/pam.d/common-{}", kind.word()), files);
    service.is_some_and(|service| {
        service.stack(kind).into_iter().any(|entry| role(entry) == Role::Code)
    })
}

fn edited(name: &str, edit: &str) -> Finding {
    let what = format!(
        "{edit}: pam-auth-update does not change files that were edited by hand, so \
         `pam-auth-update --enable {name}` does nothing, and ends well"
    );
    let remedy = format!(
        "take the edit back; or have all of common-* written anew: pam-auth-update --enable \
         {name} --force"
    );
    Finding::new(FindingId::ProfileEdited, what, remedy)
}

/// The first place for which pam-auth-update leaves all of its files as they are.
fn first_edit(files: &ReadFile<'_>) -> Option<String> {
    KINDS.iter().find_map(|(kind, word)| {
        let file = format!("/etc/pam.d/common-{kind}");
        let saved = format!("{SAVED}/{kind}");
        let Some(old) = files(&saved) else { return Some(format!("{saved} is not there")) };
        let Some(text) = files(&file) else { return Some(format!("{file} is not there")) };
        match edit_of(word, &text, &old)? {
            Edit::Line(line) => Some(format!("{file}:{line} was written by hand")),
            Edit::Marks => Some(format!("{file} has not all the marks of pam-auth-update")),
        }
    })
}

/// Why pam-auth-update would not change a file.
#[derive(Debug, PartialEq, Eq)]
enum Edit {
    /// The number of a line that it has not written.
    Line(usize),
    /// The comments between which it writes are not there.
    Marks,
}

/// Where pam-auth-update is in a file.
enum Place {
    Before,
    Primary,
    Between,
    Additional,
}

/// Compares a file with what was saved, as pam-auth-update does: each line of its blocks has
/// to be one that it has written, in this order; arguments may differ, and lines be missing.
fn edit_of(kind: &str, text: &str, saved: &str) -> Option<Edit> {
    let is_rule = |line: &&str| !line.starts_with("Module: ") && !line.trim().is_empty();
    let mut saved = saved.lines().filter(is_rule);
    let mut place = Place::Before;
    for (number, line) in (1..).zip(text.lines()) {
        match place {
            Place::Before => {
                if line.starts_with(BEGIN) {
                    place = Place::Primary;
                }
                continue;
            }
            Place::Primary if line.starts_with(FALLBACK) => {
                place = Place::Between;
                continue;
            }
            Place::Between => {
                if line.starts_with(MORE) {
                    place = Place::Additional;
                }
                continue;
            }
            Place::Additional if line.starts_with(END) => return None,
            Place::Primary | Place::Additional => {}
        }
        let line = without_jumps(line.strip_prefix(kind).map_or(line, str::trim_start));
        if !saved.any(|old| line.starts_with(&without_jumps(control_and_module(old)))) {
            return Some(Edit::Line(number));
        }
    }
    match place {
        Place::Before | Place::Primary | Place::Between => Some(Edit::Marks),
        Place::Additional => None,
    }
}

/// A line up to the end of its module.
fn control_and_module(line: &str) -> &str {
    let control = match line.find(']') {
        Some(end) if line.starts_with('[') => end.saturating_add(1),
        _ => line.find(char::is_whitespace).unwrap_or(line.len()),
    };
    let rest = line.get(control..).unwrap_or_default();
    let blank = rest.len().saturating_sub(rest.trim_start().len());
    let module = rest.trim_start().find(char::is_whitespace).unwrap_or(rest.trim_start().len());
    line.get(..control.saturating_add(blank).saturating_add(module)).unwrap_or(line)
}

/// A line without how far its control jumps: `[success=end default=ignore]` is written as
/// `[success=1 default=ignore]`.
fn without_jumps(line: &str) -> String {
    match line.split_once(']') {
        Some((control, rest)) if control.starts_with('[') => {
            let control = control.replace("=end", "=");
            let control: String = control.chars().filter(|c| !c.is_ascii_digit()).collect();
            format!("{control}]{rest}")
        }
        _ => line.to_owned(),
    }
}

/// The services of `common-auth`.
#[derive(Default)]
pub(super) struct Covered<'a> {
    /// Those that the profile makes ask.
    asking: Vec<&'a str>,
    /// Those of programs that cannot ask, or cannot read the store.
    pub(super) unable: Vec<&'a str>,
    /// Those that never ask.
    never: Vec<&'a str>,
}

impl<'a> Covered<'a> {
    pub(super) fn find(services: &'a [String], files: &ReadFile<'_>, socket: Socket) -> Self {
        let mut covered = Self::default();
        for name in services.iter().filter(|name| !is_part_by_name(name)) {
            let Some(service) = Service::read(name, files) else { continue };
            let includes = |file: &str| service.includes.iter().any(|it| it.ends_with(file));
            match (includes("common-auth"), includes("common-account"), is_never_asked(name)) {
                (true, _, true) | (false, true, true) => covered.never.push(name),
                (true, _, false) => match prompts(name) {
                    Prompts::Any => covered.asking.push(name),
                    Prompts::WithoutRoot if socket.serves(name) => covered.asking.push(name),
                    Prompts::One | Prompts::WithoutRoot => covered.unable.push(name),
                },
                (false, _, _) => {}
            }
        }
        covered
    }
}

/// What is said of the services of `common-auth`.
fn covered(
    profile: &str,
    is_in_force: bool,
    Covered { asking, unable, never }: &Covered<'_>,
) -> Vec<Finding> {
    if is_in_force {
        let mut found = Vec::new();
        let what = format!("{}: ask for a code by common-auth", list(asking));
        found.push(Finding::sound(FindingId::ProfileInForce, what));
        if !unable.is_empty() {
            let what = format!(
                "{}: their programs cannot ask for a code, or cannot read the store, and common-auth \
                 wants one",
                list(unable)
            );
            let remedy = "give each a file in /etc/pam.d without common-auth; or, where root runs it \
                          or onetimed judges its logins (onetimed(8)), with pam_onetime.so \
                          prompt=combined, for password and code in one answer";
            found.push(Finding::new(FindingId::ProfileCannotAsk, what, remedy));
        }
        if !never.is_empty() {
            let what = format!("{}: use common-auth or common-account, and never ask", list(never));
            found.push(Finding::sound(FindingId::ProfileNeverAsks, what));
        }
        return found;
    }
    let rows = [
        (asking, format!("pam-auth-update --enable {profile} would make these ask for a code")),
        (unable, "and these too, which cannot ask or cannot read the store: give them files without common-auth first".to_owned()),
        (never, "and these never ask".to_owned()),
    ];
    let rows = rows.into_iter().filter(|(names, _)| !names.is_empty());
    let rows = rows.map(|(names, what)| format!("{what}: {}", list(names)));
    rows.map(|what| Finding::sound(FindingId::ProfileOff, what)).collect()
}

/// All of the names: whoever enables the profile wants to know each.
fn list(names: &[&str]) -> String {
    match names {
        [] => "no service".to_owned(),
        names => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = include_str!("../../../../conf/pam-configs/onetime");
    const AUTH_LINE: &str = "auth\trequisite\tpam_onetime.so password=stack honour_silent=false\n";
    const ACCOUNT_LINE: &str = "account\trequired\tpam_onetime.so\n";

    /// A file as pam-auth-update writes it, with one more line in the second block.
    fn common(kind: &str, primary: &str, more: &str) -> String {
        format!(
            "#\n# about it\n\n{BEGIN}\n{kind}\t{primary}\n{FALLBACK}\n{kind}\trequisite\t\t\tpam_deny.so\n\
             {kind}\trequired\t\t\tpam_permit.so\n{MORE}\n{more}{END}\n"
        )
    }

    /// A machine whose files are as written by pam-auth-update, with the profile or without.
    struct Machine(std::collections::BTreeMap<String, String>);

    impl Machine {
        fn new(is_enabled: bool) -> Self {
            let mut files = std::collections::BTreeMap::new();
            for (kind, word) in KINDS {
                let own = match (kind, is_enabled) {
                    ("auth", true) => AUTH_LINE,
                    ("account", true) => ACCOUNT_LINE,
                    _ => "",
                };
                let text = common(word, "[success=1 default=ignore]\tpam_unix.so nullok", own);
                let own = own.strip_prefix(word).unwrap_or_default().trim_start();
                let own =
                    if own.is_empty() { String::new() } else { format!("Module: onetime\n{own}") };
                let saved = format!(
                    "Module: unix\n[success=end default=ignore]\tpam_unix.so nullok\n{own}"
                );
                files.insert(format!("/etc/pam.d/common-{kind}"), text);
                files.insert(format!("/var/lib/pam/{kind}"), saved);
            }
            files.insert("/usr/share/pam-configs/onetime".to_owned(), PROFILE.to_owned());
            let mut machine = Self(files);
            for service in ["sshd", "sudo-i", "sddm", "swaylock", "cron"] {
                let text = "@include common-auth\n@include common-account\n";
                machine.put(&format!("/etc/pam.d/{service}"), text);
            }
            machine.put("/etc/pam.d/systemd-user", "@include common-account\n");
            machine.put("/etc/pam.d/passwd", "@include common-password\n");
            machine
        }

        fn put(&mut self, path: &str, text: &str) {
            self.0.insert(path.to_owned(), text.to_owned());
        }

        fn edit(&mut self, path: &str, from: &str, to: &str) {
            let text = self.0[path].clone();
            assert!(text.contains(from), "{path}: {text}");
            self.put(path, &text.replacen(from, to, 1));
        }

        fn judged(&self) -> Vec<Finding> {
            let paths = self.0.keys().filter_map(|path| path.strip_prefix("/etc/pam.d/"));
            let services: Vec<_> = paths.map(str::to_owned).collect();
            let files = |name: &str| match name.starts_with('/') {
                true => self.0.get(name).cloned(),
                false => self.0.get(&format!("/etc/pam.d/{name}")).cloned(),
            };
            judge(&services, &["onetime".to_owned(), "unix".to_owned()], &files, Socket::Silent)
        }

        fn ids(&self) -> Vec<FindingId> {
            self.judged().into_iter().map(|finding| finding.id).collect()
        }

        #[track_caller]
        fn says(&self, id: FindingId, what: &str) {
            let found = self.judged();
            let is_said = found.iter().any(|it| it.id == id && it.what.contains(what));
            assert!(is_said, "{id:?}: {what}: {found:#?}");
        }
    }

    use FindingId::{
        ProfileCannotAsk, ProfileEdited, ProfileInForce, ProfileNeverAsks, ProfileNotInForce,
        ProfileOff,
    };

    #[test]
    fn what_enabling_the_profile_would_change_is_said_before_and_what_it_has_changed_after() {
        let off = Machine::new(false);
        assert_eq!(off.ids(), [ProfileOff, ProfileOff, ProfileOff]);
        off.says(ProfileOff, "ask for a code: sshd, sudo-i");
        off.says(ProfileOff, "without common-auth first: sddm, swaylock");
        off.says(ProfileOff, "never ask: cron, systemd-user");
        let on = Machine::new(true);
        assert_eq!(on.ids(), [ProfileInForce, ProfileNeverAsks, ProfileCannotAsk]);
        on.says(ProfileInForce, "sshd, sudo-i: ask");
        on.says(ProfileNeverAsks, "cron, systemd-user: ");
        on.says(ProfileCannotAsk, "sddm, swaylock: ");
    }

    #[test]
    fn a_program_that_cannot_ask_is_no_longer_named_once_it_has_a_file_of_its_own() {
        let mut machine = Machine::new(true);
        for service in ["sddm", "swaylock"] {
            machine.put(&format!("/etc/pam.d/{service}"), "auth required pam_unix.so\n");
        }
        assert_eq!(machine.ids(), [ProfileInForce, ProfileNeverAsks]);
    }

    #[test]
    fn a_profile_that_was_chosen_and_whose_lines_are_gone_is_a_failure() {
        for (file, line) in [("auth", AUTH_LINE), ("account", ACCOUNT_LINE)] {
            let mut machine = Machine::new(true);
            machine.edit(&format!("/etc/pam.d/common-{file}"), line, "");
            machine.says(ProfileNotInForce, &format!("is in /etc/pam.d/common-{file}"));
            // pam-auth-update goes on from there.
            assert!(!machine.ids().contains(&ProfileEdited), "{:#?}", machine.judged());
        }
        let mut machine = Machine::new(true);
        machine.edit("/etc/pam.d/common-auth", AUTH_LINE, &format!("# {AUTH_LINE}"));
        assert_eq!(machine.ids()[..2], [ProfileOff, ProfileOff]);
        assert!(machine.ids().ends_with(&[ProfileEdited, ProfileNotInForce]));
    }

    #[test]
    fn where_pam_auth_update_would_change_nothing_the_place_is_named() {
        let unix = "\t[success=1 default=ignore]\tpam_unix.so nullok\n";
        for (file, from, to, named) in [
            ("auth", "auth\t[succ", "auth required pam_env.so\nauth\t[succ", "auth:5 was written"),
            ("auth", "auth\t[succ", "# mine\nauth\t[succ", "auth:5 was written"),
            ("auth", "auth\t[success=1 default=ignore]", "auth\tsufficient", "auth:5 was written"),
            ("password", MORE, "# gone", "password has not all the marks"),
            ("session-noninteractive", END, "\n# end of", "session-noninteractive:10 was written"),
        ] {
            let mut machine = Machine::new(false);
            machine.edit(&format!("/etc/pam.d/common-{file}"), from, to);
            machine.says(ProfileEdited, &format!("/etc/pam.d/common-{named}"));
        }
        let mut machine = Machine::new(false);
        machine.0.remove("/var/lib/pam/session");
        machine.says(ProfileEdited, "/var/lib/pam/session is not there");
        // What pam-auth-update takes over: other arguments, other jumps, lines that are gone.
        for (from, to) in [
            (unix, "\t[success=2 default=ignore]\tpam_unix.so nullok try_first_pass\n"),
            ("auth\t[success=1 default=ignore]\tpam_unix.so nullok\n", ""),
            ("# about it", "auth required pam_env.so"),
        ] {
            let mut machine = Machine::new(false);
            machine.edit("/etc/pam.d/common-auth", from, to);
            assert_eq!(machine.ids(), [ProfileOff; 3], "{to:?}");
        }
    }

    #[test]
    fn a_line_that_was_written_by_hand_is_in_force_too() {
        let mut machine = Machine::new(false);
        machine.edit("/etc/pam.d/common-auth", END, &format!("{AUTH_LINE}{END}"));
        assert_eq!(machine.ids(), [ProfileInForce, ProfileNeverAsks, ProfileCannotAsk]);
    }

    #[test]
    fn nothing_is_said_where_no_package_has_brought_the_profile() {
        let mut machine = Machine::new(true);
        machine
            .put("/usr/share/pam-configs/onetime", "Name: another\nAuth:\n\trequired pam_x.so\n");
        assert_eq!(machine.judged(), []);
    }
}
