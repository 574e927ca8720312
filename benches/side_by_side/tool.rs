//! The administrator's tool with many accounts: time and memory, beside those of an older
//! build, by number of accounts, and what a login meets beside it.

use std::fmt::Write as _;
use std::time::Duration;

use crate::before::TOOL;
use crate::common::{conf, finish_within};
use crate::field::{Field, oath_line, user};
use crate::figures::{Extent, Table, Verdict, grouped, times};
use crate::noise::{Noise, Spread};
use crate::{Setting, beside, progress};

/// How many accounts: with few of them the older build is measured, too, which needs
/// milliseconds for each.
const FEW: u32 = 5_000;
const MANY: u32 = 100_000;
/// With LONG=1.
const MOST: u32 = 1_000_000;

/// Bounds: of what changes accounts, a multiple of the older build's time for each account, and
/// bytes; of what reads them, seconds and bytes; of time for each account with the most, a
/// multiple of that with few; of memory with a million, a multiple of that with MANY.
const CHANGED_RATIO: f64 = 0.15;
const CHANGED_BYTES: f64 = 64e6;
const READ_SECONDS: f64 = 0.6;
const READ_BYTES: f64 = 32e6;
const LINEAR: f64 = 1.25;
const LEVEL: f64 = 1.1;

/// What reads is measured this many times; the median is printed.
const READ: usize = 3;
const GROUP: &str = "everybody";
const GROUP_ID: u32 = 7000;
/// The most that one operation may take.
const LIMIT: Duration = Duration::from_secs(4 * 3600);

/// What changes accounts, in this order.
const CHANGES: [&str; 5] =
    ["import", "import --replace", "repair --all", "disable --all", "enable --group"];
/// What reads them, after the first of these.
const READS: [&str; 5] = ["list", "list --json", "status --all", "export", "doctor"];
/// Without targets of its own.
const UNBOUND: &str = "list --json";

struct Cost {
    seconds: f64,
    processor: f64,
    peak: f64,
}

/// Who works on the accounts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Build {
    Ours,
    Before,
}

/// What was measured.
struct Row {
    build: Build,
    operation: &'static str,
    accounts: u32,
    cost: Cost,
}

pub fn run(setting: &Setting) -> Option<Spread> {
    let extent = setting.extent;
    let before = setting.before.as_ref().filter(|before| before.tool.is_some());
    let field = Field::new();
    if let Some(before) = before {
        before.add_to(&field);
    }
    let mut bench = Bench { field, noise: Noise::default(), rows: Vec::new() };
    let few = extent.of(1_000, FEW);
    people(&bench.field, few);
    let mut builds = vec![(Build::Ours, bench.configure(&conf("onetime.toml"), "few"))];
    if let Some(tool) = before.and_then(|before| before.tool.as_ref()) {
        builds.push((Build::Before, bench.configure(&tool.conf, "few-before")));
    }
    bench.measure(&builds, few);
    let login = beside::measure(&mut bench.noise, &bench.field, few);
    let more = match extent {
        Extent::Quick => &[FEW][..],
        Extent::Full | Extent::Aside => &[MANY][..],
        Extent::Long => &[MANY, MOST][..],
    };
    for accounts in more {
        people(&bench.field, *accounts);
        let ours = bench.configure(&conf("onetime.toml"), &accounts.to_string());
        bench.measure(&[(Build::Ours, ours)], *accounts);
    }
    bench.noise.look(&bench.field);
    progress("removing the accounts");
    let Bench { field, noise, rows } = bench;
    drop(field);
    let spread = noise.spread();
    tell(extent, &rows, &setting.older());
    let measured = Measured { extent, rows, spread };
    measured.judge_changes(&setting.older());
    measured.judge_reads();
    measured.judge_growth();
    beside::tell(extent, &login, spread);
    Some(spread)
}

/// So many users, all in one group, and two files of pam_oath with other tokens for each.
pub fn people(field: &Field, accounts: u32) {
    let mut passwd = String::new();
    for line in field.world.read_text("/etc/passwd").lines().filter(|it| !it.starts_with("pu")) {
        writeln!(passwd, "{line}").expect("a string");
    }
    let (mut first, mut second) = (String::new(), String::new());
    for number in 0..accounts {
        let name = format!("p{}", user(number));
        let uid = 100_000 + number;
        writeln!(passwd, "{name}:x:{uid}:{GROUP_ID}::/:/usr/sbin/nologin").expect("a string");
        first += &oath_line(&name, &format!("{number:040x}"));
        second += &oath_line(&name, &format!("f{number:039x}"));
    }
    let group = field.world.read_text("/etc/group");
    if !group.contains(GROUP) {
        let group = format!("{group}{GROUP}:x:{GROUP_ID}:\n");
        field.world.write("/etc/group", group.as_bytes(), 0o644);
    }
    field.world.write("/etc/passwd", passwd.as_bytes(), 0o644);
    field.world.write("/root/first.oath", first.as_bytes(), 0o600);
    field.world.write("/root/second.oath", second.as_bytes(), 0o600);
}

struct Bench {
    field: Field,
    noise: Noise,
    rows: Vec<Row>,
}

impl Bench {
    /// Two stores for a build: one to import into, and an empty one to enable in. Their names.
    fn configure(&self, shipped: &str, name: &str) -> [String; 2] {
        [name.to_owned(), format!("{name}-second")]
            .map(|name| (self.field.configure(shipped, &name), name).1)
    }

    /// All that can be done with so many accounts, in the order of an account's life.
    fn measure(&mut self, builds: &[(Build, [String; 2])], accounts: u32) {
        for (build, stores) in builds {
            for store in stores {
                self.mount(store, accounts);
                let config = format!("/etc/onetime/{store}.toml");
                self.field.world.run(build.tool(), &["--config", &config, "init"]).ok();
            }
        }
        for (build, stores) in builds {
            self.operation(*build, "import", stores, accounts, 1);
        }
        for operation in READS {
            let [(_, stores), ..] = builds else { unreachable!("ours comes first") };
            self.operation(Build::Ours, operation, stores, accounts, READ);
        }
        for operation in &CHANGES[1..] {
            for (build, stores) in builds {
                if operation.starts_with("repair") {
                    self.lose_states(&stores[0]);
                }
                self.operation(*build, operation, stores, accounts, 1);
            }
        }
    }

    fn operation(
        &mut self,
        build: Build,
        operation: &'static str,
        [first, second]: &[String; 2],
        accounts: u32,
        times: usize,
    ) {
        progress(&format!("{} {operation}, {} accounts", build.name(), grouped(accounts.into())));
        let store = if operation.starts_with("enable") { second } else { first };
        let config = format!("/etc/onetime/{store}.toml");
        let arguments = [&["--config", &config], build.arguments(operation)].concat();
        let mut costs: Vec<Cost> = (0..times)
            .map(|_| {
                self.noise.look(&self.field);
                cost(&self.field, build.tool(), &arguments)
            })
            .collect();
        costs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let cost = costs.swap_remove(times / 2);
        self.rows.push(Row { build, operation, accounts, cost });
    }

    /// A file system for a store: where many files were removed, ext4 makes new ones slowly for
    /// minutes, and what was done before would be measured.
    fn mount(&self, store: &str, accounts: u32) {
        // A state has two blocks, a record and an entry of the index one each, an inode 256 bytes.
        let size = 512 + u64::from(accounts) * 32 / 1024;
        let script = format!(
            "test -e /dev/loop-control || {{ mknod /dev/loop-control c 10 237; \
             for n in $(seq 0 31); do mknod /dev/loop$n b 7 $n; done; }}; \
             mkdir -p /var/lib/onetime-{store}; truncate -s {size}M /var/lib/disk-{store}; \
             mkfs.ext4 -q -i 8192 /var/lib/disk-{store}; \
             mount -o loop /var/lib/disk-{store} /var/lib/onetime-{store}; \
             chmod 700 /var/lib/onetime-{store}; rmdir /var/lib/onetime-{store}/lost+found"
        );
        self.field.world.run("sh", &["-c", &format!("set -e; {script}")]).ok();
    }

    /// All states of a store are cut off, so that each is to be rebuilt.
    fn lose_states(&self, store: &str) {
        let cut =
            format!("cd /var/lib/onetime-{store}/state; find . -type f | xargs truncate -s 0");
        self.field.world.run("sh", &["-c", &cut]).ok();
    }
}

impl Build {
    const fn name(self) -> &'static str {
        match self {
            Self::Ours => "onetimectl",
            Self::Before => "the older onetimectl",
        }
    }

    const fn tool(self) -> &'static str {
        match self {
            Self::Ours => "onetimectl",
            Self::Before => TOOL,
        }
    }

    fn arguments(self, operation: &str) -> &'static [&'static str] {
        match (operation, self) {
            ("import", _) => &["import", "/root/first.oath"],
            ("import --replace", Self::Ours) => {
                &["import", "--replace", "--yes", "/root/second.oath"]
            }
            // It does not ask.
            ("import --replace", Self::Before) => &["import", "--replace", "/root/second.oath"],
            ("repair --all", _) => &["repair", "--all"],
            ("disable --all", _) => &["disable", "--all", "--yes"],
            ("enable --group", _) => &["enable", "--group", GROUP],
            ("list", _) => &["list"],
            ("list --json", _) => &["--json", "list"],
            ("status --all", _) => &["status", "--all"],
            ("export", _) => &["export"],
            ("doctor", _) => &["doctor"],
            (other, _) => panic!("no operation {other}"),
        }
    }
}

fn cost(field: &Field, tool: &str, arguments: &[&str]) -> Cost {
    let mut command = field.host(&["child", tool]);
    command.args(arguments);
    let run = finish_within(&mut command, b"", LIMIT);
    // What doctor finds in a world is not what is measured.
    assert!(
        run.success() || run.status.code() == Some(1) && arguments.contains(&"doctor"),
        "{}: {}",
        run.status,
        run.stderr
    );
    let line = run.stdout.lines().last().expect("a last line");
    let mut numbers = line.split(' ').map(|word| word.parse::<f64>().expect("a number"));
    let mut next = || numbers.next().expect("three numbers");
    Cost { seconds: next() / 1e9, processor: next() / 1e9, peak: next() }
}

fn tell(extent: Extent, rows: &[Row], older: &str) {
    let mut table = Table::new(&[
        "onetimectl",
        "accounts",
        "seconds",
        "µs for each account",
        "processor seconds",
        "peak memory, MB",
    ]);
    for Row { build, operation, accounts, cost } in rows {
        let by = match build {
            Build::Ours => String::new(),
            Build::Before => format!(", {older}"),
        };
        table.row(&[
            &format!("`{operation}`{by}"),
            &grouped(f64::from(*accounts)),
            &format!("{:.2}", cost.seconds),
            &format!("{:.0}", cost.seconds / f64::from(*accounts) * 1e6),
            &format!("{:.2}", cost.processor),
            &format!("{:.1}", cost.peak / 1e6),
        ]);
    }
    extent.publish("tool", table.text());
}

struct Measured {
    extent: Extent,
    rows: Vec<Row>,
    spread: Spread,
}

impl Measured {
    fn find(&self, build: Build, operation: &str, accounts: u32) -> Option<&Cost> {
        let is_it = |row: &&Row| {
            row.build == build && row.operation == operation && row.accounts == accounts
        };
        self.rows.iter().find(is_it).map(|row| &row.cost)
    }

    fn ours(&self, operation: &str, accounts: u32) -> &Cost {
        self.find(Build::Ours, operation, accounts).expect("each was measured")
    }

    /// With how many accounts: few, many, and the most, which may be as many.
    fn sizes(&self) -> [u32; 3] {
        let mut sizes: Vec<u32> = self.rows.iter().map(|row| row.accounts).collect();
        sizes.dedup();
        [sizes[0], sizes[1], sizes[sizes.len() - 1]]
    }

    fn judge_changes(&self, older: &str) {
        let [few, many, _] = self.sizes();
        for operation in CHANGES {
            let cost = self.ours(operation, many);
            let (ratio, in_time) = match self.find(Build::Before, operation, few) {
                Some(old) => {
                    let old = old.seconds / f64::from(few);
                    let ratio = cost.seconds / f64::from(many) / old;
                    (times(ratio), self.spread.verdict(ratio <= CHANGED_RATIO))
                }
                None => ("–".to_owned(), Verdict::Unknown),
            };
            let bound = megabytes(CHANGED_BYTES);
            self.extent.target(
                &format!("`{operation}` of {}", grouped(f64::from(many))),
                &format!("≤ {} the {older} for each account, ≤ {bound}", times(CHANGED_RATIO)),
                &format!("{ratio} ({:.1} s), {}", cost.seconds, megabytes(cost.peak)),
                in_time.and((cost.peak <= CHANGED_BYTES).into()),
            );
        }
    }

    fn judge_reads(&self) {
        let [_, many, _] = self.sizes();
        for operation in READS.into_iter().filter(|it| *it != UNBOUND) {
            let cost = self.ours(operation, many);
            let in_time = self.spread.verdict(cost.seconds <= READ_SECONDS);
            self.extent.target(
                &format!("`{operation}` of {}", grouped(f64::from(many))),
                &format!("≤ {READ_SECONDS} s, ≤ {}", megabytes(READ_BYTES)),
                &format!("{:.2} s, {}", cost.seconds, megabytes(cost.peak)),
                in_time.and((cost.peak <= READ_BYTES).into()),
            );
        }
    }

    fn judge_growth(&self) {
        let [few, many, most] = self.sizes();
        let each =
            |operation, accounts| self.ours(operation, accounts).seconds / f64::from(accounts);
        let (worst, ratio) = largest(|operation| each(operation, most) / each(operation, few));
        self.extent.target(
            "time for each account, with the most to with few",
            &format!("≤ {}", times(LINEAR)),
            &format!("{} at {}, `{worst}`", times(ratio), grouped(f64::from(most))),
            self.spread.verdict(ratio <= LINEAR),
        );
        if most > many {
            let peak = |operation, accounts| self.ours(operation, accounts).peak;
            let (worst, ratio) = largest(|operation| peak(operation, most) / peak(operation, many));
            self.extent.target(
                &format!(
                    "memory with {}, to that with {}",
                    grouped(most.into()),
                    grouped(many.into())
                ),
                &format!("≤ {}", times(LEVEL)),
                &format!("{}, `{worst}`", times(ratio)),
                (ratio <= LEVEL).into(),
            );
        }
    }
}

/// The operation of which this is the largest.
fn largest(ratio: impl Fn(&'static str) -> f64) -> (&'static str, f64) {
    let all = CHANGES.into_iter().chain(READS).map(|operation| (operation, ratio(operation)));
    all.max_by(|a, b| a.1.total_cmp(&b.1)).expect("there are some")
}

fn megabytes(bytes: f64) -> String {
    format!("{:.0} MB", bytes / 1e6)
}
