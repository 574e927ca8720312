//! A disk that is full, read-only or broken, and a host that lets nothing be written or
//! opened: each operation meets each error at each call on the store, and is then done
//! or not done, and says which.

use std::os::unix::process::ExitStatusExt;

use crate::common::{
    ALICE_PASSWORD, AUTH_ERR, AUTHINFO_UNAVAIL, Answers, BOB_PASSWORD, Client, Figures, Finished,
    PATIENCE, SUCCESS, World, extent, finish, hasty, hotp_code, long, secret,
};
use crate::inject::{Calls, Lasting, Point};
use crate::operations::{self, FORGOTTEN, Operation, Outcome, Victim};
use crate::snapshot::Snapshot;

/// The error of a disk, the words that report it, and what to do about it.
const ERRORS: [(&str, &str, &str); 4] = [
    ("ENOSPC", "No space left on device", "make room"),
    ("EDQUOT", "Disk quota exceeded", "raise root's quota"),
    ("EROFS", "Read-only file system", "remount"),
    ("EIO", "Input/output error", "dmesg"),
];

/// What the tool says of a key that it cannot remember.
const NOT_NOTED: &str = "its keys must not be given to anybody again";

const STORE: &str = "/var/lib/onetime";

/// What a shell makes of a program that SIGXFSZ (25) has ended.
const ENDED_BY_SIGXFSZ: i32 = 128 + 25;

/// How it went with one operation.
#[derive(Default)]
struct Tally {
    faults: usize,
    old: usize,
    new: usize,
    done_all_the_same: usize,
    ended: usize,
    wrong: Vec<String>,
}

impl Tally {
    /// Judges one run: the account is the old one or the new one, what was reported is
    /// true, and what was not done was not reported.
    fn judge(&mut self, world: &World, operation: &Operation, run: &Finished, at: &str) {
        self.faults += 1;
        let told = operation.is_told(&run.stdout);
        let found = Snapshot::of(world);
        let kept = operation.keeps_what_it_said(&found, &run.stdout);
        match operation.outcome(&found, told).and_then(|outcome| kept.map(|()| outcome)) {
            Ok(Outcome::Old) => self.old += 1,
            Ok(Outcome::New) => self.new += 1,
            // A secret goes also where nothing can be noted of it: then that is said.
            Err(wrong) if wrong == FORGOTTEN && run.text().contains(NOT_NOTED) => self.new += 1,
            // A state that the disk did not give away was lost: its key is refused.
            Err(wrong) if wrong.contains("was lost with a state") => self.new += 1,
            Err(wrong) => self.wrong.push(format!("{at}: {wrong}")),
        }
        if told {
            self.done_all_the_same += 1;
        } else if was_ended(run) {
            self.ended += 1;
            self.wrong.push(format!("{at}: it was ended by {}: {}", run.status, run.text()));
        } else if operation.is_login() {
            if run.stdout.contains("result authenticate 0") {
                self.wrong.push(format!("{at}: admitted: {}", run.text()));
            }
        } else if run.success() || run.text().is_empty() {
            self.wrong.push(format!("{at}: no word of it: {}", run.text()));
        }
    }

    /// Where the operation has not been done, it, or the log for a login, must say
    /// what is wrong, where, and what to do about it.
    fn judge_words(
        &mut self,
        world: &World,
        operation: &Operation,
        run: &Finished,
        words: &[&str],
        at: &str,
    ) {
        if operation.is_told(&run.stdout) || was_ended(run) {
            return;
        }
        let said = if operation.is_login() {
            if !run.stdout.contains(&format!("result authenticate {AUTHINFO_UNAVAIL}")) {
                self.wrong.push(format!("{at}: {}", run.text()));
            }
            world.wait_for_syslog(|line| line.text.contains("outcome=failed"), PATIENCE).text
        } else {
            run.text()
        };
        if !words.iter().chain(&[STORE]).all(|word| said.contains(word)) {
            self.wrong.push(format!("{at}: {words:?} are not in: {said}"));
        }
    }
}

fn was_ended(run: &Finished) -> bool {
    run.status.signal().is_some() || run.status.code() == Some(ENDED_BY_SIGXFSZ)
}

#[test]
fn whatever_the_disk_refuses_an_operation_is_done_or_not_done_and_says_which() {
    campaign("disk_faults", &operations::all(), refuse_each);
}

#[test]
fn whatever_the_disk_refuses_onetimed_says_which_and_goes_on() {
    let mut operations = operations::by_onetimed();
    // Its caller has no part in it.
    operations.retain(|operation| operation.victim == Victim::Onetimed);
    campaign("disk_faults_onetimed", &operations, refuse_each);
}

/// Each error at each call on the store; in the short form one of them.
fn refuse_each(world: &World, operation: &Operation, tally: &mut Tally) {
    // A close that fails has closed all the same; strace's would not have.
    let mut points = Point::all(world, operation, Calls::OnStore);
    points.retain(|point| point.kind != "close");
    for (point, turn) in points.into_iter().zip(0..) {
        let chosen = |index| long() || index == turn % (2 * ERRORS.len());
        for (index, (error, words, remedy)) in ERRORS.iter().chain(&ERRORS).enumerate() {
            if chosen(index) {
                let lasting =
                    if index < ERRORS.len() { Lasting::Once } else { Lasting::FromThenOn };
                let fault = format!("error={error}");
                refuse(world, operation, tally, (&point, &fault, lasting), &[words, remedy]);
            }
        }
        // A write that takes nothing and says so.
        if point.kind.contains("write") {
            let fault = (&point, "retval=0", Lasting::FromThenOn);
            refuse(world, operation, tally, fault, &["failed to write whole buffer"]);
        }
    }
}

fn refuse(
    world: &World,
    operation: &Operation,
    tally: &mut Tally,
    (point, fault, lasting): (&Point, &str, Lasting),
    words: &[&str],
) {
    let at = format!("{fault} at {} {}, {lasting:?}", point.kind, point.nth);
    world.forget_syslog();
    match point.run(world, operation, fault, lasting) {
        None => tally.wrong.push(format!("{at}: not reached")),
        Some(run) => {
            tally.judge(world, operation, &run, &at);
            tally.judge_words(world, operation, &run, words, &at);
        }
    }
}

#[test]
fn a_host_whose_files_may_not_grow_or_be_opened_admits_nobody_whose_code_is_not_spent() {
    campaign("limits", &operations::all(), |world, operation, tally| {
        let sizes = [0, 1, 100, 511, 512, 513, 4095, 4096, 4607, 4608, 8191, 8192];
        let limits = sizes.map(|size| format!("--fsize={size}")).into_iter();
        let limits = limits.chain((3..extent(10, 20)).map(|files| format!("--nofile={files}")));
        for limit in limits {
            operation.before.put(world);
            world.forget_syslog();
            // What it says goes through a pipe: a file would have the limit too.
            let mut bash = world.command("bash");
            bash.args(["-o", "pipefail", "-c", "prlimit \"$@\" 2>&1 | cat", "limited", &limit]);
            let run = finish(bash.args(&operation.program), operation.input.as_bytes());
            tally.judge(world, operation, &run, &limit);
            if limit.starts_with("--fsize") {
                let words = ["File too large", "ulimit -f"];
                tally.judge_words(world, operation, &run, &words, &limit);
            }
        }
    });
}

/// Runs every operation in a world of its own, side by side.
#[track_caller]
fn campaign(
    name: &'static str,
    operations: &[Operation],
    run: impl Fn(&World, &Operation, &mut Tally) + Sync,
) {
    let tallies = operations::side_by_side(operations, |operation| {
        let (world, mut tally) = (operations::place(), Tally::default());
        run(&world, operation, &mut tally);
        tally
    });
    let columns = [
        "operation",
        "faults",
        "old account",
        "new account",
        "done all the same",
        "ended by SIGXFSZ",
        "wrong",
    ];
    let mut figures = Figures::new(name, &columns);
    for (operation, tally) in operations.iter().zip(&tallies) {
        let Tally { faults, old, new, done_all_the_same, ended, wrong } = tally;
        figures.row(&[&operation.name, faults, old, new, done_all_the_same, ended, &wrong.len()]);
    }
    figures.publish();
    for (Operation { name, .. }, tally) in operations.iter().zip(tallies) {
        assert!(tally.wrong.is_empty(), "{name}:\n{}", tally.wrong.join("\n"));
        assert!(tally.old > 0, "{name}: no fault was one");
    }
}

/// A small file system in the place of the store.
const SYSTEMS: [(&str, &str); 3] = [
    ("tmpfs", "mount -t tmpfs -o size=256k,mode=700 tmpfs /var/lib/onetime"),
    ("ext4", "mkfs.ext4 -q -m 0 /run/disk; mount -o loop /run/disk /var/lib/onetime"),
    (
        "ext4 without journal",
        "mkfs.ext4 -q -m 0 -O ^has_journal /run/disk; mount -o loop /run/disk /var/lib/onetime",
    ),
];

/// What comes before it: loop devices are not in a world.
const PREPARE: &str = "
    mkdir -m 700 /var/lib/onetime
    truncate -s 8M /run/disk
    mknod /dev/loop-control c 10 237
    for number in $(seq 0 31); do mknod /dev/loop$number b 7 $number; done
";

/// Fills it up, down to the last block.
const FILL: &str = "
    umask 077; cd /var/lib/onetime
    dd if=/dev/zero of=filler bs=4096 status=none || dd if=/dev/zero of=rest bs=1 status=none || sync
    test $(df --output=avail . | tail -1) = 0
";

#[test]
fn on_a_full_disk_logins_go_on_and_each_code_serves_once_and_on_a_read_only_one_nobody_gets_in() {
    let columns =
        ["file system", "logins while full", "succeeded", "codes tried again", "succeeded again"];
    let mut figures = Figures::new("full", &columns);
    for (name, mount) in SYSTEMS {
        let (logins, again) = full(name, mount);
        let asked = extent(20, 200);
        figures.row(&[&name, &asked, &logins, &asked, &again]);
        assert_eq!((logins, again), (asked, 0), "{name}");
    }
    figures.publish();
}

/// How many logins succeeded on a full disk, and how many with a code that had served.
fn full(name: &str, mount: &str) -> (u64, u64) {
    let world = hasty();
    world.remove(STORE);
    world.run("sh", &["-euc", &format!("{PREPARE}{mount}; chmod 700 /var/lib/onetime")]).ok();
    world.run("sh", &["-c", "rmdir /var/lib/onetime/lost+found; onetimectl init"]).ok();
    world.onetimectl(&["enable", "alice", "--kind", "hotp"]).ok();
    world.onetimectl(&["enable", "bob", "--kind", "hotp"]).ok();
    let [alice, bob] = ["alice", "bob"].map(|user| secret(&world, user));
    world.run("sh", &["-euc", FILL]).ok();
    let login = |user, password, code: &str| {
        Client::new(&world, "sshd", user).run(&Answers::new(&[password, code])).result()
    };
    let alice_with =
        |counter| login("alice", ALICE_PASSWORD, &hotp_code(&alice, counter, 6)) == SUCCESS;

    // Activates, a wrong code is counted, and who is pending may stay so.
    assert!(alice_with(0), "{name}");
    assert_eq!(login("alice", ALICE_PASSWORD, "000000"), AUTH_ERR, "{name}");
    let failures = world.onetimectl(&["--json", "status", "alice"]).ok();
    assert!(failures.contains("\"failures\": 1"), "{name}: {failures}");
    assert_eq!(login("bob", BOB_PASSWORD, ""), SUCCESS, "{name}");

    let (mut succeeded, mut again) = (0, 0);
    for counter in 1..=extent(20, 200) {
        world.forget_syslog();
        let is_admitted = alice_with(counter);
        if !is_admitted {
            // What it was that went wrong is in the log.
            let logged = world.wait_for_syslog(|line| line.text.contains("outcome="), PATIENCE);
            eprintln!("{name}, code {counter}: {}", logged.text);
        }
        succeeded += u64::from(is_admitted);
        again += u64::from(alice_with(counter));
    }
    let next = extent(20, 200) + 1;

    // What needs room fails, says so, and loses nothing.
    for arguments in [&["enable", "carol"][..], &["enable", "alice", "--new-secret"]] {
        let refused = world.onetimectl(arguments);
        let words = ["No space left on device", "make room"];
        let says = words.iter().all(|words| refused.stderr.contains(words));
        assert!(!refused.success() && says, "{name}: {}", refused.text());
    }
    assert_eq!(secret(&world, "alice"), alice, "{name}");
    assert!(Snapshot::of(&world).left_behind().next().is_none(), "{name}");
    assert_eq!(login("carol", crate::common::CAROL_PASSWORD, ""), SUCCESS, "{name}: not enabled");

    let remount = |how: &str| world.run("mount", &["-o", &format!("remount,{how}"), STORE]).ok();
    remount("ro");
    world.forget_syslog();
    for code in [&hotp_code(&alice, next, 6), "000000", ""] {
        assert_eq!(login("alice", ALICE_PASSWORD, code), AUTHINFO_UNAVAIL, "{name}");
    }
    assert_eq!(login("bob", BOB_PASSWORD, &hotp_code(&bob, 0, 6)), AUTHINFO_UNAVAIL, "{name}");
    let words = ["outcome=failed", "state/alice", "Read-only file system", "remount"];
    world.wait_for_syslog(|line| words.iter().all(|word| line.text.contains(word)), PATIENCE);
    remount("rw");
    assert!(alice_with(next), "{name}: it was not spent");
    world.onetimectl(&["disable", "bob", "--yes"]).ok();
    world.run("sh", &["-euc", "rm /var/lib/onetime/filler; onetimectl enable carol"]).ok();
    world.run("umount", &[STORE]).ok();
    (succeeded, again)
}
