//! Constant time: how long a comparison takes does not reveal how much of a guess is
//! right. Measured by `examples/constant_time.rs`, on the library's own functions.

use std::process::Command;
use std::time::Duration;

use crate::common::{Figures, extent, finish_within, long, optimised_example_path};

/// The threshold of Welch's t-test in the literature. In the short form, on a machine
/// that does other things too, only a gross difference fails.
const LONG: f64 = 4.5;
const SHORT: f64 = 15.0;

#[test]
fn no_comparison_takes_longer_for_a_guess_that_is_nearly_right() {
    let measurements = extent(60_000, 2_000_000).to_string();
    let mut command = Command::new(optimised_example_path("constant_time"));
    let told = finish_within(command.arg(&measurements), b"", Duration::from_secs(600)).ok();
    let mut figures = Figures::new(
        "timing",
        &[
            "comparison",
            "one class",
            "other class",
            "measurements",
            "largest t",
            "t if it stopped early",
        ],
    );
    let mut failures = Vec::new();
    for line in told.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let [name, t, control, one, other] = columns[..] else { panic!("{line}") };
        figures.row(&[&name, &one, &other, &measurements, &t, &control]);
        let [t, control] = [t, control].map(|t| t.parse::<f64>().expect("a number").abs());
        if t > if long() { LONG } else { SHORT } {
            failures.push(format!("{name}: t = {t}"));
        }
        if control < 2.0 * SHORT {
            failures.push(format!("{name}: the test sees no early end, t = {control}"));
        }
    }
    assert_eq!(told.lines().count(), 4, "{told}");
    figures.publish();
    assert!(failures.is_empty(), "{failures:?}");
}
