//! Local users against `onetimed`: none gets in by it, learns a secret, or keeps others out.
//! They speak to its socket themselves, as `daemon_attacks/peer.py` does.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use crate::common::{
    ALICE_PASSWORD, BOB_PASSWORD, CAROL_PASSWORD, Daemon, PATIENCE, Pamtester, World, activate,
    current_code, enable, finish, status_of, until, with_locker, with_services_of_tests,
};

/// The beginning of every script.
const PEER: &str = include_str!("daemon_attacks/peer.py");

/// A world with this configuration.
fn configured(config: &str) -> World {
    let world = with_locker();
    let config = with_services_of_tests(config);
    world.write("/etc/onetime/onetime.toml", config.as_bytes(), 0o644);
    world
}

/// What a script of this user's prints.
#[track_caller]
fn attack(world: &World, user: &str, script: &str, arguments: &[&str]) -> String {
    let mut python = world.command_as(user, "python3");
    python.args(["-c", &format!("{PEER}\n{script}")]).args(arguments);
    finish(&mut python, b"").ok()
}

/// A script of this user's that goes on until it is dropped, once it has printed a line.
struct Ongoing(Child);

impl Ongoing {
    #[track_caller]
    fn start(world: &World, user: &str, script: &str) -> Self {
        let mut python = world.command_as(user, "python3");
        python.args(["-c", &format!("{PEER}\n{script}")]);
        python.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = python.spawn().unwrap_or_else(|e| panic!("cannot start python3: {e}"));
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        drop(BufReader::new(stdout).read_line(&mut line));
        assert_eq!(line, "ready\n");
        Self(child)
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        drop(self.0.kill().and_then(|()| self.0.wait()));
    }
}

#[track_caller]
fn is_let_in(world: &World, user: &str, password: &str) {
    let run = Pamtester::new(world, "locker", user).run_by(user).script(&[("Password:", password)]);
    assert!(run.success, "{user}: {}", run.output);
}

#[track_caller]
fn logged(world: &World, reason: &str) -> String {
    world.wait_for_syslog(|line| line.text.contains(reason), PATIENCE).text
}

// -- keeping others out --

#[test]
fn a_user_with_a_thousand_connections_keeps_neither_another_user_nor_root_out() {
    let world = with_locker();
    let _daemon = Daemon::start(&world);
    let flood = r#"
resource.setrlimit(resource.RLIMIT_NOFILE, (2000, 2000))
peers = [Peer() for _ in range(1000)]
while sum(peer.is_open() for peer in peers) > 8:
    time.sleep(0.01)
print("ready", flush=True)
while True:
    peers[len(peers) // 2] = Peer()
"#;
    let _flood = Ongoing::start(&world, "alice", flood);
    is_let_in(&world, "bob", BOB_PASSWORD);
    let script = "print(log_in_word('bob', sys.argv[1]))";
    assert_eq!(attack(&world, "root", script, &[BOB_PASSWORD]), "admitted\n");
}

#[test]
fn two_dozen_users_who_take_every_place_keep_nobody_out_who_has_fewer() {
    let world = with_locker();
    let users: String =
        (3000..3025).map(|uid| format!("u{uid}:x:{uid}:{uid}::/:/bin/sh\n")).collect();
    world.write("/etc/passwd", (world.read_text("/etc/passwd") + &users).as_bytes(), 0o644);
    let daemon = Daemon::start(&world);
    // Each holds what it can, at the question for the password.
    let flood = r#"
def ask(uid):
    os.seteuid(uid)
    peer = Peer()
    os.seteuid(0)
    peer.send(json.dumps({"method": LOGIN + "Begin", "parameters":
        {"user": f"u{uid}", "service": "locker"}}).encode() + b"\0")
    return peer
peers = {uid: [ask(uid) for _ in range(8)] for uid in range(3000, 3024)}
heard = [word(peer.hear()) for of_one in peers.values() for peer in of_one]
assert heard == ["asks"] * 192, heard
print("ready", flush=True)
while True:
    for uid, of_one in peers.items():
        of_one[:] = [peer for peer in of_one if peer.is_open()]
        while len(of_one) < 8:
            of_one.append(ask(uid))
            time.sleep(0.001)
"#;
    let _flood = Ongoing::start(&world, "root", flood);
    assert!(daemon.children().len() >= 192);
    for _ in 0..3 {
        is_let_in(&world, "bob", BOB_PASSWORD);
    }
    // And whoever came in is not pushed out by those who have more.
    let mut locker = world.pty_as("bob", "pamtester", &["locker", "bob", "authenticate"]);
    locker.expect("Password:");
    is_let_in(&world, "carol", CAROL_PASSWORD);
    let script = "print(log_in_word('bob', sys.argv[1]))";
    assert_eq!(attack(&world, "root", script, &[BOB_PASSWORD]), "admitted\n");
    locker.send_line(BOB_PASSWORD);
    assert!(locker.wait().success());
}

#[test]
fn a_queue_that_a_user_fills_all_the_time_keeps_nobody_out() {
    let world = with_locker();
    let _daemon = Daemon::start(&world);
    let flood = r#"
resource.setrlimit(resource.RLIMIT_NOFILE, (8000, 8000))
def flood():
    while True:
        peers = []
        for _ in range(5000):
            peer = socket.socket(socket.AF_UNIX)
            peer.setblocking(False)
            try:
                peer.connect("/run/onetime/socket")
            except BlockingIOError:
                break
            peers.append(peer)
for _ in range(3):
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(1, 9)
        flood()
print("ready", flush=True)
flood()
"#;
    let _flood = Ongoing::start(&world, "alice", flood);
    // For a place in the queue the module waits 10 seconds.
    for _ in 0..5 {
        is_let_in(&world, "bob", BOB_PASSWORD);
    }
}

#[test]
fn numbers_of_users_that_nobody_has_keep_nobody_out() {
    let world = with_locker();
    let _daemon = Daemon::start(&world);
    // Who has subordinate user ids (subuid(5)) can be any of thousands.
    let flood = r#"
peers = []
for uid in range(100000, 100030):
    os.seteuid(uid)
    for _ in range(8):
        peers.append(Peer())
        peers[-1].send(b'{"method":')
    os.seteuid(0)
end = time.monotonic() + 3
while any(peer.is_open() for peer in peers) and time.monotonic() < end:
    time.sleep(0.01)
print("ready", flush=True)
sys.stdin.read()
"#;
    let _flood = Ongoing::start(&world, "root", flood);
    is_let_in(&world, "bob", BOB_PASSWORD);
}

#[test]
fn whoever_is_slow_or_never_reads_is_ended_within_seconds() {
    let world = with_locker();
    let _daemon = Daemon::start(&world);
    let script = r#"
BEGIN = json.dumps({"method": LOGIN + "Begin", "parameters": {"user": "alice", "service": "locker"}})

def says_nothing(peer):
    pass

def says_half(peer):
    peer.send(BEGIN[:40].encode())

def writes_slowly(peer):
    for byte in BEGIN.encode():
        if not peer.is_open() or not peer.send(bytes([byte])):
            return
        time.sleep(0.2)

def answers_slowly(peer):
    peer.send(BEGIN.encode() + b"\0")
    assert word(peer.hear()) == "asks"
    writes_slowly(peer)

def never_reads(peer):
    call = {"method": "org.varlink.service.GetInterfaceDescription",
            "parameters": {"interface": LOGIN[:-1]}}
    while peer.send(json.dumps(call).encode() + b"\0"):
        pass
    # What was sent to us lies before the end.
    while peer.hear():
        pass

def ends(attack):
    peer = Peer()
    begin = time.monotonic()
    attack(peer)
    heard = peer.hear()
    print(attack.__name__, word(heard), time.monotonic() - begin < 20)

attacks = [says_nothing, says_half, writes_slowly, answers_slowly, never_reads]
threads = [threading.Thread(target=ends, args=[attack]) for attack in attacks]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"#;
    let mut ends: Vec<_> = attack(&world, "alice", script, &[]).lines().map(String::from).collect();
    ends.sort();
    let all = ["answers_slowly", "never_reads", "says_half", "says_nothing", "writes_slowly"];
    let end = |name: &str| if name == "answers_slowly" { "refused" } else { "ended" };
    assert_eq!(ends, all.map(|name| format!("{name} {} True", end(name))));
    is_let_in(&world, "bob", BOB_PASSWORD);
}

#[test]
fn what_is_not_the_protocol_gets_an_error_or_the_end_and_the_daemon_lives() {
    let world = with_locker();
    let daemon = Daemon::start(&world);
    let script = r#"
def call(method, **parameters):
    return json.dumps({"method": method, "parameters": parameters}).encode() + b"\0"

BEGIN = call(LOGIN + "Begin", user="alice", service="locker")
CONTINUE = call(LOGIN + "Continue", answer="x")
DESCRIBE = "org.varlink.service.GetInterfaceDescription"
for name, message, expected in [
    ("no JSON", b"hello\0", ["ended"]),
    ("NULs", b"\0" * 5000, ["ended"]),
    ("no UTF-8", b'{"method":"\xff"}\0', ["ended"]),
    ("no object", b"[]\0", ["ended"]),
    ("a pit", b"[" * 10000 + b"\0", ["ended"]),
    ("no end", b"x" * 17000, ["ended"]),
    ("too long", call(LOGIN + "Begin", user="a" * 17000, service="locker"), ["ended"]),
    ("unknown method", call(LOGIN + "Open"), ["MethodNotFound"]),
    ("unknown interface", call(DESCRIBE, interface="org.example"), ["InterfaceNotFound"]),
    ("part of a method", call(LOGIN + "Beg"), ["MethodNotFound"]),
    ("a method elsewhere", call("org.example.Begin"), ["MethodNotFound"]),
    ("no user", call(LOGIN + "Begin", service="locker"), ["InvalidParameter"]),
    ("a number", call(LOGIN + "Begin", user=1, service="locker"), ["InvalidParameter"]),
    ("no answer", call(LOGIN + "Continue"), ["InvalidParameter"]),
    ("another change", call(LOGIN + "Change", what="disable"), ["InvalidParameter"]),
    ("no object as status", b'{"method":"%sStatus","parameters":1}\0' % LOGIN.encode(),
     ["InvalidParameter"]),
    ("no interface", call(DESCRIBE), ["InvalidParameter"]),
    ("wrong, then right", call(LOGIN + "Begin") + BEGIN, ["InvalidParameter", "asks"]),
    ("no Begin", CONTINUE, ["OutOfOrder", "ended"]),
    ("two Begins", BEGIN + BEGIN, ["asks", "OutOfOrder", "ended"]),
    ("too long an answer", BEGIN + call(LOGIN + "Continue", answer="x" * 17000),
     ["asks", "refused", "ended"]),
    ("a NUL in the name", call(LOGIN + "Begin", user="alice\0bob", service="locker"),
     ["NotPermitted", "ended"]),
]:
    heard = ["TooManyLogins"]
    while heard == ["TooManyLogins"]:
        time.sleep(0.02)
        peer = Peer()
        peer.send(message)
        heard = [word(peer.hear()) for _ in expected]
    if heard != expected:
        print(name, heard)
"#;
    assert_eq!(attack(&world, "alice", script, &[]), "");
    is_let_in(&world, "bob", BOB_PASSWORD);
    daemon.stop();
    assert_eq!(daemon.wait(), (true, String::new()));
}

#[test]
fn a_machine_that_is_short_of_something_costs_one_connection_and_not_the_daemon() {
    let world = with_locker();
    let short = ["accept4:error=EMFILE:when=1", "clone:error=EAGAIN:when=1..20"];
    let short = short.map(|what| format!("--inject={what}"));
    let strace = ["strace", "-qq", "-o", "/dev/null", &short[0], &short[1]];
    // What strace(1) traces does not end with it.
    let ending = ["setpriv", "--pdeathsig", "KILL", "--"];
    let _daemon = Daemon::start_under(&world, &[&strace[..], &ending].concat());
    let script = r#"
heard = []
while "asks" not in heard:
    heard.append(word(Peer().begin("alice")))
print(heard[0], set(heard[:-1]))
"#;
    assert_eq!(attack(&world, "alice", script, &[]), "TooManyLogins {'TooManyLogins'}\n");
    is_let_in(&world, "bob", BOB_PASSWORD);
}

#[test]
fn a_login_under_way_does_not_keep_another_onetimed_from_starting() {
    let world = with_locker();
    let first = Daemon::start(&world);
    let secret = activate(&world, "alice");
    let mut locker = world.pty_as("alice", "pamtester", &["locker", "alice", "authenticate"]);
    locker.expect("Password:");
    drop(first);
    let _second = Daemon::start(&world);
    is_let_in(&world, "bob", BOB_PASSWORD);
    // What was begun is brought to its end.
    locker.send_line(ALICE_PASSWORD);
    locker.expect("One-time code:");
    locker.send_line(&current_code(&secret, 0));
    assert!(locker.wait().success());
}

// -- guessing --

#[test]
fn guesses_of_codes_lock_however_many_are_made_at_once() {
    let world = with_locker();
    let _daemon = Daemon::start(&world);
    let secret = activate(&world, "alice");
    let script = r#"
password, right = sys.argv[1:]
words = []
def guess(code):
    words.append(log_in_word("alice", password, code))
guesses = [threading.Thread(target=guess, args=[f"{code:06}"])
           for code in range(30) if f"{code:06}" != right]
for thread in guesses:
    thread.start()
for thread in guesses:
    thread.join()
print(words.count("refused"), words.count("refused") + words.count("locked") == len(guesses),
      log_in_word("alice", password, right))
"#;
    let code = current_code(&secret, 0);
    let said = attack(&world, "alice", script, &[ALICE_PASSWORD, &code]);
    assert_eq!(said, "3 True locked\n");
    let judged = world.syslog().into_iter().filter(|line| line.text.contains("=\"wrong code\""));
    assert!(judged.count() <= 3);
}

#[test]
fn guesses_of_a_password_wait_as_long_as_the_password_service_wants() {
    let world = with_locker();
    world.pam_service("onetime-password", "auth required pam_unix.so\n");
    let _daemon = Daemon::start(&world);
    // Whoever does not wait for the answer is no quicker.
    let script = r#"
password = sys.argv[1]
end = time.monotonic() + 2.5
while time.monotonic() < end:
    Peer().send(json.dumps({"method": LOGIN + "Begin", "parameters":
        {"user": "carol", "service": "locker", "password": "guess"}}).encode() + b"\0")
print(log_in_word("carol", password))
"#;
    assert_eq!(attack(&world, "carol", script, &[CAROL_PASSWORD]), "admitted\n");
    let guesses = world.syslog().into_iter();
    let guesses = guesses.filter(|line| line.text.contains("user=carol service=locker"));
    let guesses = guesses.filter(|line| line.text.contains("wrong password")).count();
    // Eight at once, each for a second and a half at least.
    assert!((1..=24).contains(&guesses), "{guesses}");
}

// -- claims --

#[test]
fn what_a_users_program_says_of_host_and_terminal_exempts_nobody() {
    let world = configured(
        "[login]\nexempt_networks = [\"192.0.2.0/24\"]\nremember = \"1h\"\n\
         [daemon]\nmay_ask = [{ user = \"daemon\", services = [\"locker\"] }]\n",
    );
    let _daemon = Daemon::start(&world);
    let secret = activate(&world, "alice");
    let script = r#"
password, code = sys.argv[1:]
for host in ["192.0.2.7", "198.51.100.7", "198.51.100.7"]:
    heard = log_in("alice", password, code, rhost=host, tty="ssh", ruser="root")
    print(*[word(step) for step in heard])
    code = "000000"
"#;
    let (code, next) = (current_code(&secret, 0), current_code(&secret, 1));
    let said = attack(&world, "alice", script, &[ALICE_PASSWORD, &code]);
    assert_eq!(said, "asks admitted\nasks refused\nasks refused\n");
    let line = logged(&world, "code right");
    assert!(line.contains("ruser=alice claimed_rhost=192.0.2.7 reason"), "{line}");
    assert!(!line.contains("tty"), "{line}");
    let said = attack(&world, "daemon", script, &[ALICE_PASSWORD, &next]);
    assert!(said.starts_with("asks admitted\nasks "), "{said}");
    // Of root's programs it is so.
    let script = "print(*map(word, log_in('alice', sys.argv[1], rhost='192.0.2.7')))";
    assert_eq!(attack(&world, "root", script, &[ALICE_PASSWORD]), "admitted\n");
}

#[test]
fn arguments_of_a_users_line_that_could_weaken_a_login_are_refused_and_named() {
    let world =
        configured("[daemon]\nmay_ask = [{ user = \"daemon\", services = [\"locker\"] }]\n");
    let _daemon = Daemon::start(&world);
    let arguments = [
        "password=none",
        "config=/tmp/onetime.toml",
        "missing=ignore",
        "nullok",
        "service=other",
        "window=10",
        "look_ahead=100",
        "max_drift=100",
        "resync=1000",
        "failures=0",
        "exempt_groups=alice",
        "exempt_networks=0.0.0.0/0",
        "remember=1d",
        "require_groups=nobody",
        "recovery_codes=8",
        "show_without_password=true",
        "at_login=optional",
    ];
    let script = r#"
for argument in sys.argv[2:]:
    print(argument, log_in_word("alice", sys.argv[1], line=[argument]))
"#;
    for user in ["alice", "daemon"] {
        world.forget_syslog();
        let said = attack(&world, user, script, &[&[ALICE_PASSWORD][..], &arguments].concat());
        for (said, argument) in said.lines().zip(arguments) {
            assert_eq!(said, format!("{argument} misconfigured"), "{user}");
            let key = if argument == "nullok" { "missing" } else { argument };
            let key = key.split('=').next().unwrap_or_default();
            logged(&world, &format!("argument {key}: "));
        }
        assert_eq!(said.lines().count(), arguments.len());
    }
}

#[test]
fn a_broken_service_does_not_learn_who_has_a_record_where_the_configuration_hides_it() {
    let world = configured(
        "[login]\nuniform = true\n\
         [daemon]\nmay_ask = [{ user = \"daemon\", services = [\"locker\"] }]\n",
    );
    let _daemon = Daemon::start(&world);
    activate(&world, "alice");
    let script = r#"
for line in [], ["uniform=true"], ["uniform=false"]:
    for user in "alice", "carol", "no-such-user":
        print(*[word(heard) for heard in log_in(user, "guess", "000000", line=line)])
"#;
    let said = attack(&world, "daemon", script, &[]);
    assert_eq!(said, ["asks refused\n".repeat(6), "misconfigured\n".repeat(3)].concat());
    logged(&world, "argument uniform: ");
}

#[test]
fn nobody_asks_for_others_by_whatever_name() {
    let world = with_locker();
    let passwd = world.read_text("/etc/passwd") + "bobby:x:2002:2002::/home/bob:/bin/sh\n";
    world.write("/etc/passwd", passwd.as_bytes(), 0o644);
    let _daemon = Daemon::start(&world);
    enable(&world, "bob");
    let script = r#"
for name in ["bob", "bobby", "root", "nobody", "no-such-user", "", "ALICE", " alice", "alice ",
             "alice\n", "alice\0", "2001", "+alice", "alice:x", "../alice", "a" * 5000]:
    said = log_in_word(name, sys.argv[1])
    if said != "NotPermitted":
        print(repr(name), said)
"#;
    assert_eq!(attack(&world, "alice", script, &[BOB_PASSWORD]), "");
}

#[test]
fn the_log_is_one_line_for_each_login_whatever_is_claimed() {
    let world = with_locker();
    let _daemon = Daemon::start(&world);
    let script = r#"
claim = 'x" outcome=admitted user=root\noutcome=admitted user=root'
print(log_in_word("alice", "wrong", service=claim, rhost=claim, tty=claim, ruser=claim))
"#;
    assert_eq!(attack(&world, "alice", script, &[]), "refused\n");
    let line = logged(&world, "wrong password");
    assert!(line.starts_with("outcome=refused user=alice service=\"x\\\" "), "{line}");
    assert!(!line.contains('\n'), "{line}");
}

// -- secrets --

#[test]
fn a_users_process_sees_nothing_of_the_processes_of_onetimed() {
    let world = with_locker();
    let daemon = Daemon::start(&world);
    activate(&world, "alice");
    let mut locker = world.pty_as("alice", "pamtester", &["locker", "alice", "authenticate"]);
    locker.expect("Password:");
    locker.send_line(ALICE_PASSWORD);
    locker.expect("One-time code:");
    let is_locked = |id: &String| {
        let locked = status_of(id.parse().expect("a number"), "VmLck");
        locked.expect("its status") != "0 kB"
    };
    assert!(daemon.children().iter().all(is_locked), "the login's");
    // And soon the one that waits for the next.
    let mut processes = Vec::new();
    until("two processes are locked", || {
        processes = daemon.children();
        processes.len() == 2 && processes.iter().all(is_locked)
    });
    processes.push(daemon.id().to_string());
    let script = r#"
PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
libc = ctypes.CDLL(None, use_errno=True)
for process in sys.argv[1:]:
    for name in ["mem", "environ", "maps", "auxv", "stack", "syscall", "pagemap", "io"]:
        try:
            open(f"/proc/{process}/{name}", "rb").read(1)
            print("read", name)
        except OSError:
            pass
    for name in ["exe", "cwd", "root", "fd/0", "fd/3"]:
        try:
            os.readlink(f"/proc/{process}/{name}")
            print("followed", name)
        except OSError:
            pass
    for request in [PTRACE_ATTACH, PTRACE_SEIZE]:
        if libc.ptrace(request, int(process), None, None) == 0:
            print("traced")
    buffer = ctypes.create_string_buffer(8)
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
    if libc.process_vm_readv(int(process), vector, 1, vector, 1, 0) != -1:
        print("read memory")
    try:
        os.kill(int(process), 0)
        print("signalled")
    except OSError:
        pass
"#;
    let processes: Vec<_> = processes.iter().map(String::as_str).collect();
    assert_eq!(attack(&world, "alice", script, &processes), "");
}

#[test]
fn an_account_that_may_ask_is_shown_no_secret_and_enrolls_nobody_whatever_it_claims() {
    let world = configured(
        "[login]\nmissing = \"enrol\"\n[daemon]\nmay_ask = [{ user = \"daemon\", services = \
         [\"locker\", \"sshd\", \"login\", \"test\"] }]\n",
    );
    let _daemon = Daemon::start(&world);
    let secret = enable(&world, "alice");
    let script = r#"
alice, carol, code = sys.argv[1:]
for service in ["locker", "sshd", "login", "test", "sudo"]:
    claims = {"service": service, "terminal": True, "rhost": "192.0.2.7", "tty": "pts/0"}
    print(service, log_in("alice", alice, code, **claims), log_in("carol", carol, **claims))
"#;
    let code = current_code(&secret, 0);
    let said = attack(&world, "daemon", script, &[ALICE_PASSWORD, CAROL_PASSWORD, &code]);
    assert!(!said.contains(&secret[..8]) && !said.contains("otpauth"), "{said}");
    let of_sudo = said.lines().last().unwrap_or_default();
    assert_eq!(of_sudo.matches("NotPermitted").count(), 2, "{said}");
    assert!(!world.exists("/var/lib/onetime/users/carol.toml"));
    assert!(!world.onetimectl(&["list", "--active"]).ok().contains("alice"), "{said}");
}

#[test]
fn no_password_code_or_key_is_in_what_onetimed_says_logs_or_is_called() {
    let world = with_locker();
    let daemon = Daemon::start(&world);
    let secret = activate(&world, "alice");
    let code = current_code(&secret, 0);
    let script = r#"
password, code = sys.argv[1:]
print(log_in_word("alice", password, code), log_in_word("alice", "wrong-4712", code),
      log_in_word("alice", password, code + "1"),
      # Typed at the wrong prompt.
      log_in_word("pw-at-the-name", password), log_in_word(password, "alice"))
Peer().call(LOGIN + "Begin", user="alice", service=1, password=password)
Peer().send(b'{"method": "' + password.encode())
print(word(Peer().call(LOGIN + password)))
"#;
    let said = attack(&world, "alice", script, &[ALICE_PASSWORD, &code]);
    assert_eq!(said, "admitted refused refused NotPermitted NotPermitted\nMethodNotFound\n");
    // The same by the module, which finds nobody there.
    let cmdline = world.run("cat", &[&format!("/proc/{}/cmdline", daemon.id())]).ok();
    daemon.stop();
    let (success, said) = daemon.wait();
    assert!(success);
    let run = Pamtester::new(&world, "locker", "pw-at-the-name").run_by("alice").answers(&[]);
    assert!(!run.success);
    logged(&world, "cannot read the store");
    let log: String = world.syslog().into_iter().map(|line| line.raw + "\n").collect();
    let passwords = [ALICE_PASSWORD, "wrong-4712", "pw-at-the-name", &secret, &code];
    for (place, text) in [("its output", said), ("its name", cmdline), ("the log", log)] {
        for password in passwords {
            assert!(!text.contains(password), "{password} in {place}: {text}");
        }
    }
}

// -- the protocol --

#[test]
fn the_service_describes_itself() {
    let world = with_locker();
    let _daemon = Daemon::start(&world);
    let script = r#"
service = "org.varlink.service."
peer = Peer()
print(*peer.call(service + "GetInfo")["parameters"]["interfaces"])
described = peer.call(service + "GetInterfaceDescription", interface=LOGIN[:-1])
print(described["parameters"]["description"], end="")
"#;
    let interface = include_str!("../../src/relay/org.pam-onetime.Login1.varlink");
    let said = attack(&world, "bob", script, &[]);
    assert_eq!(said, format!("org.varlink.service org.pam-onetime.Login1\n{interface}"));
}
