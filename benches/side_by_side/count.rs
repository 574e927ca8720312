//! What can be counted exactly of a login: instructions and system calls. A process
//! that logs in more often is compared with one that does less often, so that what
//! happens once in a process drops out, and the measuring program's own share is
//! taken off.

use std::collections::BTreeMap;

use super::field::{Field, NONE};
use crate::common::{Finished, finish_within};

/// Logins of the shorter run: enough for the state to be as it will always be.
const FEW: u64 = 5;
/// So many more logins has the longer one.
const MORE: u64 = 20;

/// What counts instructions.
pub const CALLGRIND: [&str; 3] =
    ["valgrind", "--tool=callgrind", "--callgrind-out-file=/tmp/callgrind.%p"];

/// Instructions of one login, in user space.
pub fn instructions(field: &Field, service: &str) -> f64 {
    difference(|logins| collected(&under(field, &CALLGRIND, service, logins).stderr))
}

/// What one login adds, of what `measure` finds for so many.
pub fn difference(mut measure: impl FnMut(u64) -> f64) -> f64 {
    let few = measure(FEW);
    (measure(FEW + MORE) - few) / MORE as f64
}

/// What callgrind says it has counted.
pub fn collected(said: &str) -> f64 {
    let number = said.lines().find_map(|line| line.split_once("Collected :"));
    let (_, number) = number.unwrap_or_else(|| panic!("callgrind: {said}"));
    number.trim().parse::<f64>().expect("a number")
}

/// System calls of one login by name, and what they were asked to write.
#[derive(Default, Clone)]
pub struct Calls {
    pub by_name: BTreeMap<String, f64>,
    /// To files.
    pub written: f64,
}

impl Calls {
    pub fn all(&self) -> f64 {
        self.by_name.values().sum()
    }

    /// Those that wait for the disk.
    pub fn durable(&self) -> f64 {
        ["fsync", "fdatasync", "sync_file_range", "syncfs", "sync"]
            .iter()
            .filter_map(|name| self.by_name.get(*name))
            .fold(0.0, |all, count| all + count)
    }

    /// Without what is in `other`.
    pub fn without(mut self, other: &Self) -> Self {
        for (name, count) in &other.by_name {
            *self.by_name.entry(name.clone()).or_default() -= count;
        }
        self.written -= other.written;
        self
    }
}

pub fn calls(field: &Field, service: &str) -> Calls {
    let traced = |logins| {
        under(field, &["strace", "-f", "-y", "-o", "/tmp/trace"], service, logins);
        read_trace(&field.world.read_text("/tmp/trace"))
    };
    let mut calls = traced(FEW + MORE).without(&traced(FEW));
    calls.by_name.values_mut().for_each(|count| *count /= MORE as f64);
    calls.written /= MORE as f64;
    calls
}

/// What the program does that is no login.
pub fn own_share(field: &Field) -> (f64, Calls) {
    let none = format!("{NONE}:0:1");
    (instructions(field, &none), calls(field, &none))
}

fn under(field: &Field, runner: &[&str], service: &str, logins: u64) -> Finished {
    let mut command = field.host_under(runner, &["logins", &field.secret, service]);
    let run =
        finish_within(&mut command, &field.steps(logins), std::time::Duration::from_secs(120));
    let admitted = super::field::read_logins(&run.stdout);
    assert!(
        admitted.len() as u64 == logins && admitted.iter().all(|login| login.result == 0),
        "{}",
        run.text()
    );
    run
}

/// Lines like `4711 pwrite64(3</var/lib/x>, "OTSTATE"..., 512, 4096) = 512`.
fn read_trace(trace: &str) -> Calls {
    let mut calls = Calls::default();
    for line in trace.lines() {
        let call = line.split_once(' ').and_then(|(_, call)| call.trim_start().split_once('('));
        let Some((name, rest)) = call.filter(|(name, _)| !name.contains(' ')) else { continue };
        *calls.by_name.entry(name.to_owned()).or_default() += 1.0;
        // What it reports goes to standard output, and what it logs to a socket.
        let file = !rest.starts_with("1<") && rest.contains("</");
        if file && ["write", "pwrite64", "writev", "pwritev", "pwritev2"].contains(&name) {
            let result = rest.rsplit_once(" = ").map_or("", |(_, result)| result);
            let result = result.split(' ').next().unwrap_or_default();
            calls.written += result.parse::<f64>().unwrap_or(0.0).max(0.0);
        }
    }
    calls
}
