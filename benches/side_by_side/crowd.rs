//! Many at once: 1 to 64 processes log in, different users or all the same one.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::process::Stdio;

use rustix::fs::{FlockOperation, flock};

use crate::common::{PATIENCE, wait_within};
use crate::field::{
    FLOOR, Field, GOOGLE, Login, MODULES, OATH, OURS, USERS, auth_line, read_logins,
};
use crate::field::{reader, stack};
use crate::figures::{Extent, Sample, Table, grouped, times};
use crate::noise::{Noise, Spread};
use crate::plot::{self, Chart, Line};
use crate::{Setting, progress};

const PROCESSES: [u32; 5] = [1, 2, 4, 16, USERS];
/// How long they log in.
const SECONDS: u32 = 2;
/// Of each core, so much is used by logins of different users.
const CORES_USED: f64 = 0.9;
/// The slowest of the same user's logins is at most so many times the median.
const SLOWEST: f64 = 20.0;
/// More logins than a process has time for.
const STEPS: u64 = 20_000;

/// Who logs in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Users {
    /// Each process has its own.
    Different,
    /// One, with another code each time.
    Same,
}

/// What came of it.
#[derive(Clone, Copy)]
struct Rate {
    admitted_per_second: f64,
    /// Of all that were tried.
    refused: f64,
    /// How long those took that were admitted, in milliseconds.
    median: f64,
    slowest: f64,
}

impl Rate {
    fn told(&self) -> String {
        let rate = grouped(self.admitted_per_second);
        match self.refused {
            0.0 => rate,
            refused => format!("{rate} ({:.0} % refused)", (refused * 100.0).ceil()),
        }
    }
}

/// Number of processes, and the rate of each service.
type Row = (u32, Vec<Rate>);

pub fn run(setting: &Setting) -> Option<Spread> {
    let extent = setting.extent;
    let field = Field::new();
    field.populate(USERS);
    // The same user's codes come in any order there: what is refused must not lock.
    let unlimited = format!("{} failures=0", auth_line(OURS, USERS));
    field.world.pam_service("unlimited", &stack(&unlimited));
    let service = |module: &str| format!("{module}-{USERS}");
    let different = [FLOOR.to_owned(), service(OURS), service(GOOGLE), service(OATH)];
    let same = ["unlimited".to_owned(), service(GOOGLE), service(OATH)];
    let rates = |services: &[String], processes, users| -> Vec<Rate> {
        services.iter().map(|it| measure(&field, extent, it, processes, users)).collect()
    };
    let (mut apart, mut together) = (Vec::new(), Vec::new());
    let mut noise = Noise::default();
    for processes in PROCESSES {
        progress(&format!("{processes} processes"));
        noise.look(&field);
        apart.push((processes, rates(&different, processes, Users::Different)));
        together.push((processes, rates(&same, processes, Users::Same)));
    }
    noise.look(&field);
    let spread = noise.spread();
    tell(extent, &apart, &together);
    targets(extent, &apart, &together, spread);
    Some(spread)
}

fn measure(field: &Field, extent: Extent, service: &str, processes: u32, users: Users) -> Rate {
    // Several processes may leave pam_oath's file damaged.
    field.populate_oath(USERS);
    let gate = "/tmp/gate";
    field.world.write(gate, b"", 0o644);
    let lock = File::open(field.world.path(gate)).expect("the gate was made");
    flock(&lock, FlockOperation::LockExclusive).expect("it can be shut");
    let mut steps = tempfile::tempfile().expect("an unnamed file can be made");
    steps.write_all(&field.steps(STEPS)).expect("it takes the steps");
    let steps = steps;
    let mut running = Vec::new();
    for process in 0..processes {
        let service = match users {
            Users::Different => format!("{service}:{process}:1"),
            Users::Same => format!("{service}:0:1"),
        };
        let seconds = format!("seconds={}", extent.of(1, SECONDS));
        let arguments = ["logins", &field.secret, &seconds, &format!("gate={gate}"), &service];
        let mut command = field.host(&arguments);
        let input = match users {
            Users::Different => reader(&steps),
            Users::Same => steps.try_clone().expect("a descriptor can be duplicated"),
        };
        command.stdin(input).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a process can be started");
        let mut told = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let mut line = String::new();
        told.read_line(&mut line).expect("it says something");
        assert_eq!(line, "ready\n", "{service}");
        running.push((child, told));
    }
    (&steps).rewind().expect("the steps begin again");
    drop(lock);
    let mut logins: Vec<Login> = Vec::new();
    for (mut child, mut told) in running {
        let mut text = String::new();
        told.read_to_string(&mut text).expect("it tells its logins");
        assert!(wait_within(&mut child, PATIENCE).is_some_and(|status| status.success()));
        logins.extend(read_logins(&text));
    }
    let begin = logins.iter().map(|login| login.start).min().expect("somebody logged in");
    let end = logins.iter().map(|login| login.start + login.wall).max().expect("somebody did");
    let admitted = logins.iter().filter(|login| login.result == 0);
    let took: Vec<f64> = admitted.map(|login| login.wall as f64 / 1e6).collect();
    let admitted = took.len() as f64;
    let refused = 1.0 - admitted / logins.len() as f64;
    // Of pam_oath's it may be nobody.
    let took = (!took.is_empty()).then(|| Sample::new(took));
    // For the others it is only printed.
    let ours = service == FLOOR || service.starts_with(OURS);
    assert!(!ours || refused == 0.0, "{service}: refused");
    Rate {
        admitted_per_second: admitted / ((end - begin) as f64 / 1e9),
        refused,
        median: took.as_ref().map_or(0.0, Sample::median),
        slowest: took.as_ref().map_or(0.0, |took| took.quantile(1.0)),
    }
}

fn tell(extent: Extent, apart: &[Row], together: &[Row]) {
    let table = |first: &str, names: &[&str], rows: &[Row]| {
        let mut table = Table::new(&[&[first], names].concat());
        for (processes, rates) in rows {
            let rates: Vec<String> = rates.iter().map(Rate::told).collect();
            let mut cells: Vec<&dyn Display> = vec![processes];
            cells.extend(rates.iter().map(|rate| rate as &dyn Display));
            table.row(&cells);
        }
        table
    };
    let different = table("different users, processes", &[FLOOR, OURS, GOOGLE, OATH], apart);
    extent.publish("crowd of different users", different.text());
    let same = table("the same user, processes", &[OURS, GOOGLE, OATH], together);
    extent.publish("crowd of one user", same.text());
    let mut waits = Table::new(&["the same user, processes", "median ms", "slowest ms"]);
    for (processes, rates) in together {
        let Rate { median, slowest, .. } = rates[0];
        waits.row(&[processes, &format!("{median:.1}"), &format!("{slowest:.1}")]);
    }
    extent.publish("waits of one user", waits.text());
    let line = |(index, name): (usize, _)| {
        let point =
            |(processes, rates): &Row| (f64::from(*processes), rates[index].admitted_per_second);
        Line { name, points: apart.iter().map(point).collect() }
    };
    let [ours, google, oath] = MODULES;
    plot::draw(
        extent,
        &Chart {
            file: "crowd",
            title: "Logins per second of different users, by number of processes",
            x: "processes",
            y: "logins per second",
            unit: grouped,
            ticks: PROCESSES.map(f64::from).to_vec(),
            lines: [(1, ours), (2, google), (3, oath), (0, FLOOR)].map(line).to_vec(),
        },
    );
}

fn targets(extent: Extent, apart: &[Row], together: &[Row], spread: Spread) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let ours = |(_, rates): &Row| rates[1].admitted_per_second;
    let most = apart.iter().map(ours).fold(0.0, f64::max);
    let ratio = most / ours(&apart[0]);
    extent.target(
        "logins/s of different users, most to one process",
        &format!("≥ {CORES_USED} × cores = {:.1} ×", CORES_USED * cores),
        &times(ratio),
        spread.verdict(ratio >= CORES_USED * cores),
    );
    let (processes, rates) = &together[together.len() - 1];
    let Rate { median, slowest, .. } = rates[0];
    extent.target(
        &format!("the same user in {processes} processes: the slowest login, to the median"),
        &format!("≤ {SLOWEST:.0} ×"),
        &format!("{} ({slowest:.0} ms, {median:.1} ms)", times(slowest / median)),
        spread.verdict(slowest <= SLOWEST * median),
    );
}
