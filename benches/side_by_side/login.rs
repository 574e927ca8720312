//! One login: how long, how much of the processor, how many instructions and system
//! calls, what is written.

use crate::count::{self, Calls};
use crate::field::{BARE, FLOOR, Field, GOOGLE, MODULES, OATH, OURS, PEERS, PERMIT};
use crate::figures::{Extent, Sample, Table, grouped, times};
use crate::progress;

/// Logins of a service in a row before the next one's turn: long enough for its code to
/// be in the cache as it is in a login, short enough for noise to hit all alike.
const BLOCK: usize = 10;
/// Logins of each service that are made before it is measured.
const WARM_UP: usize = 20;

pub struct Row {
    pub name: &'static str,
    pub wall: Sample,
    pub processor: Sample,
    pub instructions: f64,
    pub calls: Calls,
}

pub fn run(extent: Extent) {
    let field = Field::new();
    field.populate(1);
    field.add_bare();
    let services: Vec<(&str, String)> = [PERMIT, FLOOR, BARE]
        .map(|name| (name, format!("{name}:0:1")))
        .into_iter()
        .chain(MODULES.map(|name| (name, format!("{name}-1:0:1"))))
        .collect();
    let rows = measure(&field, &services, extent.of(200, 10_000));
    tell(extent, &rows);
    targets(extent, &rows);
}

/// So many logins of each service, by turns in one process.
pub fn measure(field: &Field, services: &[(&'static str, String)], each: usize) -> Vec<Row> {
    let names: Vec<String> = services.iter().map(|(_, service)| service.clone()).collect();
    let each = each + WARM_UP;
    progress(&format!("{each} logins of each of {} kinds", names.len()));
    let logins = field.logins((each * names.len()) as u64, BLOCK, &names);
    progress("instructions and system calls");
    let (own_instructions, own_calls) = count::own_share(field);
    services
        .iter()
        .enumerate()
        .map(|(index, (name, service))| {
            let its = logins.iter().filter(|login| login.service == index).skip(WARM_UP);
            let micros = |nanos: u64| nanos as f64 / 1000.0;
            Row {
                name,
                wall: Sample::new(its.clone().map(|login| micros(login.wall))),
                processor: Sample::new(its.map(|login| micros(login.processor))),
                instructions: count::instructions(field, service) - own_instructions,
                calls: count::calls(field, service).without(&own_calls),
            }
        })
        .collect()
}

fn tell(extent: Extent, rows: &[Row]) {
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
    let ours = find(rows, OURS);
    let mut table = Table::new(&[
        "pam_onetime, as a multiple of",
        "median",
        "p99",
        "processor",
        "instructions",
        "system calls",
    ]);
    for other in [PERMIT, FLOOR, BARE, GOOGLE, OATH] {
        let other = find(rows, other);
        table.row(&[
            &other.name,
            &times(ours.wall.median() / other.wall.median()),
            &times(ours.wall.quantile(0.99) / other.wall.quantile(0.99)),
            &times(ours.processor.mean() / other.processor.mean()),
            &times(ours.instructions / other.instructions),
            &times(ours.calls.all() / other.calls.all()),
        ]);
    }
    extent.publish("login ratios", table.text());
    extent.write("README.md", "speed", table.text());
}

fn targets(extent: Extent, rows: &[Row]) {
    let ours = find(rows, OURS);
    let better = |of: fn(&Row) -> f64| {
        of(ours) / PEERS.iter().map(|peer| of(find(rows, peer))).fold(f64::INFINITY, f64::min)
    };
    let target = |name: &str, bound: f64, ratio: f64| {
        extent.target(name, &format!("≤ {}", times(bound)), &times(ratio), ratio <= bound);
    };
    target("median, to the better peer", 0.55, better(|row| row.wall.median()));
    target("median, to the floor", 1.3, ours.wall.median() / find(rows, FLOOR).wall.median());
    target("p99, to the better peer", 0.7, better(|row| row.wall.quantile(0.99)));
    target("instructions, to the better peer", 0.8, better(|row| row.instructions));
}

fn find<'r>(rows: &'r [Row], name: &str) -> &'r Row {
    rows.iter().find(|row| row.name == name).expect("each was measured")
}
