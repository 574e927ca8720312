//! Moving in and out: users who were enrolled by the real google-authenticator, who
//! have logged in by the real pam_oath, or whose keys pskctool wrote, log in here with
//! the token they have; and what is exported is accepted there.

use std::fmt::Write;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{
    ALICE_PASSWORD, Algorithm, BOB_PASSWORD, Finished, TotpOptions, World, activate, code,
    current_code, enable, finish, finish_within, hasty, hotp_code, secret,
};
use serde_json::Value;

/// The secret of RFC 4226's examples, as base32, hexadecimal and base64.
const BASE32: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
const HEX: &str = "3132333435363738393031323334353637383930";
const BASE64: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=";

/// More users, with alice's password.
pub(crate) fn people(world: &World, names: &[String]) {
    let (mut passwd, mut shadow) = (world.read_text("/etc/passwd"), world.read_text("/etc/shadow"));
    let hash =
        shadow.lines().find_map(|line| line.strip_prefix("alice:")).expect("alice").to_owned();
    for (name, uid) in names.iter().zip(3000..) {
        writeln!(passwd, "{name}:x:{uid}:{uid}::/nonexistent:/bin/sh").expect("a string takes it");
        writeln!(shadow, "{name}:{hash}").expect("a string takes it");
    }
    world.write("/etc/passwd", passwd.as_bytes(), 0o644);
    world.write("/etc/shadow", shadow.as_bytes(), 0o640);
}

/// Whether password and code let somebody in, through the shipped stack of sshd.
pub(crate) fn admitted(world: &World, user: &str, code: &str) -> bool {
    let password = if user == "bob" { BOB_PASSWORD } else { ALICE_PASSWORD };
    let run = world.pamtester("sshd", user, &[password, code]);
    assert_eq!(run.prompts.len(), 2, "an active user is asked for both: {}", run.output);
    run.success
}

#[track_caller]
fn import(world: &World, arguments: &[&str]) -> Finished {
    world.onetimectl(&[&["import"], arguments].concat())
}

/// Imports this file; the report as JSON.
#[track_caller]
fn imported(world: &World, text: &str, options: &[&str]) -> Vec<Value> {
    world.write("/root/tokens", text.as_bytes(), 0o600);
    let run = world.onetimectl(&[&["--json", "import", "/root/tokens"], options].concat());
    let rows: Vec<Value> = run.json();
    assert!(!run.text().contains(BASE32) && !run.text().contains(HEX), "{}", run.text());
    rows
}

/// All that is in the store, byte by byte.
fn store(world: &World) -> String {
    world
        .run("sh", &["-euc", "cd /var/lib/onetime && find . -type f | sort | xargs sha256sum"])
        .ok()
}

// --- pam_google_authenticator ---

/// Enrols alice with the real program; the secret.
fn google(world: &World, options: &[&str]) -> String {
    let mut program = world.command_as("alice", "google-authenticator");
    finish(program.args(options).args(["-f", "-q", "-C"]), b"").ok();
    let file = world.read_text("/home/alice/.google_authenticator");
    file.lines().next().expect("the secret").to_owned()
}

#[test]
fn a_user_of_pam_google_authenticator_moves_with_her_token_and_what_is_spent_stays_spent() {
    let world = hasty();
    let secret = google(&world, &["-t", "-d", "-r", "3", "-R", "30", "-w", "17"]);
    world.pam_service("google", "auth required pam_google_authenticator.so\n");
    let used = current_code(&secret, 0);
    assert!(world.pamtester("google", "alice", &[&used]).success);

    let report = import(&world, &["/home/alice/.google_authenticator"]).ok();
    for what in ["RATE_LIMIT", "WINDOW_SIZE 17", "window = 8", "5 scratch codes", "1 imported"] {
        assert!(report.contains(what), "{what}: {report}");
    }
    assert!(!report.contains(&secret), "{report}");
    assert!(world.onetimectl(&["status", "alice"]).ok().contains("yes"));
    assert!(!admitted(&world, "alice", &used), "it was used there");
    assert!(admitted(&world, "alice", &current_code(&secret, 1)));
}

#[test]
fn a_counter_token_of_pam_google_authenticator_goes_on_where_it_stood() {
    let world = hasty();
    let secret = google(&world, &["-c", "-u", "-w", "17"]);
    world.pam_service("google", "auth required pam_google_authenticator.so\n");
    let used = hotp_code(&secret, 3, 6);
    assert!(world.pamtester("google", "alice", &[&used]).success);
    let report = import(&world, &["--from", "google", "/home/alice/.google_authenticator"]).ok();
    assert!(report.contains("look_ahead = 16"), "{report}");
    assert!(!admitted(&world, "alice", &used));
    assert!(admitted(&world, "alice", &hotp_code(&secret, 4, 6)));
}

#[test]
fn a_token_whose_clock_is_off_is_followed_as_pam_google_authenticator_followed_it() {
    let world = hasty();
    let file = format!("{BASE32}\n\" TIME_SKEW 5\n\" TOTP_AUTH\n");
    world.write("/root/google/bob", file.as_bytes(), 0o600);
    import(&world, &["/root/google/bob"]).ok();
    assert!(!admitted(&world, "bob", &current_code(BASE32, 0)), "it is out of the window");
    assert!(admitted(&world, "bob", &current_code(BASE32, 5)));

    world.write("/root/google/bob", file.replace('5', "-50").as_bytes(), 0o600);
    let report = import(&world, &["--replace", "/root/google/bob"]).ok();
    assert!(report.contains("50 steps off, but max_drift"), "{report}");
}

#[test]
fn a_users_own_file_cannot_bring_anothers_secret_nor_be_about_another() {
    let world = hasty();
    google(&world, &["-t", "-d", "-u", "-W"]);
    let victim = "/home/alice/.google_authenticator";
    let theirs = world.path("/home/bob/.google_authenticator");
    let before = store(&world);
    symlink(victim, &theirs).expect("a link");
    let run = import(&world, &["/home/bob/.google_authenticator"]);
    assert!(run.stderr.contains("bob: is a symbolic link"), "{}", run.text());
    std::fs::remove_file(&theirs).expect("it can be removed");
    std::fs::hard_link(world.path(victim), &theirs).expect("a link");
    let run = import(&world, &["/home/bob/.google_authenticator"]);
    assert!(run.stderr.contains("hard links"), "{}", run.text());
    std::fs::remove_file(&theirs).expect("it can be removed");
    world.run("cp", &["-p", victim, "/home/bob/.google_authenticator"]).ok();
    let run = import(&world, &["/home/bob/.google_authenticator"]);
    assert!(run.stderr.contains("is owned by uid 2001, not by bob"), "{}", run.text());
    world.run("mkfifo", &["/home/carol/.google_authenticator"]).ok();
    let run = import(&world, &["/home/carol/.google_authenticator"]);
    assert!(run.stderr.contains("not a regular file"), "{}", run.text());
    // By its name it is bob's and of one format, whatever is in it.
    let hostile = format!("HOTP root - {HEX}\n");
    world.write("/home/bob/.google_authenticator", hostile.as_bytes(), 0o600);
    world.write("/home/bob/tokens", hostile.as_bytes(), 0o600);
    world.run("chown", &["bob", "/home/bob/.google_authenticator", "/home/bob/tokens"]).ok();
    let run = import(&world, &["/home/bob/.google_authenticator"]);
    assert!(run.stderr.contains("onetimectl: bob: "), "{}", run.text());
    let run = import(&world, &["/home/bob/tokens"]);
    assert!(
        run.stderr.contains("does not belong to root: name its format with --from"),
        "{}",
        run.text()
    );
    assert_eq!(store(&world), before);
}

#[test]
fn one_damaged_file_does_not_keep_the_others_from_being_imported() {
    let world = hasty();
    google(&world, &["-t", "-d", "-u", "-W"]);
    world.write("/home/bob/.google_authenticator", b"\xff\xfe", 0o400);
    let files = ["alice", "bob", "carol"].map(|user| format!("/home/{user}/.google_authenticator"));
    let run = import(&world, &[&files[0], &files[1], &files[2]]);
    assert_eq!(run.status.code(), Some(3), "{}", run.text());
    assert!(run.stdout.contains("1 imported, 2 failed"), "{}", run.text());
    for what in ["onetimectl: bob: line 1: not text", "onetimectl: carol: No such file"] {
        assert!(run.stderr.contains(what), "{what}: {}", run.text());
    }
}

// --- pam_oath ---

#[test]
fn users_of_pam_oath_move_with_every_type_of_token_and_what_is_spent_stays_spent() {
    let world = hasty();
    let kinds = [
        ("HOTP", 6, None),
        ("HOTP/E", 6, None),
        ("HOTP/E/7", 7, None),
        ("HOTP/E/8", 8, None),
        ("HOTP/T30", 6, Some(30)),
        ("HOTP/T30/8", 8, Some(30)),
        ("HOTP/T60/7", 7, Some(60)),
    ];
    let names: Vec<String> = (0..kinds.len()).map(|number| format!("user{number}")).collect();
    people(&world, &names);
    let mut file = "# users of pam_oath\n\n".to_owned();
    for (name, (kind, ..)) in names.iter().zip(kinds) {
        writeln!(file, "{kind}\t{name}\t-\t{HEX}").expect("a string takes it");
    }
    world.write("/etc/users.oath", file.as_bytes(), 0o600);
    let shown = |(_, digits, period): (&str, u32, Option<u64>), ahead: i64| match period {
        Some(period) => {
            let options =
                TotpOptions { digits, period, offset_steps: ahead, ..TotpOptions::default() };
            code(BASE32, options)
        }
        None => hotp_code(BASE32, 7 + ahead.unsigned_abs(), digits),
    };
    let mut used = Vec::new();
    for (name, kind) in names.iter().zip(kinds) {
        let digits = kind.1;
        world.pam_service(
            "oath",
            &format!(
                "auth required pam_oath.so usersfile=/etc/users.oath window=20 digits={digits}\n"
            ),
        );
        let code = shown(kind, 0);
        let run = world.pamtester("oath", name, &[&code]);
        assert!(run.success, "{}: {}", kind.0, run.output);
        used.push(code);
    }
    let after = world.read_text("/etc/users.oath");
    assert!(after.contains(&format!("HOTP\tuser0\t-\t{HEX}\t7\t{}", used[0])), "{after}");

    let report = import(&world, &["/etc/users.oath"]).ok();
    assert!(report.contains("7 imported, 0 failed"), "{report}");
    for ((name, kind), used) in names.iter().zip(kinds).zip(&used) {
        assert!(!admitted(&world, name, used), "{}: it was used there", kind.0);
        assert!(admitted(&world, name, &shown(kind, 1)), "{}", kind.0);
    }
}

#[test]
fn several_lines_are_several_tokens_and_a_password_is_reported() {
    let world = hasty();
    let file = format!(
        "HOTP alice - {HEX} 5\nHOTP bob hunter2 {HEX}\nHOTP/T30 alice + {}\n",
        HEX.replace("39", "40")
    );
    let rows = imported(&world, &file, &[]);
    assert_eq!(rows[0]["tokens"], 2, "{rows:?}");
    assert!(rows[1]["not_carried_over"][0].as_str().is_some_and(|text| text.contains("password")));
    assert!(!format!("{rows:?}").contains("hunter2"));
    assert!(admitted(&world, "alice", &hotp_code(BASE32, 5, 6)));
    let tokens = world.onetimectl(&["token", "list", "alice"]).ok();
    assert!(tokens.contains("hotp") && tokens.contains("totp"), "{tokens}");
    assert!(admitted(&world, "bob", &hotp_code(BASE32, 0, 6)));

    let many: String = (0..5).map(|n| format!("HOTP carol - {HEX}0{n}\n")).collect();
    let rows = imported(&world, &many, &[]);
    assert!(
        rows[0]["error"].as_str().is_some_and(|error| error.contains("more than 4")),
        "{rows:?}"
    );
    let twice = format!("HOTP carol - {HEX}\nHOTP/E/8 carol - {HEX}\n");
    let rows = imported(&world, &twice, &[]);
    assert!(
        rows[0]["error"].as_str().is_some_and(|error| error.contains("same secret")),
        "{rows:?}"
    );
}

#[test]
fn a_user_fails_whole_and_the_others_do_not() {
    let world = hasty();
    let file = format!(
        "HOTP alice - {HEX}\nHOTP/T30/9 alice - {}\nHOTP bob - {HEX}\nHOTP nobody9 - {HEX}\n",
        HEX.replace("39", "40")
    );
    world.write("/root/users.oath", file.as_bytes(), 0o600);
    let run = import(&world, &["/root/users.oath"]);
    assert_eq!(run.status.code(), Some(3));
    assert!(run.stdout.contains("1 imported, 2 failed"), "{}", run.text());
    assert!(run.stderr.contains("alice: line 2: 9 digits"), "{}", run.text());
    assert!(
        run.stderr.contains("nobody9: this system knows no such user\n  -> check the name; for a user who is still to come: --force\n"),
        "{}",
        run.text()
    );
    assert!(!world.exists("/var/lib/onetime/users/alice.toml"));
    let run = import(&world, &["--user", "nobody9", "--force", "/root/users.oath"]);
    assert!(run.success() && run.stdout.contains("1 imported, 0 failed"), "{}", run.text());
    assert!(world.read_text("/var/lib/onetime/users/nobody9.toml").contains("uid = \"any\""));
}

#[test]
fn a_last_login_in_the_future_is_reported_and_not_taken_over() {
    let world = hasty();
    let file = format!("HOTP/T30 alice - {HEX} 0 000000 2099-01-01T00:00:00L\n");
    let rows = imported(&world, &file, &[]);
    assert!(rows[0]["error"].as_str().is_some_and(|error| error.contains("time zone")), "{rows:?}");
}

#[test]
fn two_thousand_users_are_imported_in_one_go_and_reported_exactly() {
    let world = hasty();
    let names: Vec<String> = (0..2000).map(|number| format!("u{number:04}")).collect();
    people(&world, &names);
    let mut file = String::new();
    for (number, name) in names.iter().enumerate() {
        // Every hundredth is no good.
        let kind = if number % 100 == 99 { "HOTP/T5" } else { "HOTP" };
        writeln!(file, "{kind} {name} - {number:08x}{HEX} {number}").expect("a string takes it");
    }
    world.write("/root/users.oath", file.as_bytes(), 0o600);
    let begun = Instant::now();
    let mut tool = world.command("onetimectl");
    tool.args(["--json", "import", "/root/users.oath"]);
    let run = finish_within(&mut tool, b"", Duration::from_secs(240));
    println!("2,000 users in {:?}", begun.elapsed());
    assert_eq!(run.status.code(), Some(3));
    let rows: Vec<Value> = run.json();
    assert_eq!(rows.len(), 2000);
    assert!(run.stderr.lines().all(|line| line.starts_with("onetimectl: u")), "{}", run.stderr);
    for ((number, name), row) in names.iter().enumerate().zip(&rows) {
        assert_eq!(row["user"], name.as_str());
        assert_eq!(row["error"].is_null(), number % 100 != 99, "{row}");
        assert!(row["error"].is_null() == (row["result"] == "imported"), "{row}");
    }
    assert_eq!(world.list("/var/lib/onetime/users").len(), 1980);
    let secret = secret(&world, "u1234");
    assert!(admitted(&world, "u1234", &hotp_code(&secret, 1234, 6)));
}

// --- PSKC ---

/// Runs pskctool on a file; what it says.
#[track_caller]
fn pskctool(mode: &str, text: &str) -> String {
    let mut program = Command::new("pskctool");
    finish(program.args(["--strict", mode]), text.as_bytes()).ok()
}

fn container(packages: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<KeyContainer Version=\"1.0\" \
         xmlns=\"urn:ietf:params:xml:ns:keyprov:pskc\">\n{packages}</KeyContainer>\n"
    )
}

/// A KeyPackage as the figures of RFC 6030 have them.
fn package(user: &str, kind: &str, data: &str) -> String {
    format!(
        "<KeyPackage><DeviceInfo><Manufacturer>Manufacturer</Manufacturer><SerialNo>987</SerialNo>\
         <UserId>UID={user},DC=example-bank,DC=net</UserId></DeviceInfo>\
         <CryptoModuleInfo><Id>CM_ID_001</Id></CryptoModuleInfo>\
         <Key Id=\"{user}\" Algorithm=\"urn:ietf:params:xml:ns:keyprov:pskc:{kind}\">\
         <Issuer>Issuer</Issuer><AlgorithmParameters>\
         <ResponseFormat Length=\"8\" Encoding=\"DECIMAL\"/></AlgorithmParameters>\
         <Data><Secret><PlainValue>{BASE64}</PlainValue></Secret>{data}</Data></Key></KeyPackage>\n"
    )
}

#[test]
fn keys_that_pskctool_validates_are_imported_and_what_is_exported_it_validates_too() {
    let world = hasty();
    let text = container(&format!(
        "{}{}",
        package("alice", "hotp", "<Counter><PlainValue>57</PlainValue></Counter>"),
        package("bob", "totp", "<TimeInterval><PlainValue>60</PlainValue></TimeInterval>")
    ));
    assert!(pskctool("--validate", &text).contains("OK"));
    let rows = imported(&world, &text, &[]);
    assert!(rows.len() == 2 && rows.iter().all(|row| row["error"].is_null()), "{rows:?}");
    let time = TotpOptions { digits: 8, period: 60, ..TotpOptions::default() };
    assert!(admitted(&world, "alice", &hotp_code(BASE32, 58, 8)));
    let used = code(BASE32, time);
    assert!(admitted(&world, "bob", &used));

    let exported = world.onetimectl(&["export", "--format", "pskc"]).ok();
    assert!(pskctool("--validate", &exported).contains("OK"), "{exported}");
    let info = pskctool("--info", &exported);
    for what in ["Key Counter: 59", "Key TimeInterval: 60", "Key User Id: UID=bob", BASE64] {
        assert!(info.contains(what), "{what}: {info}");
    }
    let before = (store_of(&world, "alice"), store_of(&world, "bob"));
    world.onetimectl(&["disable", "--yes", "alice", "bob"]).ok();
    let rows = imported(&world, &exported, &[]);
    assert!(rows.len() == 2 && rows.iter().all(|row| row["error"].is_null()), "{rows:?}");
    assert_eq!((store_of(&world, "alice"), store_of(&world, "bob")), before);
    assert!(!admitted(&world, "alice", &hotp_code(BASE32, 58, 8)), "it was spent before");
    assert!(admitted(&world, "alice", &hotp_code(BASE32, 59, 8)));
    assert!(!admitted(&world, "bob", &used), "so was this");
    assert!(admitted(&world, "bob", &code(BASE32, TotpOptions { offset_steps: 1, ..time })));
}

/// What a record says of the tokens, without what is new with each issue.
fn store_of(world: &World, user: &str) -> String {
    let record = world.read_text(&format!("/var/lib/onetime/users/{user}.toml"));
    let changing = |line: &&str| {
        !["checksum", "generation", "issued_at"].iter().any(|name| line.starts_with(name))
    };
    record.lines().filter(changing).flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn a_file_that_pskctool_has_signed_is_imported_and_the_signature_is_mentioned() {
    let world = hasty();
    let signed = include_str!("../data/pskctool-signed.xml");
    assert!(pskctool("--info", signed).contains("Signed: YES"));
    let rows = imported(&world, signed, &["--from", "pskc"]);
    assert_eq!(rows[0]["user"], "bob");
    let left = rows[0]["not_carried_over"].to_string();
    assert!(left.contains("signature, which was not checked"), "{rows:?}");
    assert!(left.contains("pskctool --verify of version 2.6.15 or later"), "{rows:?}");
    assert!(admitted(&world, "bob", &current_code(BASE32, 0)));
}

// --- exports of apps ---

#[test]
fn exports_of_apps_let_their_users_in_and_what_is_no_one_time_code_here_fails_alone() {
    let world = hasty();
    let files = [
        ("aegis", include_str!("../../fuzz/corpus/imports/aegis.json")),
        ("2fas", include_str!("../../fuzz/corpus/imports/2fas.json")),
        ("bitwarden", include_str!("../../fuzz/corpus/imports/bitwarden.json")),
        ("migration", include_str!("../../fuzz/corpus/imports/migration")),
    ];
    for (format, text) in files {
        world.write("/root/export", text.as_bytes(), 0o600);
        for recognized in [&["--from", format][..], &[]] {
            let run = import(&world, &[&["--dry-run", "/root/export"], recognized].concat());
            assert!(run.stdout.lines().any(|line| line.starts_with("alice")), "{}", run.text());
            assert!(!run.text().contains("hunter2") && !run.text().contains(BASE32), "{format}");
        }
    }
    world.write("/root/export", files[0].1.as_bytes(), 0o600);
    let run = import(&world, &["/root/export"]);
    assert_eq!(run.status.code(), Some(3), "{}", run.text());
    assert!(run.stderr.contains("carol: line 8: a Steam token"), "{}", run.text());
    let time = TotpOptions {
        digits: 8,
        period: 60,
        algorithm: Algorithm::Sha256,
        ..TotpOptions::default()
    };
    assert!(admitted(&world, "alice", &code(BASE32, time)));
    assert!(admitted(&world, "bob", &hotp_code(BASE32, 57, 6)));

    let encrypted = "{\"encrypted\": true, \"passwordProtected\": true, \"data\": \"2.x\"}";
    world.write("/root/export", encrypted.as_bytes(), 0o600);
    let run = import(&world, &["/root/export"]);
    assert!(
        run.stderr.contains("it is encrypted") && run.stderr.contains("shred"),
        "{}",
        run.text()
    );
}

// --- maps ---

#[test]
fn a_map_says_whose_the_keys_of_a_vendors_file_are_and_all_that_does_not_fit_is_listed() {
    let world = hasty();
    let key = |serial: &str| {
        package("x", "totp", "")
            .replace("987", serial)
            .replace("<UserId>UID=x,DC=example-bank,DC=net</UserId>", "")
    };
    let seeds: String = ["S1", "S2", "S3", "S4", "S5"].map(key).concat();
    let map = "# who has which\nserial;user\n\"S1\";alice\nS2;bob\nS3;nobody9\nS4;\nS9;carol\n";
    world.write("/root/map.csv", map.as_bytes(), 0o644);
    let empty = store(&world);
    for dry in [&["--dry-run"][..], &[]] {
        let arguments = [&["--map", "/root/map.csv"], dry].concat();
        world.write("/root/tokens", container(&seeds).as_bytes(), 0o600);
        let run =
            world.onetimectl(&[&["--json", "import", "/root/tokens"], &arguments[..]].concat());
        assert_eq!(run.status.code(), Some(3), "{}", run.text());
        let rows: Vec<Value> = run.json();
        let row = |user: &str| rows.iter().find(|row| row["user"] == user).expect(user);
        for user in ["alice", "bob"] {
            assert!(row(user)["error"].is_null() && row(user)["tokens"] == 1, "{rows:?}");
        }
        for (user, what) in
            [("nobody9", "no such user"), ("S9", "line 7: is in the map, but in none of the files")]
        {
            assert!(
                row(user)["error"].as_str().is_some_and(|text| text.contains(what)),
                "{rows:?}"
            );
        }
        // It is in stock: no failure, but listed.
        assert!(row("S5")["error"].is_null() && row("S5")["result"] == "unmapped", "{rows:?}");
        assert_eq!(rows.len(), 5, "S4 is left out on purpose: {rows:?}");
        assert_eq!(store(&world) == empty, dry.len() == 1);
    }
    let time = TotpOptions { digits: 8, ..TotpOptions::default() };
    assert!(admitted(&world, "bob", &code(BASE32, time)));
}

#[test]
fn a_map_works_with_every_format_and_replaces_what_the_file_says() {
    let world = hasty();
    let google = format!("{BASE32}\n\" TOTP_AUTH\n");
    world.write("/root/google/x17", google.as_bytes(), 0o600);
    world.write("/root/oath", format!("HOTP/T30 bob - {HEX}\n").as_bytes(), 0o600);
    let uri = format!("otpauth://totp/Corp%3Acarol%40example.org?secret={BASE32}\n");
    world.write("/root/uri", uri.as_bytes(), 0o600);
    for (file, name, user) in [
        ("/root/google/x17", "x17", "alice"),
        ("/root/oath", "bob", "alice"),
        ("/root/uri", "Corp:carol@example.org", "bob"),
        ("/root/uri", "carol@example.org", "carol"),
    ] {
        world.write("/root/map", format!("{name},{user}\n").as_bytes(), 0o600);
        let run = import(&world, &["--dry-run", "--map", "/root/map", file]).ok();
        let row = run.lines().find(|line| line.contains("would be imported"));
        assert!(row.is_some_and(|row| row.starts_with(user)), "{name}: {run}");
    }
    let run = import(&world, &["--map", "/root/map", "--user", "bob", "/root/uri"]);
    assert_eq!(run.status.code(), Some(2), "{}", run.text());
    world.write("/root/map", b"a,alice\na,bob\n", 0o600);
    let run = import(&world, &["--map", "/root/map", "/root/uri"]);
    assert!(run.stderr.contains("line 2: `a` is in line 1 too"), "{}", run.text());
    assert_eq!(run.status.code(), Some(1));
}

// --- otpauth ---

#[test]
fn what_is_exported_as_uris_is_imported_as_the_same_tokens() {
    let world = hasty();
    enable(&world, "alice");
    let options = ["--kind", "hotp", "--digits", "8", "--algorithm", "SHA512", "--issuer", "A & Ö"];
    world.onetimectl(&[&["enable", "bob"], &options[..]].concat()).ok();
    activate(&world, "carol");
    world.onetimectl(&["token", "add", "carol", "--period", "60"]).ok();
    let users = ["alice", "bob", "carol"];
    let exported = world.onetimectl(&["export"]).ok();
    assert_eq!(exported.lines().count(), 4, "{exported}");
    let before = users.map(|user| store_of(&world, user));
    world.onetimectl(&["disable", "--yes", "alice", "bob", "carol"]).ok();
    world.write("/root/uris", exported.as_bytes(), 0o600);
    import(&world, &["/root/uris"]).ok();
    assert_eq!(users.map(|user| store_of(&world, user)), before);
    let logged = world.syslog();
    assert!(
        logged
            .iter()
            .any(|line| line.text.contains("user=carol") && line.text.contains("exported"))
    );
    assert!(logged.iter().all(|line| !line.text.contains(&secret(&world, "carol"))));

    let one = world.onetimectl(&["--json", "export", "bob", "nobody9"]);
    assert_eq!(one.status.code(), Some(3), "{}", one.text());
    let rows: Vec<Value> = one.json();
    assert!(rows[0]["uris"][0].as_str().is_some_and(|uri| exported.contains(uri)), "{rows:?}");
    assert!(one.stderr.contains("nobody9: this system knows no such user"), "{}", one.text());
}

#[test]
fn a_uri_of_another_service_is_given_to_whom_the_admin_names() {
    let world = hasty();
    let uri = format!("otpauth://totp/Corp:alice%40example.com?secret={BASE32}&issuer=Corp&logo=x");
    let rows = imported(&world, &uri, &[]);
    assert!(
        rows[0]["error"].as_str().is_some_and(|error| error.contains("no such user")),
        "{rows:?}"
    );
    let rows = imported(&world, &uri, &["--user", "alice"]);
    assert_eq!(rows[0]["result"], "imported", "{rows:?}");
    assert_eq!(rows[0]["not_carried_over"][0], "the unknown parameter logo");
    assert!(admitted(&world, "alice", &current_code(BASE32, 0)));
}

#[test]
fn export_on_a_terminal_says_that_these_are_secrets() {
    let world = hasty();
    enable(&world, "alice");
    let mut pty = world.pty("onetimectl", &["export", "alice"]);
    pty.wait();
    assert!(pty.text().contains("are secrets"), "{}", pty.text());
    let piped = world.onetimectl(&["export", "alice"]);
    assert!(piped.success() && piped.stderr.is_empty(), "{}", piped.text());
}

// --- rules of every format ---

#[test]
fn who_is_enabled_already_is_kept_unless_replaced_and_pending_and_dry_run_are_what_they_say() {
    let world = hasty();
    let old = activate(&world, "alice");
    let file = format!("HOTP alice - {HEX}\nHOTP bob - {}\n", &HEX[..20]);
    let before = store(&world);
    let rows = imported(&world, &file, &["--dry-run"]);
    assert!(rows[0]["error"].as_str().is_some_and(|error| error.contains("--replace")), "{rows:?}");
    assert_eq!(rows[1]["result"], "would_be_imported");
    assert!(
        rows[1]["warnings"][0].as_str().is_some_and(|text| text.contains("80 bits")),
        "{rows:?}"
    );
    assert_eq!(store(&world), before, "a dry run changes nothing");

    let rows = imported(&world, &file, &["--pending"]);
    assert!(rows[0]["error"].is_string() && rows[1]["activated"] == false, "{rows:?}");
    assert_eq!(secret(&world, "alice"), old);
    let run = world.pamtester("sshd", "bob", &[BOB_PASSWORD, ""]);
    assert!(
        run.success && run.output.contains("otpauth") | run.output.contains('█'),
        "{}",
        run.output
    );

    let rows = imported(&world, &file, &["--replace"]);
    assert!(rows.iter().all(|row| row["result"] == "imported"), "{rows:?}");
    assert_eq!(secret(&world, "alice"), BASE32);
    assert!(!admitted(&world, "alice", &current_code(&old, 0)));
    assert!(admitted(&world, "alice", &hotp_code(BASE32, 0, 6)));
}

#[test]
fn a_dry_run_makes_no_store() {
    let world = hasty();
    world.remove("/var/lib/onetime");
    let rows = imported(&world, &format!("HOTP alice - {HEX}\n"), &["--dry-run"]);
    assert_eq!(rows[0]["result"], "would_be_imported");
    assert!(!world.exists("/var/lib/onetime"));
}

#[test]
fn hostile_files_are_reported_clearly_and_change_nothing() {
    let world = hasty();
    let before = (store(&world), world.list("/var/lib"));
    let pskc = container(&package("alice", "hotp", ""));
    let bomb = format!("<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>{pskc}");
    let long = format!("HOTP alice - {}\n", "41".repeat(5_000_000));
    let uri = format!("otpauth://totp/alice?secret={BASE32}1\n");
    for (name, bytes, what) in [
        ("empty", b"".to_vec(), "unknown format"),
        ("binary", [&[0x7f, b'E', b'L', b'F', 0, 0xff][..], &[0x80; 4000]].concat(), "not text"),
        ("nul", vec![0; 100_000], "unknown format"),
        ("cut", pskc.as_bytes()[..pskc.len() / 2].to_vec(), "nothing was imported: line"),
        ("bomb", bomb.into_bytes(), "document type declaration"),
        ("long", long.into_bytes(), "longer than 8192"),
        ("base32", uri.into_bytes(), "alice: line 1: the secret is not base32"),
        ("path", format!("HOTP ../../x - {HEX}\n").into_bytes(), "../../x: this system knows no"),
        ("anonymous", b"HOTP\t \n".to_vec(), "line 1: it names no user"),
        (
            "google",
            format!("{BASE32}\n\" TOTP_AUTH\n").into_bytes(),
            "google: this system knows no",
        ),
        ("control", format!("HOTP a\u{1b}[2Jb - {HEX}\n").into_bytes(), "control characters"),
    ] {
        let path = format!("/root/{name}");
        world.write(&path, &bytes, 0o600);
        let run = import(&world, &[&path]);
        assert_eq!(run.status.code(), Some(1), "{name}: {}", run.text());
        assert!(run.stderr.contains(what), "{name}: {}", run.text());
        assert!(run.text().len() < 400 && !run.text().contains(BASE32), "{name}: {}", run.text());
        assert!(!run.text().contains('\u{1b}'), "{name}");
    }
    for path in ["/nowhere", "/root"] {
        assert_eq!(import(&world, &[path]).status.code(), Some(1));
    }
    let run = finish(world.command("onetimectl").arg("import"), b"\" \n");
    assert_eq!(run.status.code(), Some(1), "{}", run.text());
    assert_eq!((store(&world), world.list("/var/lib")), before);

    let forced = import(&world, &["--force", "/root/path"]);
    assert!(forced.success(), "{}", forced.text());
    assert!(world.exists("/var/lib/onetime/users/%2E%2E%2F%2E%2E%2Fx.toml"));
    assert_eq!(world.list("/var/lib"), before.1);
}

#[test]
fn standard_input_is_read_where_no_file_is_named() {
    let world = hasty();
    let uri = format!("otpauth://totp/alice?secret={BASE32}\n");
    finish(world.command("onetimectl").arg("import"), uri.as_bytes()).ok();
    let google = format!("{BASE32}\n\" TOTP_AUTH\n");
    let run = finish(world.command("onetimectl").args(["import", "-"]), google.as_bytes());
    assert!(run.stderr.contains("use --user, or a path"), "{}", run.text());
    let arguments = ["import", "--from", "google", "--user", "bob", "-"];
    finish(world.command("onetimectl").args(arguments), google.as_bytes()).ok();
    assert!(admitted(&world, "bob", &current_code(BASE32, 0)));
}

#[test]
fn a_guessed_name_of_nobody_is_said_to_be_guessed_and_force_is_not_advised() {
    let world = hasty();
    let google = format!("{BASE32}\n\" TOTP_AUTH\n");
    let uri = format!("otpauth://totp/Corp:alice%40host?secret={BASE32}\n");
    let key = container(&package("alice@host", "totp", ""));
    for (name, text, from, remedy) in [
        ("alice.google_authenticator", google.as_str(), "path of the file", "--user NAME"),
        ("alice_sshd", google.as_str(), "path of the file", "--user NAME"),
        ("uris", uri.as_str(), "label in the file", "--map FILE"),
        ("keys.xml", key.as_str(), "label in the file", "--map FILE"),
    ] {
        let path = format!("/root/{name}");
        world.write(&path, text.as_bytes(), 0o600);
        let run = import(&world, &[&path]);
        assert_eq!(run.status.code(), Some(1), "{name}: {}", run.text());
        for what in ["knows no such user", "guessed from the", from, remedy] {
            assert!(run.stderr.contains(what), "{name}: {what}: {}", run.text());
        }
        assert!(!run.text().contains("--force"), "{name}: {}", run.text());
        import(&world, &["--yes", "--replace", "--user", "alice", &path]).ok();
    }
}

#[test]
fn an_entry_of_pass_whose_label_is_nobody_s_is_of_the_user_that_its_file_is_called_after() {
    let world = hasty();
    let entry = |label: &str| format!("hunter2\notpauth://totp/{label}?secret={BASE32}\n");
    for (file, label, options, user, said) in [
        ("alice", "Corp:a.smith%40example.org", &[][..], "alice", ""),
        ("bob.txt", "Corp:a.smith%40example.org", &[], "bob", ""),
        ("alice.gpg", "", &[], "alice", ""),
        // A label that is a user's here is none to guess about.
        ("alice.txt", "Corp:bob", &[], "bob", ""),
        ("alice.txt", "Corp:nobody", &["--user", "carol"], "carol", ""),
        ("corp.txt", "Corp:a.smith", &[], "", "guessed from the label in the file"),
        ("corp.txt", "", &[], "", "guessed from the path of the file"),
        ("-", "", &[], "", "does not say whose it is"),
    ] {
        let order = [&["--json", "import", "--dry-run", "--from", "pass-otp"], options].concat();
        let path = if file == "-" { "-".to_owned() } else { format!("/root/{file}") };
        let mut command = world.command("onetimectl");
        if file != "-" {
            world.write(&path, entry(label).as_bytes(), 0o600);
        }
        let run = finish(command.args(order).arg(path), entry(label).as_bytes());
        if said.is_empty() {
            let rows: Vec<Value> = run.json();
            assert_eq!((rows.len(), &rows[0]["user"]), (1, &user.into()), "{}", run.text());
            assert!(run.success(), "{file} {label}: {}", run.text());
        } else {
            assert_eq!(run.status.code(), Some(1), "{file} {label}: {}", run.text());
            assert!(run.stderr.contains(said), "{file} {label}: {}", run.text());
        }
        assert!(!run.text().contains("hunter2"), "{}", run.text());
    }
    // A map goes by the file's name, too.
    world.write("/root/corp.txt", entry("Corp:a.smith").as_bytes(), 0o600);
    world.write("/root/map", b"corp.txt,bob\n", 0o600);
    let run = import(&world, &["--map", "/root/map", "/root/corp.txt"]);
    assert!(run.success(), "{}", run.text());
    assert!(admitted(&world, "bob", &current_code(BASE32, 0)));
}

#[test]
fn a_key_of_nobody_fails_alone_and_is_given_to_nobody_who_was_not_meant() {
    let world = hasty();
    let nobodys = package("x", "totp", "").replace(BASE64, "NzEyMzQ1Njc4OTAxMjM0NTY3ODk=");
    let nobodys = nobodys.replace("<UserId>UID=x,DC=example-bank,DC=net</UserId>", "");
    let text = container(&format!("{}{nobodys}", package("bob", "totp", "")));
    world.write("/root/keys.xml", text.as_bytes(), 0o600);
    let before = store(&world);
    let run = import(&world, &["--user", "carol", "/root/keys.xml"]);
    assert_eq!(run.status.code(), Some(1), "{}", run.text());
    assert!(run.stderr.contains("--map FILE"), "{}", run.text());
    assert_eq!(store(&world), before);
    let run = import(&world, &["/root/keys.xml"]);
    assert_eq!(run.status.code(), Some(3), "{}", run.text());
    assert!(run.stderr.contains("token 987, x, line 4: the file does not say"), "{}", run.text());
    let time = TotpOptions { digits: 8, ..TotpOptions::default() };
    assert!(admitted(&world, "bob", &code(BASE32, time)));
    assert!(!world.exists("/var/lib/onetime/users/carol.toml"));
}

#[test]
fn an_imported_uri_has_the_codes_of_oathtool_or_is_refused() {
    let world = hasty();
    let sha =
        |algorithm, digits, period| TotpOptions { algorithm, digits, period, offset_steps: 0 };
    for (parameters, expected) in [
        ("ALGORITHM=SHA256", Some(sha(Algorithm::Sha256, 6, 30))),
        ("Digits=8", Some(sha(Algorithm::Sha1, 8, 30))),
        ("Period=60", Some(sha(Algorithm::Sha1, 6, 60))),
        ("amp;digits=8&amp;algorithm=sha-512", Some(sha(Algorithm::Sha512, 8, 30))),
        ("algo=HmacSHA256&image=x", Some(sha(Algorithm::Sha256, 6, 30))),
        ("encoder=steam", None),
        ("t0=30", None),
    ] {
        let uri = format!("otpauth://totp/alice?secret={BASE32}&{parameters}\n");
        world.remove("/var/lib/onetime");
        world.onetimectl(&["init"]).ok();
        world.write("/root/uri", uri.as_bytes(), 0o600);
        let run = import(&world, &["/root/uri"]);
        assert_eq!(run.success(), expected.is_some(), "{parameters}: {}", run.text());
        if let Some(options) = expected {
            let typed = code(BASE32, options);
            assert!(world.onetimectl(&["verify", "alice", &typed]).success(), "{parameters}");
        } else {
            assert!(run.stderr.contains("alice: line 1: "), "{parameters}: {}", run.text());
        }
    }
}

// --- seeds of vendors, and pass ---

#[test]
fn a_vendors_csv_of_seeds_is_given_out_by_a_map_and_each_line_that_is_no_good_is_named() {
    let world = hasty();
    let seeds = format!(
        "Serial Number;Seed;OTP Type;OTP Length;Time Step\n\
         S1;{HEX};TOTP;8;30\nS2;{BASE32};TOTP;6;60\nS3;{HEX}x;TOTP;6;30\n"
    );
    world.write("/root/seeds.csv", seeds.as_bytes(), 0o600);
    world.write("/root/map.csv", b"serial,user\nS1,alice\nS2,bob\nS3,carol\n", 0o600);
    let run = world.onetimectl(&["--json", "import", "--map", "/root/map.csv", "/root/seeds.csv"]);
    assert_eq!(run.status.code(), Some(3), "{}", run.text());
    let rows: Vec<Value> = run.json();
    let carol = rows.iter().find(|row| row["user"] == "carol").expect("carol");
    assert!(carol["error"].as_str().is_some_and(|text| text.contains("line 4")), "{rows:?}");
    assert!(!run.text().contains("31323") && !run.text().contains("GEZD"), "{}", run.text());
    let eight = TotpOptions { digits: 8, ..TotpOptions::default() };
    assert!(admitted(&world, "alice", &code(BASE32, eight)));
    // The other keys of the vendor's file stay in stock.
    let more: String = (10..20).map(|n| format!("S{n};{HEX};TOTP;6;30\n")).collect();
    world.write("/root/seeds.csv", format!("{}{more}", seeds.replace('x', "")).as_bytes(), 0o600);
    world.write("/root/map.csv", b"serial,user\nS2,bob\n", 0o600);
    let files = ["--replace", "--yes", "--map", "/root/map.csv", "/root/seeds.csv"];
    let run = import(&world, &files).ok();
    assert!(run.contains("12 keys are in no line of the map: S1, S3, S10 and 9 more"), "{run}");
    assert!(run.contains("1 imported, 0 failed."), "{run}");
    let run = import(&world, &[&["--dry-run"], &files[..]].concat()).ok();
    assert!(run.contains("S18, S19\n"), "{run}");
    // Without a map they are nobody's.
    let run = import(&world, &["--dry-run", "/root/seeds.csv"]);
    assert_eq!(run.status.code(), Some(1), "{}", run.text());
    assert!(run.text().contains("--map"), "{}", run.text());
}

#[test]
fn an_entry_of_pass_is_imported_and_its_password_is_shown_nowhere() {
    let world = hasty();
    let uri = format!("otpauth://totp/Corp:alice?secret={BASE32}&issuer=Corp");
    world.write("/root/entry", format!("hunter2\nuser: a\n{uri}\n").as_bytes(), 0o600);
    let run = import(&world, &["/root/entry"]);
    assert!(run.status.success() && !run.text().contains("hunter2"), "{}", run.text());
    assert!(admitted(&world, "alice", &code(BASE32, TotpOptions::default())));
}

// --- pictures ---

/// What the real qrencode draws of a text, in the world.
fn draw(world: &World, name: &str, text: &str, options: &[&str]) {
    let file = format!("/root/{name}");
    world.run("qrencode", &[options, &["-t", "PNG", "-o", &file, text]].concat()).ok();
}

#[test]
fn a_qr_code_in_a_picture_lets_its_user_in_and_a_picture_without_one_says_what_to_do() {
    let world = hasty();
    let uri = format!("otpauth://totp/Corp:alice?secret={BASE32}&issuer=Corp");
    for options in [&[][..], &["-s", "1", "-m", "1"], &["-l", "H", "--foreground=224488"]] {
        draw(&world, "picture", &uri, options);
        for recognized in [&[][..], &["--from", "otpauth"]] {
            let run = import(&world, &[&["--dry-run", "/root/picture"], recognized].concat());
            assert!(run.status.success() && !run.text().contains(BASE32), "{}", run.text());
        }
    }
    import(&world, &["/root/picture"]).ok();
    assert!(admitted(&world, "alice", &code(BASE32, TotpOptions::default())));

    // What the tool itself has drawn.
    let secret = enable(&world, "bob");
    world.onetimectl(&["qr", "bob", "--qr", "/root/bob.png"]).ok();
    import(&world, &["/root/bob.png", "--replace", "--yes"]).ok();
    assert!(admitted(&world, "bob", &current_code(&secret, 0)));

    draw(&world, "other.png", "https://example.org", &[]);
    let picture = world.read("/root/other.png");
    world.write("/root/half.png", &picture[..picture.len() / 2], 0o600);
    let before = store(&world);
    for (name, said) in [("other.png", "crop"), ("half.png", "not a PNG file in order")] {
        let run = import(&world, &[&format!("/root/{name}")]);
        assert_eq!(run.status.code(), Some(1), "{}", run.text());
        assert!(run.stderr.contains(said) && run.stderr.contains(name), "{}", run.text());
    }
    assert_eq!(store(&world), before);
}

#[test]
fn the_codes_of_one_export_are_put_together_from_pictures_and_text_and_a_missing_one_is_named() {
    let world = hasty();
    // Two codes of one export: alice's token, and bob's.
    let uris = [("alice", 0_u8), ("bob", 1)].map(|(name, index)| {
        let mut token = vec![0x0a, 20];
        token.extend(b"12345678901234567890");
        token.extend([0x12, u8::try_from(name.len()).expect("short")]);
        token.extend(name.as_bytes());
        token.extend([0x20, 1, 0x28, 1, 0x30, 2]);
        let mut batch = vec![0x0a, u8::try_from(token.len()).expect("short")];
        batch.extend(token);
        batch.extend([0x10, 1, 0x18, 2, 0x20, index, 0x28, 7]);
        let data = data_encoding::BASE64URL_NOPAD.encode(&batch);
        format!("otpauth-migration://offline?data={data}")
    });
    draw(&world, "1.png", &uris[0], &[]);
    world.write("/root/2", format!("# by hand\n{}\n", uris[1]).as_bytes(), 0o600);
    for (file, missing) in [("/root/1.png", "number 2"), ("/root/2", "number 1")] {
        let run = import(&world, &[file]);
        assert_eq!(run.status.code(), Some(1), "{}", run.text());
        assert!(run.stderr.contains(missing) && run.stderr.contains("one run"), "{}", run.text());
    }
    let run = import(&world, &["/root/1.png", "/root/2"]);
    assert!(run.status.success() && !run.text().contains(BASE32), "{}", run.text());
    for user in ["alice", "bob"] {
        assert!(admitted(&world, user, &code(BASE32, TotpOptions::default())), "{user}");
    }
    // A line is named by its own file.
    world.write("/root/3", b"\notpauth-migration://offline\n", 0o600);
    let run = import(&world, &["/root/1.png", "/root/2", "/root/3"]);
    assert!(run.stderr.contains("/root/3: nothing was imported: line 2"), "{}", run.text());
}
