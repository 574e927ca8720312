//! A login beside a running batch of the tool, in the same store, and in the same store when
//! it is quiet.

use std::process::Stdio;

use crate::common::conf;
use crate::field::{Field, Login, OURS, stack, user};
use crate::figures::{Extent, Sample, Table, times};
use crate::noise::{Noise, Spread};
use crate::progress;
use crate::tool::people;

/// The p99 beside it is at most so many times that without.
const BOUND: f64 = 2.0;
/// As many times the accounts that the older build is measured with: the batch is to last.
const MORE: u32 = 4;
/// Logins of one process.
const CHUNK: u64 = 100;
/// Milliseconds between two of them: people come one by one.
const PAUSE: &str = "pause=2";
/// Logins without a batch, before it and after it, each in chunks.
const QUIET: usize = 8;

/// Milliseconds of a login.
pub struct Walls {
    quiet: Sample,
    beside: Sample,
}

pub fn measure(noise: &mut Noise, field: &Field, few: u32) -> Walls {
    let world = &field.world;
    let config = field.configure(&conf("onetime.toml"), "beside");
    let onetimectl = |arguments: &[&str]| {
        world.onetimectl(&[&["--config", &config][..], arguments].concat()).ok();
    };
    onetimectl(&["init"]);
    world.write("/root/one.oath", field.oath_line(&user(0)).as_bytes(), 0o600);
    onetimectl(&["import", "/root/one.oath"]);
    world.pam_service(OURS, &stack(&format!("{OURS}.so config={config} password=none")));
    people(field, few * MORE);
    progress("logins with and without a batch beside them");
    let chunk = || chunk(field);
    let mut quiet: Vec<f64> = Vec::new();
    let mut beside: Vec<f64> = Vec::new();
    // The first login of an account that was imported is like no other.
    chunk();
    noise.look(field);
    (0..QUIET).for_each(|_| quiet.extend(chunk()));
    let mut batch = world.command("onetimectl");
    batch.args(["--config", &config, "import", "/root/first.oath"]);
    let batch = batch.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut batch = batch.spawn().expect("the tool can be started");
    loop {
        let walls = chunk();
        if let Some(status) = batch.try_wait().expect("our own child") {
            assert!(status.success(), "the batch has failed: {status}");
            break;
        }
        beside.extend(walls);
    }
    noise.look(field);
    (0..QUIET).for_each(|_| quiet.extend(chunk()));
    assert!(!beside.is_empty(), "the batch was over before {CHUNK} logins were");
    Walls { quiet: Sample::new(quiet), beside: Sample::new(beside) }
}

fn chunk(field: &Field) -> Vec<f64> {
    let logins = field.logins_with(CHUNK, &[PAUSE], &[format!("{OURS}:0:1")]);
    logins.iter().map(|login: &Login| login.wall as f64 / 1e6).collect()
}

pub fn tell(extent: Extent, walls: &Walls, spread: Spread) {
    let mut table = Table::new(&["one login", "logins", "median ms", "p99 ms", "slowest ms"]);
    for (name, sample) in
        [("nothing beside it", &walls.quiet), ("beside a running `import`", &walls.beside)]
    {
        table.row(&[
            &name,
            &format!("{:.0}", sample.count()),
            &format!("{:.2}", sample.median()),
            &format!("{:.2}", sample.quantile(0.99)),
            &format!("{:.2}", sample.quantile(1.0)),
        ]);
    }
    extent.publish("login beside a batch", table.text());
    let ratio = walls.beside.quantile(0.99) / walls.quiet.quantile(0.99);
    extent.target(
        "p99 of a login beside a running `import`, to that without",
        &format!("≤ {}", times(BOUND)),
        &times(ratio),
        spread.verdict(ratio <= BOUND),
    );
}
