//! The administrator's tool with many accounts: time and memory.

use std::fmt::Write as _;
use std::time::Duration;

use crate::common::{conf, finish_within};
use crate::field::{Field, oath_line, user};
use crate::figures::{Extent, Table, grouped};
use crate::progress;

/// Bounds for `list` of 100,000 accounts: seconds, bytes.
const LIST_SECONDS: f64 = 1.5;
const LIST_BYTES: f64 = 64e6;
/// What changes nothing is measured this many times; the median is printed.
const LISTED: usize = 5;
const GROUP: &str = "everybody";
const GROUP_ID: u32 = 7000;

struct Cost {
    seconds: f64,
    processor: f64,
    peak: f64,
}

pub fn run(extent: Extent) {
    let accounts: u32 = extent.of(2000, 100_000);
    let field = Field::new();
    let mut passwd = field.world.read_text("/etc/passwd");
    let mut lines = String::new();
    for number in 0..accounts {
        let name = format!("p{}", user(number));
        let uid = 100_000 + number;
        writeln!(passwd, "{name}:x:{uid}:{GROUP_ID}::/:/usr/sbin/nologin").expect("a string");
        lines += &oath_line(&name, &format!("{number:040x}"));
    }
    let group = field.world.read_text("/etc/group") + &format!("{GROUP}:x:{GROUP_ID}:\n");
    field.world.write("/etc/passwd", passwd.as_bytes(), 0o644);
    field.world.write("/etc/group", group.as_bytes(), 0o644);
    field.world.write("/root/users.oath", lines.as_bytes(), 0o600);
    // A second store, so that enable finds nobody there.
    let second =
        conf("onetime.toml").replace("#dir = \"/var/lib/onetime\"", "dir = \"/var/lib/second\"");
    field.world.write("/etc/onetime/second.toml", second.as_bytes(), 0o644);
    let second = ["--config", "/etc/onetime/second.toml"];
    field.world.onetimectl(&[&second[..], &["init"]].concat()).ok();

    let mut table = Table::new(&[
        "onetimectl, so many accounts",
        "accounts",
        "seconds",
        "processor seconds",
        "peak memory, MB",
    ]);
    let mut measure = |told: &str, arguments: &[&str], times: usize| {
        progress(&format!("onetimectl {told}"));
        let mut costs: Vec<_> = (0..times).map(|_| cost(&field, arguments)).collect();
        costs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let cost = costs.swap_remove(times / 2);
        table.row(&[
            &format!("`{told}`"),
            &grouped(f64::from(accounts)),
            &format!("{:.2}", cost.seconds),
            &format!("{:.2}", cost.processor),
            &format!("{:.1}", cost.peak / 1e6),
        ]);
        cost
    };
    measure("import users.oath", &["import", "/root/users.oath"], 1);
    let list = measure("list", &["list"], LISTED);
    measure("list --json", &["--json", "list"], LISTED);
    let enable = [&second[..], &["enable", "--group", GROUP]].concat();
    measure("enable --group everybody", &enable, 1);
    extent.publish("tool", table.text());
    let number = grouped(f64::from(accounts));
    extent.target(
        "`list` of 100,000 accounts, time",
        &format!("< {LIST_SECONDS} s"),
        &format!("{:.2} s for {number}", list.seconds),
        list.seconds < LIST_SECONDS,
    );
    extent.target(
        "`list` of 100,000 accounts, memory",
        &format!("< {:.0} MB", LIST_BYTES / 1e6),
        &format!("{:.1} MB for {number}", list.peak / 1e6),
        list.peak < LIST_BYTES,
    );
    progress("removing the accounts");
}

fn cost(field: &Field, arguments: &[&str]) -> Cost {
    let mut command = field.host(&["child", "onetimectl"]);
    command.args(arguments);
    let told = finish_within(&mut command, b"", Duration::from_secs(1200)).ok();
    let line = told.lines().last().expect("a last line");
    let mut numbers = line.split(' ').map(|word| word.parse::<f64>().expect("a number"));
    let mut next = || numbers.next().expect("three numbers");
    Cost { seconds: next() / 1e9, processor: next() / 1e9, peak: next() }
}
