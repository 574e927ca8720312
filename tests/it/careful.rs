//! `onetimectl` in the hands of somebody in a hurry, or of a script: what it asks before
//! it destroys, what it only says it would do, what it makes of a slip of the hand, and of
//! an output that nobody reads.

use std::collections::BTreeSet;
use std::fs::File;
use std::process::{Command, Stdio};

use crate::common::{
    Finished, PATIENCE, World, activate, assert_ends, conf, current_code, enable, finish,
    installed, secret, wait_within,
};
use serde_json::Value;

/// All files of the store, and what is in them.
fn store(world: &World) -> String {
    let look =
        "cd /var/lib/onetime 2>/dev/null || exit 0; find . -type f -exec sha256sum {} + | sort";
    world.run("sh", &["-euc", look]).ok()
}

fn recovery_codes(text: &str) -> Vec<String> {
    let form = regex::Regex::new("[2-9A-Z]{4}-[2-9A-Z]{4}-[2-9A-Z]{4}").expect("a valid pattern");
    form.find_iter(text).map(|found| found.as_str().to_owned()).collect()
}

const PSEUDO_FILE: &str = "otpauth://totp/alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n";

// --- what destroys asks ---

#[test]
fn what_destroys_asks_on_a_terminal_and_takes_no_for_an_answer() {
    let world = installed();
    activate(&world, "alice");
    world.onetimectl(&["token", "add", "alice"]).ok();
    world.onetimectl(&["recovery", "alice"]).ok();
    world.write("/root/tokens", PSEUDO_FILE.as_bytes(), 0o600);
    let orders: [&[&str]; 6] = [
        &["token", "remove", "alice", "2"],
        &["enable", "alice", "--new-secret"],
        &["enable", "--all", "--new-secret"],
        &["recovery", "alice"],
        &["import", "--replace", "/root/tokens"],
        &["disable", "alice"],
    ];
    for order in orders {
        let before = store(&world);
        for answer in ["n", "", "yse"] {
            let mut terminal = world.pty("onetimectl", order);
            terminal.expect("[y/N] ");
            terminal.send_line(answer);
            assert_eq!(terminal.wait().code(), Some(1), "{order:?}: {}", terminal.text());
            assert!(terminal.text().contains("Nothing changed."), "{}", terminal.text());
            assert_eq!(store(&world), before, "{order:?}");
        }
        let mut terminal = world.pty("onetimectl", &[order, &["--yes"]].concat());
        assert!(terminal.wait().success(), "{order:?}: {}", terminal.text());
        assert!(!terminal.text().contains("[y/N]"), "{}", terminal.text());
        assert_ne!(store(&world), before, "{order:?}");
    }
}

#[test]
fn nobody_is_asked_where_nothing_would_be_destroyed_and_a_list_is_no_answer() {
    let world = installed();
    let mut terminal = world.pty("onetimectl", &["enable", "alice", "--new-secret"]);
    assert!(terminal.wait().success(), "{}", terminal.text());
    assert!(!terminal.text().contains("[y/N]"), "{}", terminal.text());
    // Of those in the file, only who is enabled has something to lose.
    let other = PSEUDO_FILE.replace("alice", "bob").replace("GEZD", "GEZE");
    world.write("/root/both", format!("{PSEUDO_FILE}{other}").as_bytes(), 0o600);
    let mut terminal = world.pty("onetimectl", &["import", "--replace", "/root/both"]);
    terminal.expect("Replace what 1 user has");
    terminal.send_line("n");
    assert!(!terminal.wait().success(), "{}", terminal.text());
    world.write("/root/bob", other.as_bytes(), 0o600);
    let mut terminal = world.pty("onetimectl", &["import", "--replace", "/root/bob"]);
    assert!(terminal.wait().success(), "{}", terminal.text());
    assert!(!terminal.text().contains("[y/N]"), "{}", terminal.text());
    // What is read as names must not be taken for the answer: it comes from the terminal.
    let script = "printf 'alice\\ny\\n' | onetimectl disable -";
    let mut terminal = world.pty("sh", &["-c", script]);
    terminal.expect("[y/N] ");
    terminal.send_line("n");
    assert!(!terminal.wait().success(), "{}", terminal.text());
    assert!(world.exists("/var/lib/onetime/users/alice.toml"));
}

// --- dry runs ---

#[test]
fn a_dry_run_says_for_each_user_what_would_be_done_and_writes_nothing() {
    let world = installed();
    world.remove("/var/lib/onetime");
    assert_ends(&world.onetimectl(&["enable", "alice", "--dry-run"]), 0, "alice: would be enabled");
    assert!(!world.exists("/var/lib/onetime"), "not even a store is made");
    let used = activate(&world, "bob");
    activate(&world, "carol");
    world.onetimectl(&["verify", "bob", "000000"]);
    world.remove("/var/lib/onetime/state/carol");
    let before = store(&world);
    world.wait_for_syslog(|line| line.text.contains("user=carol"), PATIENCE);
    world.forget_syslog();
    for (order, code, said) in [
        (
            &["enable", "alice", "bob", "ghost"][..],
            3,
            &["alice: would be enabled", "bob: already", "ghost: this system"][..],
        ),
        (&["enable", "bob", "--new-secret"], 0, &["bob: would be enabled with a different secret"]),
        (&["enable", "ghost"], 1, &["ghost: this system knows no such user"]),
        (&["enable", "ghost", "--force"], 0, &["ghost: would be enabled"]),
        (&["disable", "alice", "bob"], 0, &["alice: not enabled", "bob: would be disabled"]),
        (&["disable", "--all"], 0, &["bob: would be disabled", "carol: would be disabled"]),
        (&["unlock", "bob"], 0, &["bob: would be unlocked; it was not locked, and 1 failure"]),
        (&["unlock", "alice"], 1, &["alice: not enabled"]),
        (&["repair", "bob", "carol"], 0, &["bob: nothing to repair", "carol: would be rebuilt"]),
        (&["repair", "--restored", "bob"], 0, &["bob: codes shown so far"]),
    ] {
        let run = world.onetimectl(&[order, &["--dry-run"]].concat());
        for said in said {
            assert_ends(&run, code, said);
        }
        assert_eq!(store(&world), before, "{order:?}");
    }
    assert!(world.syslog().is_empty(), "{:?}", world.syslog());
    assert_eq!(secret(&world, "bob"), used);
}

// --- slips of the hand ---

#[test]
fn a_name_that_nobody_has_is_an_error_to_every_verb_and_one_without_a_record_is_what_it_was() {
    let world = installed();
    enable(&world, "bob");
    for order in [
        &["disable", "carlo"][..],
        &["disable", "--yes", "carlo"],
        &["unlock", "carlo"],
        &["repair", "carlo"],
        &["status", "carlo"],
        &["export", "carlo"],
        &["verify", "carlo", "123456"],
        &["resync", "carlo", "123456", "654321"],
        &["recovery", "carlo"],
        &["rebind", "carlo"],
        &["qr", "carlo"],
        &["handout", "carlo", "-o", "/root/a.html"],
        &["token", "list", "carlo"],
        &["token", "add", "carlo"],
        &["token", "remove", "carlo", "1"],
        &["enable", "carlo"],
        &["disable", "carlo", "--dry-run"],
    ] {
        let run = world.onetimectl(order);
        assert_ends(&run, 1, "carlo: this system knows no such user\n");
        let json = world.onetimectl(&[&["--json"], order].concat());
        assert_eq!(json.status.code(), Some(1), "{order:?}: {}", json.text());
    }
    let listed = finish(world.command("onetimectl").args(["disable", "-"]), b"carlo\nbob\n");
    assert_ends(&listed, 3, "carlo: this system knows no such user");
    assert_ends(&world.onetimectl(&["disable", "alice"]), 0, "alice: not enabled");
    assert_ends(&world.onetimectl(&["repair", "alice"]), 0, "alice: not enabled");
    // Who has a record, though the system does not know them, is somebody.
    world.onetimectl(&["enable", "--force", "ghost"]).ok();
    assert_ends(&world.onetimectl(&["disable", "ghost"]), 0, "ghost: disabled");
}

#[test]
fn wrong_usage_is_exit_code_2_wherever_it_is_noticed() {
    let world = installed();
    for order in [
        &["nosuch"][..],
        &["enable"],
        &["enable", "alice", "bob", "--qr", "/root/a.png"],
        &["enable", "alice", "--qr", "/root/a.gif"],
        &["qr", "alice", "--qr", "/root/a.gif"],
        &["enable", "alice", "--kind", "hotp", "--period", "30"],
        &["token", "add", "alice", "--kind", "hotp", "--period", "30"],
        &["enable", "alice", "--no-qr", "--show-secret"],
        &["resync", "alice", "123456"],
        &["token", "remove", "alice", "9"],
        &["handout", "alice", "-o", "/root/a.pdf"],
        &["--json", "export", "--format", "pskc"],
        &["list", "alice"],
    ] {
        let run = world.onetimectl(order);
        assert_eq!(run.status.code(), Some(2), "{order:?}: {}", run.text());
        assert!(run.stderr.contains("error: ") && run.stdout.is_empty(), "{}", run.text());
    }
}

// --- outputs that nobody reads ---

/// Every verb, as it succeeds on these accounts: alice pending, bob active.
const ORDERS: &[&[&str]] = &[
    &["--help"],
    &["--version"],
    &["enable", "--help"],
    &["completions", "bash"],
    &["init"],
    &["doctor"],
    &["--json", "doctor"],
    &["enable", "carol"],
    &["status"],
    &["list"],
    &["--json", "list"],
    &["verify", "bob", "000000"],
    &["qr", "alice"],
    &["repair", "alice"],
    &["rebind", "alice"],
    &["rename", "bob", "bob"],
    &["recovery", "bob"],
    &["--json", "recovery", "bob"],
    &["resync", "bob", "000000", "000001"],
    &["token", "add", "bob"],
    &["token", "list", "bob"],
    &["token", "remove", "bob", "1"],
    &["handout", "alice", "-o", "/root/sheet.html"],
    &["import", "--dry-run", "/root/tokens"],
    &["export"],
    &["export", "--format", "pskc"],
    &["export", "--format", "oath", "--output", "/root/users.oath"],
    &["--json", "export"],
    &["report", "-o", "/root/report.html"],
    &["--json", "report", "-o", "/root/report.html"],
    &["config", "show"],
    &["--json", "config", "show"],
    &["config", "check"],
    &["--json", "config", "check", "/root/tokens"],
    &["profile", "show"],
    &["init", "--existing"],
    &["list", "--csv"],
    &["list", "--disabled", "--summary"],
    &["unlock", "--all"],
    &["disable", "carol"],
    &["enable", "nosuch"],
    &["nosuch"],
];

/// The verbs of the tool, as its help has them.
fn verbs(world: &World) -> BTreeSet<String> {
    let help = world.onetimectl(&["--help"]).ok();
    let verb = regex::Regex::new(r"(?m)^  ([a-z]+)  ").expect("a valid pattern");
    let verbs = verb.captures_iter(&help).map(|found| found[1].to_owned());
    verbs.filter(|verb| verb != "help").collect()
}

/// How a run ended whose outputs a shell has arranged.
fn arranged(world: &World, order: &[&str], how: &str) -> Finished {
    let quoted: Vec<_> = order.iter().map(|word| format!("'{word}'")).collect();
    let script = format!("onetimectl {} {how}", quoted.join(" "));
    world.run("sh", &["-c", &script])
}

#[test]
fn no_verb_panics_or_is_killed_whatever_its_outputs_are() {
    let world = installed();
    let missing: Vec<_> = verbs(&world)
        .into_iter()
        .filter(|verb| !ORDERS.iter().any(|order| order.contains(&verb.as_str())))
        .collect();
    assert_eq!(missing, [""; 0], "verbs that are not tried");
    enable(&world, "alice");
    activate(&world, "bob");
    world.write("/root/tokens", PSEUDO_FILE.as_bytes(), 0o600);
    for how in [
        ">/dev/full",
        "2>/dev/full",
        ">/dev/full 2>/dev/full",
        ">&-",
        "2>&-",
        "<&-",
        "<&- >&- 2>&-",
    ] {
        for order in ORDERS {
            let run = arranged(&world, order, how);
            let code = run.status.code();
            assert!(code.is_some_and(|code| code <= 4), "{order:?} {how}: {:?}", run.status);
            assert!(!run.text().contains("panicked"), "{order:?} {how}: {}", run.text());
        }
    }
    // Nobody is at the other end.
    for order in ORDERS {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = world.command("onetimectl");
        command.args(*order).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let ended = wait_within(&mut child, PATIENCE).expect("it ends");
        let output = child.wait_with_output().expect("it has ended");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(ended.code().is_some_and(|code| code <= 4), "{order:?}: {ended:?} {said}");
        assert!(!said.contains("panicked"), "{order:?}: {said}");
    }
}

#[test]
fn what_cannot_be_written_to_standard_output_is_an_error_that_says_so() {
    let world = installed();
    enable(&world, "alice");
    for order in [
        &["--help"][..],
        &["--version"],
        &["completions", "fish"],
        &["init"],
        &["doctor"],
        &["list"],
        &["--json", "list"],
        &["qr", "alice"],
        &["export"],
    ] {
        let run = arranged(&world, order, ">/dev/full");
        assert_ends(&run, 1, "cannot write to standard output: No space left on device\n");
        assert!(
            run.stderr.contains("\n  -> ") && !run.stderr.contains("os error"),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn what_would_be_shown_to_nobody_is_not_issued_and_nothing_is_lost() {
    let world = installed();
    let key = activate(&world, "alice");
    let codes = recovery_codes(&world.onetimectl(&["recovery", "alice"]).ok());
    assert_eq!(codes.len(), 8);
    // A file system that is all but full: the redirection makes the file, but no room is left.
    world.run("mkdir", &["/tmp/small"]).ok();
    world.run("mount", &["-t", "tmpfs", "-o", "size=64k", "none", "/tmp/small"]).ok();
    world.run("sh", &["-c", "cat /dev/zero >/tmp/small/zeros 2>/dev/null; :>/tmp/small/out"]).ok();
    let before = store(&world);
    for how in [">/dev/full", ">/tmp/small/out", ">&-", ">/dev/null", "| true; exit 1"] {
        for order in [
            &["recovery", "alice"][..],
            &["--json", "recovery", "alice"],
            &["enable", "--new-secret", "--recovery", "alice"],
        ] {
            if how.contains("true") {
                continue;
            }
            let run = arranged(&world, order, how);
            assert_eq!(run.status.code(), Some(1), "{order:?} {how}: {}", run.text());
            assert!(run.stderr.contains("standard output"), "{}", run.text());
            assert_eq!(store(&world), before, "{order:?} {how}");
        }
    }
    for order in [
        &["enable", "--new-secret", "alice"][..],
        &["token", "add", "alice"],
        &["disable", "alice"],
    ] {
        for how in [">/dev/full", ">/tmp/small/out"] {
            assert_ends(&arranged(&world, order, how), 1, "cannot write to standard output");
            assert_eq!(store(&world), before, "{order:?} {how}");
        }
    }
    assert_ends(&world.onetimectl(&["verify", "alice", &codes[0]]), 0, "right recovery code");
    assert_eq!(secret(&world, "alice"), key);
    let json: Value = world.onetimectl(&["--json", "recovery", "alice"]).json();
    let issued = json[0]["recovery_codes"][0].as_str().expect("a code");
    assert_eq!(json[0]["error"], Value::Null);
    assert_ends(&world.onetimectl(&["verify", "alice", issued]), 0, "right recovery code");
}

#[test]
fn codes_that_were_shown_but_could_not_be_issued_are_said_not_to_be_valid() {
    let world = installed();
    activate(&world, "alice");
    let codes = recovery_codes(&world.onetimectl(&["recovery", "alice"]).ok());
    // The record cannot be replaced: renaming in the store fails.
    let fail = |args: &[&str]| {
        let mut strace = world.command("strace");
        strace.args(["-f", "-o", "/dev/null", "-e", "inject=rename,renameat,renameat2:error=EIO"]);
        finish(strace.arg("onetimectl").args(args), b"")
    };
    let run = fail(&["recovery", "alice"]);
    assert_ends(&run, 1, "alice: what was shown is not valid: ");
    let run = fail(&["--json", "recovery", "alice"]);
    let rows: Value = run.json();
    assert!(rows[0]["error"].as_str().is_some_and(|it| it.contains("not valid")), "{rows}");
    assert_ends(&world.onetimectl(&["verify", "alice", &codes[0]]), 0, "right recovery code");
}

#[test]
fn a_file_that_has_the_number_of_a_closed_output_gets_no_secret() {
    let world = installed();
    world.write("/root/precious", b"precious", 0o600);
    for order in
        [&["enable", "alice", "--show-secret", "--new-secret"][..], &["qr", "alice"], &["export"]]
    {
        for how in ["<&- >&- 2>&-", ">&-"] {
            arranged(&world, order, how);
        }
    }
    let key = secret(&world, "alice");
    let found =
        world.run("grep", &["-rlF", &key, "/var/lib/onetime", "/root", "/etc", "/tmp", "/run"]);
    assert_eq!(found.stdout, "/var/lib/onetime/users/alice.toml\n", "{}", found.text());
    let mut command: Command = world.command("onetimectl");
    command.args(["qr", "alice"]).stdout(File::open("/dev/null").expect("it opens"));
    assert!(command.stderr(Stdio::null()).status().expect("it runs").code().is_some());
}

// --- verify, and what is said ---

#[test]
fn verify_takes_what_a_login_takes() {
    let world = installed();
    let key = activate(&world, "alice");
    let codes = recovery_codes(&world.onetimectl(&["recovery", "alice"]).ok());
    let code = current_code(&key, 0);
    let spaced = format!("{} {}", &code[..3], &code[3..]);
    assert_ends(&world.onetimectl(&["verify", "alice", &spaced]), 0, "alice: right code\n");
    let sloppy = codes[0].to_lowercase().replace('-', " ");
    let run = world.onetimectl(&["verify", "alice", &sloppy]);
    assert_ends(&run, 0, "alice: right recovery code; it is spent, and 7 are left");
    assert_ends(&world.onetimectl(&["verify", "alice", &codes[0]]), 1, "onetimectl: alice: ");
    let json: Value = world.onetimectl(&["--json", "verify", "alice", &codes[1]]).json();
    assert_eq!(json[0]["result"], "right_recovery_code");
    assert_eq!(json[0]["recovery_codes_left"], 6);
}

#[test]
fn unlock_says_what_it_forgets() {
    let world = installed();
    activate(&world, "alice");
    let unlock = || world.onetimectl(&["unlock", "alice"]);
    assert_ends(&unlock(), 0, "alice: unlocked; it was not locked, and no failures were counted");
    world.onetimectl(&["verify", "alice", "000000"]);
    assert_ends(&unlock(), 0, "alice: unlocked; it was not locked, and 1 failure is forgotten");
    for _ in 0..3 {
        world.onetimectl(&["verify", "alice", "000000"]);
    }
    let locked = world.onetimectl(&["verify", "alice", "000000"]);
    assert_ends(&locked, 1, " UTC\n  -> onetimectl unlock\n");
    assert_ends(
        &unlock(),
        0,
        "alice: unlocked; the lock is ended, and no failures were counted; 1 lock is forgotten",
    );
}

#[test]
fn the_line_of_a_change_says_who_made_it() {
    let world = installed();
    world.forget_syslog();
    let mut sudo = world.command("onetimectl");
    finish(sudo.env("SUDO_USER", "bob x=1").args(["enable", "alice"]), b"").ok();
    let line = world.wait_for_syslog(|line| line.text.contains("enabled"), PATIENCE);
    assert!(line.text.contains(" sudo_user=\"bob x=1\" reason="), "{}", line.text);
    world.forget_syslog();
    // A login uid can be set once in a session that has none.
    let script = "echo 2002 >/proc/self/loginuid && exec onetimectl unlock alice";
    let run = world.run("sh", &["-c", script]);
    let uid = std::fs::read_to_string("/proc/self/loginuid").expect("a kernel with audit");
    if uid.trim() == "4294967295" {
        assert!(run.success(), "{}", run.text());
        let line = world.wait_for_syslog(|line| line.text.contains("unlocked"), PATIENCE);
        assert!(line.text.contains(" admin=bob login_uid=2002 reason="), "{}", line.text);
    } else {
        let run = world.onetimectl(&["unlock", "alice"]);
        assert!(run.success(), "{}", run.text());
        let line = world.wait_for_syslog(|line| line.text.contains("unlocked"), PATIENCE);
        assert!(line.text.contains(&format!(" login_uid={} ", uid.trim())), "{}", line.text);
    }
}

#[test]
fn names_and_paths_do_not_write_over_the_terminal() {
    let world = installed();
    for order in [
        &["status", "a\u{202e}b\u{1b}[2J"][..],
        &["disable", "a\u{202e}b"],
        &["verify", "a\u{2066}b", "123456"],
        &["import", "/root/\u{1b}[2J\u{202e}x"],
        &["--config", "/root/\u{1b}[2J\u{202e}x", "list"],
        &["enable", "alice", "--qr", "/root/no\u{1b}[2J\u{202e}/x.png"],
    ] {
        let run = world.onetimectl(order);
        assert!(!run.success(), "{order:?}: {}", run.text());
        assert!(!run.text().contains(['\u{1b}', '\u{202e}', '\u{2066}']), "{:?}", run.text());
        assert!(run.text().contains("\\u{"), "{}", run.text());
    }
    let name = "eve\u{202e}nimda";
    world.onetimectl(&["enable", "--force", name]).ok();
    for order in [&["list"][..], &["status", name], &["unlock", name], &["repair", "--all"]] {
        let said = world.onetimectl(order).ok();
        assert!(!said.contains('\u{202e}') && said.contains("eve\\u{202e}nimda"), "{said:?}");
    }
    for order in [&["list"][..], &["status", name], &["unlock", name]] {
        let rows = world.onetimectl(&[&["--json"], order].concat()).ok();
        assert!(!rows.contains('\u{202e}') && rows.contains("eve\\u202enimda"), "{rows:?}");
        assert!(rows.parse::<Value>().is_ok_and(|rows| rows[0]["user"] == name), "{rows}");
    }
    enable(&world, "alice");
    let path = "/root/\u{1b}[2J\u{202e}.html";
    let said = world.onetimectl(&["handout", "alice", "-o", path]).ok();
    assert!(
        said.contains("/root/\\u{1b}[2J\\u{202e}.html") && !said.contains('\u{1b}'),
        "{said:?}"
    );
}

// --- what is read has a bound ---

#[test]
fn what_is_read_from_standard_input_has_a_bound() {
    let world = installed();
    enable(&world, "alice");
    for (order, said) in [
        ("disable -", "has more than"),
        ("verify alice", "has more than"),
        ("token add alice --stdin", "has more than"),
        ("resync alice", "has more than"),
    ] {
        let script = format!("tr '\\0' 7 </dev/zero | {{ ulimit -v 400000; onetimectl {order}; }}");
        let run = world.run("sh", &["-c", &script]);
        assert_ends(&run, 1, said);
        assert!(run.stderr.len() < 400, "{}", run.stderr.len());
    }
    for file in ["/dev/zero", "/root/fifo", "/root"] {
        world.run("sh", &["-c", "test -p /root/fifo || mkfifo /root/fifo"]).ok();
        let run = world.onetimectl(&["import", file]);
        assert_eq!(run.status.code(), Some(1), "{file}: {}", run.text());
    }
    assert!(world.exists("/var/lib/onetime/users/alice.toml"));
}

#[test]
fn enable_says_so_where_no_service_uses_the_module() {
    let world = installed();
    let said = "no service uses pam_onetime.so";
    let quiet = world.onetimectl(&["enable", "alice"]);
    assert!(quiet.success() && !quiet.stderr.contains(said), "{}", quiet.text());
    world.run("sh", &["-c", "cd /etc/pam.d && grep -l pam_onetime * | xargs rm"]).ok();
    let warned = world.onetimectl(&["enable", "bob"]);
    assert_ends(&warned, 0, said);
    assert!(warned.stderr.contains("\n  -> "), "{}", warned.stderr);
}

// --- what programs read ---

#[test]
fn each_key_and_word_of_the_json_output_is_in_the_manual_page_with_its_version() {
    let world = installed();
    world.write("/root/tokens", PSEUDO_FILE.as_bytes(), 0o600);
    let page = include_str!("../../docs/onetimectl.8");
    let (_, section) = page.split_once("\n.Sh JSON\n").expect("the section JSON");
    let (section, _) = section.split_once("\n.Sh ").expect("its end");
    let word = regex::Regex::new("[a-z_]+").expect("a valid pattern");
    let section = section.replace("\\(dq", " ");
    let documented: Vec<_> = word.find_iter(&section).map(|found| found.as_str()).collect();
    world.write("/root/wrong.toml", b"nosuch = 1\n", 0o600);
    world.write("/root/profile", conf("pam-configs/onetime").as_bytes(), 0o644);
    let profiles =
        "d=/usr/share/pam-configs; mount -t tmpfs tmpfs $d && cp /root/profile $d/onetime";
    world.run("sh", &["-c", profiles]).ok();
    let mut tried = BTreeSet::new();
    for order in [
        "init",
        "doctor",
        "config show",
        "config check /root/wrong.toml",
        "config show --config /root/wrong.toml",
        "doctor --config /root/wrong.toml",
        "profile show",
        "report -o /root/report.html",
        "enable bob --dry-run",
        "enable alice bob --show-secret --recovery",
        "enable alice",
        "status alice carol ghost",
        "list",
        "qr alice",
        "handout alice -o /root/a.html",
        "verify alice 000000",
        "recovery alice",
        "token add alice",
        "token list alice",
        "token remove alice 2",
        "resync alice 000000 000001",
        "repair alice carol",
        "repair --restored --dry-run bob",
        "repair --restored bob",
        "unlock bob --dry-run",
        "unlock bob",
        "rename --force bob robert",
        "rebind alice",
        "export alice",
        "import --dry-run --replace /root/tokens",
        "import --replace /root/tokens",
        "disable alice --dry-run",
        "disable alice carol",
    ] {
        let words: Vec<_> = order.split(' ').collect();
        let printed: Value = world.onetimectl(&[&["--json"], &words[..]].concat()).json();
        let objects = match &printed {
            Value::Array(rows) => rows.iter().collect(),
            other => vec![other],
        };
        assert!(!objects.is_empty(), "{order}");
        for object in objects {
            assert_eq!(object["version"], 1, "{order}: {object:?}");
        }
        for word in keys_and_words(&printed) {
            assert!(documented.contains(&&*word), "{order}: {word} is not in the manual page");
        }
        tried.insert(words[0].to_owned());
    }
    // What prints JSON is every verb but this.
    tried.insert("completions".to_owned());
    assert_eq!(tried, verbs(&world));
}

/// The keys of a value, however deep, and the words that say what came of it or where it is
/// from.
fn keys_and_words(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    match value {
        Value::Array(values) => found.extend(values.iter().flat_map(keys_and_words)),
        Value::Object(object) => {
            for (key, value) in object {
                let is_word = ["result", "from"].contains(&key.as_str());
                found.extend(value.as_str().filter(|_| is_word).map(str::to_owned));
                found.insert(key.clone());
                found.extend(keys_and_words(value));
            }
        }
        _ => {}
    }
    found
}

#[test]
fn what_people_read_has_no_seconds_of_unix_no_number_of_an_error_and_no_name_is_left_out() {
    let world = installed();
    enable(&world, "alice");
    for user in ["bob", "carol"] {
        activate(&world, user);
    }
    for _ in 0..3 {
        world.onetimectl(&["verify", "bob", "000000"]);
    }
    world.write("/var/lib/onetime/users/carol.toml", b"checksum = \"crc32:0\"\n", 0o600);
    let machine = regex::Regex::new(r"\b1[6-9]\d{8}\b|os error|\bSome\(").expect("a pattern");
    let check = |order: &[&str], text: &str| {
        assert!(!machine.is_match(text), "{order:?}: {text}");
    };
    for user in ["alice", "bob", "carol", "root", "ghost"] {
        for order in [
            &["status", user][..],
            &["verify", user, "000000"],
            &["resync", user, "000000", "000001"],
            &["unlock", "--dry-run", user],
            &["repair", "--dry-run", user],
            &["repair", "--dry-run", "--restored", user],
            &["rebind", user],
            &["token", "list", user],
            &["disable", "--dry-run", user],
        ] {
            let run = world.onetimectl(order);
            check(order, &run.text());
            // Each error says whose it is, and each fact is said in the same words.
            let named = format!("onetimectl: {user}: ");
            assert!(run.success() || run.stderr.contains(&named), "{order:?}: {}", run.text());
            let why = match user {
                "ghost" => "this system knows no such user",
                "root" if order[0] != "status" => "not enabled",
                "carol" if order[0] != "disable" => "damaged record",
                _ => "",
            };
            assert!(run.text().contains(why), "{order:?}: {}", run.text());
        }
    }
    for order in
        [&["list"][..], &["list", "--csv"], &["--json", "list"], &["--json", "status"], &["doctor"]]
    {
        check(order, &world.onetimectl(order).text());
    }
    world.onetimectl(&["report", "-o", "/root/report.html"]);
    check(&["report"], &world.read_text("/root/report.html"));
    for line in world.syslog() {
        check(&["log"], &line.text);
    }
}

#[test]
fn an_error_of_the_system_has_no_number_and_says_what_to_do() {
    let world = installed();
    enable(&world, "alice");
    world.write("/root/there.html", b"precious", 0o600);
    for order in [
        &["--config", "/root/nowhere.toml", "list"][..],
        &["--config", "/root", "list"],
        &["import", "/root/nowhere"],
        &["handout", "alice", "-o", "/root/there.html"],
        &["handout", "alice", "-o", "/root/no/such.html"],
        &["enable", "bob", "--qr", "/etc/passwd/a.png"],
        &["--config", "/etc/passwd/x", "list"],
        &["config", "check", "/root/nowhere.toml"],
        &["config", "check", "/root"],
        &["import", "/root"],
        &["import", "/root/there.html", "--map", "/root/nowhere"],
        &["export", "-o", "/root/no/such"],
        &["report", "-o", "/root/no/such.html"],
        &["list", "--group", "nosuch"],
        &["enable", "--group", "nosuch"],
    ] {
        let run = world.onetimectl(order);
        assert_eq!(run.status.code(), Some(1), "{order:?}: {}", run.text());
        assert!(!run.stderr.contains("os error"), "{order:?}: {}", run.stderr);
        assert!(run.stderr.contains("\n  -> "), "{order:?}: {}", run.stderr);
    }
}
