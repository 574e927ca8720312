//! How steady the machine was while a part was measured. A login by pam_permit always does
//! the same, and waits for nothing: where its time is spread, others had the processor too,
//! and no ratio of times is worth a verdict.

use std::fmt::{self, Display, Formatter};

use crate::field::{Field, Login, PERMIT};
use crate::figures::{Sample, Verdict};

/// Logins of one look, and those of them that are not counted.
const LOGINS: u64 = 200;
const WARM_UP: usize = 20;
/// The largest spread of a quiet machine.
const BOUND: f64 = 1.5;

/// Looks at the machine, all through a part.
#[derive(Default)]
pub struct Noise {
    walls: Vec<f64>,
}

impl Noise {
    /// Logs in some times by pam_permit.
    pub fn look(&mut self, field: &Field) {
        let logins = field.logins(LOGINS, LOGINS as usize, &[format!("{PERMIT}:0:1")]);
        self.add(logins.iter().skip(WARM_UP));
    }

    /// Logins by pam_permit that were made anyway.
    pub fn add<'l>(&mut self, logins: impl Iterator<Item = &'l Login>) {
        self.walls.extend(logins.map(|login| login.wall as f64));
    }

    pub fn spread(&self) -> Spread {
        let sample = Sample::new(self.walls.iter().copied());
        Spread(sample.quantile(0.9) / sample.median())
    }
}

/// What nine of ten logins by pam_permit took at most, as a multiple of the median.
#[derive(Debug, Clone, Copy)]
pub struct Spread(f64);

impl Spread {
    pub fn is_noisy(self) -> bool {
        self.0 > BOUND
    }

    /// Whether a target was met that is about time.
    pub fn verdict(self, met: bool) -> Verdict {
        if self.is_noisy() { Verdict::Noisy } else { met.into() }
    }
}

impl Display for Spread {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let word = if self.is_noisy() { "noisy" } else { "quiet" };
        write!(f, "{:.2} × ({word})", self.0)
    }
}
