//! The field on which the modules compete: a world of the test harness in which each
//! of them is set up for the same job, and `examples/pam_measured.rs` as the process
//! that logs in. A second process reads what is logged.

use std::cell::Cell;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Mode, OFlags, linkat};

use crate::common::{World, conf, enable, example_path, finish, finish_within, install, sealed};

/// No login at all: what the measuring process itself costs.
pub const NONE: &str = "none";
/// libpam's own module that lets everybody in.
pub const PERMIT: &str = "pam_permit";
/// pam_permit, one write made durable, one line logged.
pub const FLOOR: &str = "floor";
/// The same with a module of its own in pam_permit's place, which does nothing.
pub const BARE: &str = "floor-module";
pub const OURS: &str = "pam_onetime";
/// An older build of it (`make bench BEFORE=...`).
pub const OURS_BEFORE: &str = "pam_onetime_before";
pub const GOOGLE: &str = "pam_google_authenticator";
pub const OATH: &str = "pam_oath";
pub const PEERS: [&str; 2] = [GOOGLE, OATH];
pub const MODULES: [&str; 3] = [OURS, GOOGLE, OATH];

/// How many users are in the user database: those who log in.
pub const USERS: u32 = 64;
/// The uid of the first of them.
pub const FIRST_UID: u32 = 5000;

/// Names of one file. ext4 permits 65,000.
const LINKS: usize = 50_000;

/// The program that logs in, seen from inside.
const HOST: &str = "/usr/local/sbin/pam_measured";

/// How long one run of it may take.
const LIMIT: Duration = Duration::from_secs(900);

/// The `auth` line of a module; its accounts are those of `populate(accounts)`.
pub fn auth_line(module: &str, accounts: u32) -> String {
    match module {
        OURS | OURS_BEFORE => {
            format!("{module}.so config=/etc/onetime/{accounts}.toml password=none")
        }
        GOOGLE => format!(
            "pam_google_authenticator.so secret=/var/lib/google-{accounts}/${{USER}} user=root"
        ),
        OATH => format!("pam_oath.so usersfile=/var/lib/oath-{accounts}/users.oath window=1"),
        PERMIT | FLOOR => "pam_permit.so".to_owned(),
        BARE => "pam_nothing.so".to_owned(),
        other => panic!("no module {other}"),
    }
}

/// What pam_google_authenticator keeps for a user.
pub fn google_file(secret: &str) -> String {
    format!("{secret}\n\" TOTP_AUTH\n\" DISALLOW_REUSE\n\" WINDOW_SIZE 3\n")
}

/// The user's line in pam_oath's file.
pub fn oath_line(user: &str, secret_in_hexadecimal: &str) -> String {
    format!("HOTP/T30/6 {user} - {secret_in_hexadecimal}\n")
}

pub fn user(number: u32) -> String {
    format!("u{number:07}")
}

/// One login, as its process measured it. Times are nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct Login {
    /// Which of the services.
    pub service: usize,
    /// libpam's.
    pub result: i32,
    /// By the clock that all processes share.
    pub start: u64,
    pub wall: u64,
    /// User and system.
    pub processor: u64,
}

pub struct Field {
    pub world: World,
    pub secret: String,
    secret_in_hexadecimal: String,
    /// Record and state of an active account, from which others are made.
    record: String,
    state: Vec<u8>,
    /// The next time step whose code nobody has used.
    step: Cell<u64>,
    sink: Child,
}

impl Drop for Field {
    fn drop(&mut self) {
        drop(self.sink.kill().and_then(|()| self.sink.wait()));
    }
}

impl Field {
    pub fn new() -> Self {
        let world = World::new();
        install(&world);
        // What is measured is what is shipped.
        world.write("/etc/onetime/onetime.toml", conf("onetime.toml").as_bytes(), 0o644);
        // By another process: a descriptor of ours, open for writing, might be inherited.
        finish(Command::new("cp").arg(example_path("pam_measured")).arg(world.path(HOST)), b"")
            .ok();
        let mut passwd = world.read_text("/etc/passwd");
        for number in 0..USERS {
            let uid = FIRST_UID + number;
            passwd += &format!("{}:x:{uid}:{uid}::/:/usr/sbin/nologin\n", user(number));
        }
        world.write("/etc/passwd", passwd.as_bytes(), 0o644);
        world.write("/var/lib/floor", &[0; 8192], 0o600);
        for service in [PERMIT, FLOOR] {
            world.pam_service(service, &stack(&auth_line(service, 0)));
        }
        let first = user(0);
        let secret = enable(&world, &first);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() / 30;
        world.onetimectl(&["verify", &first, &crate::common::current_code(&secret, -1)]).ok();
        let bytes = base32::decode(base32::Alphabet::Rfc4648 { padding: false }, &secret);
        let bytes = bytes.expect("a secret is base32");
        let record = world.read_text(&format!("/var/lib/onetime/users/{first}.toml"));
        let state = world.read(&format!("/var/lib/onetime/state/{first}"));
        let sink = sink(&world);
        Self {
            secret_in_hexadecimal: bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            world,
            secret,
            record,
            state,
            step: Cell::new(now + 2),
            sink,
        }
    }

    /// So many accounts for each module, and services to log in with: `pam_onetime-100`
    /// and so on. Those of the users who log in are whole; of the others, where each
    /// has a file, there are only the names.
    pub fn populate(&self, accounts: u32) {
        for module in MODULES {
            self.world
                .pam_service(&format!("{module}-{accounts}"), &stack(&auth_line(module, accounts)));
        }
        let [users, state] = self.populate_ours(accounts);
        let google = self.directory(&format!("/var/lib/google-{accounts}"));
        let secret = google_file(&self.secret);
        for number in 0..USERS.min(accounts) {
            write_new(&google.join(user(number)), secret.as_bytes(), 0o400);
        }
        std::thread::scope(|scope| {
            for (directory, ending) in [(&google, ""), (&users, ".toml"), (&state, "")] {
                scope.spawn(move || crowd(directory, accounts, ending));
            }
        });
        self.directory(&format!("/var/lib/oath-{accounts}"));
        self.populate_oath(accounts);
    }

    /// The service of a module that does nothing. It is built as ours is: for size, whole,
    /// and with the unwinder in it (build.rs).
    pub fn add_bare(&self) {
        let place = tempfile::tempdir().expect("a directory of our own");
        let (source, module) = (place.path().join("nothing.rs"), place.path().join("nothing.so"));
        write_new(&source, include_bytes!("pam_nothing.rs"), 0o600);
        let mut rustc = Command::new("rustc");
        rustc.args(["--edition=2024", "--crate-type=cdylib", "-Copt-level=s", "-Clto=fat"]);
        rustc.args(["-Ccodegen-units=1", "-Cstrip=symbols", "-o"]).arg(&module).arg(&source);
        rustc.arg(concat!("-Clink-arg=-L", env!("OUT_DIR")));
        finish(&mut rustc, b"").ok();
        self.world.pam_module("pam_nothing.so", &module);
        self.world.pam_service(BARE, &stack(&auth_line(BARE, 0)));
    }

    /// Writes pam_oath's file, as if nobody had logged in yet.
    pub fn populate_oath(&self, accounts: u32) {
        let lines: String = (0..accounts).map(|number| self.oath_line(&user(number))).collect();
        let file = format!("/var/lib/oath-{accounts}/users.oath");
        self.world.write(&file, lines.as_bytes(), 0o600);
    }

    /// A user's line in pam_oath's file, with the secret of all.
    pub fn oath_line(&self, user: &str) -> String {
        oath_line(user, &self.secret_in_hexadecimal)
    }

    /// Records and states as `onetimectl enable` and a first login leave them, each
    /// under its own name; the directories where they are.
    fn populate_ours(&self, accounts: u32) -> [PathBuf; 2] {
        let place = format!("/var/lib/onetime-{accounts}");
        self.configure(&conf("onetime.toml"), &accounts.to_string());
        let store = self.directory(&place);
        let marker = self.world.read("/var/lib/onetime/store.toml");
        write_new(&store.join("store.toml"), &marker, 0o600);
        let [users, state] =
            ["users", "state"].map(|name| self.directory(&format!("{place}/{name}")));
        for number in 0..USERS.min(accounts) {
            let name = user(number);
            let record = self
                .record
                .replace(&user(0), &name)
                .replace(&format!("uid = {FIRST_UID}"), &format!("uid = {}", FIRST_UID + number));
            write_new(&users.join(format!("{name}.toml")), sealed(&record).as_bytes(), 0o600);
            write_new(&state.join(name), &self.state, 0o600);
        }
        [users, state]
    }

    /// A configuration, which is `shipped` with another store, `/var/lib/onetime-NAME`; where
    /// it is.
    pub fn configure(&self, shipped: &str, name: &str) -> String {
        let store = format!("dir = \"/var/lib/onetime-{name}\"");
        let settings = shipped.replace("#dir = \"/var/lib/onetime\"", &store);
        assert!(settings.contains(&store), "the shipped configuration names its store");
        let place = format!("/etc/onetime/{name}.toml");
        self.world.write(&place, settings.as_bytes(), 0o644);
        place
    }

    /// A new directory of root's alone, as the host sees it.
    fn directory(&self, path: &str) -> PathBuf {
        let place = self.world.path(path);
        DirBuilder::new().mode(0o700).create(&place).unwrap_or_else(|e| panic!("{path}: {e}"));
        place
    }

    /// So many steps that nobody has used, as the program takes them.
    pub fn steps(&self, count: u64) -> Vec<u8> {
        let first = self.step.get();
        self.step.set(first + count);
        (first..first + count).flat_map(u64::to_le_bytes).collect()
    }

    /// The program, with its arguments.
    pub fn host(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command(HOST);
        command.args(arguments);
        command
    }

    /// The same, run by another program (strace, valgrind).
    pub fn host_under(&self, runner: &[&str], arguments: &[&str]) -> Command {
        let mut command = self.world.command(runner[0]);
        command.args(&runner[1..]).arg(HOST).args(arguments);
        command
    }

    /// So many logins by one process, the services (`SERVICE:FIRST:COUNT`) by turns;
    /// each must succeed.
    pub fn logins(&self, count: u64, block: usize, services: &[String]) -> Vec<Login> {
        self.logins_with(count, &[&format!("block={block}")], services)
    }

    /// The same, with these options of the program's.
    pub fn logins_with(&self, count: u64, options: &[&str], services: &[String]) -> Vec<Login> {
        let mut arguments = vec!["logins", &self.secret];
        arguments.extend(options);
        arguments.extend(services.iter().map(String::as_str));
        let told = finish_within(&mut self.host(&arguments), &self.steps(count), LIMIT).ok();
        let logins = read_logins(&told);
        assert_eq!(logins.len() as u64, count, "a login for each step");
        for login in &logins {
            assert_eq!(login.result, 0, "refused: {}", services[login.service]);
        }
        logins
    }
}

/// The file, opened again, to be read from its beginning.
pub fn reader(file: &File) -> File {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    File::open(&path).unwrap_or_else(|e| panic!("cannot open {path}: {e}"))
}

pub fn read_logins(told: &str) -> Vec<Login> {
    let login = |line: &str| {
        let mut numbers = line.split(' ').map(|word| word.parse::<u64>().expect("a number"));
        let mut next = || numbers.next().expect("five numbers");
        Login {
            service: next() as usize,
            result: next() as i32,
            start: next(),
            wall: next(),
            processor: next(),
        }
    };
    told.lines().filter(|line| *line != "ready").map(login).collect()
}

/// A service whose authentication is this line alone.
pub fn stack(auth: &str) -> String {
    format!("auth required {auth}\naccount required pam_permit.so\n")
}

/// A process that reads the world's /dev/log and keeps nothing.
fn sink(world: &World) -> Child {
    let mut sink = world.command(HOST);
    sink.args(["sink", "/dev/log"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut sink = sink.spawn().expect("the sink can be started");
    let mut line = String::new();
    let said = BufReader::new(sink.stdout.take().expect("a pipe")).read_line(&mut line);
    assert!(said.is_ok() && line == "ready\n", "no sink: {line:?}");
    sink
}

/// The names of those who do not log in, up to so many accounts: links to a few files,
/// since to make and remove millions takes a file system many minutes.
fn crowd(directory: &Path, accounts: u32, ending: &str) {
    let open = rustix::fs::open(directory, OFlags::DIRECTORY | OFlags::PATH, Mode::empty());
    let open = open.unwrap_or_else(|e| panic!("cannot open {}: {e}", directory.display()));
    let name = |number| format!("{}{ending}", user(number));
    for first in (USERS..accounts).step_by(LINKS) {
        write_new(&directory.join(name(first)), b"somebody else's", 0o600);
        for number in (first + 1..accounts).take(LINKS - 1) {
            linkat(&open, name(first), &open, name(number), AtFlags::empty())
                .unwrap_or_else(|e| panic!("cannot link {}: {e}", name(number)));
        }
    }
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(bytes))
        .unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
}
