//! A login that `onetimed` judges, beside the same login by root's own program: with the password
//! service of a fresh Debian, and with one that lets everybody in, where no hash hides what the
//! way through `onetimed` costs.

use std::time::Duration;

use crate::common::{Daemon, finish_within, hotp_code, secret, until};
use crate::count;
use crate::field::{FIRST_UID, Field, Login, read_logins, stack, user};
use crate::figures::{Extent, Sample, Table, Verdict, grouped, times};
use crate::noise::{Noise, Spread};
use crate::{Setting, progress};

/// Logins in a row before the other way's turn.
const BLOCK: u64 = 20;
/// Blocks before the next look at the machine.
const LOOK: u32 = 5;
/// The most that one block may take.
const LIMIT: Duration = Duration::from_secs(120);
/// Milliseconds between two logins: people come one by one. What `onetimed` does after a login,
/// and for the next one, is done by then.
const PAUSE: u64 = 10;
/// Password and code are one answer: the program types both, whatever is asked.
const LINE: &str = "pam_onetime.so prompt=combined";

/// The password. As Debian hashes it: yescrypt, with its default cost.
const PASSWORD: &str = "correct-horse";
const HASH: &str = r"print crypt($ARGV[0], '$y$j9T$F5Jx5fExrKuPp53xLKQ..1$')";

/// What `onetime-password` is, and how many milliseconds are between two logins.
const PARTS: [(&str, &str, u64); 3] = [
    (", with pam_unix", "auth required pam_unix.so\naccount required pam_unix.so\n", PAUSE),
    (", every password right", "auth required pam_permit.so\n", PAUSE),
    (", that, one after the other", "auth required pam_permit.so\n", 0),
];

/// Who judges.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The module, in a program of root's.
    Direct,
    /// `onetimed`, for a program of the user's own.
    Relayed,
}

impl Way {
    const ALL: [Self; 2] = [Self::Direct, Self::Relayed];

    const fn name(self) -> &'static str {
        match self {
            Self::Direct => "by the module, as root",
            Self::Relayed => "by onetimed, as the user",
        }
    }
}

/// An account whose codes no clock decides: the daemon's clock is the machine's.
struct Counter {
    field: Field,
    secret: String,
    next: u64,
}

impl Counter {
    fn new() -> Self {
        let field = Field::new();
        let world = &field.world;
        let who = user(1);
        let hash = world.run("perl", &["-e", HASH, PASSWORD]).ok();
        assert!(hash.starts_with("$y$"), "yescrypt");
        let shadow = world.read_text("/etc/shadow");
        let shadow = format!("{shadow}{who}:{hash}:20000:0:99999:7:::\n");
        world.write("/etc/shadow", shadow.as_bytes(), 0o640);
        world.pam_service("relayed", &stack(LINE));
        // A user has eight logins in a tenth of a second, which are not enough here.
        let may_ask = format!("may_ask = [{{ user = \"{who}\", services = [\"relayed\"] }}]");
        let settings = world.read_text("/etc/onetime/onetime.toml");
        let settings = settings.replace("#may_ask = []", &may_ask);
        assert!(settings.contains(&may_ask), "the shipped configuration has the key");
        world.write("/etc/onetime/onetime.toml", settings.as_bytes(), 0o644);
        world.onetimectl(&["enable", "--kind", "hotp", &who]).ok();
        let secret = secret(world, &who);
        let first = hotp_code(&secret, 0, 6);
        world.onetimectl(&["verify", &who, &first]).ok();
        Self { field, secret, next: 1 }
    }

    /// So many logins, under another program if need be.
    fn logins(
        &mut self,
        way: Way,
        runner: &[&str],
        pause: u64,
        count: u64,
    ) -> (Vec<Login>, String) {
        let uid = FIRST_UID + 1;
        let as_user =
            ["setpriv", &format!("--reuid={uid}"), &format!("--regid={uid}"), "--clear-groups"];
        let pause = format!("pause={pause}");
        let password = format!("password={PASSWORD}");
        let arguments = ["logins", &self.secret, &pause, &password, "relayed:1:1"];
        let words: Vec<&str> = match way {
            Way::Direct => runner.to_vec(),
            Way::Relayed => as_user.into_iter().chain(runner.iter().copied()).collect(),
        };
        let mut command = match words.is_empty() {
            true => self.field.host(&arguments),
            false => self.field.host_under(&words, &arguments),
        };
        let counters = self.next..self.next + count;
        self.next += count;
        let steps: Vec<u8> = counters.flat_map(u64::to_le_bytes).collect();
        let run = finish_within(&mut command, &steps, LIMIT);
        let logins = read_logins(&run.stdout);
        assert!(
            logins.len() as u64 == count && logins.iter().all(|login| login.result == 0),
            "{}: {}",
            way.name(),
            run.text()
        );
        (logins, run.stderr)
    }
}

pub fn run(setting: &Setting) -> Option<Spread> {
    let extent = setting.extent;
    let mut noise = Noise::default();
    let mut counter = Counter::new();
    let daemon = Daemon::start(&counter.field.world);
    counter.field.world.pam_service("onetime-password", PARTS[0].1);
    counter.logins(Way::Relayed, &[], PAUSE, BLOCK);
    // The process that waits for the next connection belongs to it, and is made when all is quiet.
    until("one process waits", || daemon.children().len() == 1);
    let at_rest = memory(&daemon);
    let walls = PARTS.map(|(part, password_service, pause)| {
        progress(&format!("logins by the module and by onetimed{part}"));
        counter.field.world.pam_service("onetime-password", password_service);
        let mut wall = [Vec::new(), Vec::new()];
        for round in 0..extent.of(3, 15) {
            if round % LOOK == 0 {
                noise.look(&counter.field);
            }
            for (way, wall) in Way::ALL.into_iter().zip(&mut wall) {
                let (logins, _) = counter.logins(way, &[], pause, BLOCK + 2);
                wall.extend(logins.iter().skip(2).map(|login| login.wall as f64 / 1000.0));
            }
        }
        wall.map(Sample::new)
    });
    progress("instructions");
    let instructions = Way::ALL.map(|way| {
        count::difference(|logins| {
            count::collected(&counter.logins(way, &count::CALLGRIND, 0, logins).1)
        })
    });
    tell(extent, &walls);
    let spread = noise.spread();
    targets(extent, &walls, instructions, at_rest, spread);
    let idle = memory(&daemon);
    assert!(idle < 2 * at_rest, "it grows: {at_rest} bytes, and {idle} after all logins");
    Some(spread)
}

fn ratio([direct, relayed]: &[Sample; 2]) -> f64 {
    relayed.median() / direct.median()
}

fn tell(extent: Extent, walls: &[[Sample; 2]; 3]) {
    let mut table = Table::new(&["one login", "min µs", "median µs", "p99 µs", "median"]);
    for (wall, (part, ..)) in walls.iter().zip(PARTS) {
        for ((way, sample), ratio) in Way::ALL.iter().zip(wall).zip([1.0, ratio(wall)]) {
            table.row(&[
                &format!("{}{part}", way.name()),
                &format!("{:.0}", sample.min()),
                &format!("{:.0}", sample.median()),
                &format!("{:.0}", sample.quantile(0.99)),
                &times(ratio),
            ]);
        }
    }
    extent.publish("daemon", table.text());
}

fn targets(
    extent: Extent,
    walls: &[[Sample; 2]; 3],
    [direct, relayed]: [f64; 2],
    at_rest: u64,
    spread: Spread,
) {
    let target = |name: &str, bound: &str, measured: String, verdict: Verdict| {
        extent.target(name, bound, &measured, verdict);
    };
    let to_module = ratio(&walls[0]);
    let met = spread.verdict(to_module <= 1.5);
    target("by onetimed, to the module", "≤ 1.50 ×", times(to_module), met);
    let ratio = relayed / direct;
    let measured = format!("{} ({} of {})", times(ratio), grouped(relayed), grouped(direct));
    target("instructions of the caller then", "≤ 1.00 ×", measured, (ratio <= 1.0).into());
    let megabytes = format!("{:.1} MB", at_rest as f64 / 1e6);
    target("onetimed at rest", "< 8 MB", megabytes, (at_rest < 8_000_000).into());
}

/// Bytes of memory that it takes together with the process that waits for the next login: of
/// what several share, each its part.
fn memory(daemon: &Daemon) -> u64 {
    let part = |process: &str| {
        let map = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
        let line = map.lines().find_map(|line| line.strip_prefix("Pss:")).expect("Pss");
        let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("kB");
        Some(kilobytes * 1024)
    };
    loop {
        // One that has just ended has no memory any more.
        if let [waiting] = &*daemon.children()
            && let (Some(one), Some(other)) = (part(waiting), part(&daemon.id().to_string()))
        {
            return one + other;
        }
        std::thread::yield_now();
    }
}
