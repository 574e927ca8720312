//! Many users at once, and paper: who is meant by `--group`, `--all` and `-`, what
//! `list` filters, and the sheets of `handout`, in worlds of their own.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use crate::common::{
    ALICE_PASSWORD, Finished, PATIENCE, World, activate, assert_ends, current_code, enable, finish,
    installed, rasterise, scan, sealed, secret, wait_within,
};
use regex::Regex;
use serde_json::{Value, json};

/// An installed world with a group `staff` that has alice and bob as members, and
/// whose primary members are carol and a service.
fn with_staff() -> World {
    let world = installed();
    let passwd = world.read_text("/etc/passwd").replace(":2003:2003:", ":2003:3000:");
    let passwd = passwd + "robot:x:2004:3000::/:/usr/sbin/nologin\n";
    world.write("/etc/passwd", passwd.as_bytes(), 0o644);
    let group = world.read_text("/etc/group") + "staff:x:3000:bob,alice\nempty:x:3001:\n";
    world.write("/etc/group", group.as_bytes(), 0o644);
    world
}

/// The users on standard output, line by line.
fn told(run: &Finished) -> Vec<&str> {
    run.stdout.lines().filter_map(|line| line.split([':', ' ']).next()).collect()
}

fn enabled(world: &World) -> Vec<String> {
    let files = world.list("/var/lib/onetime/users");
    files.iter().map(|file| file.trim_end_matches(".toml").to_owned()).collect()
}

fn fed(world: &World, args: &[&str], input: &[u8]) -> Finished {
    finish(world.command("onetimectl").args(args), input)
}

// --- who is meant ---

#[test]
fn a_group_is_its_members_and_those_whose_primary_group_it_is() {
    let world = with_staff();
    let run = world.onetimectl(&["enable", "--group", "staff"]);
    assert_ends(&run, 0, "alice: enabled");
    assert_eq!(told(&run), ["alice", "bob", "carol", "robot"]);
    assert_eq!(enabled(&world), ["alice", "bob", "carol", "robot"]);
    world.onetimectl(&["disable", "robot", "alice"]).ok();
    let status = world.onetimectl(&["status", "--group", "staff"]);
    assert_eq!(told(&status), ["USER", "alice", "bob", "carol", "robot"]);
    for (verb, done, undone) in [
        ("repair", "nothing to repair", "not enabled"),
        ("unlock", "unlocked", "not enabled"),
        ("disable", "disabled", "not enabled"),
    ] {
        let run = world.onetimectl(&[verb, "--group", "staff"]);
        assert_ends(&run, 0, &format!("bob: {done}"));
        assert!(run.stdout.contains(&format!("alice: {undone}")), "{}", run.stdout);
    }
    assert_eq!(enabled(&world), [""; 0]);
}

#[test]
fn enable_all_is_for_ordinary_users_and_for_the_other_verbs_all_are_those_with_a_record() {
    let world = with_staff();
    let defs = "UID_MIN 2002\nUID_MAX 2500\n";
    world.write("/etc/login.defs", defs.as_bytes(), 0o644);
    let run = world.onetimectl(&["enable", "--all"]);
    assert_eq!(told(&run), ["bob", "carol"], "{}", run.text());
    world.write("/etc/login.defs", b"", 0o644);
    world.onetimectl(&["enable", "--force", "daemon", "stranger"]).ok();
    let everybody = ["bob", "carol", "daemon", "stranger"];
    for verb in ["repair", "unlock"] {
        assert_eq!(told(&world.onetimectl(&[verb, "--all"])), everybody, "{verb}");
    }
    let status = world.onetimectl(&["status", "--all"]);
    assert_eq!(told(&status)[1..], everybody, "{}", status.text());
    assert_eq!(status.stdout, world.onetimectl(&["list"]).stdout);
    assert_eq!(told(&world.onetimectl(&["disable", "--all", "--yes"])), everybody);
    assert_eq!(enabled(&world), [""; 0]);
}

#[test]
fn names_on_standard_input_are_one_a_line_with_blank_lines_and_comments_skipped() {
    let world = installed();
    let list = b"# the team\n\n  alice \r\nbob\n#carol\nalice\n";
    let run = fed(&world, &["enable", "-"], list);
    assert_eq!(told(&run), ["alice", "bob"], "{}", run.text());
    let run = fed(&world, &["--json", "disable", "carol", "-", "bob"], b"alice\nbob");
    let users: Vec<_> =
        run.json::<Vec<Value>>().iter().map(|row| row["user"].to_string()).collect();
    assert_eq!(users, [r#""carol""#, r#""bob""#, r#""alice""#], "{}", run.text());
}

#[test]
fn one_user_who_fails_does_not_stop_the_others_and_the_exit_code_differs_for_some_and_all() {
    let world = installed();
    let run = fed(&world, &["enable", "-"], b"alice\nnosuch\n\xFF\xFE\nb\0b\nbob\n");
    assert_ends(&run, 3, "onetimectl: nosuch: this system knows no such user");
    assert_eq!(enabled(&world), ["alice", "bob"]);
    assert_ends(&fed(&world, &["unlock", "-"], b"alice\ncarol\n"), 3, "carol: not enabled");
    assert_ends(
        &fed(&world, &["unlock", "-"], b"carol\nnosuch\n"),
        1,
        "nosuch: this system knows no such user",
    );
    let run = fed(&world, &["--json", "enable", "--show-secret", "-"], b"carol\nnosuch\n");
    let rows = run.json::<Vec<Value>>();
    assert_eq!((run.status.code(), rows.len()), (Some(3), 2), "{}", run.text());
    assert!(rows[0]["error"].is_null() && rows[0]["secret"].is_string(), "{}", run.text());
    assert!(rows[1]["error"].is_string(), "{}", run.text());
}

#[test]
fn a_selection_of_nobody_is_an_error_that_says_so_and_none_at_all_is_wrong_usage() {
    let world = with_staff();
    for verb in ["enable", "disable", "status", "unlock", "repair"] {
        let run = world.onetimectl(&[verb, "--group", "empty"]);
        assert_ends(&run, 1, "nobody selected: the group empty has no members");
        assert_ends(&world.onetimectl(&[verb, "--group", "no"]), 1, "there is no group no");
        let run = fed(&world, &["--json", verb, "-"], b"\n# nobody\n");
        assert_ends(&run, 1, "nobody selected: there are no names on standard input");
        assert_eq!(run.stdout, "");
        if verb != "enable" {
            let run = world.onetimectl(&[verb, "--all"]);
            assert_ends(&run, 1, "nobody selected: nobody is enabled");
        }
        if verb != "status" {
            assert_ends(&world.onetimectl(&[verb]), 2, "USER");
        }
    }
    assert_eq!(enabled(&world), [""; 0]);
}

#[test]
fn disable_all_asks_with_the_number_of_users_and_takes_no_for_an_answer() {
    let world = installed();
    world.onetimectl(&["enable", "--all"]).ok();
    let mut terminal = world.pty("onetimectl", &["disable", "--all"]);
    terminal.expect("Disable one-time codes for 3 users?");
    terminal.send_line("n");
    assert!(!terminal.wait().success(), "{}", terminal.text());
    assert_eq!(enabled(&world).len(), 3);
    let mut terminal = world.pty("onetimectl", &["disable", "--all"]);
    terminal.expect("3 users?");
    terminal.send_line("y");
    assert!(terminal.wait().success(), "{}", terminal.text());
    assert_eq!(enabled(&world), [""; 0]);
}

#[test]
fn the_secrets_of_a_group_do_not_scroll_over_the_terminal() {
    let world = with_staff();
    let mut terminal = world.pty("onetimectl", &["enable", "--group", "staff"]);
    assert!(terminal.wait().success(), "{}", terminal.text());
    assert!(terminal.text().contains("bob: enabled"), "{}", terminal.text());
    assert!(!terminal.text().contains(&secret(&world, "bob")[..4]), "{}", terminal.text());
    assert!(!terminal.text().contains('█'), "{}", terminal.text());
}

// --- list ---

/// alice pending, bob active, carol active and locked.
fn of_all_kinds() -> World {
    let world = installed();
    enable(&world, "alice");
    activate(&world, "bob");
    activate(&world, "carol");
    for _ in 0..3 {
        assert_ends(&world.onetimectl(&["verify", "carol", "000000"]), 1, "wrong code");
    }
    world
}

#[test]
fn list_shows_those_in_any_of_the_states_asked_for_as_text_and_as_json() {
    let world = of_all_kinds();
    for (filters, expected) in [
        (vec!["--pending"], vec!["alice"]),
        (vec!["--active"], vec!["bob", "carol"]),
        (vec!["--locked"], vec!["carol"]),
        (vec!["--pending", "--locked"], vec!["alice", "carol"]),
        (vec!["--active", "--pending"], vec!["alice", "bob", "carol"]),
        (vec![], vec!["alice", "bob", "carol"]),
    ] {
        let run = world.onetimectl(&[vec!["list"], filters.clone()].concat());
        assert_eq!(told(&run)[1..], expected, "{filters:?}: {}", run.text());
        let rows =
            world.onetimectl(&[vec!["--json", "list"], filters].concat()).json::<Vec<Value>>();
        let users: Vec<_> = rows.iter().filter_map(|row| row["user"].as_str()).collect();
        assert_eq!(users, expected);
    }
    world.onetimectl(&["unlock", "carol"]).ok();
    assert_eq!(world.onetimectl(&["list", "--locked"]).ok(), "Nobody is in such a state.\n");
    assert_eq!(world.onetimectl(&["--json", "list", "--locked"]).ok(), "[]\n");
}

/// Whom `list` shows.
#[track_caller]
fn listed(world: &World, args: &[&str]) -> Vec<String> {
    let run = world.onetimectl(&[&["list"], args].concat());
    told(&run)[1..].iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn list_names_who_has_no_code_of_all_ordinary_users_or_of_a_group_and_counts_them() {
    let world = installed();
    enable(&world, "alice");
    let without = |args: &[&str]| listed(&world, args);
    assert_eq!(without(&["--disabled"]), ["bob", "carol"]);
    assert_eq!(without(&["--disabled", "--pending"]), ["alice", "bob", "carol"]);
    world.run("sh", &["-euc", "sed -i s/^adm:x:4:/adm:x:4:alice,bob/ /etc/group"]).ok();
    assert_eq!(without(&["--disabled", "--group", "adm"]), ["bob"]);
    assert_eq!(without(&["--group", "adm"]), ["alice"]);
    let run = world.onetimectl(&["list", "--disabled", "--active", "--pending", "--summary"]);
    let last = "\n\n3 users: 2 disabled, 1 pending, 0 active; 0 locked\n";
    assert!(run.stdout.ends_with(last), "{}", run.text());
    let rows = world.onetimectl(&["--json", "list", "--disabled"]).json::<Vec<Value>>();
    let facts: Vec<_> = rows.iter().map(|row| (row["user"].as_str(), &row["otp"])).collect();
    assert_eq!(facts, [(Some("bob"), &json!(false)), (Some("carol"), &json!(false))]);
    assert_ends(&world.onetimectl(&["list", "--group", "tty"]), 1, "has no members");
    // Where somebody reads it, they are counted.
    let mut pty = world.pty("onetimectl", &["list"]);
    pty.expect("1 user: 0 disabled, 1 pending, 0 active; 0 locked");
    assert!(pty.wait().success());
}

#[test]
fn list_shows_those_alone_whose_last_event_is_longer_ago() {
    let world = of_all_kinds();
    // alice was issued long ago; nothing else is old.
    let record = world.read_text("/var/lib/onetime/users/alice.toml");
    let before = record.lines().find(|line| line.starts_with("issued_at")).expect("a time");
    let record = record.replace(before, "issued_at = 1700000000");
    world.write("/var/lib/onetime/users/alice.toml", sealed(&record).as_bytes(), 0o600);
    let old = |age: &str| listed(&world, &["--older-than", age]);
    assert_eq!(old("1h"), ["alice"]);
    assert_eq!(told(&world.onetimectl(&["list", "--older-than", "3650d"])), ["Nobody"]);
    assert_eq!(told(&world.onetimectl(&["list", "--active", "--older-than", "1h"])), ["Nobody"]);
    assert_ends(&world.onetimectl(&["list", "--older-than", "soon"]), 2, "soon");
}

#[test]
fn columns_are_those_that_were_chosen_in_that_order_and_csv_is_read_by_another_reader() {
    let world = of_all_kinds();
    let passwd = world.read_text("/etc/passwd");
    let odd = "=1+2:x:2100:100::/:/bin/sh\na\"b,c:x:2101:100::/:/bin/sh\n";
    world.write("/etc/passwd", format!("{passwd}{odd}").as_bytes(), 0o644);
    world.onetimectl(&["enable", "=1+2", "a\"b,c"]).ok();
    let table =
        world.onetimectl(&["list", "--columns", "state,user,locked-until", "--active"]).ok();
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        ["STATE", "USER", "LOCKED", "UNTIL"]
    );
    assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["active", "bob", "-"]);
    assert_ends(&world.onetimectl(&["list", "--columns", "user,secret"]), 2, "secret");
    assert_ends(&world.onetimectl(&["--json", "list", "--csv"]), 2, "cannot be used with");

    let csv = world.onetimectl(&["list", "--csv", "--disabled", "--pending", "--active"]).ok();
    assert!(csv.ends_with("\r\n") && csv.matches("\r\n").count() == csv.lines().count(), "{csv}");
    let script =
        "import csv, json, sys; print(json.dumps(list(csv.DictReader(sys.stdin, strict=True))))";
    let rows =
        finish(world.command("python3").args(["-c", script]), csv.as_bytes()).json::<Vec<Value>>();
    let words = |key: &str| rows.iter().map(|row| row[key].clone()).collect::<Vec<_>>();
    assert_eq!(words("user"), ["'=1+2", "a\"b,c", "alice", "bob", "carol"]);
    assert_eq!(words("state"), ["pending", "pending", "pending", "active", "active"]);
    let [.., alice, bob, carol] = &rows[..] else { panic!("{csv}") };
    let time = regex::Regex::new(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$").expect("a pattern");
    let is_time = |value: &Value| time.is_match(value.as_str().unwrap_or_default());
    assert!(is_time(&alice["issued"]) && alice["since"] == "" && alice["last_code_login"] == "");
    assert!(is_time(&bob["since"]) && bob["locked_until"] == "" && is_time(&carol["locked_until"]));
    // No row is a table too.
    let none =
        world.onetimectl(&["list", "--csv", "--columns", "user,failures", "--older-than", "9d"]);
    assert_eq!(none.ok(), "user,failures\r\n");
}

#[test]
fn a_report_is_one_page_without_secrets_that_no_name_and_no_log_line_gets_out_of() {
    let world = of_all_kinds();
    let passwd = world.read_text("/etc/passwd") + "<b>&x:x:2100:100::/:/bin/sh\n";
    world.write("/etc/passwd", passwd.as_bytes(), 0o644);
    let log = "2026-11-27T01:00:00.1+00:00 h pam_onetime[7]: outcome=admitted user=a service=sshd reason=\"code right\"\n\
               2026-11-27T01:00:01.1+00:00 h pam_onetime[7]: outcome=ignored user=b service=sshd reason=\"no code needed (not enabled)\"\n\
               2026-11-27T01:00:02.1+00:00 h pam_onetime[7]: outcome=refused user=\"<i>\" service=su reason=\"locked after too many wrong codes\"\n";
    world.write("/var/log/auth.log", log.as_bytes(), 0o640);
    world.onetimectl(&["report", "-o", "/root/report.html"]).ok();
    let page = world.read_text("/root/report.html");
    for text in
        ["&lt;b&gt;&amp;x", "/var/log/auth.log", "with a code 1, without a code 1, refused 1"]
    {
        assert!(page.contains(text), "no {text:?} in {page}");
    }
    assert!(page.contains("4 users: 1 disabled, 1 pending, 2 active; 1 locked"), "{page}");
    for user in ["alice", "bob", "carol"] {
        assert!(page.contains(user) && !page.contains(&secret(&world, user)), "{user}: {page}");
    }
    for tag in ["<script", "<b>", "<i>", "<img", "<link", "http://", "https://"] {
        assert!(!page.contains(tag), "{tag} in {page}");
    }
    // Each thing that is opened is closed, and nothing is drawn without words.
    let script = "import sys, html.parser\nopen = []\nclass P(html.parser.HTMLParser):\n def handle_starttag(s, t, a):\n  t in ('meta',) or open.append(t)\n def handle_endtag(s, t):\n  assert open.pop() == t, t\nP().feed(sys.stdin.read())\nassert not open, open\n";
    finish(world.command("python3").args(["-c", script]), page.as_bytes()).ok();
    assert!(page.matches("<figure>").count() == 4 && page.matches("<desc ").count() == 4);
    assert_ends(&world.onetimectl(&["report", "-o", "/root/report.html"]), 1, "report.html");
    assert_ends(&world.onetimectl(&["report", "-o", "/root/report.txt"]), 2, "must end in .html");
    let said: Value = world.onetimectl(&["--json", "report", "-o", "/root/other.html"]).json();
    assert_eq!(said["version"], 1, "{said}");
}

#[test]
fn what_cannot_be_read_is_reported_whatever_the_filter() {
    let world = of_all_kinds();
    world.write("/var/lib/onetime/users/bob.toml", b"spoiled", 0o600);
    let run = world.onetimectl(&["list", "--pending"]);
    assert_ends(&run, 3, "onetimectl: bob: ");
    assert_eq!(told(&run), ["USER", "alice"]);
    let run = world.onetimectl(&["--json", "list", "--pending"]);
    let rows = run.json::<Vec<Value>>();
    assert_eq!(rows.len(), 2, "{}", run.text());
    assert!(rows[1]["user"] == "bob" && rows[1]["error"].is_string(), "{}", run.text());
}

/// A store with 3,000 accounts: alice's, as if issued to each of them too.
fn crowded() -> World {
    let world = installed();
    enable(&world, "alice");
    let record = world.read_text("/var/lib/onetime/users/alice.toml");
    let mut passwd = world.read_text("/etc/passwd");
    for number in 0..3000 {
        let (user, uid) = (format!("user{number:04}"), 10_000 + number);
        if number % 2 == 0 {
            writeln!(passwd, "{user}:x:{uid}:100::/:/bin/sh").expect("a string takes it");
        }
        let record = record.replace("\"alice\"", &format!("\"{user}\""));
        let record = record.replace("uid = 2001", &format!("uid = {uid}"));
        let place = format!("/var/lib/onetime/users/{user}.toml");
        world.write(&place, sealed(&record).as_bytes(), 0o600);
        let state = world.read("/var/lib/onetime/state/alice");
        world.write(&format!("/var/lib/onetime/state/{user}"), &state, 0o600);
    }
    world.write("/etc/passwd", passwd.as_bytes(), 0o644);
    world
}

#[test]
fn thousands_are_listed_in_order_in_columns_and_as_one_array_and_a_reader_may_stop_early() {
    let world = crowded();
    let list = world.onetimectl(&["list"]).ok();
    let rows: Vec<_> = list.lines().collect();
    assert_eq!(rows.len(), 3002);
    assert!(rows.is_sorted_by(|a, b| a.starts_with("USER") || a < b), "not in order");
    assert!(rows[1..].iter().all(|row| row[..15].trim_end().len() <= 13 && row.contains("yes")));
    let json = world.onetimectl(&["--json", "list"]);
    assert_eq!(json.json::<Vec<Value>>().len(), 3001);

    let script = "onetimectl list | head -n 1";
    let run = world.run("sh", &["-c", script]);
    assert!(run.success() && run.stderr.is_empty(), "{}", run.text());
    assert_eq!(run.stdout, format!("{}\n", rows[0]));
}

#[test]
fn a_run_over_thousands_shows_on_a_terminal_how_far_it_has_come_and_to_a_pipe_nothing() {
    let world = crowded();
    let mut terminal = world.pty("sh", &["-c", "onetimectl unlock --all >/dev/null"]);
    let status = terminal.wait();
    assert!(status.success(), "{}", terminal.text());
    let shown = String::from_utf8_lossy(&terminal.transcript()).into_owned();
    assert!(shown.contains("of 3001 users"), "{shown:?}");
    let mut child = world.command("onetimectl");
    let child = child.args(["unlock", "--all"]).stdin(Stdio::null());
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    assert!(wait_within(&mut child, PATIENCE).is_some_and(|status| status.success()));
    let output = child.wait_with_output().expect("it can be read");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// How often a run of the tool waits for the disk; what it said is checked.
fn waits(world: &World, arguments: &[&str], told: &str, users: usize) -> usize {
    let mut strace = world.command("strace");
    strace.args(["-f", "-o", "/run/waits", "-e", "trace=fsync,fdatasync,syncfs", "onetimectl"]);
    let run = finish(strace.args(arguments), b"");
    let rows: Vec<_> = run.stdout.lines().filter(|line| line.contains(told)).collect();
    assert_eq!(rows.len(), users, "{}", run.text());
    assert!(run.success() && rows.is_sorted(), "{}", run.text());
    world.read_text("/run/waits").lines().filter(|line| line.contains("sync")).count()
}

#[test]
fn hundreds_are_enabled_repaired_and_disabled_in_a_few_waits_for_the_disk_and_told_in_order() {
    let world = installed();
    let mut passwd = world.read_text("/etc/passwd");
    let mut oath = String::new();
    for number in 0..600 {
        let user = format!("user{number:04}");
        writeln!(passwd, "{user}:x:{}:7000::/:/bin/sh", 10_000 + number).expect("a string");
        writeln!(oath, "HOTP/T30\t{user}\t-\t{number:040x}").expect("a string");
    }
    world.write("/etc/passwd", passwd.as_bytes(), 0o644);
    let group = world.read_text("/etc/group") + "many:x:7000:\n";
    world.write("/etc/group", group.as_bytes(), 0o644);
    world.write("/root/users.oath", oath.as_bytes(), 0o600);
    world.onetimectl(&["init"]).ok();
    for (arguments, told) in [
        (&["enable", "--group", "many"][..], "enabled"),
        (&["enable", "--group", "many", "--new-secret", "--yes"], "enabled"),
        (&["repair", "--group", "many", "--restored"], "it is active"),
        (&["import", "/root/users.oath", "--replace", "--yes"], "user0"),
        (&["disable", "--all", "--yes"], "disabled"),
        (&["import", "/root/users.oath"], "user0"),
    ] {
        // One by one it would be over a thousand times.
        let waits = waits(&world, arguments, told, 600);
        assert!(waits < 20, "{arguments:?}: {waits}");
    }
    assert_eq!(world.list("/var/lib/onetime/state").len(), 600);
    let store: String = ["users", "state", "uids", "retired"]
        .map(|dir| world.list(&format!("/var/lib/onetime/{dir}")).join("\n"))
        .join("\n");
    assert!(!store.contains(".new-"), "{store}");
}

#[test]
fn where_a_part_of_the_store_is_on_another_disk_each_file_is_synced() {
    let world = with_staff();
    world.onetimectl(&["init"]).ok();
    let enable = ["enable", "--group", "staff", "--new-secret", "--yes"];
    assert!(waits(&world, &enable, "enabled", 4) < 10);
    let users = "/var/lib/onetime/users";
    let mount = format!("mount -t tmpfs -o mode=700 tmpfs {users}; onetimectl disable --all --yes");
    world.run("sh", &["-c", &mount]);
    // For each a state, a record and its directory, and more.
    assert!(waits(&world, &enable, "enabled", 4) >= 12);
}

#[test]
fn what_is_shown_once_is_shown_before_the_next_is_issued() {
    let world = with_staff();
    let shown = ["enable", "--group", "staff", "--recovery"];
    let mut strace = world.command("strace");
    strace.args(["-f", "-s", "20", "-o", "/run/calls", "-e", "trace=write,renameat", "onetimectl"]);
    finish(strace.args(shown), b"").ok();
    let calls = world.read_text("/run/calls");
    let events: Vec<_> = calls
        .lines()
        .filter_map(|line| {
            let name =
                ["alice", "bob", "carol", "robot"].into_iter().find(|it| line.contains(it))?;
            let told = line.contains("write(1,");
            let issued = line.contains(&format!("\"{name}.toml\""));
            (told || issued).then(|| format!("{name} {}", if told { "told" } else { "issued" }))
        })
        .collect();
    let expected: Vec<_> = ["alice", "bob", "carol", "robot"]
        .iter()
        .flat_map(|name| [format!("{name} issued"), format!("{name} told")])
        .collect();
    assert_eq!(events, expected, "{calls}");
}

// --- handout ---

const HOSTILE: &str = r#"<script>alert("A&B")</script>'"#;

/// The text of a page or picture: no tags, entities resolved.
fn plain(markup: &str) -> String {
    let tags = Regex::new("(?s)<style>.*?</style>|<[^>]*>").expect("a valid pattern");
    let text = tags.replace_all(markup, "");
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
        .into_iter()
        .fold(text.into_owned(), |text, (entity, letter)| text.replace(entity, letter))
}

fn in_fours(secret: &str) -> String {
    let groups: Vec<_> = secret.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
    groups.join(" ")
}

/// The recovery codes on a sheet.
fn codes(text: &str) -> Vec<String> {
    let form = Regex::new(r"(?m)^([2-9A-Z]{4}-[2-9A-Z]{4}-[2-9A-Z]{4})$").expect("a valid pattern");
    form.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// Fails unless a parser that is not ours finds the XML sound.
#[track_caller]
fn assert_xml(text: &str) {
    let script =
        "import sys, xml.dom.minidom; xml.dom.minidom.parseString(sys.stdin.buffer.read())";
    finish(Command::new("python3").args(["-c", script]), text.as_bytes()).ok();
}

#[test]
fn a_sheet_as_html_or_svg_has_all_that_is_needed_and_no_text_breaks_out_of_its_place() {
    let world = installed();
    world.onetimectl(&["enable", "alice", "--issuer", HOSTILE, "--digits", "8"]).ok();
    let secret = secret(&world, "alice");
    let qr_code = r##"<path fill="#fff" d="M0 0h(\d+)v\d+H0z"/><path d="[^"]+"/>"##;
    let qr_code = Regex::new(qr_code).expect("a valid pattern");
    for ending in ["html", "svg"] {
        let file = format!("/root/sheet.{ending}");
        let run = world.onetimectl(&["handout", "alice", "-o", &file]);
        assert_ends(&run, 0, &format!("alice: written to {file}"));
        assert!(!run.text().contains(&secret[..4]), "{}", run.text());
        let metadata = world.metadata(&file);
        assert_eq!((metadata.mode() & 0o7777, metadata.uid()), (0o600, 0));
        let sheet = world.read_text(&file);
        let text = plain(&sheet);
        let key = in_fours(&secret);
        let title = format!("One-time codes for {HOSTILE}");
        let issuer = format!("Issuer: {HOSTILE}");
        for wanted in [&title, &issuer, "Account: alice", &key, "8 digits", "At your next login"] {
            assert!(text.contains(wanted), "{ending}: no {wanted:?} in {text}");
        }
        assert!(codes(&text).is_empty(), "{text}");
        for unwanted in ["<script", "<img", "<link", "src=", "href=", "url("] {
            assert!(!sheet.contains(unwanted), "{ending}: {unwanted} in {sheet}");
        }
        let paths = qr_code.captures(&sheet).expect("a QR code");
        let (side, paths) = (&paths[1], &paths[0]);
        let picture = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}">{paths}</svg>"#
        );
        let uri = scan(&rasterise(&picture), "pgm");
        assert!(uri.contains(&format!("secret={secret}&")), "{uri}");
        assert_xml(&sheet.replace("<!DOCTYPE html>\n", ""));
    }
    let html = world.read_text("/root/sheet.html");
    assert!(html.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"), "{html}");
}

#[test]
fn a_sheet_is_in_the_language_of_the_configuration() {
    let world = installed();
    enable(&world, "alice");
    let config = "[login]\nlanguage = \"de\"\n";
    world.write("/etc/onetime/onetime.toml", config.as_bytes(), 0o644);
    world.onetimectl(&["handout", "alice", "--output", "/root/sheet.html"]).ok();
    let html = world.read_text("/root/sheet.html");
    assert!(html.contains("<html lang=\"de\">") && html.contains("Konto: alice"), "{html}");
}

#[test]
fn a_handout_as_png_is_the_qr_code_with_a_border_of_four_modules() {
    let world = installed();
    let secret = enable(&world, "alice");
    let run = world.onetimectl(&["--json", "handout", "alice", "-o", "/root/alice.png"]);
    let rows = run.json::<Vec<Value>>();
    assert_eq!(rows[0]["file"], "/root/alice.png");
    assert_eq!((&rows[0]["recovery_codes"], run.success()), (&Value::from(0), true));
    let png = world.read("/root/alice.png");
    assert!(scan(&png, "png").contains(&format!("secret={secret}&")));
    assert_eq!(world.metadata("/root/alice.png").mode() & 0o7777, 0o600);
    // IHDR: the width, in pixels of which eight make a module; no QR code has a
    // multiple of four modules a side, but 17 + 4 * version.
    let width = u32::from_be_bytes([png[16], png[17], png[18], png[19]]) / 8;
    assert_eq!((width - 8 - 17) % 4, 0, "{width} modules");
}

#[test]
fn recovery_codes_on_a_sheet_work_once_each_in_a_login_and_stand_nowhere_else() {
    let world = installed();
    let secret = enable(&world, "alice");
    let code_like = Regex::new("[2-9A-Z]{4}-[2-9A-Z]{4}").expect("a valid pattern");
    for ending in ["svg", "html"] {
        let file = format!("/root/sheet.{ending}");
        let run = world.onetimectl(&["handout", "alice", "--recovery", "-o", &file]);
        assert_ends(&run, 0, "written to");
        assert!(!code_like.is_match(&run.text()), "{}", run.text());
    }
    let [old, new] = ["svg", "html"].map(|ending| {
        let codes = codes(&plain(&world.read_text(&format!("/root/sheet.{ending}"))));
        assert_eq!(codes.len(), 8, "{ending}");
        codes
    });
    world.onetimectl(&["verify", "alice", &current_code(&secret, 0)]).ok();
    let login = |code: &str| {
        let script = [("Password:", ALICE_PASSWORD), ("One-time code:", code)];
        world.pamtester_script("sshd", "alice", &script).success
    };
    assert!(login(&new[0]) && login(&new[7]), "each works");
    assert!(!login(&new[0]), "but once");
    assert!(!login(&old[1]), "a later sheet replaces the codes of an earlier one");
}

#[test]
fn a_handout_is_refused_for_who_is_active_or_not_enabled_and_then_nothing_changes() {
    let world = installed();
    activate(&world, "alice");
    let before = world.read("/var/lib/onetime/users/alice.toml");
    for more in [&[][..], &["--recovery"]] {
        let sheet =
            |user| world.onetimectl(&[&["handout", user, "-o", "/root/sheet.html"], more].concat());
        assert_ends(&sheet("alice"), 1, "issue a different secret: onetimectl enable --new-secret");
        assert_ends(&sheet("bob"), 1, "not enabled\n  -> issue a secret: onetimectl enable");
        assert!(!world.exists("/root/sheet.html"));
    }
    assert_eq!(world.read("/var/lib/onetime/users/alice.toml"), before);
}

#[test]
fn a_handout_overwrites_no_file_follows_no_link_and_leaves_the_recovery_codes_then() {
    let world = installed();
    enable(&world, "alice");
    let before = world.read("/var/lib/onetime/users/alice.toml");
    world.write("/root/there.html", b"precious", 0o644);
    world.run("ln", &["-s", "/root/nowhere.html", "/root/link.html"]).ok();
    for file in ["/root/there.html", "/root/link.html", "/root/no/such/directory.html"] {
        let run = world.onetimectl(&["handout", "alice", "--recovery", "-o", file]);
        assert_ends(&run, 1, "cannot write");
    }
    for (file, why) in [
        ("/root/a.pdf", "must end in .html, .svg or .png"),
        ("/root/a", "must end in .html, .svg or .png"),
        ("/root/a.png", "recovery codes need a sheet: .html or .svg"),
    ] {
        assert_ends(&world.onetimectl(&["handout", "alice", "--recovery", "-o", file]), 2, why);
        assert!(!world.exists(file), "{file}");
    }
    assert!(!world.exists("/root/nowhere.html"));
    assert_eq!(world.read("/root/there.html"), b"precious");
    assert_eq!(world.read("/var/lib/onetime/users/alice.toml"), before);
}
