//! A login does not become dearer unnoticed. Time depends on machine and hour;
//! instructions, counted by callgrind, hardly do. `make bench` measures the rest.

#![expect(
    dead_code,
    unreachable_pub,
    reason = "field and count are written for make bench, which uses all of them"
)]

#[path = "../../benches/side_by_side/count.rs"]
mod count;
#[path = "../../benches/side_by_side/field.rs"]
mod field;

use serde::Deserialize;

use self::field::{Field, OURS, PERMIT};
use crate::common::need;

/// budget.toml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Budget {
    instructions: f64,
    tolerance_percent: f64,
}

#[test]
fn a_login_stays_within_its_budget_of_instructions() {
    let budget: Budget = toml::from_str(include_str!("../budget.toml")).expect("a budget");
    need("valgrind", "valgrind");
    let field = Field::new();
    field.populate(1);
    let [ours, permit] = [format!("{OURS}-1:0:1"), format!("{PERMIT}:0:1")]
        .map(|service| count::instructions(&field, &service));
    let cost = ours - permit;
    let share = cost / budget.instructions * 100.0;
    println!("{cost:.0} instructions beyond pam_permit's {permit:.0}: {share:.1} % of the budget");
    assert!(permit > 1000.0, "something was counted");
    assert!(
        share <= 100.0 + budget.tolerance_percent,
        "a login takes {cost:.0} instructions more than with pam_permit, {share:.1} % of what tests/budget.toml permits"
    );
}
