//! Growth: the same login with 1 to 1,000,000 accounts in the store.

use crate::field::{FLOOR, Field, GOOGLE, MODULES, OATH, OURS, PERMIT, USERS};
use crate::figures::{Extent, Sample, Table, grouped, times};
use crate::noise::{Noise, Spread};
use crate::plot::{self, Chart, Line};
use crate::{Setting, progress};

const SIZES: [u32; 5] = [1, 100, 10_000, 100_000, 1_000_000];
/// Logins in a row before the turn of the next module or size.
const BLOCK: usize = 8;
/// From here on pam_oath, which rewrites the file of all, gets fewer logins.
const MANY: u32 = 100_000;
/// ... so many for one account, as many times fewer as there are accounts, and ten.
const MANY_LOGINS: usize = 4_000_000;

pub fn run(setting: &Setting) -> Option<Spread> {
    let extent = setting.extent;
    let sizes = extent.of(&SIZES[..4], &SIZES[..]);
    let field = Field::new();
    for size in sizes {
        progress(&format!("making {} accounts for each module", grouped(f64::from(*size))));
        field.populate(*size);
    }
    // What was written is not to be on its way to the disk while others are measured.
    rustix::fs::sync();
    let each = extent.of(200, 2000);
    progress(&format!("{each} logins at each size"));
    let mut noise = Noise::default();
    let mut measure = |modules: &[&'static str], sizes: &[u32], each| {
        measure(&field, modules, sizes, each, &mut noise)
    };
    let mut medians = measure(&[PERMIT, FLOOR, OURS, GOOGLE], sizes, each);
    let (small, large) = sizes.split_at(sizes.partition_point(|size| *size < MANY));
    medians.extend(measure(&[OATH], small, each / 10));
    for size in large {
        progress(&format!("pam_oath at {} accounts", grouped(f64::from(*size))));
        medians.extend(measure(&[OATH], &[*size], MANY_LOGINS / *size as usize + 10));
    }
    progress("removing the accounts");
    drop(field);
    tell(extent, &medians, noise.spread());
    Some(noise.spread())
}

/// Microseconds, with a unit of their size.
fn duration(micros: f64) -> String {
    match micros {
        1e6.. => format!("{} s", grouped(micros / 1e6)),
        1e3.. => format!("{} ms", grouped(micros / 1e3)),
        _ => format!("{} µs", grouped(micros)),
    }
}

struct Median {
    module: &'static str,
    accounts: u32,
    micros: f64,
}

/// Logs in by turns at all of the sizes, so that noise hits them alike.
fn measure(
    field: &Field,
    modules: &[&'static str],
    sizes: &[u32],
    each: usize,
    noise: &mut Noise,
) -> Vec<Median> {
    let kinds: Vec<(&str, u32)> =
        modules.iter().flat_map(|module| sizes.iter().map(|size| (*module, *size))).collect();
    let services: Vec<String> = kinds
        .iter()
        .map(|(module, size)| match *module {
            PERMIT | FLOOR => format!("{module}:0:1"),
            module => format!("{module}-{size}:0:{}", USERS.min(*size)),
        })
        .collect();
    // Before it counts, each user has logged in once where there is time for it.
    let warm_up = (each / 10).min(USERS as usize);
    let logins = field.logins(((each + warm_up) * kinds.len()) as u64, BLOCK.min(each), &services);
    let median = |(index, (module, accounts)): (usize, &(&'static str, u32))| {
        let its = logins.iter().filter(|login| login.service == index).skip(warm_up);
        noise.add(module, its.clone());
        let micros = Sample::new(its.map(|login| login.wall as f64 / 1000.0)).median();
        Median { module, accounts: *accounts, micros }
    };
    kinds.iter().enumerate().map(median).collect()
}

fn tell(extent: Extent, medians: &[Median], spread: Spread) {
    let mut sizes: Vec<u32> = medians.iter().map(|median| median.accounts).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let of = |module: &str, accounts: u32| {
        let found = medians.iter().find(|it| it.module == module && it.accounts == accounts);
        found.expect("each was measured").micros
    };
    let mut columns = vec!["accounts".to_owned()];
    columns.extend(MODULES.map(|module| format!("{module}, median µs")));
    columns.extend(MODULES.map(|module| format!("{module}, to 1 account")));
    let mut table = Table::new(&columns.iter().map(String::as_str).collect::<Vec<_>>());
    for size in &sizes {
        let micros = MODULES.map(|module| grouped(of(module, *size)));
        let ratios = MODULES.map(|module| times(of(module, *size) / of(module, sizes[0])));
        table.row(&[
            &grouped(f64::from(*size)),
            &micros[0],
            &micros[1],
            &micros[2],
            &ratios[0],
            &ratios[1],
            &ratios[2],
        ]);
    }
    extent.publish("growth", table.text());
    let (least, most) = (sizes[0], sizes[sizes.len() - 1]);
    let ratio = of(OURS, most) / of(OURS, least);
    extent.target(
        "flat: median with the most accounts, to that with one",
        "≤ 1.10 ×",
        &format!("{} at {}", times(ratio), grouped(f64::from(most))),
        spread.verdict(ratio <= 1.1),
    );
    let line = |module| {
        let points = sizes.iter().map(|size| (f64::from(*size), of(module, *size)));
        Line { name: module, points: points.collect() }
    };
    plot::draw(
        extent,
        &Chart {
            file: "growth",
            title: "One login, by number of accounts",
            x: "accounts",
            y: "median of wall time",
            unit: duration,
            ticks: vec![1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6],
            lines: MODULES.into_iter().chain([FLOOR]).map(line).collect(),
        },
    );
}
