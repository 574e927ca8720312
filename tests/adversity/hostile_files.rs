//! Hostile files: each file and directory that a login reads is put in its place as
//! something else, with another owner or mode, cut off, and with each of its bits
//! flipped. The login is refused, with a line that names it, or goes on as before.

use std::fs::{self, File};
use std::ops::AddAssign;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use pam_onetime::account::{
    Account, Generation, Record, State, Timestamp, TokenId, TokenState, Uid, UserName,
};
use pam_onetime::callers::Asker;
use pam_onetime::code::{Algorithm, Digits, MovingFactor, Secret, Step, Token};
use pam_onetime::config::Config;
use pam_onetime::login::{
    Answer, Attempt, Circumstances, FixedVerdict, PasswordCheck, PasswordFault, PasswordProof,
    Plan, Verdict, View, WithoutRecord, judge, plan, plan_without_record,
};
use pam_onetime::store::{Replace, Store, StoreError, read_config};

use crate::common::{
    ALICE_PASSWORD, AUTH_ERR, AUTHINFO_UNAVAIL, BOB_PASSWORD, CAROL_PASSWORD, Client, ClientRun,
    Event, Figures, Finished, PATIENCE, SERVICE_ERR, SUCCESS, World, conf, extent, finish, hasty,
    secret,
};

/// What a login may take: of address space, in bytes, which no file of 1 GB fits in, and of
/// the processor, in seconds.
const MEMORY: &str = "67108864";
const PROCESSOR: &str = "2";

const CONFIG: &str = "/etc/onetime/onetime.toml";
const STORE: &str = "/var/lib/onetime";

// --- something else in their place, by real logins ---

/// What a login should make of it.
#[derive(Clone, Copy)]
enum Expected {
    /// It is refused, and this is logged.
    Refused(&'static str),
    AsBefore,
}

use Expected::{AsBefore, Refused};

/// Ways to spoil the file `$f`, for all four of them: configuration, marker, record, state.
const FILES: &[(&str, [Expected; 4])] = &[
    ("mv $f /root/moved$u; ln -s /root/moved$u $f", [Refused("is a symbolic link"); 4]),
    ("rm $f; ln -s /nowhere $f", [Refused("is a symbolic link"); 4]),
    ("rm $f; mkfifo -m 600 $f", [Refused("is of the wrong type"); 4]),
    ("rm $f; mkdir -m 700 $f", [Refused("is of the wrong type"); 4]),
    ("rm $f; mknod -m 600 $f c 1 3", [Refused("is of the wrong type"); 4]),
    ("rm $f; mknod -m 600 $f c 1 5", [Refused("is of the wrong type"); 4]),
    ("rm $f; mknod -m 600 $f b 240 0", [Refused("is of the wrong type"); 4]),
    ("chown alice $f", [Refused("is owned by uid 2001"); 4]),
    ("chmod 620 $f", [Refused("has mode 0620"); 4]),
    ("chmod 602 $f", [Refused("has mode 0602"); 4]),
    ("chmod 400 $f", [AsBefore; 4]),
    (
        "chmod 640 $f",
        [AsBefore, Refused("has mode 0640"), Refused("has mode 0640"), Refused("has mode 0640")],
    ),
    (
        "chmod 604 $f",
        [AsBefore, Refused("has mode 0604"), Refused("has mode 0604"), Refused("has mode 0604")],
    ),
    (
        "ln $f $f.x",
        [AsBefore, Refused("2 hard links"), Refused("2 hard links"), Refused("2 hard links")],
    ),
    (
        "truncate -s 1G $f",
        [
            Refused("has 1073741824 bytes"),
            Refused("has 1073741824 bytes"),
            Refused("has 1073741824 bytes"),
            Refused("does not have 8192 bytes"),
        ],
    ),
    (
        ": > $f",
        [
            // The default one.
            AsBefore,
            Refused("not a store of format 1"),
            Refused("damaged record"),
            Refused("does not have 8192 bytes"),
        ],
    ),
    (
        "head -c 8192 /dev/zero > $f",
        [
            Refused("line 1: "),
            Refused("not a store of format 1"),
            Refused("damaged record"),
            Refused("neither slot is valid"),
        ],
    ),
    (
        r"printf '\377\376' > $f",
        [
            Refused("valid UTF-8"),
            Refused("not a store of format 1"),
            Refused("damaged record: it is not text"),
            Refused("does not have 8192 bytes"),
        ],
    ),
    (
        // Without its record an account is disabled: who removes it is root.
        "test $f = /var/lib/onetime/users/$u.toml || rm $f",
        [
            Refused("cannot find the configuration"),
            Refused("is missing"),
            AsBefore,
            Refused("the state is missing"),
        ],
    ),
];

/// Ways to spoil the directory `$f`, for all four: that of the configuration, the store,
/// and in it those of records and of states.
const DIRECTORIES: &[(&str, [Expected; 4])] = &[
    ("mv $f /var/lib/moved; ln -s /var/lib/moved $f", [Refused("is a symbolic link"); 4]),
    ("chown bob $f", [Refused("is owned by uid 2002"); 4]),
    ("chmod 720 $f", [Refused("has mode 0720"); 4]),
    ("chmod 702 $f", [Refused("has mode 0702"); 4]),
    (
        "chmod 711 $f",
        [AsBefore, Refused("has mode 0711"), Refused("has mode 0711"), Refused("has mode 0711")],
    ),
    ("rm -r $f; : > $f; chmod 600 $f", [Refused("is of the wrong type"); 4]),
    (
        "rm -r $f",
        [
            Refused("No such file"),
            Refused("is missing"),
            Refused("cannot open"),
            Refused("cannot open"),
        ],
    ),
];

/// Ways to spoil the directory `$f` above the configuration's, and above the store.
const ABOVE: &[(&str, [Expected; 2])] = &[
    ("chown alice $f", [Refused("is owned by uid 2001"); 2]),
    ("chmod 777 $f", [Refused("has mode 0777"); 2]),
    ("chmod 1777 $f", [AsBefore; 2]),
];

/// Alice is pending, bob active, carol has no record. Of their tokens, alice's first code
/// and bob's second are good.
struct Cast {
    world: World,
    codes: [Vec<String>; 2],
}

impl Cast {
    fn new() -> Self {
        let world = hasty();
        let enabled = |user| {
            world.onetimectl(&["enable", user, "--kind", "hotp"]).ok();
            hotp_codes(&secret(&world, user))
        };
        let codes = ["alice", "bob"].map(enabled);
        world.onetimectl(&["verify", "bob", &codes[1][0]]).ok();
        let keep = "mkdir /root/kept; cp -a /var/lib/onetime /root/kept/store; \
                    cp -a /etc/onetime /root/kept/config";
        world.run("sh", &["-euc", keep]).ok();
        // Brings the program into the world.
        drop(Client::new(&world, "sshd", "alice").command());
        Self { world, codes }
    }

    /// Has all as it was, runs a script, and then logs in, in turn, on a terminal of this
    /// name, within [`MEMORY`] and [`PROCESSOR`].
    fn logins(&self, script: &str, tty: &str, logins: &[(&str, &str, &str)]) -> Vec<ClientRun> {
        const AS_IT_WAS: &str = "
            rm -rf /var/lib/onetime /etc/onetime /var/lib/moved /root/moved*
            chown root:root /etc /var/lib; chmod 755 /etc /var/lib
            cp -a /root/kept/store /var/lib/onetime; cp -a /root/kept/config /etc/onetime
            umask 077";
        let login = |(user, password, code): &(&str, &str, &str)| {
            format!(
                "echo next; printf '%s\\n' '{password}' '{code}' | prlimit --as={MEMORY} \
                 --cpu={PROCESSOR} /usr/local/sbin/pam_client sshd {user} tty={tty} 2>&1 || echo ended $?\n"
            )
        };
        let logins: String = logins.iter().map(login).collect();
        let whole = format!("{AS_IT_WAS}\n{script}\n{logins}");
        let said = self.world.run("sh", &["-euc", &whole]).ok();
        let run = |stdout: &str| {
            assert!(stdout.contains("result authenticate "), "{script}: {stdout}");
            let status = std::process::ExitStatus::default();
            let (command, stderr) = (script.to_owned(), String::new());
            ClientRun::read(Finished { command, status, stdout: stdout.to_owned(), stderr })
        };
        said.split("next\n").skip(1).map(run).collect()
    }
}

/// The codes of the first counters.
fn hotp_codes(secret: &str) -> Vec<String> {
    let mut oathtool = Command::new("oathtool");
    oathtool.args(["--hotp", "--base32", "--digits=6", "--counter=0", "--window=9", "-"]);
    finish(&mut oathtool, secret.as_bytes()).ok().lines().map(str::to_owned).collect()
}

fn is_shown_a_secret(run: &ClientRun) -> bool {
    run.events.iter().any(|event| matches!(event, Event::Info(_)))
}

#[test]
fn a_file_or_directory_that_is_not_what_it_should_be_is_refused_by_name_and_at_once() {
    let cast = Cast::new();
    let mut figures = Figures::new(
        "hostile_files",
        &["place", "ways to spoil it", "refused by name", "as before", "slowest three logins"],
    );
    let record = "/var/lib/onetime/users/$u.toml";
    let state = "/var/lib/onetime/state/$u";
    let marker = "/var/lib/onetime/store.toml";
    for (index, place) in [CONFIG, marker, record, state].into_iter().enumerate() {
        let ways = FILES.iter().map(|(how, expected)| (*how, expected[index]));
        spoil(&cast, place, ways, &mut figures);
    }
    let directories = ["/etc/onetime", STORE, "/var/lib/onetime/users", "/var/lib/onetime/state"];
    for (index, place) in directories.into_iter().enumerate() {
        let ways = DIRECTORIES.iter().map(|(how, expected)| (*how, expected[index]));
        spoil(&cast, place, ways, &mut figures);
    }
    for (index, place) in ["/etc", "/var/lib"].into_iter().enumerate() {
        let ways = ABOVE.iter().map(|(how, expected)| (*how, expected[index]));
        spoil(&cast, place, ways, &mut figures);
    }
    figures.publish();
}

/// Ways to spoil an entry of the index by uid, and its directory. Only who has no record
/// needs them.
#[test]
fn an_index_that_is_not_what_it_should_be_refuses_by_name_who_has_no_record_and_nobody_else() {
    let cast = Cast::new();
    let mut figures = Figures::new(
        "hostile_index",
        &["place", "ways to spoil it", "refused by name", "as before"],
    );
    // Alice's name, whose record is for another uid: nobody's entry.
    let entry = FILES.iter().map(|(how, [.., record, _])| (*how, *record));
    let directory = DIRECTORIES.iter().map(|(how, [.., state])| (*how, *state));
    for (place, ways) in [
        ("/var/lib/onetime/uids/2003", entry.collect::<Vec<_>>()),
        ("/var/lib/onetime/uids", directory.collect()),
    ] {
        let (mut refused, mut as_before) = (0, 0);
        for (number, (how, expected)) in ways.into_iter().enumerate() {
            let tty = format!("index-{}-{number}", place.len());
            let script = format!(
                "cp /var/lib/onetime/uids/2001 /var/lib/onetime/uids/2003; u=once; f={place}; {how}"
            );
            let logins = [
                ("alice", ALICE_PASSWORD, ""),
                ("bob", BOB_PASSWORD, cast.codes[1][1].as_str()),
                ("carol", CAROL_PASSWORD, ""),
            ];
            let at = format!("{place}: {how}");
            let results: Vec<_> =
                cast.logins(&script, &tty, &logins).iter().map(ClientRun::result).collect();
            let Refused(named) = expected else {
                as_before += 1;
                assert_eq!(results, [SUCCESS; 3], "{at}");
                continue;
            };
            // An entry that is not there is nobody's.
            if how.contains("rm $f") && named == "the state is missing" {
                continue;
            }
            refused += 1;
            assert_eq!(results, [SUCCESS, SUCCESS, AUTHINFO_UNAVAIL], "{at}");
            let line = cast.world.wait_for_syslog(
                |line| line.text.contains(&format!("tty={tty} ")) && line.text.contains("carol"),
                PATIENCE,
            );
            let named = named.replace("damaged record", "damaged index");
            for word in [place, &named] {
                assert!(line.text.contains(word), "{at}: {}", line.text);
            }
        }
        figures.row(&[&format!("`{place}`"), &(refused + as_before), &refused, &as_before]);
        assert!(refused > 5, "{place}");
    }
    figures.publish();
}

fn spoil<'a>(
    cast: &Cast,
    place: &str,
    ways: impl Iterator<Item = (&'a str, Expected)>,
    figures: &mut Figures,
) {
    let own = place.contains("$u");
    let (mut refused, mut as_before, mut slowest) = (0, 0, Duration::ZERO);
    for (number, (how, expected)) in ways.enumerate() {
        let tty = format!("{}-{number}", place.replace(['/', '$', '.'], "_"));
        let users = if own { "alice bob" } else { "once" };
        let script = format!("for u in {users}; do f={place}; {how}; done");
        let at = format!("{place}: {how}");
        let begun = Instant::now();
        let runs = cast.logins(
            &script,
            &tty,
            &[
                ("alice", ALICE_PASSWORD, ""),
                ("bob", BOB_PASSWORD, &cast.codes[1][1]),
                ("carol", CAROL_PASSWORD, ""),
            ],
        );
        slowest = slowest.max(begun.elapsed());
        let [alice, bob, carol] = &runs[..] else { panic!("{at}: {runs:?}") };
        match expected {
            Refused(named) => {
                refused += 1;
                let result = if place.starts_with("/etc") { SERVICE_ERR } else { AUTHINFO_UNAVAIL };
                for (user, run) in [("alice", alice), ("bob", bob)] {
                    assert_eq!(run.result(), result, "{at}: {run:?}");
                    assert!(!is_shown_a_secret(run), "{at}: {run:?}");
                    let path = place.replace("$u", user);
                    let who = if result == SERVICE_ERR { "" } else { user };
                    let line = cast.world.wait_for_syslog(
                        |line| {
                            let text = &line.text;
                            text.contains(&format!("tty={tty} ")) && text.contains(who)
                        },
                        PATIENCE,
                    );
                    let line = line.text;
                    assert!(line.starts_with("outcome=failed "), "{at}: {line}");
                    let (directory, name) = path.rsplit_once('/').expect("an absolute path");
                    for word in [directory, name, named] {
                        assert!(line.contains(word), "{at}: {line}");
                    }
                }
                // Who has nothing to do with it is not kept out.
                let others = if own { SUCCESS } else { result };
                assert_eq!(carol.result(), others, "{at}: {carol:?}");
            }
            AsBefore => {
                as_before += 1;
                assert_eq!((alice.result(), is_shown_a_secret(alice)), (SUCCESS, true), "{at}");
                assert_eq!((bob.result(), is_shown_a_secret(bob)), (SUCCESS, false), "{at}");
                assert_eq!(carol.result(), SUCCESS, "{at}");
                let without = cast.logins(&script, &tty, &[("bob", BOB_PASSWORD, "")]);
                assert_eq!(without[0].result(), AUTH_ERR, "{at}: without a code");
            }
        }
    }
    let slowest = format!("{} ms", slowest.as_millis());
    let place = format!("`{}`", place.replace("$u", "NAME"));
    figures.row(&[&place, &(refused + as_before), &refused, &as_before, &slowest]);
}

// --- each bit, and cut off at each byte ---

/// What came of so much damage.
#[derive(Default, Clone, Copy)]
struct Toll {
    refused: u32,
    as_before: u32,
    /// One commit back, or another policy.
    other: u32,
}

impl AddAssign for Toll {
    fn add_assign(&mut self, more: Self) {
        self.refused += more.refused;
        self.as_before += more.as_before;
        self.other += more.other;
    }
}

const REFUSED: Toll = Toll { refused: 1, as_before: 0, other: 0 };
const AS_BEFORE: Toll = Toll { refused: 0, as_before: 1, other: 0 };
const OTHER: Toll = Toll { refused: 0, as_before: 0, other: 1 };

/// Flips each bit of a file, or in the short form one in so many, and has it looked at.
fn each_bit(path: &Path, one_in: usize, mut look: impl FnMut(usize) -> Toll) -> Toll {
    let good = fs::read(path).expect("the file can be read");
    let file = File::options().write(true).open(path).expect("and written");
    let mut toll = Toll::default();
    for bit in (0..good.len() * 8).step_by(extent(one_in, 1)) {
        let at = bit / 8;
        file.write_all_at(&[good[at] ^ (1 << (bit % 8))], at as u64).expect("a byte is written");
        toll += look(at);
        file.write_all_at(&[good[at]], at as u64).expect("and again");
    }
    toll
}

/// Cuts a file off at each byte, or in the short form at one in so many.
fn each_end(path: &Path, one_in: usize, mut look: impl FnMut(usize) -> Toll) -> Toll {
    let good = fs::read(path).expect("the file can be read");
    let mut toll = Toll::default();
    for length in (0..good.len()).step_by(extent(one_in, 1)) {
        fs::write(path, &good[..length]).expect("the file is written");
        toll += look(length);
    }
    fs::write(path, &good).expect("and again");
    toll
}

fn alice() -> Record {
    let secret = Secret::from_bytes(b"12345678901234567890".to_vec()).expect("160 bits");
    let (algorithm, digits, kind) = (Algorithm::default(), Digits::default(), MovingFactor::Hotp);
    Record {
        user: UserName::new("alice").expect("a name"),
        uid: Uid::Is(2001),
        generation: Generation([7; 16]),
        issuer: "host.example.org".to_owned(),
        issued_at: Timestamp(1_700_000_000),
        deadline: None,
        tokens: vec![(TokenId::FIRST, Token { secret, algorithm, digits, kind })],
        recovery: None,
    }
}

/// A store with an active account, after two logins; and the state before the last one.
fn store() -> (tempfile::TempDir, Store, State) {
    let dir = tempfile::tempdir().expect("a directory of our own");
    let store = Store::init(&dir.path().join("store"), Store::ROOT).expect("a store");
    store.issue(&Account::fresh(alice()), Replace::No).expect("an account");
    let mut previous = None;
    for next in 1..4 {
        let login = |account: &Account| {
            previous = Some(account.state);
            let mut state = account.state;
            state.activated_at = Some(Timestamp(5));
            let token = TokenState { next: Step(next), ..TokenState::default() };
            Ok::<_, StoreError>(state.with_token(TokenId::FIRST, token))
        };
        store.amend(&alice().user, login).expect("a commit");
    }
    (dir, store, previous.expect("three commits"))
}

fn load(store: &Store) -> Result<Option<Account>, StoreError> {
    Ok(store.load(&alice().user, 2001)?.map(|loaded| loaded.account))
}

/// The first bytes of a slot's sequence number.
fn sequence(state: &[u8], slot: usize) -> u8 {
    state[slot + 8]
}

#[test]
fn whatever_bit_flips_and_wherever_a_file_ends_no_account_becomes_another() {
    let (_dir, store, previous) = store();
    let good = load(&store).expect("a sound account");
    let back = good.clone().map(|account| Account { state: previous, ..account });
    assert_ne!(good, back);
    let path = |name: &str| store.path().join(name);
    let bytes = fs::read(path("state/alice")).expect("a state");
    let newest = if sequence(&bytes, 0) > sequence(&bytes, 4096) { 0 } else { 4096 };
    let state = |at: usize| match load(&store) {
        // A damaged slot looks like one that was torn: the commit before holds.
        Ok(found) if (newest..newest + 512).contains(&at) => {
            assert_eq!(found, back, "byte {at}");
            OTHER
        }
        Ok(found) => {
            assert_eq!(found, good, "byte {at}");
            AS_BEFORE
        }
        Err(error) => panic!("byte {at}: {error}"),
    };
    let refused = |at: usize| {
        let found = load(&store);
        let found = found.expect_err(&format!("byte {at} is of no account")).to_string();
        assert!(found.contains("alice"), "{found}");
        REFUSED
    };
    // Alice by another name.
    let alicia = UserName::new("alicia").expect("a name");
    let entry = |at: usize| {
        let found = store.load(&alicia, 2001).map(|found| found.is_some());
        found.expect_err(&format!("byte {at} lets alicia in"));
        REFUSED
    };
    // The marker is read when a store is opened.
    let marker = |at: usize| match Store::open(store.path(), Store::ROOT) {
        Ok(opened) => {
            assert!(opened.load(&alicia, 2001).is_err(), "byte {at} lets alicia in");
            assert_eq!(load(&opened).expect("the same account"), good, "byte {at}");
            AS_BEFORE
        }
        Err(error) => {
            assert!(error.to_string().contains("store.toml"), "{error}");
            REFUSED
        }
    };
    let shipped = fs::read_to_string(strict_config(store.path())).expect("a configuration");
    let config = strict_config(store.path());
    let before = Config::parse(&shipped).expect("a good one");
    let policy = |at: usize| {
        let parsed = read_config(&config).ok().and_then(|text| Config::parse(&text).ok());
        match parsed {
            None => REFUSED,
            Some(after) if after == before => AS_BEFORE,
            Some(after) => {
                nobody_gets_in(&after, good.as_ref(), &format!("byte {at}"));
                OTHER
            }
        }
    };
    let mut figures = Figures::new(
        "hostile_bits",
        &["file", "damage", "tried", "refused", "as before", "one commit back", "another policy"],
    );
    let mut row = |file: &str, damage: &str, toll: Toll| {
        let Toll { refused, as_before, other } = toll;
        let (back, policy) = if file == "configuration" { (0, other) } else { (other, 0) };
        figures.row(&[
            &file,
            &damage,
            &(refused + as_before + other),
            &refused,
            &as_before,
            &back,
            &policy,
        ]);
    };
    let (bit, end) = ("a bit flipped", "cut off");
    let damaged = each_bit(&path("state/alice"), 31, state);
    assert!(damaged.other > 0 && damaged.as_before > damaged.other);
    row("state", bit, damaged);
    row("state", end, each_end(&path("state/alice"), 31, refused));
    row("record", bit, each_bit(&path("users/alice.toml"), 3, refused));
    row("record", end, each_end(&path("users/alice.toml"), 1, refused));
    row("entry of the index", bit, each_bit(&path("uids/2001"), 1, entry));
    row("entry of the index", end, each_end(&path("uids/2001"), 1, entry));
    row("marker", bit, each_bit(&path("store.toml"), 3, marker));
    row("marker", end, each_end(&path("store.toml"), 1, marker));
    row("configuration", bit, each_bit(&config, 31, policy));
    row("configuration", end, each_end(&config, 31, policy));
    assert_eq!(load(&store).expect("all is as it was"), good);
    figures.publish();
}

/// The shipped configuration, with every key in force and the policy strict.
fn strict_config(directory: &Path) -> PathBuf {
    let path = directory.join("onetime.toml");
    let strict = |line: &str| match line {
        "#missing = \"ignore\"" => "missing = \"deny\"\n".to_owned(),
        "#require_groups = []" => "require_groups = [\"wheel\", \"adm\"]\n".to_owned(),
        "#exempt_networks = []" => "exempt_networks = [\"192.0.2.0/24\"]\n".to_owned(),
        "#failures = 3" => "failures = 5\n".to_owned(),
        line => match line.strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => format!("{key}\n"),
            Some(_) | None => format!("{line}\n"),
        },
    };
    let text: String = conf("onetime.toml").lines().map(strict).collect();
    assert_eq!(text.matches("deny\"\n").count(), 1, "{text}");
    if !path.exists() {
        fs::write(&path, text).expect("a configuration");
    }
    path
}

/// Whatever the policy: not without the password, and not into an active account without
/// its code, from an address that the policy does not exempt.
fn nobody_gets_in(config: &Config, active: Option<&Account>, at: &str) {
    // A digit of a network can flip too: from /24 to /04.
    let address = ["203.0.113.7", "8.8.8.8"].into_iter().find(|address| {
        !config.login.exempt_networks.contain(address.parse().expect("an address"))
    });
    assert!(address.is_some(), "{at}: everybody is exempt");
    let circumstances = |password| Circumstances {
        password,
        rhost: address,
        service: "sshd",
        asker: Asker::Root,
        view: View::Everything,
        groups: &[],
        now: Timestamp(1_800_000_000),
    };
    let wrong = PasswordCheck::Wrong(PasswordFault::Password);
    let right = PasswordCheck::Right(PasswordProof::by_administrator());
    for (account, password) in [(None, &wrong), (active, &wrong), (active, &right)] {
        let circumstances = circumstances(password);
        let fixed = match account {
            None => match plan_without_record(&circumstances, config) {
                WithoutRecord::Fixed(fixed) => fixed,
                WithoutRecord::Issue => panic!("{at}: a record is issued"),
            },
            Some(account) => match plan(account, &circumstances, config) {
                Plan::Fixed(fixed) => fixed,
                Plan::Ask(question) => {
                    assert!(question.show.is_none(), "{at}: {question:?}");
                    continue;
                }
            },
        };
        let (FixedVerdict::Done(verdict) | FixedVerdict::Pretend(verdict)) = fixed;
        assert!(matches!(verdict, Verdict::Refused(_)), "{at}: {verdict:?}");
    }
    // 287082 is the code of counter 1, which is spent; 399871 that of counter 8.
    for (password, typed) in
        [(&right, ""), (&right, "287082"), (&right, "000000"), (&wrong, "399871")]
    {
        let answer = Answer::read(typed.as_bytes());
        let attempt =
            Attempt { circumstances: circumstances(password), answer: &answer, tries_left: 0 };
        let verdict = judge(active, &attempt, config).settle(|_| Ok::<_, ()>(()));
        assert!(matches!(verdict, Ok(Verdict::Refused(_))), "{at}: {typed}: {verdict:?}");
    }
}

#[test]
fn with_a_bit_flipped_somewhere_a_login_needs_its_code_and_none_serves_twice() {
    let cast = Cast::new();
    let world = &cast.world;
    let codes = &cast.codes[1];
    let enter = |script: &str, code: &str| {
        let runs = cast.logins(script, "bits", &[("bob", BOB_PASSWORD, code)]);
        (runs[0].result(), is_shown_a_secret(&runs[0]))
    };
    // Two more logins, and then that is how it was.
    let keep = "rm -r /root/kept/store; cp -a /var/lib/onetime /root/kept/store";
    assert_eq!(enter("", &codes[1]), (SUCCESS, false));
    world.run("sh", &["-euc", keep]).ok();
    assert_eq!(enter("", &codes[2]), (SUCCESS, false));
    world.run("sh", &["-euc", keep]).ok();
    let state = world.read("/root/kept/store/state/bob");
    let newest = if sequence(&state, 0) > sequence(&state, 4096) { 0 } else { 4096 };
    let kept = |name: &str| world.read(&format!("/root/kept/{name}"));
    for (name, place) in [
        ("store/state/bob", "/var/lib/onetime/state/bob"),
        ("store/users/bob.toml", "/var/lib/onetime/users/bob.toml"),
        ("store/store.toml", "/var/lib/onetime/store.toml"),
        ("config/onetime.toml", CONFIG),
    ] {
        let good = kept(name);
        let slots = [newest..newest + 512, 4096 - newest..4608 - newest];
        let places: Vec<usize> = if name.contains("state") {
            slots.into_iter().flatten().collect()
        } else {
            (0..good.len()).collect()
        };
        let step = (places.len() / extent(4, 32)).max(1);
        for at in places.into_iter().step_by(step) {
            let flipped = good[at] ^ (1 << (at % 8));
            let script = format!(
                "printf '\\{flipped:03o}' | dd of={place} bs=1 seek={at} conv=notrunc status=none"
            );
            let runs = cast.logins(
                &script,
                "bits",
                &[
                    ("bob", BOB_PASSWORD, ""),
                    ("bob", BOB_PASSWORD, &codes[1]),
                    ("bob", BOB_PASSWORD, &codes[2]),
                    ("bob", BOB_PASSWORD, &codes[3]),
                    ("bob", BOB_PASSWORD, &codes[3]),
                ],
            );
            let results: Vec<i32> = runs.iter().map(ClientRun::result).collect();
            assert!(!runs.iter().any(is_shown_a_secret), "{place} {at}: {runs:?}");
            let one_back = name.contains("state") && (newest..newest + 512).contains(&at);
            let expected: [&[i32]; 3] = match name {
                "store/state/bob" if one_back => {
                    [&[AUTH_ERR, AUTH_ERR, SUCCESS, SUCCESS, AUTH_ERR], &[], &[]]
                }
                "store/state/bob" => [&[AUTH_ERR, AUTH_ERR, AUTH_ERR, SUCCESS, AUTH_ERR], &[], &[]],
                "store/users/bob.toml" => [&[AUTHINFO_UNAVAIL; 5], &[], &[]],
                "store/store.toml" => [
                    &[AUTHINFO_UNAVAIL; 5],
                    &[AUTH_ERR, AUTH_ERR, AUTH_ERR, SUCCESS, AUTH_ERR],
                    &[],
                ],
                _ => [
                    &[SERVICE_ERR; 5],
                    &[AUTH_ERR, AUTH_ERR, AUTH_ERR, SUCCESS, AUTH_ERR],
                    // The store or the password's service is another one now.
                    &[AUTHINFO_UNAVAIL; 5],
                ],
            };
            assert!(expected.contains(&results.as_slice()), "{place} {at}: {results:?}");
        }
    }
}
