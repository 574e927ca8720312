//! A code is accepted once: every door. Each way by which a secret or a position gets in,
//! comes back or is revoked is a row of the table in SECURITY.md, and each cell of it says
//! what that way keeps or forgets. The table is read, and each row is tried with the real
//! tool and real logins on an account that has something in every column.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::common::{
    ALICE_PASSWORD, AUTHINFO_UNAVAIL, Answers, BOB_PASSWORD, Client, Event, Finished, SUCCESS,
    TotpOptions, World, assert_ends, code_at, current_code, finish, hasty, hotp_code, secret,
    since_epoch, with_services_of_tests,
};

const STORE: &str = "/var/lib/onetime";
/// The secret of RFC 4226's examples, and the same to HMAC: a zero more at its end.
const COUNTER: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
const COUNTER_AND_ZERO: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQAA";
const HOST: &str = "192.0.2.7";
/// So many steps before and after are looked at, here.
const WINDOW: i64 = 10;

/// A world, and an account with something in every column of the table: a code of each
/// token is used, and a recovery code; a failure counts, a host is remembered, it is active.
struct Standing {
    world: World,
    /// When all logins are: so nothing depends on how long the table takes.
    now: u64,
    /// The key of the time token. The counter token's is [`COUNTER`].
    key: String,
    /// The first one is used.
    recovery: Vec<String>,
}

impl Standing {
    #[track_caller]
    fn new() -> Self {
        let world = hasty();
        let config = format!(
            "[code]\nwindow = {WINDOW}\n[limits]\nfailures = 0\n[login]\nremember = \"1d\"\n"
        );
        let config = with_services_of_tests(&config);
        world.write("/etc/onetime/onetime.toml", config.as_bytes(), 0o644);
        for (service, arguments) in [("test", ""), ("enrol", "missing=enrol")] {
            let line = format!("auth required pam_onetime.so {arguments}\n");
            world.pam_service(service, &line);
        }
        world.onetimectl(&["enable", "alice"]).ok();
        let key = secret(&world, "alice");
        let now = since_epoch().as_secs();
        let mut standing = Self { world, now, key, recovery: Vec::new() };
        standing.must_admit(&standing.totp(-3));
        standing.add("hotp", COUNTER).ok();
        standing.recovery = standing.recovery_codes();
        standing.must_admit(&hotp_code(COUNTER, 0, 6));
        standing.keep("backup");

        standing.must_admit(&hotp_code(COUNTER, 1, 6));
        standing.must_admit(&standing.recovery[0]);
        let from_host = standing.client("test").option(&format!("rhost={HOST}"));
        let run = from_host.run(&Answers::new(&[ALICE_PASSWORD, &standing.totp(-2)]));
        assert_eq!(run.result(), SUCCESS, "{run:?}");
        assert!(!standing.admits("000000"));
        standing.keep("standing");
        standing
    }

    // -- the store as it was --

    fn keep(&self, name: &str) {
        self.shell(&format!("rm -rf /root/{name}; cp -a {STORE} /root/{name}"));
    }

    fn back_to(&self, name: &str) {
        self.shell(&format!("rm -rf {STORE}; cp -a /root/{name} {STORE}"));
    }

    #[track_caller]
    fn shell(&self, script: &str) {
        self.world.run("sh", &["-euc", script]).ok();
    }

    // -- logins --

    /// The code of the time token, so many steps from now.
    fn totp(&self, offset_steps: i64) -> String {
        code_at(&self.key, TotpOptions { offset_steps, ..TotpOptions::default() }, self.now)
    }

    fn client(&self, service: &str) -> Client<'_> {
        Client::new(&self.world, service, "alice").option(&format!("time={}", self.now))
    }

    /// Whether a code lets alice in. A pending user may type it three times, and Enter is
    /// not among them.
    fn admits(&self, code: &str) -> bool {
        let run = self.client("test").run(&Answers::new(&[ALICE_PASSWORD, code, code, code]));
        run.result() == SUCCESS
    }

    #[track_caller]
    fn must_admit(&self, code: &str) {
        assert!(self.admits(code), "it is a right code, and new");
    }

    fn is_remembered(&self) -> bool {
        let from_host = self.client("test").option(&format!("rhost={HOST}"));
        let run = from_host.run(&Answers::new(&[ALICE_PASSWORD, ""]));
        let prompts = run.events.iter().filter(|event| matches!(event, Event::Prompt(_)));
        prompts.count() == 1
    }

    // -- orders --

    #[track_caller]
    fn order(&self, arguments: &str) -> Finished {
        self.world.onetimectl(&arguments.split(' ').collect::<Vec<_>>())
    }

    fn order_with(&self, arguments: &str, input: &str) -> Finished {
        let mut tool = self.world.command("onetimectl");
        finish(tool.args(arguments.split(' ')), input.as_bytes())
    }

    /// `token add --stdin`.
    fn add(&self, kind: &str, key: &str) -> Finished {
        self.order_with(&format!("token add alice --kind {kind} --stdin"), key)
    }

    #[track_caller]
    fn recovery_codes(&self) -> Vec<String> {
        let rows: Value = self.order("--json recovery alice").json();
        let codes = rows[0]["recovery_codes"].as_array().expect("codes");
        codes.iter().map(|code| code.as_str().expect("a code").to_owned()).collect()
    }

    /// Both keys as a file without positions, as if they came from elsewhere.
    fn file(&self) -> String {
        format!(
            "otpauth://totp/alice?secret={}\notpauth://hotp/alice?secret={COUNTER_AND_ZERO}\
             &counter=0\n",
            self.key
        )
    }

    #[track_caller]
    fn import(&self, options: &str) {
        self.order_with(&format!("import --from otpauth --user alice {options}-"), &self.file())
            .ok();
    }

    // -- what there is --

    /// What the columns are, one word each.
    fn seen(&self) -> [&'static str; 6] {
        let status: Value = self.order("--json status alice").json();
        let status = &status[0];
        if status["otp"] == false {
            return ["gone"; 6];
        }
        let activation = if status["activated"] == true { "active" } else { "pending" };
        let failures = if status["failures"] == 0 { "forgotten" } else { "kept" };
        let hosts = if self.is_remembered() { "kept" } else { "forgotten" };
        let used = [self.totp(-2), hotp_code(COUNTER, 1, 6), self.recovery[0].clone()];
        let [totp, hotp, recovery] = used.map(|code| self.admits(&code));
        let word = |again, later: &str| match again {
            true => "again",
            false if self.admits(later) => "kept",
            false => "void",
        };
        // Newer ones after older ones, and the time token's last: it activates.
        let recovery = word(recovery, &self.recovery[1]);
        let hotp = word(hotp, &hotp_code(COUNTER, 12, 6));
        // The window is around where the token's clock was last.
        let totp = word(totp, &self.totp(WINDOW - 4));
        [totp, hotp, recovery, failures, hosts, activation]
    }
}

/// What is done, by the name that it has in the table.
fn doors() -> BTreeMap<&'static str, fn(&Standing)> {
    let mut doors: BTreeMap<&'static str, fn(&Standing)> = BTreeMap::new();
    doors.insert("a login, `verify`", |s| {
        s.order_with("verify alice", &code_at(&s.key, TotpOptions::default(), now())).ok();
    });
    doors.insert("`resync`", |s| {
        let [one, two] = [4, 5].map(|counter| hotp_code(COUNTER, counter, 6));
        s.order(&format!("resync alice {one} {two}")).ok();
        assert!(!s.admits(&two));
    });
    doors.insert("`enable` of who is enabled", |s| drop(s.order("enable alice").ok()));
    doors.insert("`token add`", |s| drop(s.order("token add alice").ok()));
    doors.insert("`token add --stdin` of a key that the account has", |s| {
        for (kind, key) in [("hotp", COUNTER), ("hotp", COUNTER_AND_ZERO), ("totp", &s.key)] {
            let run = s.add(kind, key);
            assert_ends(&run, 1, "two tokens would have the same key");
            assert!(run.stderr.contains("onetimectl token list"), "{}", run.stderr);
        }
    });
    doors.insert("`token remove`, then `token add --stdin` of that key", |s| {
        s.order("token remove alice 2").ok();
        let added = s.add("hotp", COUNTER_AND_ZERO).ok();
        assert!(added.contains("was in use here before"), "{added}");
        s.order("token remove alice 1").ok();
        s.add("totp", &s.key).ok();
    });
    doors.insert("`disable`", |s| drop(s.order("disable alice --yes").ok()));
    doors.insert("`disable`, then `import` of the same keys", |s| {
        s.order("disable alice --yes").ok();
        s.import("");
    });
    doors.insert("`import --replace` of the same keys", |s| s.import("--replace "));
    doors.insert("`import --replace --pending` of the same keys", |s| {
        s.import("--replace --pending ");
    });
    doors.insert("`export`, `disable`, `import`", |s| {
        let exported = s.order("export --format pskc alice").ok();
        s.order("disable alice --yes").ok();
        // Nothing is remembered on another machine: the file says it all.
        s.shell(&format!("rm -rf {STORE}/retired"));
        s.order_with("import --from pskc -", &exported).ok();
    });
    doors.insert("`enable --new-secret`", |s| drop(s.order("enable alice --new-secret").ok()));
    doors.insert("`enable --new-secret`, then `token add --stdin` of the old keys", |s| {
        s.order("enable alice --new-secret").ok();
        s.add("hotp", COUNTER).ok();
        s.add("totp", &s.key).ok();
    });
    doors.insert("`disable`, then a login with `missing = \"enrol\"`", |s| {
        s.order("disable alice --yes").ok();
        let run = s.client("enrol").run(&Answers::new(&[ALICE_PASSWORD, ""]));
        assert_eq!(run.result(), SUCCESS, "{run:?}");
    });
    doors.insert("`recovery`, `handout --recovery`", |s| {
        let new = s.recovery_codes();
        s.must_admit(&new[0]);
        assert!(!s.admits(&new[0]));
    });
    doors.insert("`unlock`", |s| drop(s.order("unlock alice").ok()));
    doors.insert("`rename`, `rebind`", |s| {
        s.order("rename alice alicia --force").ok();
        s.order("rename alicia alice").ok();
        s.order("rebind alice").ok();
    });
    doors.insert("a lost state, then `repair`", |s| {
        s.shell(&format!("rm {STORE}/state/alice"));
        let run = s.order("repair alice");
        assert_ends(&run, 1, "the counter of a hotp token was lost with the state");
        let run = s.client("test").run(&Answers::new(&[ALICE_PASSWORD, &s.totp(0)]));
        assert_eq!(run.result(), AUTHINFO_UNAVAIL, "{run:?}");
        // Without that token.
        s.back_to("standing");
        s.order("token remove alice 2").ok();
        s.shell(&format!("rm {STORE}/state/alice"));
        let repaired = s.order("repair alice").ok();
        assert!(repaired.contains("onetimectl recovery"), "{repaired}");
    });
    doors.insert("the store is restored from a backup", |s| s.back_to("backup"));
    doors.insert("the store is restored, then `repair --restored`", |s| {
        s.back_to("backup");
        let repaired = s.order("repair --restored alice").ok();
        assert!(repaired.contains("onetimectl resync"), "{repaired}");
    });
    doors.insert("the store is restored, then `repair --restored`, then `resync`", |s| {
        s.back_to("backup");
        s.order("repair --restored alice").ok();
        let [one, two] = [2, 3].map(|counter| hotp_code(COUNTER, counter, 6));
        s.order(&format!("resync alice {one} {two}")).ok();
    });
    doors.insert("a record alone is restored from a backup", |s| {
        s.must_admit(&s.recovery_codes()[0]);
        s.shell(&format!("cp -a /root/backup/users/alice.toml {STORE}/users/alice.toml"));
    });
    doors
}

fn now() -> u64 {
    since_epoch().as_secs()
}

/// The rows of the table in SECURITY.md: the door, and a word for each column.
fn table() -> Vec<(String, [String; 6])> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("SECURITY.md");
    let text = std::fs::read_to_string(path).expect("SECURITY.md");
    let (_, rest) = text.split_once("\n## Doors\n").expect("a section about doors");
    let rows = rest.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
        let door = cells.next().expect("a door");
        let cells: Vec<_> = cells.collect();
        let cells = cells.try_into().unwrap_or_else(|cells| panic!("six cells: {cells:?}"));
        (door, cells)
    })
    .collect()
}

#[test]
fn each_door_keeps_and_forgets_what_the_table_in_security_md_says_cell_by_cell() {
    let standing = Standing::new();
    let doors = doors();
    let table = table();
    let columns = ["totp", "hotp", "recovery", "failures", "hosts", "activation"];
    let (mut wrong, mut tried) = (Vec::new(), 0);
    let nothing = ("nothing".to_owned(), ["kept", "kept", "kept", "kept", "kept", "active"]);
    let nothing = (nothing.0, nothing.1.map(str::to_owned));
    for (door, expected) in std::iter::once(&nothing).chain(&table) {
        standing.back_to("standing");
        match doors.get(door.as_str()) {
            Some(open) => open(&standing),
            None => assert_eq!(door, "nothing", "a row that nothing tries"),
        }
        let seen = standing.seen();
        for ((column, expected), seen) in columns.iter().zip(expected).zip(seen) {
            tried += 1;
            // What is spent up to now and a little further is void until then.
            let expected = if expected == "spent" { "void" } else { expected };
            if expected != seen {
                wrong.push(format!("{door}: {column} is {seen}, not {expected}"));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
    assert_eq!(table.len(), doors.len(), "a door that the table does not have");
    assert!(tried > 120, "{tried}");
}

#[test]
fn a_key_that_another_user_gets_goes_on_after_what_was_spent() {
    let standing = Standing::new();
    standing.order("disable alice --yes").ok();
    let enabled = standing.order("enable bob").ok();
    assert!(enabled.contains("enabled"), "{enabled}");
    let add = "token add bob --kind hotp --stdin";
    standing.order_with(add, COUNTER_AND_ZERO).ok();
    let bob = |counter| {
        let client = Client::new(&standing.world, "test", "bob");
        let code = hotp_code(COUNTER, counter, 6);
        client.run(&Answers::new(&[BOB_PASSWORD, &code, &code, &code])).result() == SUCCESS
    };
    assert!(!bob(0) && !bob(1), "alice has used them");
    assert!(bob(2));
    assert!(!bob(2));
}

#[test]
fn a_counter_at_its_end_is_refused_by_each_format_that_has_counters() {
    let world = hasty();
    let end = u64::MAX;
    let hex = "3132333435363738393031323334353637383930";
    let pskc = |counter: u64| {
        format!(
            "<KeyContainer Version=\"1.0\" xmlns=\"urn:ietf:params:xml:ns:keyprov:pskc\">\
             <KeyPackage><Key Id=\"1\" Algorithm=\"urn:ietf:params:xml:ns:keyprov:pskc:hotp\">\
             <AlgorithmParameters><ResponseFormat Length=\"6\" Encoding=\"DECIMAL\"/>\
             </AlgorithmParameters><Data><Secret>\
             <PlainValue>MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=</PlainValue></Secret>\
             <Counter><PlainValue>{counter}</PlainValue></Counter></Data>\
             <UserId>UID=alice</UserId></Key></KeyPackage>\
             </KeyContainer>"
        )
    };
    let used = |counter: u64| format!("HOTP alice - {hex} {counter} 755224 2026-11-24T10:00:00L\n");
    let uri = |counter| format!("otpauth://hotp/alice?secret={COUNTER}&counter={counter}\n");
    let google = |counter| format!("{COUNTER}\n\" HOTP_COUNTER {counter}\n");
    let oath = |counter| format!("HOTP alice - {hex} {counter}\n");
    for (format, text) in [
        ("otpauth", uri(end)),
        ("google", google(end)),
        ("oath", oath(end)),
        ("oath", used(end)),
        ("oath", used(end - 1)),
        ("pskc", pskc(end)),
    ] {
        for options in [["--pending"].as_slice(), &[], &["--dry-run"]] {
            let arguments = [&["import", "--from", format, "--user", "alice"], options, &["-"]];
            let mut tool = world.command("onetimectl");
            let arguments = arguments.concat();
            let run = finish(tool.args(&arguments), text.as_bytes());
            assert_ends(&run, 1, "it has no codes left");
            assert!(!world.exists("/var/lib/onetime/users/alice.toml"), "{format}");
        }
    }
    let mut tool = world.command("onetimectl");
    let last = uri(end - 1);
    finish(tool.args(["import", "--from", "otpauth", "--user", "alice", "-"]), last.as_bytes())
        .ok();
    // It has one code, which works once.
    let code = hotp_code(COUNTER, end - 1, 6);
    world.onetimectl(&["verify", "alice", &code]).ok();
    for _ in 0..2 {
        assert_ends(&world.onetimectl(&["verify", "alice", &code]), 1, "code already used");
    }
    let code = hotp_code(COUNTER, end, 6);
    assert_ends(&world.onetimectl(&["verify", "alice", &code]), 1, "wrong code");
}

#[test]
fn after_a_repair_no_code_of_a_fast_token_that_was_used_is_accepted() {
    let world = hasty();
    world.write("/etc/onetime/onetime.toml", b"[limits]\nfailures = 0\n", 0o644);
    world.onetimectl(&["enable", "alice"]).ok();
    let key = secret(&world, "alice");
    let ahead = |offset_steps, now| {
        code_at(&key, TotpOptions { offset_steps, ..TotpOptions::default() }, now)
    };
    world.onetimectl(&["verify", "alice", &current_code(&key, 0)]).ok();
    // Its clock is found to be nine steps off, and with the window ten.
    let row = [8, 9].map(|offset| current_code(&key, offset));
    world.onetimectl(&["resync", "alice", &row[0], &row[1]]).ok();
    let login = |code: &str| {
        let client = Client::new(&world, "sshd", "alice");
        client.run(&Answers::new(&[ALICE_PASSWORD, code])).result() == SUCCESS
    };
    let used = current_code(&key, 10);
    assert!(login(&used));
    world.run("rm", &["/var/lib/onetime/state/alice"]).ok();
    let run = world.onetimectl(&["--json", "repair", "alice"]);
    let rows: Value = run.json();
    let wait = rows[0]["wait"].as_u64().expect("seconds");
    assert!((301..=330 + 30).contains(&wait), "{wait}");
    // The token is brought back, and again at its place.
    let now = since_epoch().as_secs();
    let run = world.onetimectl(&["resync", "alice", &row[1], &used]);
    assert_ends(&run, 1, "have been used");
    for later in 0..12 {
        let client = Client::new(&world, "sshd", "alice");
        let client = client.option(&format!("time={}", now + later * 30));
        assert_ne!(client.run(&Answers::new(&[ALICE_PASSWORD, &used])).result(), SUCCESS);
    }
    let after = now + wait + 30;
    let client = Client::new(&world, "sshd", "alice").option(&format!("time={after}"));
    let run = client.run(&Answers::new(&[ALICE_PASSWORD, &ahead(0, after)]));
    assert_eq!(run.result(), SUCCESS, "{run:?}");
}
