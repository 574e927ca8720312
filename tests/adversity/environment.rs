//! Hostile environment: what a caller, a library, a limit or the rest of the machine
//! can do to the process that a login runs in. Nobody gets in without a right code,
//! nothing is written elsewhere, nothing hangs, and the host process lives on.
//! Hostile answers and names are in tests/stack.rs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use regex::Regex;

use crate::common::{
    ALICE_PASSWORD, AUTH_ERR, AUTHINFO_UNAVAIL, Answers, Client, ClientRun, Figures, Finished,
    Host, SUCCESS, World, activate, current_code, example, finish, hasty, hotp_code, secret,
    state_file,
};

/// Longer than any login here may take, on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// Puts what came of a situation into the table.
fn outcome(situation: &'static str, outcome: impl Into<String>) {
    static OUTCOMES: Mutex<BTreeMap<&str, String>> = Mutex::new(BTreeMap::new());
    let mut outcomes = OUTCOMES.lock().unwrap_or_else(PoisonError::into_inner);
    outcomes.insert(situation, outcome.into());
    let mut figures = Figures::new("environment", &["situation", "outcome"]);
    for (situation, outcome) in &*outcomes {
        figures.row(&[situation, outcome]);
    }
    figures.publish();
}

/// A world with a service `key` that asks for a code alone, and alice with a counter
/// token: each code of hers is another.
struct Scene {
    world: World,
    secret: String,
    counter: std::cell::Cell<u64>,
}

impl Scene {
    fn new() -> Self {
        let world = hasty();
        world.pam_service("key", "auth required pam_onetime.so password=none\n");
        world.onetimectl(&["enable", "alice", "--kind", "hotp"]).ok();
        let secret = secret(&world, "alice");
        world.onetimectl(&["verify", "alice", &hotp_code(&secret, 0, 6)]).ok();
        Self { world, secret, counter: std::cell::Cell::new(0) }
    }

    /// The code after the last one.
    fn next(&self) -> String {
        self.counter.set(self.counter.get() + 1);
        hotp_code(&self.secret, self.counter.get(), 6)
    }

    /// pam_client behind another program: `prlimit --stack=98304 pam_client key alice`.
    #[track_caller]
    fn behind(&self, wrapper: &[&str], answers: &[&str]) -> Finished {
        let inner = Client::new(&self.world, "key", "alice").command();
        let program = inner.get_args().skip_while(|word| *word != "--").skip(1);
        let mut command = self.world.command(wrapper[0]);
        command.args(&wrapper[1..]).args(program).env_remove("RUST_BACKTRACE");
        let answers: String = answers.iter().flat_map(|answer| [answer, "\n"]).collect();
        finish(&mut command, answers.as_bytes())
    }

    /// Whether alice gets in now, with a code of hers that has not served.
    #[track_caller]
    fn assert_sound(&self, at: &str) {
        let run = Client::new(&self.world, "key", "alice").run(&Answers::new(&[&self.next()]));
        assert_eq!(run.result(), SUCCESS, "{at}: {run:?}");
    }
}

fn result(run: Finished) -> i32 {
    assert!(run.success(), "{}: {}", run.status, run.text());
    ClientRun::read(run).result()
}

// --- the caller ---

/// What a traced program has done to files: calls and paths, without results.
fn touched(trace: &str) -> BTreeSet<String> {
    let call = Regex::new(r#"^\d+ +(\w+)\((.*)\) += "#).expect("a valid pattern");
    let lines = trace.lines().filter_map(|line| call.captures(line));
    lines
        // libselinux looks where it might be mounted, with a place for the answer.
        .filter(|call| !["execve", "statfs"].contains(&&call[1]))
        .map(|call| match &call[1] {
            // To whom, and not what.
            "sendto" => call[2].rsplit_once('{').map_or_else(String::new, |(_, to)| to.to_owned()),
            _ => call[0].split_once(' ').expect("a process and a call").1.trim().to_owned(),
        })
        .collect()
}

#[test]
fn the_environment_of_whoever_starts_a_setuid_program_is_followed_nowhere() {
    let world = hasty();
    world.pam_service("key", "auth required pam_onetime.so\n");
    let secret = activate(&world, "alice");
    drop(example(&world, "pam_client"));
    let setuid = "/usr/local/sbin/setuid_client";
    world.run("install", &["-m", "4755", "/usr/local/sbin/pam_client", setuid]).ok();
    world.run("install", &["-d", "-m", "777", "/tmp/evil"]).ok();
    let long = "A".repeat(100_000);
    let huge = u64::MAX.to_string();
    let hostile: BTreeMap<&str, &str> = [
        ("LD_PRELOAD", "/tmp/evil/preload.so"),
        ("LD_LIBRARY_PATH", "/tmp/evil"),
        ("LD_DEBUG_OUTPUT", "/tmp/evil/ld"),
        ("GLIBC_TUNABLES", "glibc.malloc.check=3"),
        ("MALLOC_TRACE", "/tmp/evil/malloc"),
        ("MALLOC_ARENA_MAX", &huge),
        ("MALLOC_TOP_PAD_", &huge),
        ("MALLOC_MMAP_THRESHOLD_", &huge),
        ("RUST_BACKTRACE", "full"),
        ("RUST_LOG", "trace"),
        ("RUST_MIN_STACK", &huge),
        ("TMPDIR", "/tmp/evil"),
        ("TZ", ":/tmp/evil/zone"),
        ("TZDIR", "/tmp/evil"),
        ("HOME", "/tmp/evil"),
        ("USER", "root"),
        ("LOGNAME", "root"),
        ("LANG", "../../tmp/evil"),
        ("LC_ALL", "/tmp/evil"),
        ("LANGUAGE", "/tmp/evil"),
        ("LOCPATH", "/tmp/evil"),
        ("NLSPATH", "/tmp/evil/%N"),
        ("GCONV_PATH", "/tmp/evil"),
        ("HOSTALIASES", "/tmp/evil/hosts"),
        ("XDG_CONFIG_HOME", "/tmp/evil"),
        ("XDG_RUNTIME_DIR", "/tmp/evil"),
        ("SYSLOG", "/tmp/evil/log"),
        ("NOTIFY_SOCKET", "/tmp/evil/log"),
        ("ONETIME_CONFIG", "/tmp/evil/onetime.toml"),
        ("PAM_USER", "root"),
        ("PAM_ONETIME_NESTED", "1"),
        ("LONG", &long),
    ]
    .into();
    let quiet = BTreeMap::new();
    let trace = |environment: &BTreeMap<&str, &str>, step: i64| {
        let mut strace = world.command("strace");
        strace.args(["-f", "-u", "alice", "-o", "/tmp/trace"]);
        strace.args(["-e", "trace=%file,socket,connect,bind,sendto"]);
        for (name, value) in environment {
            // Only a small part of it would fit into strace's own command line.
            strace.env(name, value);
        }
        // What ld.so itself would do to strace.
        for name in ["LD_PRELOAD", "LD_LIBRARY_PATH", "LD_DEBUG_OUTPUT", "MALLOC_TRACE"] {
            if let Some(value) = environment.get(name) {
                strace.env_remove(name).args(["-E", &format!("{name}={value}")]);
            }
        }
        strace.args([setuid, "key", "alice"]);
        let answers = format!("{ALICE_PASSWORD}\n{}\n", current_code(&secret, step));
        let run = finish(&mut strace, answers.as_bytes());
        assert_eq!(run.stderr, "");
        assert_eq!(result(run), SUCCESS);
        world.read_text("/tmp/trace")
    };
    let (plain, attacked) = (trace(&quiet, 0), trace(&hostile, 1));
    assert!(plain.contains("onetime.toml") && plain.contains("/dev/log"), "{plain}");
    let (plain, attacked) = (touched(&plain), touched(&attacked));
    let more: Vec<_> = attacked.difference(&plain).collect();
    assert!(more.is_empty(), "{more:#?}");
    assert_eq!(world.list("/tmp/evil"), [""; 0]);
    let written = |call: &&String| call.contains("O_WRONLY") || call.contains("O_RDWR");
    for call in attacked.iter().filter(written) {
        assert!(call.contains("\"state/alice\"") || call.contains("/dev/tty"), "{call}");
    }
    outcome(
        "a setuid-root caller, started by a user with 32 hostile variables",
        "admitted by the right factors; the same files touched as without, none written but the state",
    );
}

#[test]
fn whatever_the_umask_files_are_roots_alone() {
    for umask in ["0", "0777", "0277"] {
        let world = hasty();
        world.pam_service("enrol", "auth required pam_onetime.so missing=enrol recovery_codes=2\n");
        drop(example(&world, "pam_client"));
        let shell = |script: &str, input: &str| {
            let script = format!("umask {umask}; {script}");
            finish(world.command("sh").args(["-euc", &script]), input.as_bytes())
        };
        let enrolled = shell("pam_client enrol alice", &format!("{ALICE_PASSWORD}\n\n"));
        assert_eq!(result(enrolled), SUCCESS, "umask {umask}");
        let code = current_code(&secret(&world, "alice"), 0);
        let activated = shell("pam_client enrol alice", &format!("{ALICE_PASSWORD}\n{code}\n"));
        assert_eq!(result(activated), SUCCESS, "umask {umask}");
        shell("onetimectl enable bob", "").ok();
        for file in ["users/alice.toml", "state/alice", "users/bob.toml", "state/bob"] {
            let mode = world.metadata(&format!("/var/lib/onetime/{file}")).permissions().mode();
            assert_eq!(mode & 0o7777, 0o600, "umask {umask}: {file}");
        }
        let configuration = "[store]\ndir = \"/var/lib/deep/store\"\n";
        world.write("/etc/onetime/onetime.toml", configuration.as_bytes(), 0o644);
        shell("onetimectl init", "").ok();
        for (path, mode) in [("", 0o700), ("/users", 0o700), ("/store.toml", 0o600)] {
            let path = format!("/var/lib/deep/store{path}");
            let found = world.metadata(&path).permissions().mode() & 0o7777;
            assert_eq!(found, mode, "umask {umask}: {path}");
        }
    }
    outcome("umask 0, 0777 and 0277", "files 0600, directories 0700");
}

#[test]
fn with_standard_input_output_and_error_closed_no_file_of_the_store_takes_their_place() {
    let scene = Scene::new();
    let world = &scene.world;
    world.pam_service("enrol", "auth required pam_onetime.so missing=enrol\n");
    let program = example(world, "pam_host");
    let mut strace = world.command("strace");
    strace.args(["-f", "-o", "/tmp/trace"]);
    strace.args(program.get_args().skip_while(|word| *word != "--").skip(1));
    let mut host = Host::start(&mut strace);
    assert_eq!(host.login(None, "key", "alice", &[&scene.next()]), SUCCESS);
    assert_eq!(host.tell("close"), Some(vec![]));
    assert_eq!(host.login(None, "key", "alice", &[&scene.next()]), SUCCESS);
    assert_eq!(host.login(None, "key", "alice", &["000000"]), AUTH_ERR);
    let bob = crate::common::BOB_PASSWORD;
    assert_eq!(host.login(None, "enrol", "bob", &[bob, ""]), SUCCESS);
    assert!(host.end().success());
    let trace = world.read_text("/tmp/trace");
    let (_, closed) = trace.split_once("close(2)").expect("it closed them");
    assert!(closed.contains("pwrite64(") && closed.contains("flock("), "{closed}");
    let used =
        Regex::new(r"(?m)^\d+ +(flock|p?write(64)?|fdatasync|fsync|ftruncate)\([0-2][,)].*$")
            .expect("a valid pattern");
    let used = used.find_iter(closed).map(|found| found.as_str());
    // A line to syslog is no file's.
    let used: Vec<&str> = used.filter(|call| !call.contains("\"<8")).collect();
    assert!(used.is_empty(), "{used:#?}");
    outcome(
        "standard input, output and error closed",
        "no record and no state is ever used as descriptor 0, 1 or 2",
    );
}

#[test]
fn an_application_may_authenticate_twice_on_one_handle_on_threads_and_across_a_fork() {
    let scene = Scene::new();
    let twice = |codes: [&str; 2]| {
        let client = Client::new(&scene.world, "key", "alice");
        let run = client.option("authenticate").option("authenticate").run(&Answers::new(&codes));
        let results = run.events.iter().filter_map(|event| match event {
            crate::common::Event::Result(_, number) => Some(*number),
            crate::common::Event::Prompt(_)
            | crate::common::Event::PromptEcho(_)
            | crate::common::Event::Info(_)
            | crate::common::Event::Error(_) => None,
        });
        results.collect::<Vec<_>>()
    };
    let code = scene.next();
    assert_eq!(twice([&code, &code]), [SUCCESS, AUTH_ERR]);
    assert_eq!(twice([&scene.next(), &scene.next()]), [SUCCESS, SUCCESS]);
    assert_eq!(twice(["000000x", &scene.next()]), [AUTH_ERR, SUCCESS]);
    outcome("pam_authenticate twice on one handle", "two logins: a code serves one of them");
    let mut host = Host::new(&scene.world);
    let one_of = |results: Option<Vec<i32>>, all: usize| {
        let results = results.expect("it lives");
        assert_eq!(results.len(), all);
        assert_eq!(results.iter().filter(|it| **it == SUCCESS).count(), 1, "{results:?}");
        assert_eq!(results.iter().filter(|it| **it == AUTH_ERR).count(), all - 1, "{results:?}");
    };
    for _ in 0..20 {
        one_of(host.tell(&format!("threads 2 4 key alice {}", scene.next())), 8);
    }
    one_of(host.tell(&format!("threads 16 4 key alice {}", scene.next())), 64);
    outcome("two and sixteen threads, a handle each, one code", "one login admitted");
    for _ in 0..20 {
        one_of(host.tell(&format!("fork key alice {}", scene.next())), 2);
    }
    outcome("one handle used by a child and its parent, one code", "one login admitted");
}

// --- limits ---

#[test]
fn with_two_thousand_descriptors_open_a_login_works_and_with_too_few_it_is_refused() {
    let scene = Scene::new();
    let program = example(&scene.world, "pam_host");
    let mut prlimit = scene.world.command("prlimit");
    prlimit.arg("--nofile=8192");
    prlimit.args(program.get_args().skip_while(|word| *word != "--").skip(1));
    let mut host = Host::start(&mut prlimit);
    assert_eq!(host.tell("descriptors 2000"), Some(vec![]));
    assert_eq!(host.login(None, "key", "alice", &[&scene.next()]), SUCCESS);
    assert_eq!(host.login(None, "sshd", "alice", &[ALICE_PASSWORD, &scene.next()]), SUCCESS);
    assert_eq!(host.login(None, "key", "alice", &["000000x"]), AUTH_ERR);
    outcome("2000 descriptors open, new ones beyond 1024", "admitted and refused as ever");
    let mut refused = 0;
    for limit in 4..32 {
        let run = scene.behind(&["prlimit", &format!("--nofile={limit}")], &[&scene.next()]);
        if ClientRun::read(run).result() == SUCCESS {
            break;
        }
        refused += 1;
        scene.assert_sound("too few descriptors");
    }
    assert!((2..20).contains(&refused), "{refused}");
    outcome("4 and more descriptors allowed, too few", "refused");
}

#[test]
fn small_limits_refuse_or_admit_and_lose_nothing() {
    let scene = Scene::new();
    for limit in ["--core=0", "--stack=98304", "--nproc=1", "--memlock=0"] {
        let run = scene.behind(&["prlimit", limit], &[&scene.next()]);
        assert_eq!(result(run), SUCCESS, "{limit}");
    }
    outcome("limits: no core, 96 KiB of stack, no process, no locked memory", "admitted");
    for limit in ["--fsize=0", "--fsize=4200"] {
        let run = scene.behind(&["prlimit", limit], &[&scene.next()]);
        assert!(!run.stdout.contains("result authenticate 0"), "{limit}: {}", run.text());
        scene.assert_sound(limit);
    }
    outcome("limit: files of 0 and of 4200 bytes", "not admitted; the state is whole");
}

// --- the rest of the machine ---

#[test]
fn a_clock_at_any_time_admits_nobody_wrongly() {
    let scene = Scene::new();
    let secret = activate(&scene.world, "bob");
    let phone = crate::common::Phone::new(&secret);
    let mut host = Host::new(&scene.world);
    let mut login = |time: i64| {
        let code = phone.code(u64::try_from(time / 30).unwrap_or(0));
        host.login(Some(time), "key", "bob", &[&code])
    };
    assert_eq!(login(-1), AUTHINFO_UNAVAIL);
    outcome("clock before 1970", "refused");
    assert_eq!(login(1_000), AUTH_ERR, "before what was accepted");
    outcome("clock set back", "refused");
    for time in [1 << 32, (1 << 32) + 30, 1 << 40] {
        assert_eq!(login(time), SUCCESS, "{time}");
        assert_eq!(login(time), AUTH_ERR, "{time}: spent");
        assert_eq!(login(time - 3_600), AUTH_ERR, "{time}: set back");
    }
    outcome(
        "clock in 2106 and in the year 36812",
        "a code serves once, also after it was set back",
    );
}

#[test]
fn a_syslog_that_is_missing_something_else_or_deaf_holds_no_login_up_for_long() {
    let scene = Scene::new();
    let mut host = Host::new(&scene.world);
    let path = scene.world.path("/dev/log");
    let mut try_it = |situation: &'static str| {
        let begin = Instant::now();
        assert_eq!(host.login(None, "key", "alice", &[&scene.next()]), SUCCESS, "{situation}");
        assert_eq!(host.login(None, "key", "alice", &["000000x"]), AUTH_ERR, "{situation}");
        let took = begin.elapsed();
        assert!(took < SOON, "{situation}: {took:?}");
        outcome(situation, format!("decided as ever; two logins took {:.1} s", took.as_secs_f64()));
        fs::remove_file(&path).ok();
    };
    fs::remove_file(&path).expect("it is there");
    try_it("/dev/log missing");
    fs::write(&path, "").expect("a file");
    try_it("/dev/log a regular file");
    drop(UnixDatagram::bind(&path).expect("a socket"));
    try_it("/dev/log a socket whose daemon is gone");
    let stream = UnixListener::bind(&path).expect("a socket");
    try_it("/dev/log a stream socket");
    drop(stream);
    let deaf = UnixDatagram::bind(&path).expect("a socket");
    let sender = UnixDatagram::unbound().expect("a socket");
    sender.set_nonblocking(true).expect("it does not wait");
    while sender.send_to(b"full", &path).is_ok() {}
    try_it("/dev/log a datagram socket that nobody reads, its queue full");
    drop(deaf);
}

#[test]
fn signals_that_interrupt_every_call_do_not_disturb_a_login() {
    let scene = Scene::new();
    let mut host = Host::new(&scene.world);
    let before = host.tell("storm 200").expect("it lives")[0];
    for _ in 0..20 {
        assert_eq!(host.login(None, "key", "alice", &[&scene.next()]), SUCCESS);
    }
    assert_eq!(host.login(None, "key", "alice", &["000000x"]), AUTH_ERR);
    // While another holds the account's lock.
    let mut flock = scene.world.command("flock");
    flock.args([&state_file("alice"), "-c", "echo held; sleep 1"]).stdout(Stdio::piped());
    let mut holder = flock.spawn().expect("flock starts");
    let mut held = String::new();
    let output = holder.stdout.take().expect("a pipe");
    BufReader::new(output).read_line(&mut held).expect("it tells");
    assert_eq!(host.login(None, "key", "alice", &[&scene.next()]), SUCCESS, "{held}");
    assert!(holder.wait().expect("our own child").success());
    let signals = host.tell("storm 200").expect("it lives")[0] - before;
    assert!(signals > 100, "{signals}");
    outcome(
        "SIGALRM every 200 microseconds, no call restarted, and the account locked by another",
        "decided as ever, once the lock is free",
    );
}

#[test]
fn signals_that_the_host_ignores_change_nothing() {
    let scene = Scene::new();
    for signal in ["CHLD", "PIPE", "USR1", "XFSZ"] {
        let ignoring = ["env", &format!("--ignore-signal={signal}")];
        assert_eq!(result(scene.behind(&ignoring, &[&scene.next()])), SUCCESS, "{signal}");
        assert_eq!(result(scene.behind(&ignoring, &["000000x"])), AUTH_ERR, "{signal}");
    }
    outcome("SIGCHLD, SIGPIPE, SIGUSR1 or SIGXFSZ ignored", "decided as ever");
}
