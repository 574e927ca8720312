//! Files with secrets that the tool hands to a person, by every verb that makes one:
//! new, of mode 0600, and complete or not there, also where the disk is full, where
//! the tool is killed, and whatever the umask is.

use std::os::unix::fs::MetadataExt;

use crate::common::{Finished, World, enable, installed};

/// Where the files go.
const DESK: &str = "/root/desk";

/// For each verb that makes a file: the command line, for a user who is pending or, of
/// `enable`, not enabled; and the file's name.
const VERBS: [(&[&str], &str); 6] = [
    (&["enable", "bob", "--qr"], "bob.png"),
    (&["qr", "alice", "--qr"], "alice.svg"),
    (&["handout", "alice", "--recovery", "-o"], "recovery.html"),
    (&["handout", "alice", "-o"], "alice.html"),
    (&["handout", "alice", "-o"], "sheet.svg"),
    (&["handout", "alice", "-o"], "alice.png"),
];

/// A world in which alice is pending, and an empty desk.
fn world() -> World {
    let world = installed();
    enable(&world, "alice");
    world.run("mkdir", &[DESK]).ok();
    world
}

/// Runs a verb that makes this file.
#[track_caller]
fn make(world: &World, arguments: &[&str], file: &str) -> Finished {
    world.onetimectl(&[arguments, &[file]].concat())
}

/// The records and states, byte by byte.
fn store(world: &World) -> String {
    world
        .run("sh", &["-euc", "cd /var/lib/onetime && find . -type f | sort | xargs sha256sum"])
        .ok()
}

#[test]
fn the_mode_of_a_file_is_that_of_a_secret_whatever_the_umask() {
    let world = world();
    for umask in ["0", "777"] {
        for (arguments, name) in VERBS {
            let file = format!("{DESK}/{name}");
            let command = format!("umask {umask}; onetimectl {} {file}", arguments.join(" "));
            world.run("sh", &["-euc", &command]).ok();
            let metadata = world.metadata(&file);
            assert_eq!((metadata.mode(), metadata.uid()), (0o100_600, 0), "{umask}: {name}");
            world.remove(&file);
        }
        world.onetimectl(&["disable", "--yes", "bob"]).ok();
    }
    assert_eq!(world.list(DESK), [""; 0], "and nothing else was made");
}

#[test]
fn a_file_that_exists_is_kept_and_a_link_is_not_followed() {
    let world = world();
    let before = store(&world);
    for (arguments, name) in VERBS {
        let file = format!("{DESK}/{name}");
        world.write(&file, b"precious", 0o644);
        let run = make(&world, arguments, &file);
        assert_eq!(run.status.code(), Some(1), "{}", run.text());
        assert!(
            run.stderr.contains(&format!("cannot write {file}: File exists")),
            "{}",
            run.text()
        );
        assert_eq!(world.read(&file), b"precious");
        assert_eq!(world.list(DESK), [name]);
        for target in ["/root/nowhere", "/etc/passwd"] {
            world.remove(&file);
            world.run("ln", &["-s", target, &file]).ok();
            let passwd = world.read("/etc/passwd");
            let run = make(&world, arguments, &file);
            assert!(run.stderr.contains("File exists"), "{}", run.text());
            assert!(world.metadata(&file).is_symlink() && !world.exists("/root/nowhere"), "{name}");
            assert_eq!(world.read("/etc/passwd"), passwd);
        }
        world.remove(&file);
    }
    assert_eq!(store(&world), before, "no secret and no recovery code was issued");
}

#[test]
fn on_a_full_disk_nothing_is_left_and_nothing_is_issued() {
    let world = world();
    let fill = "mount -t tmpfs -o size=16k tmpfs /root/desk
        head -c 1m /dev/zero > /root/desk/fill || true
        test $(stat -f -c %f /root/desk) = 0";
    world.run("sh", &["-euc", fill]).ok();
    let before = store(&world);
    for (arguments, name) in VERBS {
        let run = make(&world, arguments, &format!("{DESK}/{name}"));
        assert_eq!(run.status.code(), Some(1), "{}", run.text());
        assert!(run.stderr.contains("No space left on device"), "{}", run.text());
        assert_eq!(world.run("ls", &["-A", DESK]).ok(), "fill\n", "{name}");
    }
    assert_eq!(store(&world), before);
}

#[test]
fn a_tool_that_is_killed_while_it_writes_leaves_no_half_file_under_the_name() {
    let world = world();
    let before = store(&world);
    for (arguments, name) in VERBS {
        // The kernel kills who writes a file beyond this size (SIGXFSZ).
        let limited = ["--core=0", "--fsize=256", "onetimectl"];
        let file = format!("{DESK}/{name}");
        let run = world.run("prlimit", &[&limited[..], arguments, &[&file]].concat());
        assert_eq!(run.status.code(), None, "{}", run.text());
        assert!(!world.exists(&file), "{name}");
    }
    for name in world.list(DESK) {
        let metadata = world.metadata(&format!("{DESK}/{name}"));
        assert!(name.starts_with(".onetimectl-"), "{name}");
        assert_eq!((metadata.mode(), metadata.len()), (0o100_600, 256), "{name}");
    }
    assert_eq!(store(&world), before);
}
