//! Doors: keys go out of force and come back by the real tool, in every order, for two
//! users, and orders are killed on the way; in between, real logins use their codes. No code
//! is ever accepted twice. SECURITY.md has the table of doors; here they are walked at random.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use crate::by_onetimed::faketime;
use crate::common::{
    ALICE_PASSWORD, BOB_PASSWORD, Figures, Finished, Host, Phone, World, extent, finish, hasty,
    with_services_of_tests,
};

const USERS: [(&str, &str); 2] = [("alice", ALICE_PASSWORD), ("bob", BOB_PASSWORD)];
const BEGIN: u64 = 1_800_000_000;
const STEP: u64 = 30;

/// A key, and what is the same to HMAC: with a zero at the end.
struct Key {
    kind: &'static str,
    secret: String,
    longer: String,
    phone: Phone,
}

impl Key {
    fn new(kind: &'static str, chance: &mut Chance) -> Self {
        let alphabet = base32::Alphabet::Rfc4648 { padding: false };
        let mut bytes: Vec<u8> = (0..20).map(|_| chance.below(255) as u8 + 1).collect();
        let secret = base32::encode(alphabet, &bytes);
        bytes.push(0);
        let longer = base32::encode(alphabet, &bytes);
        Self { kind, phone: Phone::new(&secret), secret, longer }
    }
}

/// The same sequence each time (SplitMix64), so that a failure comes again.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 33) % bound
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        let index = self.below(all.len() as u64);
        all[usize::try_from(index).expect("an index")]
    }
}

/// How often a door was tried, and what came of it.
#[derive(Default)]
struct Tally {
    opened: usize,
    refused: usize,
    killed: usize,
}

struct Walk {
    world: World,
    host: Host,
    chance: Chance,
    faketime: PathBuf,
    /// A counter's and a clock's.
    keys: [Key; 2],
    /// What the clock says, to logins and to the tool.
    now: u64,
    /// After the last counter that was accepted.
    counter: u64,
    /// By key: every position whose code was. Not its text: among thousands of codes of six
    /// digits, some are equal by chance.
    accepted: BTreeSet<(String, u64)>,
    tallies: BTreeMap<&'static str, Tally>,
    /// What was done last, for the case that something is wrong.
    log: Vec<String>,
    twice: Vec<String>,
    logins: usize,
    replays: usize,
}

#[test]
fn no_code_is_accepted_twice_whatever_doors_its_key_goes_through_and_whatever_is_killed() {
    let mut walk = Walk::new();
    for _ in 0..extent(2_000, 20_000) {
        walk.now += walk.chance.below(40);
        match walk.chance.below(6) {
            0 | 1 => walk.order(),
            _ => walk.log_in(),
        }
    }
    let mut figures = Figures::new("doors", &["door", "opened", "refused", "killed"]);
    for (door, Tally { opened, refused, killed }) in &walk.tallies {
        figures.row(&[door, opened, refused, killed]);
    }
    let logins = format!("logins ({} with a code that was used)", walk.replays);
    let accepted = walk.accepted.len();
    figures.row(&[&logins, &accepted, &(walk.logins - accepted), &0]);
    figures.publish();
    assert_eq!(walk.twice, [""; 0]);
    assert!(accepted > walk.logins / 20 && walk.replays > walk.logins / 20, "{accepted}");
    assert!(walk.tallies.values().all(|tally| tally.opened > 0), "a door that never opened");
}

impl Walk {
    #[track_caller]
    fn new() -> Self {
        let world = hasty();
        let config = with_services_of_tests("[limits]\nfailures = 0\n");
        world.write("/etc/onetime/onetime.toml", config.as_bytes(), 0o644);
        world.pam_service("doors", "auth required pam_onetime.so\n");
        let host = Host::new(&world);
        let mut chance = Chance(12);
        let keys = ["hotp", "totp"].map(|kind| Key::new(kind, &mut chance));
        Self {
            world,
            host,
            chance,
            faketime: faketime(),
            keys,
            now: BEGIN,
            counter: 0,
            accepted: BTreeSet::new(),
            tallies: BTreeMap::new(),
            log: Vec::new(),
            twice: Vec::new(),
            logins: 0,
            replays: 0,
        }
    }

    /// Whether there is a record: without one, the password is enough.
    fn is_enabled(&self, user: &str) -> bool {
        self.world.exists(&format!("/var/lib/onetime/users/{user}.toml"))
    }

    /// A code near the newest, of one of the keys, whether or not anybody has it.
    fn code(&mut self) -> (usize, u64, String) {
        let key = self.chance.below(2);
        let newest = if key == 0 { self.counter } else { self.now / STEP };
        let step = (newest + self.chance.below(6)).saturating_sub(3);
        let key = usize::try_from(key).expect("an index");
        (key, step, self.keys[key].phone.code(step))
    }

    fn log_in(&mut self) {
        let (user, password) = self.chance.one_of(&USERS);
        if !self.is_enabled(user) {
            return;
        }
        let (key, step, code) = self.code();
        self.logins += 1;
        self.replays += usize::from(self.accepted.contains(&self.named(key, step)));
        let time = i64::try_from(self.now).expect("a time");
        if self.host.login(Some(time), "doors", user, &[password, &code]) == 0 {
            self.accept(key, step, user);
        }
    }

    fn named(&self, key: usize, step: u64) -> (String, u64) {
        (self.keys[key].secret.clone(), step)
    }

    fn accept(&mut self, key: usize, step: u64, by: &str) {
        self.log.push(format!("{} {step} of {by}", self.keys[key].kind));
        if key == 0 {
            self.counter = self.counter.max(step + 1);
        }
        if !self.accepted.insert(self.named(key, step)) {
            let last = self.log.len().saturating_sub(30);
            self.twice.push(format!("{}: accepted twice", self.log[last..].join("\n")));
        }
    }

    /// Runs the tool at the time that it is; one order in four is killed on the way.
    #[track_caller]
    fn tool(&mut self, door: &'static str, arguments: &str, input: &str) -> Finished {
        let killed = self.chance.below(4) == 0;
        let mut command = self.world.command(if killed { "timeout" } else { "env" });
        if killed {
            let milliseconds = self.chance.below(12);
            command.args(["--signal=KILL", &format!("0.0{milliseconds:02}"), "env"]);
        }
        command.arg(format!("LD_PRELOAD={}", self.faketime.display()));
        command.args(["FAKETIME_FMT=%s", &format!("FAKETIME={}", self.now), "onetimectl"]);
        command.args(arguments.split(' '));
        let run = finish(&mut command, input.as_bytes());
        let tally = self.tallies.entry(door).or_default();
        let outcome = match (run.success(), killed && run.stdout.is_empty()) {
            (true, _) => &mut tally.opened,
            (false, true) => &mut tally.killed,
            (false, false) => &mut tally.refused,
        };
        *outcome += 1;
        self.log.push(format!("{arguments}: {}", run.status));
        run
    }

    /// A key that the other user does not have: in two accounts, it is two tokens.
    fn key_for(&mut self, user: &str) -> Option<(&'static str, String)> {
        let index = usize::try_from(self.chance.below(2)).expect("an index");
        let longer = self.chance.below(2) == 0;
        let key = &self.keys[index];
        let other = USERS.iter().find(|(other, _)| *other != user)?.0;
        if self.is_enabled(other) {
            let record = self.world.read_text(&format!("/var/lib/onetime/users/{other}.toml"));
            if record.contains(&key.secret) {
                return None;
            }
        }
        Some((key.kind, if longer { key.longer.clone() } else { key.secret.clone() }))
    }

    /// A counter that was lost with its state is refused for good: there is another.
    fn renew(&mut self, run: &Finished) {
        if run.text().contains("was lost with a state") {
            self.keys[0] = Key::new("hotp", &mut self.chance);
            self.counter = 0;
        }
    }

    #[track_caller]
    fn order(&mut self) {
        let (user, _) = self.chance.one_of(&USERS);
        match self.chance.below(16) {
            0 => drop(self.tool("disable", &format!("disable --yes {user}"), "")),
            1 => drop(self.tool("enable", &format!("enable {user}"), "")),
            2 => {
                self.tool("enable --new-secret", &format!("enable --new-secret {user}"), "");
            }
            3..=6 => self.import(user),
            7..=9 => self.add(user),
            10 => {
                // So that it is not the only one.
                self.tool("token add", &format!("token add {user}"), "");
                let id = 1 + self.chance.below(2);
                self.tool("token remove", &format!("token remove {user} {id}"), "");
            }
            11 => self.export_and_import(user),
            12 => self.repair(user),
            13 => self.resync(user),
            14 => self.verify(user),
            _ => self.others(user),
        }
    }

    #[track_caller]
    fn import(&mut self, user: &str) {
        let Some((kind, secret)) = self.key_for(user) else { return };
        let uri = format!("otpauth://{kind}/{user}?secret={secret}&counter=0\n");
        let uri = if kind == "totp" { uri.replace("&counter=0", "") } else { uri };
        let (door, options) = self.chance.one_of(&[
            ("import", ""),
            ("import --replace", "--replace "),
            ("import --replace --pending", "--replace --pending "),
        ]);
        let arguments = format!("import --from otpauth --user {user} {options}-");
        let run = self.tool(door, &arguments, &uri);
        self.renew(&run);
    }

    #[track_caller]
    fn add(&mut self, user: &str) {
        let Some((kind, secret)) = self.key_for(user) else { return };
        let arguments = format!("token add {user} --kind {kind} --stdin");
        let run = self.tool("token add --stdin", &arguments, &secret);
        self.renew(&run);
    }

    #[track_caller]
    fn export_and_import(&mut self, user: &str) {
        let export = format!("export --format pskc {user}");
        let exported = self.tool("export", &export, "");
        let removed = self.tool("disable", &format!("disable --yes {user}"), "");
        if exported.success() && removed.success() && exported.stdout.contains("Secret") {
            self.tool("import of an export", "import --from pskc -", &exported.stdout);
        }
    }

    #[track_caller]
    fn repair(&mut self, user: &str) {
        let restored = ("repair --restored", "repair --restored");
        let lost = ("repair of a lost state", "repair");
        let (door, arguments) = self.chance.one_of(&[restored, restored, lost]);
        let state = format!("/var/lib/onetime/state/{user}");
        if arguments == "repair" && self.world.exists(&state) {
            self.world.remove(&state);
        }
        self.tool(door, &format!("{arguments} {user}"), "");
    }

    #[track_caller]
    fn resync(&mut self, user: &str) {
        let (key, step, one) = self.code();
        let two = self.keys[key].phone.code(step + 1);
        let run = self.tool("resync", &format!("resync {user} {one} {two}"), "");
        if run.success() {
            // Both are spent by it; neither may have been before.
            self.accept(key, step, user);
            self.accept(key, step + 1, user);
        }
    }

    #[track_caller]
    fn verify(&mut self, user: &str) {
        let (key, step, code) = self.code();
        let run = self.tool("verify", &format!("verify {user} {code}"), "");
        if run.success() {
            self.accept(key, step, user);
        }
    }

    #[track_caller]
    fn others(&mut self, user: &str) {
        match self.chance.below(5) {
            0 => drop(self.tool("recovery", &format!("recovery {user}"), "")),
            1 => drop(self.tool("unlock", &format!("unlock {user}"), "")),
            2 => drop(self.tool("init", "init", "")),
            _ => {
                let other = format!("{user}2");
                self.tool("rename", &format!("rename {user} {other} --force"), "");
                // Back, and as often as it takes where it was killed.
                for _ in 0..20 {
                    if !self.is_enabled(&other) {
                        break;
                    }
                    self.tool("rename", &format!("rename {other} {user}"), "");
                }
            }
        }
        let status = self.world.onetimectl(&["--json", "status"]);
        let _rows: Value = status.json();
    }
}
