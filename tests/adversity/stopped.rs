//! A lock that a stranger holds: an ordinary user starts su or sudo, and stops it while it
//! holds an account's lock, by a signal, on its terminal, in a frozen cgroup. Whoever comes
//! next waits for two seconds and goes on; the log says who held it; whoever was passed
//! over is refused when it wakes. strace holds a program at one system call, which no user
//! can time so well.

use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::common::{
    ALICE_PASSWORD, AUTH_ERR, AUTHINFO_UNAVAIL, Answers, BOB_PASSWORD, Client, Daemon, Figures,
    Finished, Pty, SUCCESS, World, extent, finish, finish_within, hasty, hotp_code, need, secret,
    status_of, with_locker,
};

/// What anybody waits for at most (2 s), and what a busy machine takes besides.
const SOON: Duration = Duration::from_secs(8);
/// For how long strace holds a program, in microseconds.
const HELD: &str = "12000000";

/// Puts what came of a situation into the table.
fn outcome(situation: &str, outcome: &str, longest: Duration) {
    static OUTCOMES: Mutex<Vec<(String, String, String)>> = Mutex::new(Vec::new());
    let mut outcomes = OUTCOMES.lock().unwrap_or_else(PoisonError::into_inner);
    let longest = format!("{:.1}", longest.as_secs_f64());
    outcomes.push((situation.to_owned(), outcome.to_owned(), longest));
    outcomes.sort();
    let mut figures = Figures::new("stopped", &["situation", "outcome", "longest wait in s"]);
    for (situation, outcome, longest) in &*outcomes {
        figures.row(&[situation, outcome, longest]);
    }
    figures.publish();
}

/// Alice and Bob, active, each with a counter token: each code is another.
struct Scene {
    world: World,
    secrets: [String; 2],
}

impl Scene {
    fn new() -> Self {
        Self::in_world(hasty())
    }

    fn in_world(world: World) -> Self {
        let secrets = ["alice", "bob"].map(|user| {
            world.onetimectl(&["enable", user, "--kind", "hotp"]).ok();
            let secret = secret(&world, user);
            world.onetimectl(&["verify", user, &hotp_code(&secret, 0, 6)]).ok();
            secret
        });
        drop(Client::new(&world, "sshd", "alice").command());
        Self { world, secrets }
    }

    fn code(&self, counter: u64) -> String {
        hotp_code(&self.secrets[0], counter, 6)
    }

    /// Alice's login: its result, and how long it took.
    fn login(&self, code: &str) -> (i32, Duration) {
        let began = Instant::now();
        let client = Client::new(&self.world, "sshd", "alice");
        let result = client.run(&Answers::new(&[ALICE_PASSWORD, code])).result();
        (result, began.elapsed())
    }

    fn tool(&self, arguments: &[&str]) -> (Finished, Duration) {
        let began = Instant::now();
        let run = self.world.onetimectl(arguments);
        (run, began.elapsed())
    }

    /// A program of Bob's on a terminal, held by strace where `inject` says.
    fn held(&self, inject: &str, program: &[&str]) -> Pty {
        let inject = format!("inject={inject}");
        let words = ["-f", "-u", "bob", "-o", "/run/strace", "-e", &inject];
        self.world.pty("strace", &[&words[..], program].concat())
    }

    /// Waits until the state of `user` is locked; the process that has it.
    fn holder(&self, user: &str) -> u32 {
        let began = Instant::now();
        loop {
            if let Some(pid) = lock_of(&self.world, user) {
                return pid;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "nobody locks {user}'s state");
        }
    }

    /// Whether the log has such a line, or gets it soon.
    fn said(&self, wanted: &str) -> bool {
        let began = Instant::now();
        while began.elapsed() < SOON {
            if self.world.syslog().iter().any(|line| line.text.contains(wanted)) {
                return true;
            }
            std::thread::yield_now();
        }
        false
    }
}

/// The process that /proc/locks shows for a user's state.
fn lock_of(world: &World, user: &str) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    let inode = world.metadata(&format!("/var/lib/onetime/state/{user}")).ino();
    let locks = fs::read_to_string("/proc/locks").expect("/proc/locks");
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let of = words.get(5)?.rsplit_once(':')?.1;
        (words[1] == "FLOCK" && of == inode.to_string()).then(|| words[4].parse().ok())?
    })
}

#[track_caller]
fn status(pid: u32, field: &str) -> String {
    status_of(pid, field).expect("its status")
}

#[test]
fn whoever_is_stopped_with_a_lock_is_passed_over_and_refused_when_it_wakes() {
    // Where it is held; and what becomes of it and of a login with the same code meanwhile.
    let passed_over = "another one has taken it over";
    for (point, inject, theirs, ours, says) in [
        // It looks what is in place, and begins again.
        ("once it has the lock", "flock:delay_exit=T:when=1", SUCCESS, "refused", "already used"),
        ("before it writes", "pwrite64:delay_enter=T:when=1", SUCCESS, "refused", passed_over),
        ("before it syncs", "fdatasync:delay_enter=T:when=1", AUTH_ERR, "refused", passed_over),
        ("once it has synced", "fdatasync:delay_exit=T:when=1", AUTH_ERR, "refused", passed_over),
        ("before it unlocks", "flock:delay_enter=T:when=2", AUTH_ERR, "admitted", "code right"),
    ] {
        let scene = Scene::new();
        let code = scene.code(1);
        let mut su =
            scene.held(&inject.replace('T', HELD), &["su", "alice", "-c", "echo ADMITTED"]);
        su.expect("assword:");
        su.send_line(ALICE_PASSWORD);
        su.expect("code:");
        su.send_line(&code);
        let pid = scene.holder("alice");
        let (result, took) = scene.login(&code);
        assert_eq!(result, theirs, "{point}");
        assert!(took < SOON, "{point}: {took:?}");
        let taken = format!("taken over: process {pid} (");
        assert!(scene.said(&taken), "{point}: {:?}", scene.world.syslog());
        // Nobody waits for it any more.
        let (result, again) = scene.login(&scene.code(2));
        assert_eq!(result, SUCCESS, "{point}");
        assert!(again < Duration::from_secs(2), "{point}: {again:?}");
        su.patience = Duration::from_secs(40);
        let ended = su.wait();
        let text = su.text();
        let admitted = if text.contains("ADMITTED") { "admitted" } else { "refused" };
        assert_eq!(admitted, ours, "{point}: {text}");
        assert_eq!(ended.success(), ours == "admitted", "{point}: {text}");
        assert!(scene.said(says), "{point}: {:?}", scene.world.syslog());
        let alike = format!("su held {point}; a login with the same code, then one with the next");
        let admitted = match (theirs, ours) {
            (SUCCESS, _) => "one of both admitted, the login; the next too",
            (_, "admitted") => "one of both admitted, su; the next too",
            _ => "neither of both; the next admitted",
        };
        outcome(&alike, admitted, took.max(again));
    }
}

#[test]
fn admins_change_an_account_whose_lock_a_stranger_holds() {
    for (verb, said) in [
        (&["unlock", "alice"][..], "alice: unlocked"),
        (&["status", "alice"], "alice"),
        (&["disable", "alice", "--yes"], "alice: disabled"),
        (&["enable", "alice", "--new-secret"], "alice: enabled"),
        (&["recovery", "alice"], "alice"),
        (&["repair", "alice"], "alice"),
        (&["init"], "/var/lib/onetime"),
    ] {
        let scene = Scene::new();
        let inject = format!("flock:delay_exit={HELD}:when=1");
        // Anything will do for a password.
        let mut su = scene.held(&inject, &["su", "alice"]);
        su.expect("assword:");
        su.send_line("anything");
        su.expect("code:");
        su.send_line("123456");
        scene.holder("alice");
        let (run, took) = scene.tool(verb);
        assert!(run.success() && run.stdout.contains(said), "{verb:?}: {}", run.text());
        assert!(took < SOON, "{verb:?}: {took:?}");
        let again = scene.tool(verb).1;
        outcome(
            &format!("su with any password held once it has the lock; onetimectl {}", verb[0]),
            "done",
            took.max(again),
        );
        su.patience = Duration::from_secs(40);
        assert!(!su.wait().success());
    }
}

#[test]
fn a_rename_that_was_passed_over_is_finished_when_it_is_done_again() {
    let scene = Scene::new();
    scene.world.run("useradd", &["-o", "-M", "-u", "2001", "second"]).ok();
    // The entry of the index is the first file that it puts in place, then the record; the
    // state is the third.
    let inject = format!("inject=renameat,renameat2:delay_enter={HELD}:when=3");
    let rename = ["onetimectl", "rename", "alice", "second"];
    let words = [&["-f", "-o", "/run/strace", "-e", &inject][..], &rename].concat();
    let mut held = scene.world.pty("strace", &words);
    scene.holder("alice");
    let (result, took) = scene.login(&scene.code(1));
    assert_eq!(result, SUCCESS);
    held.patience = Duration::from_secs(40);
    assert!(!held.wait().success(), "{}", held.text());
    assert!(held.text().contains("another one has taken it over"), "{}", held.text());
    let (run, again) = scene.tool(&rename[1..]);
    assert!(run.success(), "{}", run.text());
    let verify = |counter| scene.tool(&["verify", "second", &scene.code(counter)]).0.success();
    assert!(!verify(1), "it was used by the old name");
    assert!(verify(2));
    outcome(
        "onetimectl rename held before the state goes over; a login by the old name",
        "admitted; the rename refused, and finished when done again",
        took.max(again),
    );
}

#[test]
fn a_user_cannot_stop_what_they_have_started_while_it_has_a_lock() {
    let scene = Scene::new();
    let sudoers = "Defaults lecture=never, passwd_tries=1\nbob ALL=(ALL) ALL\n";
    scene.world.write("/etc/sudoers", sudoers.as_bytes(), 0o440);
    for (program, user, answers) in [
        (&["su", "alice", "-c", "true"][..], "alice", [ALICE_PASSWORD, &scene.code(1)]),
        (&["sudo", "true"], "bob", [BOB_PASSWORD, &hotp_code(&scene.secrets[1], 1, 6)]),
    ] {
        let mut held = scene.held("flock:delay_exit=3000000:when=1", program);
        held.expect("assword");
        held.send_line(answers[0]);
        held.expect("code:");
        let before = lock_of(&scene.world, user);
        assert_eq!(before, None, "no lock is held while a person types");
        held.send_line(answers[1]);
        let pid = scene.holder(user);
        assert_eq!(status(pid, "Uid").split_whitespace().next(), Some("0"), "{program:?}");
        let blocked = u64::from_str_radix(&status(pid, "SigBlk"), 16).expect("a mask");
        for signal in [20, 21, 22] {
            assert_ne!(blocked & (1 << (signal - 1)), 0, "{program:?}: {signal}");
        }
        for signal in ["-STOP", "-TSTP", "-KILL"] {
            let mut kill = scene.world.command_as("bob", "kill");
            let run = finish(kill.args([signal, &pid.to_string()]), b"");
            assert!(!run.success(), "{program:?}: {signal}");
        }
        // Its terminal too.
        held.send(b"\x1a");
        held.patience = Duration::from_secs(30);
        let ended = held.wait();
        assert!(ended.success(), "{program:?}: {}", held.text());
        outcome(
            &format!("{} that its caller stops while it has the lock, by signal or ^Z", program[0]),
            "not permitted; admitted",
            Duration::ZERO,
        );
    }
}

#[test]
fn a_program_that_is_stopped_at_any_moment_holds_nobody_up() {
    let scene = Scene::new();
    let mut longest = Duration::ZERO;
    let (mut stopped, mut counter) = (0, 0);
    for round in 0..extent(12, 200) {
        let mut su = scene.world.pty_as("bob", "su", &["alice"]);
        su.expect("assword:");
        su.send_line("anything");
        su.expect("code:");
        su.send_line("123456");
        // At another moment each time, from before it judges to after it has.
        let moment = Duration::from_micros(150 * (round % 20));
        let began = Instant::now();
        while began.elapsed() < moment {
            std::hint::spin_loop();
        }
        let pid = su.id().to_string();
        let mut stop = scene.world.command_as("bob", "kill");
        // Not permitted, or too late, where it judges already or has done so.
        stopped += usize::from(finish(stop.args(["-STOP", &pid]), b"").success());
        counter += 1;
        let (result, took) = scene.login(&scene.code(counter));
        assert_eq!(result, SUCCESS, "round {round}");
        longest = longest.max(took);
        scene.world.run("kill", &["-KILL", &pid]);
    }
    assert!(longest < SOON, "{longest:?}");
    assert!(stopped > 0);
    outcome(
        "su stopped by its caller at any moment; the right login of its target",
        "admitted",
        longest,
    );
}

#[test]
fn a_login_of_onetimed_that_is_stopped_holds_nobody_up() {
    let scene = Scene::in_world(with_locker());
    let daemon = Daemon::start(&scene.world);
    let unlock = |user: &str, answers: &[&str]| {
        let began = Instant::now();
        let mut client = scene.world.command_as(user, "pam_client");
        let input: String = answers.iter().flat_map(|answer| [*answer, "\n"]).collect();
        let run = finish(client.args(["locker", user]), input.as_bytes());
        (run.stdout.contains("result authenticate 0"), began.elapsed())
    };
    let mut asked = scene.world.pty_as("alice", "pamtester", &["locker", "alice", "authenticate"]);
    asked.expect("Password:");
    asked.send_line(ALICE_PASSWORD);
    asked.expect("One-time code:");
    // It stops as soon as it has the lock.
    let mut strace = scene.world.command("strace");
    strace.args(["-f", "-o", "/run/strace", "-e", "inject=flock:signal=STOP:when=1"]);
    let mut strace = strace.args(["-p", &login_of(&daemon)]).spawn().expect("strace");
    let login: u32 = login_of(&daemon).parse().expect("a number");
    let is = |field, wanted: &dyn Fn(&str) -> bool| {
        let began = Instant::now();
        while !wanted(&status(login, field)) {
            assert!(began.elapsed() < SOON, "{field}: {}", status(login, field));
            std::thread::yield_now();
        }
    };
    is("TracerPid", &|pid| pid != "0");
    let code = scene.code(1);
    asked.send_line(&code);
    assert_eq!(scene.holder("alice"), login);
    scene.world.run("kill", &["-TERM", &strace.id().to_string()]).ok();
    drop(strace.wait());
    is("State", &|state| state.starts_with('T'));

    let (bob, bobs) = unlock("bob", &[BOB_PASSWORD, &hotp_code(&scene.secrets[1], 1, 6)]);
    assert!(bob && bobs < Duration::from_secs(2), "{bob} {bobs:?}");
    let (alice, took) = unlock("alice", &[ALICE_PASSWORD, &code]);
    assert!(alice && took < SOON, "{alice} {took:?}");
    assert!(scene.said(&format!("taken over: process {login} (")), "{:?}", scene.world.syslog());
    let (alice, again) = unlock("alice", &[ALICE_PASSWORD, &scene.code(2)]);
    assert!(alice && again < Duration::from_secs(2), "{alice} {again:?}");
    scene.world.run("kill", &["-CONT", &login.to_string()]).ok();
    assert!(!asked.wait().success(), "{}", asked.text());
    assert!(scene.said("already used"), "{:?}", scene.world.syslog());
    let stopped = "a login's process of onetimed stopped once it has the lock";
    outcome(&format!("{stopped}; another user"), "admitted", bobs);
    let admitted = "one of both admitted, the login; the next too";
    let alike = format!("{stopped}; a login with the same code, then one with the next");
    outcome(&alike, admitted, took.max(again));
}

/// The process that serves the one login that is under way; another waits for the next one.
fn login_of(daemon: &Daemon) -> String {
    daemon.children().into_iter().next().expect("a login is under way")
}

#[test]
fn a_frozen_cgroup_holds_nobody_up() {
    let scene = Scene::new();
    let group = "/run/cgroup/onetime-frozen";
    let shell = |script: &str| scene.world.run("sh", &["-euc", script]).ok();
    shell(&format!("mkdir -p /run/cgroup; mount -t cgroup2 none /run/cgroup; mkdir {group}"));
    shell(&format!("chown -R bob {group}"));
    let inject = format!("flock:delay_exit={}:when=1", 500_000);
    let mut su = scene.held(&inject, &["su", "alice", "-c", "echo ADMITTED"]);
    su.expect("assword:");
    su.send_line(ALICE_PASSWORD);
    su.expect("code:");
    let code = scene.code(1);
    su.send_line(&code);
    let pid = scene.holder("alice");
    // What was delegated to Bob: he may freeze all that is in it.
    shell(&format!("echo {pid} > {group}/cgroup.procs"));
    let mut freeze = scene.world.command_as("bob", "sh");
    finish(freeze.args(["-euc", &format!("echo 1 > {group}/cgroup.freeze")]), b"").ok();
    let (result, took) = scene.login(&code);
    assert_eq!(result, SUCCESS);
    assert!(took < SOON, "{took:?}");
    assert_eq!(scene.login(&scene.code(2)).0, SUCCESS);
    shell(&format!("echo 0 > {group}/cgroup.freeze"));
    su.patience = Duration::from_secs(30);
    assert!(!su.wait().success() && !su.text().contains("ADMITTED"), "{}", su.text());
    shell(&format!("sleep 0.2; rmdir {group}"));
    outcome("su frozen in a cgroup of its caller's", "passed over, and refused when thawed", took);
}

/// File systems on which a state is exchanged for another.
const FILE_SYSTEMS: [(&str, &str); 5] = [
    ("ext4", "truncate -s 64M /run/disk; mkfs.ext4 -q /run/disk; mount -o loop /run/disk $S"),
    ("xfs", "truncate -s 320M /run/disk; mkfs.xfs -q /run/disk; mount -o loop /run/disk $S"),
    ("btrfs", "truncate -s 160M /run/disk; mkfs.btrfs -q /run/disk; mount -o loop /run/disk $S"),
    ("tmpfs", "mount -t tmpfs -o mode=700 none $S"),
    (
        "overlay",
        "mkdir /run/ov; mount -t tmpfs none /run/ov; mkdir /run/ov/l /run/ov/u /run/ov/w; \
         mount -t overlay -o lowerdir=/run/ov/l,upperdir=/run/ov/u,workdir=/run/ov/w none $S",
    ),
];

fn on(mount: &str) -> Scene {
    let world = hasty();
    let script = format!(
        "S=/var/lib/onetime; mknod /dev/loop-control c 10 237; \
         for n in $(seq 0 31); do mknod /dev/loop$n b 7 $n; done; \
         rm -rf $S; mkdir $S; {mount}; chmod 700 $S"
    );
    world.run("sh", &["-euc", &script]).ok();
    world.onetimectl(&["init"]).ok();
    Scene::in_world(world)
}

/// A process of root's that holds the lock of alice's state, and nothing else.
fn hold(scene: &Scene) -> std::process::Child {
    let mut flock = scene.world.command("flock");
    flock.args(["/var/lib/onetime/state/alice", "sleep", "60"]);
    let holder = flock.spawn().expect("flock");
    while finish(
        scene.world.command("flock").args(["-n", "/var/lib/onetime/state/alice", "true"]),
        b"",
    )
    .success()
    {}
    holder
}

#[test]
fn a_lock_is_taken_over_on_each_file_system_and_its_holder_named() {
    need("mkfs.xfs", "xfsprogs");
    need("mkfs.btrfs", "btrfs-progs");
    for (name, mount) in FILE_SYSTEMS {
        let scene = on(mount);
        let mut holder = hold(&scene);
        let (result, took) = scene.login(&scene.code(1));
        assert_eq!(result, SUCCESS, "{name}: {:?}", scene.world.syslog());
        assert!(took < SOON, "{name}: {took:?}");
        assert!(scene.said("(flock, uid 0"), "{name}: {:?}", scene.world.syslog());
        assert_eq!(scene.login(&scene.code(1)).0, AUTH_ERR, "{name}");
        drop((holder.kill(), holder.wait()));
        outcome(&format!("the lock is held, on {name}"), "taken over", took);
    }
}

#[test]
fn where_a_lock_cannot_be_taken_over_the_login_is_refused_and_says_why() {
    let mount = "mount -t tmpfs -o mode=700,size=64k none $S";
    for (name, errno, why) in [
        ("no exchange (EINVAL)", "renameat2:error=EINVAL", "cannot exchange (renameat2)"),
        ("no exchange (ENOSYS)", "renameat2:error=ENOSYS", "cannot exchange (renameat2)"),
        ("a full disk", "", "No space left"),
    ] {
        let scene = on(mount);
        let mut holder = hold(&scene);
        if errno.is_empty() {
            let fill = "cat /dev/zero > /var/lib/onetime/filler || true";
            scene.world.run("sh", &["-c", fill]).ok();
        }
        let began = Instant::now();
        let mut strace = scene.world.command("strace");
        strace.args(["-f", "-o", "/run/strace"]);
        if !errno.is_empty() {
            strace.args(["-e", &format!("inject={errno}")]);
        }
        strace.args(["pam_client", "sshd", "alice"]);
        let answers = format!("{ALICE_PASSWORD}\n{}\n", scene.code(1));
        let run = finish_within(&mut strace, answers.as_bytes(), Duration::from_secs(60));
        let took = began.elapsed();
        let refused = format!("result authenticate {AUTHINFO_UNAVAIL}");
        assert!(run.stdout.contains(&refused), "{name}: {}", run.text());
        assert!(took < SOON, "{name}: {took:?}");
        for part in ["has held the lock for 2 s", why, "kill -KILL", "(flock, uid 0"] {
            assert!(scene.said(part), "{name}: {part}: {:?}", scene.world.syslog());
        }
        // On a full disk it says too that it cannot remember the key.
        let disabled = scene.tool(&["disable", "alice", "--yes"]).0;
        assert!(disabled.text().contains("alice: disabled"), "{name}: {}", disabled.text());
        assert!(!scene.world.exists("/var/lib/onetime/users/alice.toml"), "{name}");
        drop((holder.kill(), holder.wait()));
        outcome(&format!("the lock is held, and {name}"), "refused, and said why; disabled", took);
    }
}
