//! Killed anywhere: a login and the tool are killed at each system call that changes
//! the disk, one after the other, and the account is then the old one or the new one.

use crate::common::{
    ALICE_PASSWORD, Answers, Client, World, current_code, enable, finish, hasty, secret,
};

/// The calls that change what is on the disk, or make it durable.
const CALLS: [&str; 9] = [
    "openat",
    "mkdirat",
    "write",
    "pwrite64",
    "ftruncate",
    "fsync",
    "fdatasync",
    "rename,renameat2",
    "unlinkat",
];

const SUCCESS: i32 = 0;

/// Runs a program again and again, killed at the first, the second, the third … call
/// of each kind, until it comes through; `check` looks at the world each time.
fn killed_at_each_call(
    world: &World,
    prepare: impl Fn(),
    program: &[&str],
    input: &str,
    check: impl Fn(&str),
) -> u32 {
    let mut killed = 0;
    for call in CALLS {
        for nth in 1..200 {
            prepare();
            let inject = format!("inject={call}:signal=KILL:when={nth}");
            let mut strace = world.command("strace");
            strace.args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject]);
            let run = finish(strace.args(program), input.as_bytes());
            check(&format!("{program:?} killed at {call} {nth}"));
            if run.success() {
                break;
            }
            killed += 1;
            assert!(nth < 199, "{program:?} never comes through: {}", run.text());
        }
    }
    killed
}

fn login(world: &World, answers: &[&str]) -> i32 {
    Client::new(world, "sshd", "alice").run(&Answers::new(answers)).result()
}

/// The account as it stands: its secret, and whether it is activated.
fn account(world: &World, at: &str) -> Option<(String, bool)> {
    let run = world.onetimectl(&["--json", "status", "alice"]);
    let rows: serde_json::Value =
        serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{at}: {e}: {}", run.text()));
    let row = rows.get(0).unwrap_or_else(|| panic!("{at}: no row"));
    assert!(row.get("error").is_some_and(serde_json::Value::is_null), "{at}: {row}");
    let is = |key: &str| row.get(key).and_then(serde_json::Value::as_bool).expect("a flag");
    is("otp").then(|| (secret(world, "alice"), is("activated")))
}

#[test]
fn an_enable_killed_anywhere_leaves_no_account_or_a_pending_one() {
    let world = hasty();
    let prepare = || drop(world.onetimectl(&["disable", "alice", "--yes"]).ok());
    let killed =
        killed_at_each_call(&world, prepare, &["onetimectl", "enable", "alice"], "", |at| {
            if let Some((_, activated)) = account(&world, at) {
                assert!(!activated, "{at}");
            }
            // Whatever is left behind is in nobody's way.
            let enabled = world.onetimectl(&["enable", "alice"]);
            assert!(enabled.success(), "{at}: {}", enabled.text());
            assert_eq!(login(&world, &[ALICE_PASSWORD, ""]), SUCCESS, "{at}");
        });
    assert!(killed >= 8, "{killed}");
}

#[test]
fn a_new_secret_killed_anywhere_leaves_the_old_account_or_the_new_one_whole() {
    let world = hasty();
    let old = std::cell::RefCell::new(String::new());
    let prepare = || {
        world.onetimectl(&["enable", "alice", "--new-secret"]).ok();
        *old.borrow_mut() = secret(&world, "alice");
        world.onetimectl(&["verify", "alice", &current_code(&old.borrow(), -1)]).ok();
    };
    let program = ["onetimectl", "enable", "alice", "--new-secret"];
    let killed = killed_at_each_call(&world, prepare, &program, "", |at| {
        let (secret, activated) = account(&world, at).unwrap_or_else(|| panic!("{at}: neither"));
        assert_eq!(activated, secret == *old.borrow(), "{at}");
        let needs_code = login(&world, &[ALICE_PASSWORD, ""]) != SUCCESS;
        assert_eq!(needs_code, activated, "{at}");
    });
    assert!(killed >= 8, "{killed}");
}

#[test]
fn a_disable_killed_anywhere_leaves_the_account_or_none() {
    let world = hasty();
    let prepare = || {
        let secret = enable(&world, "alice");
        // Still there from the last time, perhaps, and the code spent.
        drop(world.onetimectl(&["verify", "alice", &current_code(&secret, -1)]));
    };
    let killed = killed_at_each_call(
        &world,
        prepare,
        &["onetimectl", "disable", "alice", "--yes"],
        "",
        |at| match account(&world, at) {
            Some((_, activated)) => assert!(activated, "{at}"),
            None => assert_eq!(login(&world, &[ALICE_PASSWORD]), SUCCESS, "{at}"),
        },
    );
    assert!(killed >= 3, "{killed}");
}

#[test]
fn a_login_killed_anywhere_never_lets_its_code_serve_twice_and_never_loses_the_account() {
    let world = hasty();
    // By counter, so that each round has a code of its own.
    world.onetimectl(&["enable", "alice", "--kind", "hotp"]).ok();
    let secret = secret(&world, "alice");
    let counter = std::cell::Cell::new(0);
    let code = |counter| crate::common::hotp_code(&secret, counter, 6);
    let inner = Client::new(&world, "sshd", "alice").command();
    let words: Vec<String> = inner
        .get_args()
        .skip_while(|word| *word != "--")
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let program: Vec<&str> = words.iter().map(String::as_str).collect();
    assert_eq!(login(&world, &[ALICE_PASSWORD, &code(0)]), SUCCESS, "activated");
    let mut killed = 0;
    for call in ["openat", "pwrite64", "fdatasync", "sendto", "close"] {
        for nth in 1..200 {
            counter.set(counter.get() + 1);
            let now = code(counter.get());
            let inject = format!("inject={call}:signal=KILL:when={nth}");
            let mut strace = world.command("strace");
            strace.args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject]);
            let run =
                finish(strace.args(&program), format!("{ALICE_PASSWORD}\n{now}\n").as_bytes());
            let at = format!("login killed at {call} {nth}");
            assert!(account(&world, &at).is_some_and(|(_, activated)| activated), "{at}");
            let told = run.stdout.contains("result authenticate 0");
            let again = login(&world, &[ALICE_PASSWORD, &now]) == SUCCESS;
            assert!(!(told && again), "{at}: the code served twice");
            let third = login(&world, &[ALICE_PASSWORD, &now]) == SUCCESS;
            assert!(!third, "{at}: the code served twice");
            counter.set(counter.get() + 1);
            assert_eq!(login(&world, &[ALICE_PASSWORD, &code(counter.get())]), SUCCESS, "{at}");
            if run.success() {
                break;
            }
            killed += 1;
        }
    }
    assert!(killed > 30, "{killed}");
}
