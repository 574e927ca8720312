//! Leaks: after a login, nothing in the host process remembers the secret, the codes
//! or the password, and nothing that was said about it contains them.
//!
//! The host process is `examples/pam_forgetful.rs`. It pauses with the handle
//! open, and again after pam_end, and all of its memory is searched each time for
//! eight bytes in a row of each form that a secret, a code or a password has.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::iter;
use std::os::unix::fs::FileExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};

use aho_corasick::AhoCorasick;
use qrcode::EcLevel;

use crate::common::{
    ALICE_PASSWORD, AUTH_ERR, AUTHINFO_UNAVAIL, Algorithm, Daemon, Figures, PATIENCE, SERVICE_ERR,
    SUCCESS, TotpOptions, World, code, decode_qr, example, extent, hasty, hotp_code, sealed,
    secret as secret_of,
};

/// So many bytes of a form are a leak: half of a secret is one too.
const PIECE: usize = 8;

/// Codes of eight digits: no other eight bytes are these by chance.
const DIGITS: u32 = 8;

// --- what is searched for ---

/// Each piece of each form, with what it is of.
#[derive(Default)]
struct Needles {
    pieces: Vec<Vec<u8>>,
    names: Vec<&'static str>,
    seen: HashSet<Vec<u8>>,
    /// Numbers of four bytes, which are searched for where they can be.
    numbers: Vec<u32>,
}

impl Needles {
    fn text(&mut self, name: &'static str, form: &[u8]) {
        for piece in form.windows(PIECE) {
            self.piece(name, piece);
        }
    }

    fn piece(&mut self, name: &'static str, piece: &[u8]) {
        if self.seen.insert(piece.to_vec()) {
            self.pieces.push(piece.to_vec());
            self.names.push(name);
        }
    }

    fn password(&mut self, password: &str) {
        self.text("password", password.as_bytes());
    }

    fn code(&mut self, code: &str) {
        let (front, back) = code.split_at(code.len() / 2);
        self.text("code", code.as_bytes());
        self.text("code", format!("{front} {back}").as_bytes());
        self.numbers.extend(code.parse::<u32>());
    }

    /// Whole, and without its hyphens.
    fn recovery_code(&mut self, code: &str) {
        self.text("recovery code", code.as_bytes());
        self.text("recovery code", code.replace('-', "").as_bytes());
    }

    /// A secret, and what the code of a step is computed with and by.
    fn secret(&mut self, base32: &str, algorithm: Algorithm, steps: impl Iterator<Item = u64>) {
        let alphabet = base32::Alphabet::Rfc4648 { padding: false };
        let Some(raw) = base32::decode(alphabet, base32) else {
            return self.text("secret in base32", base32.as_bytes());
        };
        let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
        let groups: Vec<&str> = base32
            .as_bytes()
            .chunks(4)
            .map(|group| std::str::from_utf8(group).expect("base32 is ASCII"))
            .collect();
        self.text("secret", &raw);
        self.text("secret in base32", base32.as_bytes());
        self.text("secret in base32", base32.to_lowercase().as_bytes());
        self.text("secret in hex", hex.as_bytes());
        self.text("secret in hex", hex.to_uppercase().as_bytes());
        self.text("secret in groups", groups.join(" ").as_bytes());
        let pad = |with: u8| raw.iter().map(|byte| byte ^ with).collect::<Vec<u8>>();
        for with in [0x36, 0x5c] {
            self.text("key of the HMAC", &pad(with));
            self.text("state of the HMAC", &hmac_state(algorithm, &pad(with), with));
        }
        let token = totp_rs::Builder::new()
            .with_algorithm(match algorithm {
                Algorithm::Sha1 => totp_rs::Algorithm::SHA1,
                Algorithm::Sha256 => totp_rs::Algorithm::SHA256,
                Algorithm::Sha512 => totp_rs::Algorithm::SHA512,
            })
            .with_secret(raw)
            .with_step_duration(1)
            .build_noncompliant();
        for step in steps {
            self.text("result of the HMAC", token.sign(step).as_ref());
        }
    }

    /// What the user saw: the URI's bits, the modules, the text they are drawn with.
    fn qr_code(&mut self, shown: &str, secret: &str) {
        let uri = decode_qr(shown.replace('\n', "\r\n").as_bytes(), 80, 60);
        assert!(uri.contains(secret), "{uri}");
        let bits = |uri: &str| {
            let bits = qrcode::bits::encode_auto(uri.as_bytes(), EcLevel::L);
            bits.expect("it was a QR code").into_bytes()
        };
        // What is around the secret is that of every URI, the end is padding (ISO/IEC
        // 18004, 7.4.10).
        let other = bits(&uri.replace(secret, &"A".repeat(secret.len())));
        let around = uri.replace(secret, "\0");
        let is_of = |all: &[u8], piece| all.windows(PIECE).any(|other| other == piece);
        let is_padding = |piece: &[u8]| piece.iter().all(|byte| [0xEC, 0x11].contains(byte));
        for piece in bits(&uri).windows(PIECE) {
            if !is_padding(piece) && !is_of(&other, piece) && !is_of(around.as_bytes(), piece) {
                self.piece("QR code", piece);
            }
        }
        let drawn = shown.lines().filter(|line| line.contains(|c| "█▀▄#".contains(c)));
        // The border is that of every QR code.
        for line in drawn.filter(|line| line.chars().any(|c| !line.starts_with(c))) {
            self.piece("QR code", line.as_bytes());
            for upper in [true, false] {
                let light = |c| c == '█' || c == if upper { '▀' } else { '▄' };
                let dark: Vec<u8> = line.chars().map(|c| u8::from(!light(c))).collect();
                let row = &dark[2..dark.len() - 2];
                if row.contains(&1) && row.contains(&0) {
                    self.piece("QR code", row);
                }
            }
        }
    }
}

/// What is left to be known of a key once its block has gone into the digest.
fn hmac_state(algorithm: Algorithm, padded: &[u8], with: u8) -> Vec<u8> {
    let block = |length: usize| {
        let mut block = vec![with; length];
        block[..padded.len()].copy_from_slice(padded);
        block
    };
    let bytes = |words: &[u32]| words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    match algorithm {
        Algorithm::Sha1 => {
            let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
            let block = block(64).try_into().expect("64 bytes");
            sha1::block_api::compress(&mut state, &[block]);
            bytes(&state)
        }
        Algorithm::Sha256 => {
            let mut state = [
                0x6a09_e667,
                0xbb67_ae85,
                0x3c6e_f372,
                0xa54f_f53a,
                0x510e_527f,
                0x9b05_688c,
                0x1f83_d9ab,
                0x5be0_cd19,
            ];
            let block = block(64).try_into().expect("64 bytes");
            sha2::block_api::compress256(&mut state, &[block]);
            bytes(&state)
        }
        Algorithm::Sha512 => {
            let mut state = [
                0x6a09_e667_f3bc_c908,
                0xbb67_ae85_84ca_a73b,
                0x3c6e_f372_fe94_f82b,
                0xa54f_f53a_5f1d_36f1,
                0x510e_527f_ade6_82d1,
                0x9b05_688c_2b3e_6c1f,
                0x1f83_d9ab_fb41_bd6b,
                0x5be0_cd19_137e_2179,
            ];
            let block = block(128).try_into().expect("128 bytes");
            sha2::block_api::compress512(&mut state, &[block]);
            state.iter().flat_map(|word: &u64| word.to_ne_bytes()).collect()
        }
    }
}

// --- where it is searched for ---

/// How many copies of what were found where.
type Hits = BTreeMap<(String, &'static str), u32>;

/// How much of a process was searched, and what was found.
struct Search {
    bytes: u64,
    found: Hits,
}

/// Searches every readable mapping of processes that pause.
fn search(pids: &[u32], needles: &Needles) -> Search {
    let mut search = Search { bytes: 0, found: Hits::new() };
    let automaton = AhoCorasick::new(&needles.pieces).expect("the needles are few");
    pids.iter().for_each(|pid| search.add(*pid, &automaton, needles));
    search
}

impl Search {
    fn add(&mut self, pid: u32, automaton: &AhoCorasick, needles: &Needles) {
        let memory = File::open(format!("/proc/{pid}/mem")).expect("root may read any memory");
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the process is there");
        for mapping in maps.lines() {
            let words: Vec<&str> = mapping.split_whitespace().collect();
            let (range, rights) = (words[0], words[1]);
            let name =
                words.get(5).map_or("anonymous", |path| path.rsplit('/').next().unwrap_or(path));
            // The kernel's pages: time, and code to read it.
            if !rights.starts_with('r') || ["[vvar]", "[vvar_vclock]", "[vsyscall]"].contains(&name)
            {
                continue;
            }
            let (from, to) = range.split_once('-').expect("a range");
            let [from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).expect("an address"));
            let mut bytes = vec![0; usize::try_from(to - from).expect("it fits")];
            memory.read_exact_at(&mut bytes, from).unwrap_or_else(|e| panic!("{mapping}: {e}"));
            self.bytes += to - from;
            let mut note = |what| *self.found.entry((name.to_owned(), what)).or_insert(0) += 1;
            let mut last: Option<(&str, usize)> = None;
            for hit in automaton.find_overlapping_iter(&bytes) {
                let what = needles.names[hit.pattern().as_usize()];
                // Pieces that overlap are one copy.
                if !last.is_some_and(|(name, end)| name == what && hit.start() < end) {
                    note(what);
                }
                last = Some((what, hit.end()));
            }
            // In the code of a library, four bytes can be anything.
            if rights.starts_with("rw") {
                let words = bytes.as_chunks().0.iter().map(|word| u32::from_ne_bytes(*word));
                words
                    .filter(|word| needles.numbers.contains(word))
                    .for_each(|_| note("code as number"));
            }
        }
    }
}

/// A host process, from its start to its end.
struct Host {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    told: String,
}

impl Host {
    fn start(mut command: Command, keeps: &[&str], answers: &[String]) -> Self {
        command.args([SERVICE, "alice"]).args(keeps);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("the host starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        for answer in answers {
            writeln!(stdin, "{answer}").expect("the host listens");
        }
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            while stdout.read_line(&mut line).is_ok_and(|length| length > 0) {
                if sender.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
        Self { child, stdin, lines, told: String::new() }
    }

    /// Until it pauses.
    #[track_caller]
    fn pause(&mut self) {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line == "paused\n" => return,
                Ok(line) => self.told.push_str(&line),
                Err(error) => panic!("{error}; the host said: {}", self.told),
            }
        }
    }

    #[track_caller]
    fn go(&mut self) {
        self.stdin.write_all(b"go\n").expect("the host listens");
    }

    fn result(&self) -> i32 {
        let result = self.told.lines().find_map(|line| line.strip_prefix("result "));
        result.and_then(|number| number.parse().ok()).expect("a result")
    }

    /// What it said to standard error, once it has ended well.
    #[track_caller]
    fn end(mut self) -> String {
        self.go();
        let mut complaints = String::new();
        let mut stderr = self.child.stderr.take().expect("a pipe");
        stderr.read_to_string(&mut complaints).expect("it is text");
        assert!(self.child.wait().expect("our own child").success(), "{complaints}");
        complaints
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.child.kill().and_then(|()| self.child.wait()));
    }
}

/// What a login left behind: with the handle open, and after its end.
struct Remains {
    open: Search,
    ended: Search,
    /// How many pieces were searched for.
    pieces: usize,
}

/// One login, searched twice; `look` is given what the user saw, and says what to
/// search for. With `onetimed`, it is by a program of alice's, and both are searched.
#[track_caller]
fn login(
    world: &World,
    onetimed: Option<&Daemon>,
    keeps: &[&str],
    answers: &[String],
    expected: i32,
    look: impl FnOnce(&str) -> Needles,
) -> Remains {
    let command = match onetimed {
        None => example(world, HOST),
        Some(_) => world.command_as("alice", HOST),
    };
    let mut host = Host::start(command, keeps, answers);
    host.pause();
    assert_eq!(host.result(), expected, "{}", host.told);
    let needles = look(&host.told);
    let pids: Vec<_> = iter::once(host.child.id()).chain(onetimed.map(Daemon::id)).collect();
    let open = search(&pids, &needles);
    host.go();
    host.pause();
    let ended = search(&pids, &needles);
    let automaton = AhoCorasick::new(&needles.pieces).expect("the needles are few");
    assert_eq!(host.end(), "", "nothing is said to standard error");
    for line in world.syslog() {
        let hit = automaton.find(&line.raw).map(|hit| needles.names[hit.pattern().as_usize()]);
        assert_eq!(hit, None, "{}", line.raw);
    }
    Remains { open, ended, pieces: needles.pieces.len() }
}

// --- the logins ---

/// A kind of login.
struct Case {
    name: &'static str,
    /// What is below pam.d for it.
    stack: &'static str,
    /// What alice is enabled with; not at all if `None`.
    enabled: Option<&'static [&'static str]>,
    /// Whether a code has activated her already.
    active: bool,
    /// What is done to the world after that.
    then: fn(&World),
    answers: fn(&Known) -> Vec<String>,
    result: i32,
}

/// What the user knows.
struct Known {
    password: String,
    code: String,
    recovery: Vec<String>,
}

/// The program that logs in.
const HOST: &str = "pam_forgetful";

/// The service of all logins here.
const SERVICE: &str = "leaks";

/// Nothing else looks like a piece of it.
const WRONG_PASSWORD: &str = "x7Kq9-Zp4Lm2-Tw8";

const VERIFY: &str = "auth required pam_onetime.so debug\n";

impl Case {
    const fn new(name: &'static str, answers: fn(&Known) -> Vec<String>, result: i32) -> Self {
        let enabled: &'static [&'static str] = &[];
        Self {
            name,
            stack: VERIFY,
            enabled: Some(enabled),
            active: true,
            then: |_| {},
            answers,
            result,
        }
    }

    const fn pending(self) -> Self {
        Self { active: false, ..self }
    }

    const fn stack(self, stack: &'static str) -> Self {
        Self { stack, ..self }
    }

    const fn enabled(self, enabled: &'static [&'static str]) -> Self {
        Self { enabled: Some(enabled), ..self }
    }

    const fn then(self, then: fn(&World)) -> Self {
        Self { then, ..self }
    }

    fn algorithm(&self) -> Algorithm {
        match self.enabled {
            Some([_, "SHA256"]) => Algorithm::Sha256,
            Some([_, "SHA512"]) => Algorithm::Sha512,
            _ => Algorithm::Sha1,
        }
    }

    /// Logs in, and searches for all that was to be kept.
    #[track_caller]
    fn run(&self, world: &World, onetimed: Option<&Daemon>) -> Remains {
        world.pam_service(SERVICE, self.stack);
        drop(world.onetimectl(&["disable", "alice", "--yes"]));
        let mut recovery = Vec::new();
        if let Some(options) = self.enabled {
            let said = world.onetimectl(&[&["enable", "alice"], options].concat()).ok();
            recovery.extend(
                said.lines().filter_map(|line| line.strip_prefix("    ")).map(str::to_owned),
            );
        }
        let hotp = self.enabled == Some(&["--kind", "hotp"]);
        let algorithm = self.algorithm();
        let secret = self.enabled.map(|_| secret_of(world, "alice"));
        let at = |steps: i64| match &secret {
            None => "31415926".to_owned(),
            Some(secret) if hotp => {
                hotp_code(secret, (steps + 2).try_into().expect("near"), DIGITS)
            }
            Some(secret) => {
                let options = TotpOptions {
                    digits: DIGITS,
                    offset_steps: steps,
                    algorithm,
                    ..TotpOptions::default()
                };
                code(secret, options)
            }
        };
        if self.active {
            world.onetimectl(&["verify", "alice", &at(-1)]).ok();
        }
        (self.then)(world);
        let known = Known { password: ALICE_PASSWORD.to_owned(), code: at(0), recovery };
        let answers = (self.answers)(&known);
        let codes: Vec<String> = (-2..=2).map(at).collect();
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
        let present = if hotp { 2 } else { now / 30 };
        login(world, onetimed, &[], &answers, self.result, |told| {
            let mut needles = Needles::default();
            needles.password(ALICE_PASSWORD);
            codes.iter().for_each(|code| needles.code(code));
            answers.iter().for_each(|answer| needles.text("answer", answer.as_bytes()));
            for code in &known.recovery {
                needles.recovery_code(code);
            }
            for code in told.lines().filter_map(|line| line.strip_prefix("    ")) {
                needles.recovery_code(code);
            }
            for secret in secret.iter().chain(&secrets_of(world)) {
                needles.secret(secret, algorithm, present.saturating_sub(2)..=present + 2);
            }
            if told.contains('█') || told.contains("##") {
                needles.qr_code(told, &secret_of(world, "alice"));
            }
            needles
        })
    }
}

fn cases() -> Vec<Case> {
    let right = |known: &Known| vec![known.password.clone(), known.code.clone()];
    let skipped = |known: &Known| vec![known.password.clone(), String::new()];
    let wrong_code = |known: &Known| vec![known.password.clone(), "31415926".to_owned()];
    let wrong_password = |known: &Known| vec![WRONG_PASSWORD.to_owned(), known.code.clone()];
    let code_alone = |known: &Known| vec![known.code.clone()];
    let combined = |known: &Known| vec![format!("{}{}", known.password, known.code)];
    vec![
        Case::new("QR code shown", skipped, SUCCESS).pending(),
        Case::new("QR code in ASCII", skipped, SUCCESS)
            .pending()
            .stack("auth required pam_onetime.so debug qr=ascii\n"),
        Case::new("activated", right, SUCCESS).pending(),
        Case::new("activated with recovery codes", right, SUCCESS)
            .pending()
            .stack("auth required pam_onetime.so debug recovery_codes=4\n"),
        Case::new("wrong code while pending", |known| {
            vec![known.password.clone(), "31415926".to_owned(), String::new()]
        }, SUCCESS).pending(),
        Case::new("wrong password while pending", |_| vec![WRONG_PASSWORD.to_owned()], AUTH_ERR).pending(),
        Case { enabled: None, active: false, ..Case::new("enrolled at login", skipped, SUCCESS) }
            .stack("auth required pam_onetime.so debug missing=enrol\n"),
        Case::new("right", right, SUCCESS),
        Case::new("wrong code", wrong_code, AUTH_ERR),
        Case::new("wrong password", wrong_password, AUTH_ERR),
        Case::new("no code", skipped, AUTH_ERR),
        Case::new("a used code", |known| vec![known.password.clone(), known.code.clone()], AUTH_ERR)
            .then(|world| {
                let secret = secret_of(world, "alice");
                world.onetimectl(&["verify", "alice", &current(&secret)]).ok();
            }),
        Case::new("code in two groups", |known| {
            let (front, back) = known.code.split_at(4);
            vec![known.password.clone(), format!("{front} {back}")]
        }, SUCCESS),
        Case::new("SHA256", right, SUCCESS).enabled(&["--algorithm", "SHA256"]),
        Case::new("SHA512", right, SUCCESS).enabled(&["--algorithm", "SHA512"]),
        Case::new("recovery code", |known| vec![known.password.clone(), known.recovery[0].clone()], SUCCESS)
            .enabled(&["--recovery"]),
        Case::new("wrong recovery code", |known| vec![known.password.clone(), "ABCD-EFGH-JKMN".to_owned()], AUTH_ERR)
            .enabled(&["--recovery"]),
        Case::new("counter", right, SUCCESS).enabled(&["--kind", "hotp"]),
        Case::new("counter and wrong code", wrong_code, AUTH_ERR).enabled(&["--kind", "hotp"]),
        Case::new("two tokens", right, SUCCESS)
            .then(|world| drop(world.onetimectl(&["token", "add", "alice"]).ok())),
        Case::new("host remembered", right, SUCCESS)
            .stack("auth required pam_onetime.so debug remember=1h\n"),
        Case::new("one answer for both", combined, SUCCESS)
            .stack("auth required pam_onetime.so debug prompt=combined\n"),
        Case::new("uniform", wrong_password, AUTH_ERR)
            .stack("auth required pam_onetime.so debug uniform=true\n"),
        Case::new("password by the stack", right, SUCCESS)
            .stack("auth requisite pam_unix.so nodelay\nauth required pam_onetime.so debug password=stack\n"),
        Case::new("password by the stack while pending", skipped, SUCCESS)
            .pending()
            .stack("auth requisite pam_unix.so nodelay\nauth required pam_onetime.so debug password=stack\n"),
        Case::new("no password", code_alone, SUCCESS)
            .stack("auth required pam_onetime.so debug password=none\n"),
        Case::new("shown without a password", |_| vec![String::new()], SUCCESS)
            .pending()
            .stack("auth required pam_onetime.so debug password=none show_without_password=true\nauth required pam_permit.so\n"),
        Case::new("record damaged", |known| vec![known.password.clone()], AUTHINFO_UNAVAIL)
            .then(|world| edit(world, |text| text.replace("id = 1", "id = 2"))),
        Case::new("record with an unknown field", |known| vec![known.password.clone()], AUTHINFO_UNAVAIL)
            .then(|world| edit(world, |text| sealed(&text.replace("id = 1", "id = 1\nextra = 1")))),
        Case::new("record with a secret in bad form", |known| vec![known.password.clone()], AUTHINFO_UNAVAIL)
            .then(|world| edit(world, |text| sealed(&text.replace("secret = \"", "secret = \"1")))),
        Case::new("state lost", |known| vec![known.password.clone()], AUTHINFO_UNAVAIL)
            .then(|world| world.remove("/var/lib/onetime/state/alice")),
        Case::new("bad configuration", |_| Vec::new(), SERVICE_ERR)
            .stack("auth required pam_onetime.so debug config=/etc/onetime/bad.toml\n")
            .then(|world| world.write("/etc/onetime/bad.toml", b"[code]\nwindow = true\n", 0o644)),
    ]
}

/// All that are in alice's record, be it damaged.
fn secrets_of(world: &World) -> Vec<String> {
    let record = world.read_text("/var/lib/onetime/users/alice.toml");
    let secrets = record.lines().filter_map(|line| line.strip_prefix("secret = \""));
    secrets.map(|secret| secret.trim_end_matches('"').to_owned()).collect()
}

/// The present code.
#[track_caller]
fn current(secret: &str) -> String {
    code(secret, TotpOptions { digits: DIGITS, ..TotpOptions::default() })
}

/// Changes alice's record.
fn edit(world: &World, change: impl Fn(&str) -> String) {
    let path = "/var/lib/onetime/users/alice.toml";
    world.write(path, change(&world.read_text(path)).as_bytes(), 0o600);
}

fn world() -> World {
    let world = hasty();
    let config = world.read_text("/etc/onetime/onetime.toml");
    let config = config.replace("#digits = 6", "digits = 8");
    world.write("/etc/onetime/onetime.toml", config.as_bytes(), 0o644);
    world
}

/// Finds what is planted: a search that finds nothing has to be one that can.
#[test]
fn the_search_finds_what_a_host_process_keeps_in_its_heap_frees_or_leaves_on_its_stack() {
    let world = world();
    world.pam_service(SERVICE, VERIFY);
    for (keeps, place) in
        [("keeps=leaked", "[heap]"), ("keeps=freed", "[heap]"), ("keeps=stack", "[stack]")]
    {
        world.onetimectl(&["enable", "alice", "--new-secret"]).ok();
        let secret = secret_of(&world, "alice");
        let wrong = "31415926".to_owned();
        let answers = [ALICE_PASSWORD.to_owned(), wrong.clone(), wrong.clone(), wrong.clone()];
        let remains = login(&world, None, &[keeps], &answers, AUTH_ERR, |told| {
            let mut needles = Needles::default();
            needles.password(ALICE_PASSWORD);
            needles.code(&wrong);
            needles.secret(&secret, Algorithm::Sha1, 0..1);
            needles.qr_code(told, &secret);
            needles
        });
        for found in [remains.open.found, remains.ended.found] {
            let copies = |what| found.get(&(place.to_owned(), what)).copied().unwrap_or(0);
            // The last answer covers earlier ones where each was in the same place.
            assert!(copies("code") > 0, "{keeps}: {found:?}");
            if keeps == "keeps=leaked" {
                assert_eq!([copies("password"), copies("code")], [1, 3], "{found:?}");
                assert_eq!(copies("secret in groups"), 1, "{found:?}");
                assert!(copies("QR code") > 0, "{found:?}");
            }
        }
    }
}

#[test]
fn nothing_in_a_host_process_remembers_a_secret_a_code_or_a_password() {
    find_nothing("leaks", &world(), None, &cases());
}

#[test]
fn neither_onetimed_nor_its_caller_remembers_a_secret_a_code_or_a_password() {
    let world = world();
    drop(example(&world, HOST));
    let daemon = Daemon::start(&world);
    // What a line of pam.d changes here, a user's program may not say, and it is shown nothing.
    let mut cases = cases();
    cases.retain(|case| case.stack == VERIFY && !case.name.starts_with("QR code"));
    find_nothing("leaks_onetimed", &world, Some(&daemon), &cases);
}

#[track_caller]
fn find_nothing(name: &'static str, world: &World, onetimed: Option<&Daemon>, cases: &[Case]) {
    let columns = ["login", "times", "pieces looked for", "MiB searched", "copies found"];
    let mut figures = Figures::new(name, &columns);
    let times = extent(1, 5);
    for case in cases {
        let (mut pieces, mut bytes) = (0, 0);
        for _ in 0..times {
            let remains = case.run(world, onetimed);
            let nothing = Hits::new();
            assert_eq!(remains.open.found, nothing, "{}, handle open", case.name);
            assert_eq!(remains.ended.found, nothing, "{}, after its end", case.name);
            pieces += remains.pieces;
            bytes += remains.open.bytes + remains.ended.bytes;
        }
        figures.row(&[&case.name, &times, &pieces, &(bytes >> 20), &0]);
    }
    figures.publish();
}
