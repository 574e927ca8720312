//! A disk that is full, read-only or broken, and a host that lets nothing be written or
//! opened: each operation meets each error at each call on the store, and is then done
//! or not done, and says which.

use std::os::unix::process::ExitStatusExt;
use std::thread;

use crate::common::{
    ALICE_PASSWORD, Answers, Client, Figures, Finished, PATIENCE, World, extent, finish, hasty,
    hotp_code, long, secret,
};
use crate::inject::{Calls, Point};
use crate::operations::{self, AUTHINFO_UNAVAIL, Operation, Outcome, SUCCESS};
use crate::snapshot::Snapshot;

/// What a disk says, and in which words the C library tells it.
const ERRORS: [(&str, &str); 4] = [
    ("ENOSPC", "No space left on device"),
    ("EDQUOT", "Disk quota exceeded"),
    ("EROFS", "Read-only file system"),
    ("EIO", "Input/output error"),
];

/// How it went with one operation.
#[derive(Default)]
struct Tally {
    faults: usize,
    old: usize,
    new: usize,
    done_all_the_same: usize,
    killed: usize,
    wrong: Vec<String>,
}

impl Tally {
    /// Judges one run: the account is the old one or the new one, what was told is
    /// true, and what was not done was not told.
    fn judge(&mut self, world: &World, operation: &Operation, run: &Finished, at: &str) {
        self.faults += 1;
        let told = run.stdout.contains(operation.told);
        match operation.outcome(&Snapshot::of(world), told) {
            Ok(Outcome::Old) => self.old += 1,
            Ok(Outcome::New) => self.new += 1,
            Err(wrong) => self.wrong.push(format!("{at}: {wrong}")),
        }
        if told {
            self.done_all_the_same += 1;
        } else if run.status.signal().is_some() {
            self.killed += 1;
        } else if operation.is_login() {
            // Somebody without a password is refused otherwise.
            if run.stdout.contains("result authenticate 0") {
                self.wrong.push(format!("{at}: admitted: {}", run.text()));
            }
        } else if run.success() || run.stderr.is_empty() {
            self.wrong.push(format!("{at}: no word of it: {}", run.text()));
        }
    }
}

#[test]
fn whatever_the_disk_refuses_an_operation_is_done_or_not_done_and_says_which() {
    campaign("disk_faults", |world, operation, tally| {
        // A close that fails has closed all the same; strace's would not have.
        let mut points = Point::all(world, operation, Calls::OnStore);
        points.retain(|point| point.kind != "close");
        for (point, turn) in points.into_iter().zip(0..) {
            for (index, (error, words)) in ERRORS.iter().enumerate() {
                if !long() && index != turn % ERRORS.len() {
                    continue;
                }
                let at = format!("{error} at {} {}", point.kind, point.nth);
                let Some(run) = point.run(world, operation, &format!("error={error}")) else {
                    tally.wrong.push(format!("{at}: not reached"));
                    continue;
                };
                tally.judge(world, operation, &run, &at);
                let refused = !run.stdout.contains(operation.told);
                if refused && operation.is_login() {
                    let line = world.wait_for_syslog(|line| line.text.contains(words), PATIENCE);
                    assert!(line.text.contains("/var/lib/onetime"), "{at}: {}", line.text);
                } else if refused && !run.stderr.contains(words) {
                    tally.wrong.push(format!("{at}: {}", run.text()));
                }
            }
        }
    });
}

#[test]
fn a_host_whose_files_may_not_grow_or_be_opened_admits_nobody_whose_code_is_not_spent() {
    campaign("limits", |world, operation, tally| {
        let sizes = [0, 1, 100, 511, 512, 513, 4095, 4096, 4607, 4608, 8191, 8192];
        let limits = sizes.map(|size| format!("--fsize={size}")).into_iter();
        let limits = limits.chain((3..extent(10, 20)).map(|files| format!("--nofile={files}")));
        for limit in limits {
            operation.before.put(world);
            let mut prlimit = world.command("prlimit");
            let run = prlimit.arg(&limit).args(&operation.program);
            let run = finish(run, operation.input.as_bytes());
            tally.judge(world, operation, &run, &limit);
        }
    });
}

/// Runs every operation in a world of its own, side by side.
#[track_caller]
fn campaign(name: &'static str, run: impl Fn(&World, &Operation, &mut Tally) + Sync) {
    let operations = operations::all();
    let tallies: Vec<_> = thread::scope(|scope| {
        let one = |operation| {
            let (world, mut tally) = (operations::place(), Tally::default());
            run(&world, operation, &mut tally);
            tally
        };
        let runs: Vec<_> =
            operations.iter().map(|operation| scope.spawn(move || one(operation))).collect();
        runs.into_iter().map(|run| run.join().expect("it came to its end")).collect()
    });
    let columns = [
        "operation",
        "faults",
        "old account",
        "new account",
        "done all the same",
        "host killed by SIGXFSZ",
        "wrong",
    ];
    let mut figures = Figures::new(name, &columns);
    for (operation, tally) in operations.iter().zip(&tallies) {
        let Tally { faults, old, new, done_all_the_same, killed, wrong } = tally;
        figures.row(&[&operation.name, faults, old, new, done_all_the_same, killed, &wrong.len()]);
    }
    figures.publish();
    for (Operation { name, .. }, tally) in operations.iter().zip(tallies) {
        assert!(tally.wrong.is_empty(), "{name}:\n{}", tally.wrong.join("\n"));
        assert!(tally.old > 0, "{name}: no fault was one");
    }
}

/// An ext4 of a few megabytes in the place of the store, and what fills it up.
const FULL: &str = "
    truncate -s 4M /run/disk
    mkfs.ext4 -q -O ^has_journal -m 0 /run/disk
    for number in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
        [ -e /dev/loop$number ] || mknod /dev/loop$number b 7 $number
    done
    [ -e /dev/loop-control ] || mknod /dev/loop-control c 10 237
    mount -o loop /run/disk /var/lib/onetime
    chmod 700 /var/lib/onetime
    rmdir /var/lib/onetime/lost+found
";

#[test]
fn on_a_full_disk_logins_go_on_and_each_code_serves_once() {
    let world = hasty();
    world.remove("/var/lib/onetime");
    world.run("mkdir", &["-m", "700", "/var/lib/onetime"]).ok();
    world.run("sh", &["-euc", FULL]).ok();
    world.onetimectl(&["init"]).ok();
    world.onetimectl(&["enable", "alice", "--kind", "hotp"]).ok();
    let fill = "dd if=/dev/zero of=/var/lib/onetime/filler bs=512 status=none; sync";
    let filled = world.run("sh", &["-c", fill]);
    assert!(filled.stderr.contains("No space left on device"), "{}", filled.text());

    let refused = world.onetimectl(&["enable", "bob"]);
    assert!(!refused.success() && refused.stderr.contains("No space left"), "{}", refused.text());
    let secret = secret(&world, "alice");
    let login = |counter| {
        let answers = Answers::new(&[ALICE_PASSWORD, &hotp_code(&secret, counter, 6)]);
        Client::new(&world, "sshd", "alice").run(&answers).result()
    };
    let logins = extent(20, 200);
    for counter in 0..logins {
        assert_eq!(login(counter), SUCCESS, "counter {counter}");
        assert_ne!(login(counter), SUCCESS, "counter {counter} again");
    }
    let mut figures =
        Figures::new("full", &["logins on a full ext4", "succeeded", "replays refused"]);
    figures.row(&[&(2 * logins), &logins, &logins]);
    figures.publish();

    world.run("mount", &["-o", "remount,ro", "/var/lib/onetime"]).ok();
    assert_eq!(login(logins), AUTHINFO_UNAVAIL);
    world.wait_for_syslog(|line| line.text.contains("Read-only file system"), PATIENCE);
    world.run("mount", &["-o", "remount,rw", "/var/lib/onetime"]).ok();
    assert_eq!(login(logins), SUCCESS);
    world.run("umount", &["/var/lib/onetime"]).ok();
}
