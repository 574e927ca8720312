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

/// What changes accounts: its name, and which build's arguments they are.
const CHANGES: [&str; 5] =
    ["import", "import --replace", "repair --all", "disable --all", "enable --group"];
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
        Extent::Full => &[MANY][..],
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
    let name = before.map(|before| format!("build of {}", before.name));
    tell(extent, &rows, name.as_deref());
    targets(extent, &rows, name.as_deref(), spread);
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

    /// All states of a store are gone, as after a restored backup that had none.
    fn lose_states(&self, store: &str) {
        let states = self.field.world.path(&format!("/var/lib/onetime-{store}/state"));
        for entry in std::fs::read_dir(states).expect("a store has states") {
            let state = entry.expect("a name").path();
            std::fs::remove_file(state).expect("it can be removed");
        }
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

fn tell(extent: Extent, rows: &[Row], before: Option<&str>) {
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
            Build::Before => format!(", {}", before.expect("it was measured")),
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

fn targets(extent: Extent, rows: &[Row], before: Option<&str>, spread: Spread) {
    let find = |build, operation: &str, accounts| {
        let is_it = |row: &&Row| {
            row.build == build && row.operation == operation && row.accounts == accounts
        };
        rows.iter().find(is_it).map(|row| &row.cost)
    };
    let ours = |operation: &str, accounts| find(Build::Ours, operation, accounts);
    let few = rows[0].accounts;
    let sizes: Vec<u32> = rows.iter().map(|row| row.accounts).filter(|it| *it != few).collect();
    let (many, most) = (sizes[0], sizes[sizes.len() - 1]);
    let told_many = grouped(f64::from(many));
    for operation in CHANGES {
        let cost = ours(operation, many).expect("it was measured");
        let small = cost.peak <= CHANGED_BYTES;
        let (mut bound, mut measured) = (megabytes(CHANGED_BYTES, "≤ "), megabytes(cost.peak, ""));
        let mut verdict = Verdict::from(small);
        if let (Some(old), Some(before)) = (find(Build::Before, operation, few), before) {
            let each = cost.seconds / f64::from(many);
            let ratio = each / (old.seconds / f64::from(few));
            bound = format!("≤ {} the {before} for each account, {bound}", times(CHANGED_RATIO));
            measured = format!("{} ({:.1} s), {measured}", times(ratio), cost.seconds);
            verdict = if small { spread.verdict(ratio <= CHANGED_RATIO) } else { verdict };
        }
        extent.target(&format!("`{operation}` of {told_many}"), &bound, &measured, verdict);
    }
    for operation in READS.into_iter().filter(|it| *it != UNBOUND) {
        let cost = ours(operation, many).expect("it was measured");
        let small = cost.peak <= READ_BYTES;
        extent.target(
            &format!("`{operation}` of {told_many}"),
            &format!("≤ {READ_SECONDS} s, {}", megabytes(READ_BYTES, "≤ ")),
            &format!("{:.2} s, {}", cost.seconds, megabytes(cost.peak, "")),
            if small { spread.verdict(cost.seconds <= READ_SECONDS) } else { small.into() },
        );
    }
    let each = |operation, accounts| {
        ours(operation, accounts).expect("it was measured").seconds / f64::from(accounts)
    };
    let growth = |operation| each(operation, most) / each(operation, few);
    let all = || CHANGES.into_iter().chain(READS);
    let worst = all().max_by(|a, b| growth(a).total_cmp(&growth(b))).expect("there are some");
    extent.target(
        "time for each account, with the most to with few",
        &format!("≤ {}", times(LINEAR)),
        &format!("{} at {}, `{worst}`", times(growth(worst)), grouped(f64::from(most))),
        spread.verdict(growth(worst) <= LINEAR),
    );
    if most > many {
        let peak = |operation, accounts| ours(operation, accounts).expect("measured").peak;
        let growth = |operation| peak(operation, most) / peak(operation, many);
        let worst = all().max_by(|a, b| growth(a).total_cmp(&growth(b))).expect("some");
        extent.target(
            "memory with the most accounts, to that with 100,000",
            &format!("≤ {}", times(LEVEL)),
            &format!("{} at {}, `{worst}`", times(growth(worst)), grouped(f64::from(most))),
            (growth(worst) <= LEVEL).into(),
        );
    }
}

fn megabytes(bytes: f64, before: &str) -> String {
    format!("{before}{:.0} MB", bytes / 1e6)
}
