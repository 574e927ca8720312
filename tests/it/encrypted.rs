//! Encrypted PSKC: files that another implementation has written, with random keys and
//! parameters, let their users in; the key comes from a file or the terminal; a wrong one
//! imports nothing.

use std::process::Command;
use std::time::Instant;

use super::moving::admitted;
use crate::common::{Finished, PATIENCE, World, finish, hasty, hotp_code, secret};
use serde_json::Value;

/// The values of figures 6 and 7 of RFC 6030, each of alice's.
const BY_KEY: &str = include_str!("../../fuzz/corpus/imports/pskc_key.xml");
const BY_PASSWORD: &str = include_str!("../../fuzz/corpus/imports/pskc_password.xml");
const KEY: &[u8] = b"12345678901234567890123456789012\n";
const PASSWORD: &[u8] = b"qwerty\n";
const BASE32: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

/// Imports this file with this key.
#[track_caller]
fn import(world: &World, text: &str, key: &[u8], options: &[&str]) -> Finished {
    world.write("/root/keys.xml", text.as_bytes(), 0o600);
    world.write("/root/key", key, 0o600);
    let arguments = ["import", "--key-file", "/root/key", "/root/keys.xml"];
    let run = world.onetimectl(&[&arguments, options].concat());
    let key = String::from_utf8_lossy(key);
    let shown = run.text();
    assert!(key.trim().len() < 6 || !shown.contains(key.trim()), "{shown}");
    assert!(!shown.contains(BASE32), "{shown}");
    run
}

#[test]
fn files_of_the_rfc_are_imported_with_a_key_file_and_their_user_logs_in() {
    let world = hasty();
    import(&world, BY_KEY, KEY, &[]).ok();
    assert!(admitted(&world, "alice", &hotp_code(BASE32, 0, 8)));
    let run = import(&world, BY_PASSWORD, PASSWORD, &["--replace", "--yes"]);
    assert!(run.success(), "{}", run.text());
    assert!(admitted(&world, "alice", &hotp_code(BASE32, 1, 8)));
}

#[test]
fn files_that_python_pskc_has_encrypted_in_each_way_bring_the_same_keys() {
    let world = hasty();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/encrypted_pskc.py");
    let seed = std::process::id().to_string();
    let mut python = Command::new("/usr/bin/python3");
    let written = finish(python.args([script, &seed]), b"").ok();
    assert_eq!(written.lines().count(), 39);
    for line in written.lines() {
        let file: Value = serde_json::from_str(line).expect("JSON");
        let what = format!("seed {seed}: {}", file["what"]);
        let bytes = file["key"].as_array().expect("bytes").iter();
        let key: Vec<u8> = bytes.map(|byte| byte.as_u64().unwrap().try_into().unwrap()).collect();
        let xml = file["xml"].as_str().expect("text");
        let run = import(&world, xml, &key, &["--replace", "--yes"]);
        assert!(run.success(), "{what}: {}\n{xml}", run.text());
        for token in file["keys"].as_array().expect("keys") {
            let user = token["user"].as_str().expect("a name");
            assert_eq!(secret(&world, user), token["secret"], "{what}");
            let uri = world.onetimectl(&["export", "--format", "otpauth", user]).ok();
            for (name, value) in [("counter", &token["counter"]), ("period", &token["period"])] {
                let parameter = format!("{name}={value}");
                let given = uri.trim().split(['?', '&']).any(|part| part == parameter);
                // What is the default is left out.
                let absent = value.is_null() || parameter == "period=30";
                assert_eq!(given, !absent, "{what}: {parameter}: {uri}");
            }
        }
    }
}

#[test]
fn a_wrong_key_or_an_altered_file_is_said_to_be_with_the_file_and_nothing_is_imported() {
    let world = hasty();
    import(&world, BY_KEY, KEY, &[]).ok();
    let before = world.read("/var/lib/onetime/users/alice.toml");
    let altered = BY_KEY.replace("AAECAw", "AAECBA");
    let unsure = "the key or password is wrong, or the file was altered";
    for (text, key, what) in [
        (BY_KEY, &b"22345678901234567890123456789012"[..], unsure),
        (BY_PASSWORD, b"qwertz\n", unsure),
        (&altered, KEY, unsure),
        (BY_KEY, b"qwerty", "a key of 16 bytes is needed"),
        (BY_KEY, b"", "nothing was given"),
    ] {
        let run = import(&world, text, key, &["--replace", "--yes"]);
        assert_eq!(run.status.code(), Some(1), "{}", run.text());
        let lines: Vec<_> = run.stderr.lines().collect();
        assert!(lines[0].contains("/root/keys.xml: nothing was imported: line "), "{lines:?}");
        assert!(lines[0].contains(what) && lines.len() == 2, "{lines:?}");
        assert_eq!(world.read("/var/lib/onetime/users/alice.toml"), before);
    }
}

#[test]
fn without_a_key_file_the_key_is_asked_for_on_the_terminal_without_echo() {
    let world = hasty();
    world.write("/root/keys.xml", BY_PASSWORD.as_bytes(), 0o600);
    for (order, typed, said) in [
        ("exec onetimectl import /root/keys.xml", "qwertz", "is wrong, or the file was altered"),
        ("exec onetimectl import - </root/keys.xml", "qwerty", "1 imported, 0 failed"),
    ] {
        let mut terminal = world.pty("sh", &["-c", &format!("tty; {order}")]);
        let shown = terminal.expect("password `MyPassword1` of ");
        terminal.expect(": ");
        let device = shown.lines().next().expect("the terminal's name").to_owned();
        // The prompt may be there before the echo is off: a person is not that fast.
        let start = Instant::now();
        while !world.run("stty", &["-F", &device, "-a"]).ok().contains(" -echo ") {
            assert!(start.elapsed() < PATIENCE, "the echo stays on");
        }
        terminal.send_line(typed);
        terminal.expect(said);
        terminal.wait();
        assert!(!terminal.text().contains(typed), "{}", terminal.text());
    }
    assert!(admitted(&world, "alice", &hotp_code(BASE32, 0, 8)));
}

#[test]
fn where_nobody_can_be_asked_the_remedy_is_the_key_file_and_a_bad_one_is_named() {
    let world = hasty();
    world.write("/root/keys.xml", BY_KEY.as_bytes(), 0o600);
    let run = finish(
        world.command("setsid").args(["--wait", "onetimectl", "import", "/root/keys.xml"]),
        b"",
    );
    assert_eq!(run.status.code(), Some(1), "{}", run.text());
    assert!(run.stderr.contains("its key `Pre-shared-key` is needed"), "{}", run.text());
    assert!(run.stderr.contains("--key-file FILE"), "{}", run.text());
    world.write("/root/large", &[b'x'; 5000], 0o600);
    for (path, what) in [
        ("/nowhere", "No such file"),
        ("/root", "is a directory"),
        ("/dev/zero", "is a device"),
        ("/root/large", "more than 4096 bytes"),
    ] {
        let run = world.onetimectl(&["import", "--key-file", path, "/root/keys.xml"]);
        assert_eq!(run.status.code(), Some(1), "{}", run.text());
        let start = format!("onetimectl: {path}: nothing was imported: ");
        assert!(run.stderr.starts_with(&start) && run.stderr.contains(what), "{}", run.text());
    }
    // By a pipe, as of a program that has the key.
    let order = "printf 12345678901234567890123456789012 | \
                 onetimectl import --key-file /dev/stdin /root/keys.xml";
    world.run("sh", &["-c", order]).ok();
    assert!(admitted(&world, "alice", &hotp_code(BASE32, 0, 8)));
}

#[test]
fn a_key_file_that_others_can_read_or_that_is_not_needed_is_warned_of() {
    let world = hasty();
    let run = import(&world, BY_KEY, KEY, &[]);
    assert!(run.success() && run.stderr.is_empty(), "{}", run.text());
    world.write("/root/open", KEY, 0o644);
    world.write("/root/uris", format!("otpauth://totp/bob?secret={BASE32}\n").as_bytes(), 0o600);
    let run = world.onetimectl(&["import", "--key-file", "/root/open", "/root/uris"]);
    assert!(run.success(), "{}", run.text());
    for what in ["/root/open: others than its owner", "--key-file was not needed"] {
        assert!(run.stderr.contains(what), "{what}: {}", run.text());
    }
}

#[test]
fn a_signature_of_an_encrypted_file_is_reported_as_not_checked() {
    let world = hasty();
    let signature = "<ds:Signature><ds:SignedInfo/></ds:Signature></KeyContainer>";
    let signed = BY_KEY.replace("</KeyContainer>", signature);
    let report = import(&world, &signed, KEY, &[]).ok();
    assert!(report.contains("signature, which was not checked"), "{report}");
}
