//! Another build of the module beside this one, alternating in one run: what a change
//! costs. `make bench AGAINST=/path/to/pam_onetime.so`

use std::path::Path;

use crate::common::module_path;
use crate::field::{Field, OURS, OURS_BEFORE, PERMIT, auth_line, stack};
use crate::figures::{Extent, Table, grouped, times};
use crate::login::{Row, measure};

pub fn run(extent: Extent, before: &Path) {
    let field = Field::new();
    field.populate(1);
    field.world.pam_module("pam_onetime_before.so", before);
    field.world.pam_service(OURS_BEFORE, &stack(&auth_line(OURS_BEFORE, 1)));
    let services = [
        (PERMIT, format!("{PERMIT}:0:1")),
        (OURS_BEFORE, format!("{OURS_BEFORE}:0:1")),
        (OURS, format!("{OURS}-1:0:1")),
    ];
    let rows = measure(&field, &services, extent.of(700, 2_100));
    let [_permit, before_row, now] = rows.try_into().unwrap_or_else(|_| panic!("a row each"));
    let size = |path: &Path| std::fs::metadata(path).expect("a module").len() as f64;
    let both = |of: fn(&Row) -> f64| (of(&before_row), of(&now));
    let mut table = Table::new(&["one login", "before", "now", "ratio"]);
    for (name, (before, now)) in [
        ("median µs", both(|row| row.wall.median())),
        ("p99 µs", both(|row| row.wall.quantile(0.99))),
        ("processor µs", both(|row| row.processor.mean())),
        ("instructions", both(|row| row.instructions)),
        ("system calls", both(|row| row.calls.all())),
        ("bytes of the module", (size(before), size(module_path()))),
    ] {
        table.row(&[&name, &grouped(before), &grouped(now), &times(now / before)]);
    }
    println!("\n{}", table.text());
}
