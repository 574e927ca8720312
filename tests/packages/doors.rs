//! alice, who enrolls by ssh, and the programs by which she logs in after that: each asks
//! for her password and a code.

use std::net::TcpListener;

use regex::Regex;

use crate::common::{ALICE_PASSWORD, BOB_PASSWORD, Pty, current_code, secret_in};
use crate::debian::Debian;

pub(crate) const CODE_PROMPT: &str = "One-time code: ";

/// Who logs in to what, as whom; each asks for alice's password.
const DOORS: [(&str, &str, &[&str]); 10] = [
    ("alice", "sudo", &["-k", "-u", "bob", "/usr/local/bin/welcome"]),
    ("alice", "sudo", &["-k", "-i", "-u", "bob"]),
    ("alice", "sudo-rs", &["-k", "-u", "bob", "/usr/local/bin/welcome"]),
    ("alice", "sudo-rs", &["-k", "-i", "-u", "bob"]),
    ("bob", "su", &["alice"]),
    ("bob", "su", &["-l", "alice"]),
    ("root", "login", &["alice"]),
    ("root", "login", &["-h", "host.invalid", "alice"]),
    ("alice", "chsh", &["-s", "/usr/local/bin/welcome"]),
    ("alice", "chfn", &["-h", "1"]),
];

/// What alice's phone has.
#[track_caller]
pub(crate) fn secret(debian: &Debian) -> String {
    secret_of(debian, "alice")
}

#[track_caller]
pub(crate) fn secret_of(debian: &Debian, user: &str) -> String {
    secret_in(&debian.read(&format!("/var/lib/onetime/users/{user}.toml")))
}

/// alice enrolls by ssh, and is asked for a code from then on, wherever she logs in.
#[track_caller]
pub(crate) fn enrolls_and_is_asked_by_each(debian: &Debian) {
    debian.run("onetimectl", &["enable", "alice"]).ok();
    let secret = secret(debian);
    let ssh = Ssh::start(debian);
    let mut first = ssh.client();
    first.send_line(ALICE_PASSWORD);
    let shown = first.expect("One-time code (Enter to skip): ");
    assert!(shown.contains(&secret[..4]), "the key is shown: {shown}");
    first.send_line(&current_code(&secret, -1));
    first.expect("Welcome, alice.");
    let mut second = ssh.client();
    second.send_line(ALICE_PASSWORD);
    let shown = second.expect(CODE_PROMPT);
    assert!(!shown.contains(&secret[..4]), "the key is not shown any more");
    second.send_line("");
    assert_refused(&mut second);
    ssh.lets_in(&current_code(&secret, 0));
    each_asks(debian);
    // Who has no record needs no code; nor do programs that use common-account alone.
    let mut su = debian.pty_as("alice", "su", &["-", "bob"]);
    su.expect(password_prompt());
    su.send_line(BOB_PASSWORD);
    su.expect("Welcome, bob.");
    debian.run("pamtester", &["cron", "alice", "acct_mgmt"]).ok();
}

/// Every program asks for alice's code, who is active; and who does not know her password
/// does not come to it.
#[track_caller]
pub(crate) fn each_asks(debian: &Debian) {
    let refusal = Regex::new("One-time code: |[Ss]orry|[Ff]ail(?:ure|ed)|incorrect");
    let refusal = refusal.expect("a pattern");
    let is_there = |program: &str| {
        ["/usr/bin", "/usr/sbin"]
            .iter()
            .any(|dir| debian.path(&format!("{dir}/{program}")).exists())
    };
    let mut tried = 0;
    for (user, program, arguments) in DOORS {
        if !is_there(program) {
            assert_eq!((program, debian.suite), ("sudo-rs", "bookworm"), "it is not there");
            continue;
        }
        let mut door = debian.pty_as(user, program, arguments);
        door.expect(password_prompt());
        door.send_line(ALICE_PASSWORD);
        door.expect(CODE_PROMPT);
        let mut door = debian.pty_as(user, program, arguments);
        door.expect(password_prompt());
        door.send_line("wrong");
        let said = door.expect(refusal.clone());
        assert!(!said.contains("code"), "{program} {arguments:?}: {said}");
        tried += 1;
    }
    assert!(tried >= 8, "{tried}");
}

/// `su - alice` by bob, which asks for a code.
#[track_caller]
pub(crate) fn su_asks(debian: &Debian) {
    let mut su = debian.pty_as("bob", "su", &["-l", "alice"]);
    su.expect(password_prompt());
    su.send_line(ALICE_PASSWORD);
    su.expect(CODE_PROMPT);
}

/// `su - alice` by bob, which asks for the password alone.
#[track_caller]
pub(crate) fn su_asks_for_the_password_alone(debian: &Debian) {
    let mut su = debian.pty_as("bob", "su", &["-l", "alice"]);
    su.expect(password_prompt());
    su.send_line(ALICE_PASSWORD);
    su.expect("Welcome, alice.");
}

pub(crate) fn password_prompt() -> Regex {
    Regex::new("[Pp]assword.*: ").expect("a valid pattern")
}

/// A client that is asked again for the password.
#[track_caller]
pub(crate) fn assert_refused(pty: &mut Pty) {
    let said = pty.expect(Regex::new("Password: |Permission denied|Welcome").expect("a pattern"));
    assert!(!said.contains("Welcome"), "{said}");
}

/// sshd there, on a port of its own, and its clients: those of the same system, since what an
/// older one shows of the texts of a newer sshd is its own affair.
pub(crate) struct Ssh<'a> {
    debian: &'a Debian,
    _daemon: Pty,
    port: String,
}

impl<'a> Ssh<'a> {
    #[track_caller]
    pub(crate) fn start(debian: &'a Debian) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let port = listener.local_addr().expect("it has an address").port().to_string();
        drop(listener);
        let mut daemon = debian.pty_as("root", "/usr/sbin/sshd", &["-D", "-e", "-p", &port]);
        daemon.expect("Server listening on");
        Self { debian, _daemon: daemon, port }
    }

    /// alice's client, which has been asked for her password.
    #[track_caller]
    pub(crate) fn client(&self) -> Pty {
        let known = ["-F", "none", "-o", "StrictHostKeyChecking=no", "-p", &self.port];
        let more = ["-o", "UserKnownHostsFile=/dev/null", "-o", "IdentityAgent=none"];
        let words = [&known[..], &more, &["alice@127.0.0.1"]].concat();
        let mut ssh = self.debian.pty_as("root", "ssh", &words);
        ssh.expect("Password: ");
        ssh
    }

    /// alice's client, which has been asked for a code.
    #[track_caller]
    pub(crate) fn client_at_the_code(&self) -> Pty {
        let mut client = self.client();
        client.send_line(ALICE_PASSWORD);
        client.expect(CODE_PROMPT);
        client
    }

    #[track_caller]
    pub(crate) fn lets_in(&self, code: &str) {
        let mut client = self.client_at_the_code();
        client.send_line(code);
        client.expect("Welcome, alice.");
    }
}
