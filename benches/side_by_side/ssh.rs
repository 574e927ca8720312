//! As users meet it: real logins by ssh over loopback, with password and code, each by a
//! process of its own; and the same with the password alone. What a second factor adds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use regex::Regex;

use crate::common::{Phone, Sshd, conf, since_epoch};
use crate::field::{Field, GOOGLE, OATH, OURS, USERS, auth_line, user};
use crate::figures::{Sample, Table};
use crate::noise::{Noise, Spread};
use crate::{Setting, progress};

/// Logins in a row before the turn of the next kind.
const BLOCK: usize = 5;
/// The password. As Debian hashes it: yescrypt, with its default cost.
const PASSWORD: &str = "correct-horse";
const HASH: &str = r"print crypt($ARGV[0], '$y$j9T$F5Jx5fExrKuPp53xLKQ..1$')";

/// The password alone.
const WITHOUT: &str = "without a second factor";
const KINDS: [&str; 4] = [WITHOUT, OURS, GOOGLE, OATH];
const PERIOD: u64 = 30;

pub fn run(setting: &Setting) -> Option<Spread> {
    let extent = setting.extent;
    let field = Field::new();
    let mut people = People::new(&field);
    let rounds = extent.of(2, 16);
    progress(&format!("{} logins by ssh of each of {} kinds", rounds * BLOCK, KINDS.len()));
    let sshd = Sshd::start(&field.world, "");
    let mut noise = Noise::default();
    let mut walls = KINDS.map(|_| Vec::new());
    // The first round is for what is read from the disk once.
    for round in 0..=rounds {
        noise.look(&field);
        for (kind, walls) in KINDS.into_iter().zip(&mut walls) {
            field.world.pam_service("sshd", &stack(kind));
            let logins = (0..BLOCK).map(|_| people.login(&sshd, kind).as_secs_f64() * 1e3);
            let logins: Vec<f64> = logins.collect();
            if round > 0 {
                walls.extend(logins);
            }
        }
    }
    drop(sshd);
    let walls = walls.map(Sample::new);
    let (table, spread) = (table(&walls), noise.spread());
    extent.publish("ssh", &table);
    if !spread.is_noisy() {
        extent.write("README.md", "speed by ssh", &table);
    }
    Some(spread)
}

/// What is shipped for sshd, with this second factor in our place.
fn stack(kind: &str) -> String {
    let shipped = conf("pam.d/sshd");
    let (ours, others): (Vec<&str>, Vec<&str>) =
        shipped.lines().filter(|line| !line.starts_with('#')).partition(|line| line.contains(OURS));
    assert_eq!(ours.len(), 2, "auth and account");
    let auth = auth_line(if kind == WITHOUT { OURS } else { kind }, USERS);
    let unix = "auth required pam_unix.so".to_owned();
    let first = match kind {
        WITHOUT => vec![unix],
        // It verifies the password itself, by pam_unix.
        OURS => {
            let arguments = auth.split_once(' ').map_or("", |(_, arguments)| arguments);
            let arguments = arguments.replace("password=none", "");
            ["auth", "account"].map(|what| format!("{what} required {OURS}.so {arguments}")).into()
        }
        _ => vec![unix, format!("auth required {auth}")],
    };
    first.iter().map(String::as_str).chain(others).flat_map(|line| [line, "\n"]).collect()
}

/// Who logs in: one after the other, so that nobody has to wait for a code that is fresh.
struct People {
    /// All have the same secret.
    phone: Phone,
    /// Whose turn it is, and the last time step that each has used, by kind.
    turns: BTreeMap<&'static str, (u32, Vec<u64>)>,
    password: Regex,
    code: Regex,
}

impl People {
    fn new(field: &Field) -> Self {
        field.populate(USERS);
        let world = &field.world;
        let hash = world.run("perl", &["-e", HASH, PASSWORD]).ok();
        assert!(hash.starts_with("$y$"), "yescrypt");
        let lines =
            (0..USERS).map(|number| format!("{}:{hash}:20000:0:99999:7:::\n", user(number)));
        let shadow = world.read_text("/etc/shadow") + &lines.collect::<String>();
        world.write("/etc/shadow", shadow.as_bytes(), 0o640);
        let passwd = world.read_text("/etc/passwd");
        let may_log_in = |line: &str| match line.starts_with('u') {
            true => line.replace("/usr/sbin/nologin", "/bin/sh"),
            false => line.to_owned(),
        };
        let passwd: Vec<String> = passwd.lines().map(may_log_in).collect();
        world.write("/etc/passwd", format!("{}\n", passwd.join("\n")).as_bytes(), 0o644);
        let pattern = |text: &str| Regex::new(text).expect("a valid pattern");
        Self {
            phone: Phone::new(&field.secret),
            turns: BTreeMap::new(),
            password: pattern("Password: ?$"),
            code: pattern("(One-time|Verification).*: ?$"),
        }
    }

    /// One login of the user whose turn it is, from the start of ssh to its end.
    fn login(&mut self, sshd: &Sshd<'_>, kind: &'static str) -> Duration {
        let now = since_epoch().as_secs() / PERIOD;
        let (turn, used) = self.turns.entry(kind).or_insert_with(|| (0, vec![0; USERS as usize]));
        let number = *turn % USERS;
        *turn += 1;
        let used = &mut used[number as usize];
        let step = now.max(*used + 1);
        assert!(step <= now + 1, "the users log in faster than codes come");
        *used = step;
        let code = self.phone.code(step);
        let begin = Instant::now();
        let mut ssh = sshd.ssh(&user(number), &["true"]);
        ssh.expect(self.password.clone());
        ssh.send_line(PASSWORD);
        if kind != WITHOUT {
            ssh.expect(self.code.clone());
            ssh.send_line(&code);
        }
        let status = ssh.wait();
        let wall = begin.elapsed();
        assert!(status.success(), "{kind} refuses {}: {}", user(number), sshd.log());
        wall
    }
}

fn table(walls: &[Sample; 4]) -> String {
    let without = &walls[0];
    let mut table = Table::new(&[
        "one login by ssh",
        "median ms",
        "p99 ms",
        "added to the median",
        "added to the p99",
    ]);
    for (kind, sample) in KINDS.iter().zip(walls) {
        let added = |of: fn(&Sample) -> f64| match *kind {
            WITHOUT => "–".to_owned(),
            _ => format!("{:+.1} %", (of(sample) / of(without) - 1.0) * 100.0),
        };
        table.row(&[
            kind,
            &format!("{:.1}", sample.median()),
            &format!("{:.1}", sample.quantile(0.99)),
            &added(Sample::median),
            &added(|sample| sample.quantile(0.99)),
        ]);
    }
    table.text().to_owned()
}
