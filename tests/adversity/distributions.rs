//! Distributions: `onetimectl doctor` on the stacks that Debian 12, Debian 13 and sid
//! ship, on those that README makes of them, and on those that an update or an admin may
//! make; with the real programs that log in by them.

use std::collections::BTreeSet;
use std::net::TcpListener;

use regex::Regex;

use crate::common::{
    ALICE_PASSWORD, BOB_PASSWORD, Figures, Pty, code, current_code, preflight, secret_in,
};
use crate::debian::Debian;
use crate::units;

/// What is expected of a suite.
struct Suite {
    name: &'static str,
    packages: &'static [&'static str],
    /// The services where a password alone lets in, as shipped.
    open: &'static [&'static str],
    /// The logins that our single files leave without a code, without their twins.
    holes: &'static [Door],
    /// Whether its sshd is of OpenSSH 9.8 or later.
    new_sshd: bool,
}

const WITH_SUDO_RS: [&str; 6] =
    ["openssh-server", "sudo", "login", "cron", "systemd-standalone-sysusers", "sudo-rs"];

const SUITES: [Suite; 3] = [
    Suite {
        name: "bookworm",
        packages: &["openssh-server", "sudo", "login", "cron", "systemd-standalone-sysusers"],
        open: &["chfn", "chsh", "login", "other", "sshd", "su", "su-l", "sudo", "sudo-i"],
        holes: &[Door::SudoI],
        new_sshd: false,
    },
    Suite {
        name: "trixie",
        packages: &WITH_SUDO_RS,
        open: &["chfn", "chsh", "login", "other", "sshd", "su", "su-l", "sudo", "sudo-i"],
        // `login -h` uses a service without a file there, and so `other`; its sudo-rs has no
        // service for -i yet.
        holes: &[Door::SudoI, Door::LoginH],
        new_sshd: true,
    },
    Suite {
        name: "sid",
        packages: &WITH_SUDO_RS,
        open: &["chfn", "chsh", "login", "other", "remote", "sshd", "su", "su-l", "sudo", "sudo-i"],
        holes: &[Door::SudoI, Door::SudoRsI, Door::LoginH, Door::SuL],
        new_sshd: true,
    },
];

/// A login by a program whose service has a twin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    SudoI,
    SudoRsI,
    LoginH,
    SuL,
}

impl Door {
    const ALL: [Self; 4] = [Self::SudoI, Self::SudoRsI, Self::LoginH, Self::SuL];

    /// Whether it asks alice for a code after her password.
    #[track_caller]
    fn asks(self, debian: &Debian) -> bool {
        let mut pty = match self {
            Self::SudoI => debian.pty_as("alice", "sudo", &["-k", "-i", "-u", "bob"]),
            Self::SudoRsI => debian.pty_as("alice", "sudo-rs", &["-k", "-i", "-u", "bob"]),
            Self::LoginH => debian.pty_as("root", "login", &["-h", "host.invalid", "alice"]),
            Self::SuL => debian.pty_as("bob", "su", &["-", "alice"]),
        };
        pty.expect(Regex::new("[Pp]assword.*: ").expect("a valid pattern"));
        pty.send_line(ALICE_PASSWORD);
        let answer = Regex::new("One-time code: |Welcome, ").expect("a valid pattern");
        pty.expect(answer).ends_with("One-time code: ")
    }

    fn is_there(self, debian: &Debian) -> bool {
        self != Self::SudoRsI || debian.path("/usr/bin/sudo-rs").exists()
    }
}

/// The doors of a system that let alice in without a code.
#[track_caller]
fn without_code(debian: &Debian) -> Vec<Door> {
    let doors = Door::ALL.into_iter().filter(|door| door.is_there(debian));
    doors.filter(|door| !door.asks(debian)).collect()
}

/// What doctor says: name, result, text.
struct Report(Vec<[String; 3]>);

impl Report {
    #[track_caller]
    fn of(debian: &Debian) -> Self {
        let rows: serde_json::Value = debian.run("onetimectl", &["doctor", "--json"]).json();
        let rows = rows.as_array().expect("an array").iter();
        let texts = |row: &serde_json::Value| {
            ["id", "result", "what"].map(|key| row[key].as_str().unwrap_or_default().to_owned())
        };
        Self(rows.map(texts).collect())
    }

    /// The text of each finding with this name.
    fn all(&self, id: &str) -> Vec<&str> {
        self.0.iter().filter(|row| row[0] == id).map(|row| row[2].as_str()).collect()
    }

    /// The services where a password alone lets in.
    fn open(&self) -> BTreeSet<&str> {
        let names = self.all("pam-without-code").into_iter();
        names.map(|what| what.split([':', ' ']).next().unwrap_or_default()).collect()
    }

    fn failed(&self) -> Vec<&str> {
        self.0.iter().filter(|row| row[1] == "fail").map(|row| row[0].as_str()).collect()
    }

    #[track_caller]
    fn says(&self, id: &str, what: &str) {
        let found = self.all(id).iter().any(|text| text.contains(what));
        assert!(found, "{id}: {what}: {:#?}", self.0);
    }
}

/// A block of README, and it is there as it is tried here.
#[track_caller]
fn of_readme(block: &[&str]) -> String {
    let text: String = block.iter().flat_map(|line| [line, "\n"]).collect();
    let readme = include_str!("../../README.md").replace("\n   ", "\n");
    assert!(readme.contains(&format!("```\n{text}```")), "README.md has not:\n{text}");
    text
}

const SSHD_LINES: [&str; 3] =
    ["UsePAM yes", "KbdInteractiveAuthentication yes", "PasswordAuthentication no"];

#[test]
fn doctor_names_every_way_past_the_codes_on_debian_12_13_and_sid_and_readme_leaves_none() {
    preflight();
    let tried: Vec<_> = std::thread::scope(|scope| {
        let suites: Vec<_> = SUITES.iter().map(|suite| scope.spawn(|| try_suite(suite))).collect();
        suites.into_iter().map(|suite| suite.join().expect("its own failure is shown")).collect()
    });
    let columns = [
        "suite",
        "services without a code, as shipped",
        "doors past single files, without twins",
        "with the twins",
        "services after README's profile",
        "doors then",
    ];
    let mut figures = Figures::new("distributions", &columns);
    for (suite, [shipped, holes, twins, services, doors]) in SUITES.iter().zip(tried) {
        figures.row(&[&suite.name, &shipped, &holes, &twins, &services, &doors]);
    }
    figures.publish();
}

fn try_suite(suite: &Suite) -> [usize; 5] {
    let debian = Debian::make(suite.name, suite.packages);
    debian.install();
    let shipped = as_shipped(&debian, suite);
    let secret = activate(&debian);
    put_back(&debian, suite);
    let [holes, twins] = single_files(&debian, suite);
    let [services, doors] = profile(&debian);
    sshd(&debian, suite, &secret);
    if suite.name == "sid" {
        polkit(&debian);
    }
    bent(&debian);
    [shipped, holes, twins, services, doors]
}

/// One line for each service, none for what packagers leave or libpam does not read.
fn as_shipped(debian: &Debian, suite: &Suite) -> usize {
    let open = "@include common-auth\n";
    for path in ["/etc/pam.d/sudo.pam-old", "/etc/pam.d/sudo.dpkg-dist", "/usr/etc/pam.d/ghost"] {
        debian.write(path, open);
    }
    let report = Report::of(debian);
    let expected: BTreeSet<_> = suite.open.iter().copied().collect();
    assert_eq!(report.open(), expected, "{}", suite.name);
    report.says("pam-never-asked", "cron");
    report.says("pam-unused", "no service uses");
    assert_eq!(report.failed(), Vec::<&str>::new(), "{}", suite.name);
    expected.len()
}

/// alice's secret; the codes of this step and the next are there to be used.
fn activate(debian: &Debian) -> String {
    debian.run("onetimectl", &["enable", "alice"]).ok();
    let secret = secret_in(&debian.read("/var/lib/onetime/users/alice.toml"));
    let before = current_code(&secret, -1);
    debian.run("onetimectl", &["verify", "alice", &before]).ok();
    secret
}

/// With the files that Debian ships, as after an update, accounts that are active are a
/// failure.
fn put_back(debian: &Debian, suite: &Suite) {
    let report = Report::of(debian);
    let failed: BTreeSet<_> = report.failed().into_iter().collect();
    let expected = ["pam-unused-by-accounts", "sshd-without-code"];
    assert_eq!(failed, expected.into_iter().collect(), "{}", suite.name);
    report.says("sshd-without-code", "common-auth:");
}

/// Our files for four services, then also for their twins: how many doors were open.
fn single_files(debian: &Debian, suite: &Suite) -> [usize; 2] {
    debian.run("cp", &["-a", "/etc/pam.d", "/root/pam.d"]).ok();
    for service in ["sshd", "sudo", "su", "login"] {
        debian.use_ours(service);
    }
    let holes = without_code(debian);
    assert_eq!(holes, suite.holes, "{}", suite.name);
    let report = Report::of(debian);
    for (door, service) in [(Door::SudoI, "sudo-i"), (Door::SuL, "su-l"), (Door::LoginH, "remote")]
    {
        let said = report.open().contains(service)
            || (service == "remote" && report.open().contains("other"));
        assert!(said || !holes.contains(&door), "{}: {service}: {:?}", suite.name, report.open());
    }
    for twin in ["sudo-i", "su-l", "remote"] {
        debian.use_ours(twin);
    }
    let left = without_code(debian);
    assert_eq!(left, [], "{}", suite.name);
    let expected = ["chfn", "chsh", "other"].into_iter().collect();
    assert_eq!(Report::of(debian).open(), expected, "{}", suite.name);
    debian.run("sh", &["-c", "rm -r /etc/pam.d && mv /root/pam.d /etc/pam.d"]).ok();
    [holes.len(), left.len()]
}

/// README's way: every service asks for a code, also those without a file.
fn profile(debian: &Debian) -> [usize; 2] {
    let commands = of_readme(&["onetimectl profile enable"]);
    debian.run("sh", &["-euc", &commands]).ok();
    let report = Report::of(debian);
    let services = report.open().len();
    assert_eq!(services, 0, "{}: {:?}", debian.suite, report.0);
    report.says("pam-sound", "password by the stack, then code");
    let doors = without_code(debian);
    assert_eq!(doors, [], "{}", debian.suite);
    // bob has no record, and needs no code.
    let mut su = debian.pty_as("alice", "su", &["-", "bob"]);
    su.expect("Password: ");
    su.send_line(BOB_PASSWORD);
    su.expect("Welcome, bob.");
    [services, doors.len()]
}

/// README's lines for sshd, where they do nothing and where they hold; then a real login,
/// and sshd's other services.
fn sshd(debian: &Debian, suite: &Suite, secret: &str) {
    let lines = of_readme(&SSHD_LINES);
    let shipped = debian.read("/etc/ssh/sshd_config");
    debian.write("/etc/ssh/sshd_config", &format!("{shipped}{lines}"));
    let decides = (1..).zip(shipped.lines());
    let mut decides = decides.filter(|(_, line)| *line == "KbdInteractiveAuthentication no");
    let (number, _) = decides.next().expect("Debian's sshd_config has the line");
    let report = Report::of(debian);
    report.says("sshd-without-prompts", &format!("/etc/ssh/sshd_config:{number}"));
    debian.write("/etc/ssh/sshd_config", &shipped);
    debian.write("/etc/ssh/sshd_config.d/00-onetime.conf", &lines);
    let report = Report::of(debian);
    report.says("sshd-sound", "asks for codes");
    assert_eq!(report.failed(), Vec::<&str>::new(), "{}: {:#?}", suite.name, report.0);
    assert_eq!(!report.all("sshd-penalties").is_empty(), suite.new_sshd, "{}", suite.name);
    log_in(debian, secret);
    if suite.new_sshd {
        services_of_sshd(debian);
    }
}

/// alice logs in by ssh, with password and code.
fn log_in(debian: &Debian, secret: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let port = listener.local_addr().expect("it has an address").port().to_string();
    drop(listener);
    let mut sshd = debian.pty_as("root", "/usr/sbin/sshd", &["-D", "-e", "-p", &port]);
    sshd.expect("Server listening on");
    let mut client = std::process::Command::new("ssh");
    client.env_clear().env("PATH", crate::common::PATH).env("TERM", "xterm");
    client.args(["-F", "none", "-o", "StrictHostKeyChecking=no", "-p", &port]);
    client.args(["-o", "UserKnownHostsFile=/dev/null", "-o", "IdentityAgent=none"]);
    let mut ssh = Pty::spawn(client.arg("alice@127.0.0.1"));
    ssh.expect("Password: ");
    ssh.send_line(ALICE_PASSWORD);
    ssh.expect("One-time code: ");
    ssh.send_line(&code(secret, crate::common::TotpOptions::default()));
    ssh.expect("Welcome, alice.");
}

/// PAMServiceName, for everybody and for some: the service that is named is judged, and
/// the line that names it is said.
fn services_of_sshd(debian: &Debian) {
    debian.write("/etc/pam.d/ssh-plain", "auth required pam_unix.so\n");
    let file = "/etc/ssh/sshd_config.d/10-service.conf";
    for (text, line) in
        [("PAMServiceName ssh-plain\n", 1), ("Match User bob\nPAMServiceName ssh-plain\n", 2)]
    {
        debian.write(file, text);
        let report = Report::of(debian);
        report.says("sshd-without-code", &format!("ssh-plain by {file}:{line}"));
        report.says("sshd-without-code", "ssh-plain:1 pam_unix.so");
    }
    debian.write("/etc/pam.d/ssh-plain", "auth required pam_onetime.so\n");
    let report = Report::of(debian);
    assert_eq!(report.failed(), Vec::<&str>::new(), "{:#?}", report.0);
    debian.run("rm", &[file, "/etc/pam.d/ssh-plain"]).ok();
}

/// polkit's helper, which may write nowhere: as it is shipped, and with our drop-in, which is
/// then tried in a running systemd.
fn polkit(debian: &Debian) {
    debian.install_packages(&["systemd-sysv", "dbus", "polkitd"]);
    let report = Report::of(debian);
    report.says("unit-store-read-only", "polkit-agent-helper@.service");
    assert_eq!(report.failed(), ["unit-store-read-only"], "{:#?}", report.0);
    debian.write(units::DROP_IN, &units::drop_in());
    let report = Report::of(debian);
    assert_eq!(report.failed(), Vec::<&str>::new(), "{:#?}", report.0);
    // As it is shipped, its service asks for codes by common-auth.
    assert!(report.open().is_empty(), "{:?}", report.open());
    units::try_in_systemd(debian);
}

/// Debian's own stack for su, with a module of another kind before ours each.
fn bent(debian: &Debian) {
    let shipped = debian.read("/etc/pam.d/su");
    for module in [
        "pam_succeed_if.so uid >= 1000",
        "pam_exec.so /bin/true",
        "pam_wheel.so trust",
        "pam_localuser.so",
        "pam_rhosts.so",
        "pam_unix.so",
    ] {
        debian.write("/etc/pam.d/su", &format!("auth sufficient {module}\n{shipped}"));
        let name = module.split(' ').next().unwrap_or_default();
        Report::of(debian).says("pam-code-skipped", &format!("su:1 {name} skips it"));
    }
    debian.write("/etc/pam.d/su", &shipped);
    assert_eq!(Report::of(debian).failed(), Vec::<&str>::new());
}
