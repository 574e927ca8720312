//! How steady the machine was while a part was measured. A login by pam_permit always does
//! the same, and waits for nothing: where the slowest in a hundred take much longer than most,
//! others had the processor too. The floor waits for the disk: where it takes very different
//! times, others had the disk, or the processor when the disk had answered. Then no ratio of
//! times is worth a verdict.

use std::fmt::{self, Display, Formatter};

use crate::field::{FLOOR, Field, Login, PERMIT};
use crate::figures::{Sample, Verdict};

/// Logins of one look, of each kind, and those of them that are not counted.
const LOGINS: usize = 600;
const WARM_UP: usize = 50;
/// As in part `login`.
const BLOCK: usize = 10;
/// The largest spreads of a quiet machine. On one with two cores they were 1.3 to 1.9 and 1.2
/// to 1.5. Beside a compiler, however nice, pam_permit's was 2.4 to 7, and beside programs
/// that are not nice the floor's was 4 to 38.
const PERMIT_BOUND: f64 = 2.25;
const FLOOR_BOUND: f64 = 2.5;

/// Looks at the machine, all through a part.
#[derive(Default)]
pub struct Noise {
    permit: Vec<f64>,
    floor: Vec<f64>,
}

impl Noise {
    /// Logs in some times by pam_permit, and as the floor.
    pub fn look(&mut self, field: &Field) {
        let services = [PERMIT, FLOOR].map(|kind| format!("{kind}:0:1"));
        let logins = field.logins(2 * LOGINS as u64, BLOCK, &services);
        for (index, kind) in [PERMIT, FLOOR].into_iter().enumerate() {
            self.add(kind, logins.iter().filter(|login| login.service == index).skip(WARM_UP));
        }
    }

    /// Logins of one of these kinds that were made anyway; others say nothing of the machine.
    pub fn add<'l>(&mut self, kind: &str, logins: impl Iterator<Item = &'l Login>) {
        let walls = match kind {
            PERMIT => &mut self.permit,
            FLOOR => &mut self.floor,
            _ => return,
        };
        walls.extend(logins.map(|login| login.wall as f64));
    }

    pub fn spread(&self) -> Spread {
        let [permit, floor] =
            [&self.permit, &self.floor].map(|walls| Sample::new(walls.iter().copied()));
        Spread {
            permit: permit.quantile(0.99) / permit.median(),
            floor: floor.quantile(0.9) / floor.quantile(0.1),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// The p99 of logins by pam_permit, as a multiple of their median.
    permit: f64,
    /// The p90 of logins as the floor, as a multiple of their p10.
    floor: f64,
}

impl Spread {
    pub fn is_noisy(self) -> bool {
        self.permit > PERMIT_BOUND || self.floor > FLOOR_BOUND
    }

    /// Whether a target was met that is about time.
    pub fn verdict(self, met: bool) -> Verdict {
        if self.is_noisy() { Verdict::Noisy } else { met.into() }
    }
}

impl Display for Spread {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let word = if self.is_noisy() { "noisy" } else { "quiet" };
        write!(f, "{word}: pam_permit {:.2} ×, floor {:.2} ×", self.permit, self.floor)
    }
}
