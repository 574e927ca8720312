//! Many users at once, filters of `list`, and the sheet to hand out.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::os::unix::fs::MetadataExt;

use common::{
    ALICE_PASSWORD, Answers, Client, Finished, World, activate, current_code, enable, finish,
    installed, secret,
};

/// Who has a record.
fn enabled(world: &World) -> Vec<String> {
    let all = world.list("/var/lib/onetime/users");
    all.iter().filter_map(|name| name.strip_suffix(".toml")).map(str::to_owned).collect()
}

fn with_input(world: &World, arguments: &[&str], input: &str) -> Finished {
    finish(world.command("onetimectl").args(arguments), input.as_bytes())
}

fn add_to(world: &World, path: &str, line: &str) {
    let text = world.read_text(path);
    world.write(path, format!("{text}{line}\n").as_bytes(), 0o644);
}

#[test]
fn enable_takes_the_members_of_a_group_also_those_whose_primary_group_it_is() {
    let world = installed();
    add_to(&world, "/etc/group", "staff:x:3000:bob,ghost");
    add_to(&world, "/etc/passwd", "dave:x:2004:3000::/home/dave:/bin/sh");
    let run = world.onetimectl(&["enable", "--group", "staff"]);
    assert_eq!(enabled(&world), ["bob", "dave"], "{}", run.text());
    assert_eq!(run.status.code(), Some(3), "ghost does not exist: {}", run.text());
    assert!(run.stderr.contains("ghost: this system knows no such user"), "{}", run.text());
    let none = world.onetimectl(&["enable", "--group", "nosuch"]);
    assert!(!none.success() && none.stderr.contains("there is no group nosuch"), "{}", none.text());
    let empty = world.onetimectl(&["enable", "--group", "tty"]);
    assert!(empty.stderr.contains("the group tty has no members"), "{}", empty.text());
}

#[test]
fn enable_all_takes_ordinary_users_with_a_shell_and_disable_all_those_who_are_enabled() {
    let world = installed();
    add_to(&world, "/etc/passwd", "robot:x:2005:2005::/:/usr/sbin/nologin");
    world.onetimectl(&["enable", "--all"]).ok();
    assert_eq!(enabled(&world), ["alice", "bob", "carol"]);
    let mut asked = world.pty("onetimectl", &["disable", "--all"]);
    asked.expect("[y/N] ");
    assert!(asked.text().contains('3'), "it says how many: {}", asked.text());
    asked.send_line("n");
    assert!(!asked.wait().success());
    assert_eq!(enabled(&world).len(), 3);
    world.onetimectl(&["disable", "--all", "--yes"]).ok();
    assert!(enabled(&world).is_empty());
    let none = world.onetimectl(&["disable", "--all", "--yes"]);
    assert!(none.stderr.contains("nobody is enabled"), "{}", none.text());
}

#[test]
fn names_come_from_standard_input_one_a_line() {
    let world = installed();
    let list = "# the night shift\nalice\n\n  bob  \nghost\nalice\n";
    let run = with_input(&world, &["enable", "-"], list);
    assert_eq!((enabled(&world), run.status.code()), (vec!["alice".into(), "bob".into()], Some(3)));
    assert_eq!(run.stdout.matches("alice: enabled").count(), 1, "{}", run.text());
    let empty = with_input(&world, &["enable", "-"], "\n# nobody\n");
    assert!(empty.stderr.contains("no names on standard input"), "{}", empty.text());
    with_input(&world, &["disable", "-"], "alice\nbob\n").ok();
    assert!(enabled(&world).is_empty());
}

#[test]
fn list_shows_pending_active_and_locked_accounts_as_asked_for() {
    let world = installed();
    enable(&world, "alice");
    activate(&world, "bob");
    activate(&world, "carol");
    for _ in 0..3 {
        assert!(!world.onetimectl(&["verify", "carol", "000000"]).success());
    }
    let shown = |filters: &[&str]| -> Vec<String> {
        let run = world.onetimectl(&[&["--json", "list"], filters].concat()).ok();
        let rows: serde_json::Value =
            serde_json::from_str(&run).unwrap_or_else(|e| panic!("{e}: {run}"));
        let rows = rows.as_array().expect("an array");
        rows.iter().map(|row| row["user"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(shown(&[]), ["alice", "bob", "carol"]);
    assert_eq!(shown(&["--pending"]), ["alice"]);
    assert_eq!(shown(&["--active"]), ["bob", "carol"]);
    assert_eq!(shown(&["--locked"]), ["carol"]);
    assert_eq!(shown(&["--pending", "--locked"]), ["alice", "carol"]);
    let table = world.onetimectl(&["list", "--locked"]).ok();
    assert!(
        table.starts_with("USER") && table.contains("carol") && !table.contains("bob"),
        "{table}"
    );
}

#[test]
fn a_list_of_two_thousand_is_whole_and_sorted() {
    let world = installed();
    let mut passwd = world.read_text("/etc/passwd");
    for number in 0..2000 {
        passwd.push_str(&format!("user{number:04}:x:{}:100::/:/bin/sh\n", 10_000 + number));
    }
    world.write("/etc/passwd", passwd.as_bytes(), 0o644);
    let names: String = (0..2000).map(|number| format!("user{number:04}\n")).collect();
    with_input(&world, &["enable", "-"], &names).ok();
    let table = world.onetimectl(&["list"]).ok();
    let listed: Vec<_> = table.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(listed, names.lines().collect::<Vec<_>>());
}

#[test]
fn a_handout_shows_qr_code_key_and_recovery_codes_that_work() {
    let world = installed();
    world.onetimectl(&["enable", "alice", "--issuer", "<b>&\"'Ex"]).ok();
    let secret = secret(&world, "alice");
    let groups: Vec<_> = secret.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
    for ending in ["html", "svg"] {
        let path = format!("/root/alice.{ending}");
        world.onetimectl(&["handout", "alice", "-o", &path, "--recovery"]).ok();
        assert_eq!(world.metadata(&path).mode() & 0o7777, 0o600);
        let sheet = world.read_text(&path);
        assert!(sheet.contains(&groups.join(" ")), "{sheet}");
        assert!(
            sheet.contains("alice at &lt;b&gt;&amp;&quot;&#39;Ex") && !sheet.contains("<b>"),
            "{sheet}"
        );
        assert!(!sheet.contains("<script") && !sheet.contains("src="), "{sheet}");
    }
    let sheet = world.read_text("/root/alice.svg");
    let code = regex::Regex::new("[2-9A-Z]{4}-[2-9A-Z]{4}-[2-9A-Z]{4}").expect("a valid pattern");
    let codes: Vec<_> = code.find_iter(&sheet).map(|found| found.as_str().to_owned()).collect();
    assert_eq!(codes.len(), 8, "{sheet}");
    world.onetimectl(&["verify", "alice", &current_code(&secret, -1)]).ok();
    let login = |code: &str| {
        Client::new(&world, "sshd", "alice").run(&Answers::new(&[ALICE_PASSWORD, code])).result()
    };
    assert_eq!(login(&codes[0]), 0);
    assert_ne!(login(&codes[0]), 0, "once");
    let active = world.onetimectl(&["handout", "alice", "-o", "/root/late.html"]);
    assert!(!active.success() && active.stderr.contains("--new-secret"), "{}", active.text());
    assert!(!world.exists("/root/late.html"));
}

#[test]
fn the_picture_of_a_handout_is_the_qr_code_and_nothing_is_overwritten() {
    let world = installed();
    let secret = enable(&world, "bob");
    world.onetimectl(&["handout", "bob", "-o", "/root/bob.png"]).ok();
    let read = world.run("zbarimg", &["-q", "--raw", "/root/bob.png"]).ok();
    assert!(read.contains(&format!("secret={secret}&")), "{read}");
    let before = world.read("/root/bob.png");
    let again = world.onetimectl(&["handout", "bob", "-o", "/root/bob.png"]);
    assert!(
        !again.success() && again.stderr.contains("cannot write /root/bob.png"),
        "{}",
        again.text()
    );
    assert_eq!(world.read("/root/bob.png"), before);
    let record = world.read_text("/var/lib/onetime/users/bob.toml");
    for (file, named) in [("/root/bob.pdf", "must end in"), ("/root/b.png", "recovery codes need")]
    {
        let refused = world.onetimectl(&["handout", "bob", "-o", file, "--recovery"]);
        assert!(!refused.success() && refused.stderr.contains(named), "{}", refused.text());
    }
    assert_eq!(
        world.read_text("/var/lib/onetime/users/bob.toml"),
        record,
        "no codes were put in force"
    );
    // The QR code on an HTML sheet is the same picture as `enable --qr` writes.
    world.onetimectl(&["handout", "bob", "-o", "/root/bob.html"]).ok();
    world.onetimectl(&["qr", "bob", "--qr", "/root/qr.svg"]).ok();
    let picture = world.read_text("/root/qr.svg");
    assert!(world.read_text("/root/bob.html").contains(picture.trim()), "{picture}");
}
