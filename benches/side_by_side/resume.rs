//! Which parts were measured already, with these programs on this machine: a run that was cut
//! off goes on with the others.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::before::USUAL;
use crate::common::{daemon_path, module_path, tool_path};
use crate::figures::Extent;
use crate::{Options, WITH_BEFORE, WITH_MOST};

/// The file below target, with a line for each part.
pub struct Done<'o> {
    file: PathBuf,
    /// What was measured, and where.
    of: String,
    options: &'o Options,
}

impl<'o> Done<'o> {
    pub fn new(options: &'o Options) -> Self {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench.done");
        Self { file, of: what_and_where(), options }
    }

    /// Whether the part was measured.
    pub fn has(&self, part: &str) -> bool {
        let wanted = self.line(part);
        fs::read_to_string(&self.file).is_ok_and(|lines| lines.lines().any(|line| line == wanted))
    }

    /// From now on it is. Of other programs, and other machines, nothing is kept.
    pub fn add(&self, part: &str) {
        let old = fs::read_to_string(&self.file).unwrap_or_default();
        let mut lines: Vec<&str> = old.lines().filter(|line| line.starts_with(&self.of)).collect();
        let line = self.line(part);
        lines.push(&line);
        let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        fs::write(&self.file, text).expect("a file below target can be written");
    }

    /// Forgets a part, which is to be measured again.
    pub fn remove(&self, part: &str) {
        let old = fs::read_to_string(&self.file).unwrap_or_default();
        let gone = self.line(part);
        let kept = old.lines().filter(|line| *line != gone);
        let text: String = kept.flat_map(|line| [line, "\n"]).collect();
        fs::write(&self.file, text).expect("a file below target can be written");
    }

    /// With those of the options that change what is measured.
    fn line(&self, part: &str) -> String {
        let Options { extent, before, .. } = self.options;
        let mut line = format!("{} {part}", self.of);
        if WITH_BEFORE.contains(&part) {
            line += &format!(" beside {}", before.as_deref().unwrap_or(USUAL));
        }
        if part == WITH_MOST && *extent == Extent::Long {
            line += " long";
        }
        line
    }
}

fn what_and_where() -> String {
    let mut digest = Sha256::new();
    let bench = std::env::current_exe().expect("this program");
    for program in [&bench, module_path(), tool_path(), daemon_path()] {
        digest.update(fs::read(program).expect("it was built"));
    }
    for file in ["/etc/machine-id", "/proc/sys/kernel/osrelease"] {
        digest.update(fs::read(file).unwrap_or_default());
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
