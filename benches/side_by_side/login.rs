//! One login: how long, how much of the processor, how many instructions and system
//! calls, what is written.

use crate::count::{self, Calls};
use crate::field::{BARE, FLOOR, Field, OURS, OURS_BEFORE, PEERS, PERMIT};
use crate::figures::{Sample, Table, Verdict, grouped, times};
use crate::noise::{Noise, Spread};
use crate::{Setting, progress};

/// Logins of a service in a row before the next one's turn: long enough for its code to
/// be in the cache as it is in a login, short enough for noise to hit all alike.
const BLOCK: usize = 10;
/// Logins of each service that are made before it is measured.
const WARM_UP: usize = 20;
/// The most system calls of ours.
const MOST_CALLS: f64 = 92.0;

struct Row<'s> {
    /// That of the service.
    kind: &'static str,
    /// As the tables have it.
    name: &'s str,
    wall: Sample,
    processor: Sample,
    instructions: f64,
    calls: Calls,
}

pub fn run(setting: &Setting) -> Option<Spread> {
    let field = Field::new();
    field.populate(1);
    field.add_bare();
    let mut kinds = [PERMIT, FLOOR, BARE].map(|kind| (kind, kind.to_owned())).to_vec();
    kinds.push((OURS, format!("{OURS}-1")));
    if let Some(before) = &setting.before {
        before.add_to(&field);
        kinds.push((OURS_BEFORE, OURS_BEFORE.to_owned()));
    }
    kinds.extend(PEERS.map(|kind| (kind, format!("{kind}-1"))));
    let mut noise = Noise::default();
    let mut rows = measure(&field, &kinds, setting.extent.of(200, 10_000), &mut noise);
    let older = setting.older();
    for row in rows.iter_mut().filter(|row| row.kind == OURS_BEFORE) {
        row.name = &older;
    }
    let spread = noise.spread();
    tell(setting, &rows, spread);
    targets(setting, &rows, spread);
    Some(spread)
}

/// So many logins of each kind (its name, and its service), by turns in one process.
fn measure<'s>(
    field: &Field,
    kinds: &[(&'static str, String)],
    each: usize,
    noise: &mut Noise,
) -> Vec<Row<'s>> {
    let services: Vec<String> = kinds.iter().map(|(_, service)| format!("{service}:0:1")).collect();
    let each = each + WARM_UP;
    progress(&format!("{each} logins of each of {} kinds", kinds.len()));
    let logins = field.logins((each * kinds.len()) as u64, BLOCK, &services);
    progress("instructions and system calls");
    let (own_instructions, own_calls) = count::own_share(field);
    let row = |(index, (kind, service)): (usize, (&&'static str, &String))| {
        let its = logins.iter().filter(|login| login.service == index).skip(WARM_UP);
        noise.add(kind, its.clone());
        let micros = |nanos: u64| nanos as f64 / 1000.0;
        Row {
            kind,
            name: kind,
            wall: Sample::new(its.clone().map(|login| micros(login.wall))),
            processor: Sample::new(its.map(|login| micros(login.processor))),
            instructions: count::instructions(field, service) - own_instructions,
            calls: count::calls(field, service).without(&own_calls),
        }
    };
    kinds.iter().map(|(kind, _)| kind).zip(&services).enumerate().map(row).collect()
}

fn tell(setting: &Setting, rows: &[Row<'_>], spread: Spread) {
    let extent = setting.extent;
    let mut table = Table::new(&[
        "one login",
        "min µs",
        "median µs",
        "p99 µs",
        "processor µs",
        "instructions",
        "system calls",
        "waits for the disk",
        "bytes written to files",
    ]);
    for row in rows {
        table.row(&[
            &row.name,
            &format!("{:.0}", row.wall.min()),
            &format!("{:.0}", row.wall.median()),
            &format!("{:.0}", row.wall.quantile(0.99)),
            &format!("{:.0}", row.processor.mean()),
            &grouped(row.instructions),
            &format!("{:.0}", row.calls.all()),
            &format!("{:.0}", row.calls.durable()),
            &grouped(row.calls.written),
        ]);
    }
    extent.publish("login", table.text());
    let others = rows.iter().filter(|row| row.kind != OURS);
    extent.publish("login ratios", &ratios(rows, others.clone()));
    let users = others.filter(|row| row.kind != OURS_BEFORE);
    if !spread.is_noisy() {
        extent.write("README.md", "speed", &ratios(rows, users));
    }
}

fn ratios<'r>(rows: &'r [Row<'_>], others: impl Iterator<Item = &'r Row<'r>>) -> String {
    let ours = find(rows, OURS);
    let mut table = Table::new(&[
        "pam_onetime, as a multiple of",
        "median",
        "p99",
        "processor",
        "instructions",
        "system calls",
    ]);
    for other in others {
        table.row(&[
            &other.name,
            &times(ours.wall.median() / other.wall.median()),
            &times(ours.wall.quantile(0.99) / other.wall.quantile(0.99)),
            &times(ours.processor.mean() / other.processor.mean()),
            &times(ours.instructions / other.instructions),
            &times(ours.calls.all() / other.calls.all()),
        ]);
    }
    table.text().to_owned()
}

fn targets(setting: &Setting, rows: &[Row<'_>], spread: Spread) {
    let extent = setting.extent;
    let ours = find(rows, OURS);
    let target = |name: &str, bound: f64, ratio: f64| {
        let verdict = spread.verdict(ratio <= bound);
        extent.target(name, &format!("≤ {}", times(bound)), &times(ratio), verdict);
    };
    let to = |other: &str, of: fn(&Row<'_>) -> f64| of(ours) / of(find(rows, other));
    let median = |row: &Row<'_>| row.wall.median();
    let p99 = |row: &Row<'_>| row.wall.quantile(0.99);
    // The ratio to the better one is the larger.
    let to_better = |of| PEERS.iter().map(|peer| to(peer, of)).fold(0.0, f64::max);
    target("one login, to the better peer: median", 0.60, to_better(median));
    target("one login, to the better peer: p99", 0.50, to_better(p99));
    target("one login, to floor-module: median", 1.20, to(BARE, median));
    let name = format!("one login, to the {}: median", setting.older());
    match setting.before {
        Some(_) => target(&name, 0.88, to(OURS_BEFORE, median)),
        None => extent.target(&name, "≤ 0.88 ×", "–", Verdict::Unknown),
    }
    let calls = ours.calls.all();
    extent.target(
        "one login: system calls",
        &format!("≤ {MOST_CALLS:.0}"),
        &format!("{calls:.0}"),
        (calls.round() <= MOST_CALLS).into(),
    );
}

fn find<'r>(rows: &'r [Row<'_>], kind: &str) -> &'r Row<'r> {
    rows.iter().find(|row| row.kind == kind).expect("each was measured")
}
