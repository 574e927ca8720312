//! Footprint: what a module brings into the process that loads it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{finish, module_path, modules_directory};
use crate::field::{Field, MODULES, OURS, PERMIT};
use crate::figures::{Extent, Sample, Table, grouped};
use crate::noise::Spread;
use crate::{Setting, progress};

/// Largest `.so`, in bytes.
const LARGEST: f64 = 1_150_000.0;
/// Largest addition to the peak of resident memory, in bytes.
const PEAK: f64 = 1_150_000.0;

struct Row {
    name: &'static str,
    size: f64,
    /// Libraries that the process would not have otherwise, and their bytes.
    libraries: Vec<PathBuf>,
    relocations: usize,
    load_now: f64,
    load_lazily: f64,
    faults: f64,
    peak: f64,
    /// Files that stay mapped when the login is over.
    left: BTreeSet<String>,
}

pub fn run(setting: &Setting) -> Option<Spread> {
    let extent = setting.extent;
    let field = Field::new();
    field.populate(1);
    progress("loading, first logins of processes");
    let own = libraries(&field, "/usr/local/sbin/pam_measured");
    let rows: Vec<Row> = [PERMIT]
        .into_iter()
        .chain(MODULES)
        .map(|name| measure(&field, extent, name, &own))
        .collect();
    tell(extent, &rows);
    None
}

fn measure(field: &Field, extent: Extent, name: &'static str, own: &[PathBuf]) -> Row {
    let inside = modules_directory().join(format!("{name}.so"));
    let module = if name == OURS { module_path().to_owned() } else { inside.clone() };
    let inside = inside.display().to_string();
    let mut libraries = libraries(field, &inside);
    libraries.retain(|library| !own.contains(library));
    let loads = field.host(&["load", &extent.of(50, 2000).to_string(), &inside]);
    let loads = numbers(loads, b"");
    let column = |index: usize| Sample::new(loads.iter().map(|row| row[index] / 1000.0)).median();
    let service = if name == PERMIT { format!("{name}:0:1") } else { format!("{name}-1:0:1") };
    let (mut faults, mut peaks, mut left) = (Vec::new(), Vec::new(), BTreeSet::new());
    for _ in 0..extent.of(5, 50) {
        let mut login = field.host(&["memory", &field.secret, &service]);
        let told = finish(&mut login, &field.steps(1)).ok();
        let words: Vec<&str> = told.trim_end_matches('\n').split(' ').collect();
        assert_eq!(words[0], "0", "{name} admits");
        faults.push(words[1].parse().expect("a number"));
        peaks.push(words[2].parse().expect("a number"));
        left.extend(words[3].split(',').filter(|file| !file.is_empty()).map(str::to_owned));
    }
    Row {
        name,
        size: bytes(&module),
        relocations: libraries.iter().chain([&module]).map(|file| relocations(file)).sum(),
        libraries,
        load_now: column(0),
        load_lazily: column(1),
        faults: Sample::new(faults).median(),
        peak: Sample::new(peaks).median(),
        left,
    }
}

fn tell(extent: Extent, rows: &[Row]) {
    let mut columns = vec![""];
    columns.extend(rows.iter().map(|row| row.name));
    let mut table = Table::new(&columns);
    let mut line = |what: &str, cell: &dyn Fn(&Row) -> String| {
        let cells: Vec<String> = rows.iter().map(cell).collect();
        table.row(&[&what, &cells[0], &cells[1], &cells[2], &cells[3]]);
    };
    line("size of the module, bytes", &|row| grouped(row.size));
    line("libraries that it brings along", &|row| {
        let name =
            |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let names: Vec<String> = row.libraries.iter().filter_map(name).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    });
    line("their size, bytes", &|row| grouped(row.libraries.iter().map(|it| bytes(it)).sum()));
    line("relocations, with theirs", &|row| grouped(row.relocations as f64));
    line("dlopen and dlclose with RTLD_NOW (as libpam does), median µs", &|row| {
        format!("{:.0}", row.load_now)
    });
    line("with RTLD_LAZY, median µs", &|row| format!("{:.0}", row.load_lazily));
    line("page faults of the first login", &|row| grouped(row.faults));
    line("resident memory that it adds at its peak, bytes", &|row| grouped(row.peak));
    let crates = crates();
    line("crates linked", &|row| if row.name == OURS { crates.to_string() } else { "–".into() });
    line("files that stay mapped after it", &|row| {
        let name = |path: &String| path.rsplit('/').next().unwrap_or_default().to_owned();
        let names: Vec<String> = row.left.iter().map(name).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    });
    extent.publish("footprint", table.text());
    let [permit, ours] = [PERMIT, OURS]
        .map(|name| rows.iter().find(|row| row.name == name).expect("each was measured"));
    let target = |name: &str, bound: f64, bytes: f64| {
        let told = [bound, bytes].map(|bytes| format!("{} kB", grouped(bytes / 1000.0)));
        extent.target(name, &format!("< {}", told[0]), &told[1], (bytes < bound).into());
    };
    target("size of the module", LARGEST, ours.size);
    target("peak memory added, beyond pam_permit", PEAK, ours.peak - permit.peak);
}

/// What the loader brings along.
fn libraries(field: &Field, program: &str) -> Vec<PathBuf> {
    let ldd = finish(field.world.command("ldd").arg(program), b"").ok();
    let paths =
        ldd.lines().filter_map(|line| line.split_whitespace().find(|it| it.starts_with('/')));
    paths.map(PathBuf::from).collect()
}

fn relocations(file: &Path) -> usize {
    let readelf = finish(Command::new("readelf").args(["-rW"]).arg(file), b"").ok();
    let is_one = |line: &&str| {
        let digits = line.bytes().take_while(u8::is_ascii_hexdigit).count();
        digits >= 12
    };
    readelf.lines().filter(is_one).count()
}

fn bytes(file: &Path) -> f64 {
    file.metadata().unwrap_or_else(|e| panic!("{}: {e}", file.display())).len() as f64
}

fn crates() -> usize {
    let mut tree = Command::new(env!("CARGO"));
    tree.current_dir(env!("CARGO_MANIFEST_DIR")).args(["tree", "--locked"]);
    tree.args(["--no-default-features", "-e", "normal,no-proc-macro", "--prefix", "none"]);
    let tree = finish(tree.args(["-f", "{p}"]), b"").ok();
    let names = tree.lines().filter_map(|line| line.split_whitespace().next());
    // Without the package itself.
    names.collect::<BTreeSet<_>>().len() - 1
}

fn numbers(mut command: Command, input: &[u8]) -> Vec<Vec<f64>> {
    let told = finish(&mut command, input).ok();
    let number = |word: &str| word.parse().expect("a number");
    told.lines().map(|line| line.split(' ').map(number).collect()).collect()
}
