//! Configuration management: the Ansible collection, built, installed and run by a real
//! ansible-core, in a world in which pam-onetime is installed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::common::{
    Finished, World, code, finish, finish_within, install, python_programs, secret,
};

/// A task of Ansible's takes a second, and other campaigns run beside this one.
const PLAYING: Duration = Duration::from_secs(400);

/// Where the collection is, as the project has it.
fn collection() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/ansible")
}

/// A world without a PAM service that asks for codes, and with Ansible below /root.
fn world() -> World {
    let environment = python_programs("ansible", "packaging/ansible/tests/requirements.txt");
    let world = World::new();
    install(&world);
    for (from, to) in [(environment, "/root/ansible"), (collection(), "/root/source")] {
        let mut copy = Command::new("cp");
        finish_within(copy.args(["-a"]).arg(from).arg(world.path(to)), b"", PLAYING).ok();
    }
    let galaxy = |words: &[&str]| ansible(&world, "galaxy", words).ok();
    let built = galaxy(&["collection", "build", "/root/source", "--output-path", "/root"]);
    let archive = built.trim().rsplit(' ').next().expect("it says where the archive is").to_owned();
    galaxy(&["collection", "install", "--offline", "-p", "/root/collections", &archive]);
    world
}

/// A program of Ansible's, in the world.
fn ansible(world: &World, program: &str, words: &[&str]) -> Finished {
    let mut command = world.command("sh");
    let start = "PYTHONPATH=$(echo /root/ansible/lib/python3*/site-packages) \
                 exec /usr/bin/python3 -m ansible \"$@\"";
    command.args(["-euc", start, "ansible", program]).args(words);
    command.env("ANSIBLE_COLLECTIONS_PATH", "/root/collections").env("ANSIBLE_NOCOLOR", "1");
    command.env("ANSIBLE_PYTHON_INTERPRETER", "/usr/bin/python3");
    finish_within(&mut command, b"", PLAYING)
}

#[test]
fn ansible_issues_renews_and_destroys_secrets_once_and_shows_none_unasked() {
    let world = world();
    let run = ansible(&world, "playbook", &["-vv", "/root/source/tests/playbooks/users.yml"]);
    assert!(run.success(), "{}", run.text());
    // What it left: bob has what was issued last, and enrolls with it.
    let key = secret(&world, "bob");
    let now = code(&key, crate::common::TotpOptions { digits: 6, ..Default::default() });
    world.onetimectl(&["verify", "bob", &now]).ok();
    let text = run.text();
    assert!(!text.contains(&key) && !text.contains("?secret="), "a secret is shown: {text}");
    let lines: Vec<_> = world.syslog().into_iter().map(|line| line.text).collect();
    let shown = |line: &&String| line.contains("?secret=") || line.contains(&key);
    assert_eq!(lines.iter().find(shown), None);
    let issued = lines.iter().filter(|line| line.contains("a new secret was issued")).count();
    let odd = 8;
    assert_eq!(issued, 7 + odd, "alice, bob, carol, and two of them again, twice: {lines:#?}");
}

#[test]
fn ansible_changes_single_keys_of_a_configuration_that_stays_valid() {
    let world = world();
    let run = ansible(&world, "playbook", &["/root/source/tests/playbooks/config.yml"]);
    assert!(run.success(), "{}", run.text());
    // What stays is what was shipped, byte for byte.
    assert_eq!(world.read_text("/etc/onetime/onetime.toml"), crate::common::configuration());
}

#[test]
fn the_modules_of_the_collection_are_documented_as_ansible_reads_it() {
    let world = world();
    for module in ["onetime.pam.onetime_user", "onetime.pam.onetime_config"] {
        let said = ansible(&world, "doc", &["--json", "-t", "module", module]);
        let said: serde_json::Value = said.json();
        let said = &said[module];
        for part in
            ["/doc/options", "/doc/attributes/check_mode", "/doc/notes", "/return", "/examples"]
        {
            assert!(said.pointer(part).is_some_and(|part| !part.is_null()), "{module}: no {part}");
        }
    }
}

#[test]
fn a_toml_text_is_changed_as_another_reader_of_toml_understands_it() {
    let tests = collection().join("tests/unit/plugins/module_utils/test_toml_lines.py");
    let mut python = Command::new("python3");
    finish(python.arg("-B").arg(tests), b"").ok();
}
