//! Each file of conf/pam.d in force, through the real Linux-PAM: a disabled, a pending and an
//! active user log in, with the answers that the file's programs give.

use std::fs;
use std::path::Path;

use crate::common::{
    ALICE_PASSWORD, AUTH_ERR, Answers, BOB_PASSWORD, CAROL_PASSWORD, Client, ClientRun, Event,
    SUCCESS, World, activate, conf, current_code, enable, hasty,
};

/// How the programs of a file answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A person answers each prompt.
    Each,
    /// The code right after the password, whatever is asked.
    Once,
    /// The password, whatever is asked.
    PasswordOnly,
    /// The code: an ssh key has been checked.
    CodeOnly,
    /// Root is not asked.
    Root,
}

/// All that are shipped.
const FILES: [(&str, Way); 14] = [
    ("login", Way::Each),
    ("one-prompt", Way::Once),
    ("onetime-password", Way::PasswordOnly),
    ("password-only", Way::PasswordOnly),
    ("remote", Way::Each),
    ("sshd", Way::Each),
    ("sshd-key", Way::CodeOnly),
    ("stack", Way::Each),
    ("su", Way::Root),
    ("su-l", Way::Root),
    ("sudo", Way::Each),
    ("sudo-i", Way::Each),
    ("two-prompts", Way::Each),
    // As the comments of the two say.
    ("by-include", Way::Once),
];

impl Way {
    fn answers(self, password: &str, code: &str) -> Vec<String> {
        match self {
            Self::Each => vec![password.to_owned(), code.to_owned()],
            Self::Once => vec![format!("{password}{code}"); 3],
            Self::PasswordOnly => vec![password.to_owned(); 3],
            Self::CodeOnly => vec![code.to_owned()],
            Self::Root => Vec::new(),
        }
    }
}

fn login(world: &World, service: &str, user: &str, answers: &[String]) -> ClientRun {
    let answers: Vec<_> = answers.iter().map(String::as_str).collect();
    let client = Client::new(world, service, user).option("authenticate").option("acct_mgmt");
    client.run(&Answers::new(&answers))
}

/// A file as it is shipped, but a failure is reported at once.
fn hurried(file: &str) -> String {
    let text = conf(&format!("pam.d/{file}")).replace("delay=3000000", "delay=1");
    let hurried = |line: &str| match line.starts_with("auth") && line.ends_with("pam_unix.so") {
        true => format!("{line} nodelay\n"),
        false => format!("{line}\n"),
    };
    text.lines().map(hurried).collect()
}

/// The result of both phases.
fn results(run: &ClientRun) -> Vec<i32> {
    let number = |event: &Event| match event {
        Event::Result(_, number) => Some(*number),
        _ => None,
    };
    run.events.iter().filter_map(number).collect()
}

#[test]
fn each_file_that_is_shipped_is_tried_here() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/pam.d");
    let there = fs::read_dir(dir).expect("conf/pam.d can be listed");
    let mut there: Vec<_> = there.map(|file| file.expect("its entries too").file_name()).collect();
    there.sort();
    let tried = FILES.iter().map(|(name, _)| *name).filter(|name| *name != "by-include");
    assert_eq!(there, tried.collect::<Vec<_>>());
}

#[test]
fn on_each_file_that_is_shipped_disabled_pending_and_active_users_log_in_as_they_should() {
    let world = hasty();
    for (file, way) in FILES {
        let text = match file {
            "by-include" => "auth include one-prompt\naccount include one-prompt\n".to_owned(),
            file => hurried(file),
        };
        // The one of the world is told not to wait after a wrong password.
        let service = if file == "onetime-password" { "verifies-passwords" } else { file };
        world.pam_service(service, &text);
        let alice = activate(&world, "alice");
        enable(&world, "carol");
        let code = current_code(&alice, 0);
        let run = |user: &str, password: &str, code: &str| {
            results(&login(&world, service, user, &way.answers(password, code)))
        };
        let both = vec![SUCCESS, SUCCESS];
        assert_eq!(run("bob", BOB_PASSWORD, ""), both, "{file}: disabled");
        assert_eq!(run("carol", CAROL_PASSWORD, ""), both, "{file}: pending, skipped");
        assert_eq!(run("alice", ALICE_PASSWORD, &code), both, "{file}: active");
        let is_asked = !matches!(way, Way::PasswordOnly | Way::Root);
        let again = run("alice", ALICE_PASSWORD, &code);
        assert_eq!(again.first() == Some(&AUTH_ERR), is_asked, "{file}: a spent code: {again:?}");
        if !matches!(way, Way::CodeOnly | Way::Root) {
            assert_ne!(run("bob", "wrong", "").first(), Some(&SUCCESS), "{file}: wrong password");
        }
        world.onetimectl(&["disable", "alice", "carol"]).ok();
    }
}
