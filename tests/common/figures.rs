//! What a campaign measured: a table, printed on standard output, and written into
//! docs/RELIABILITY.md when the campaign runs in its long form (`make reliability`), or by
//! `make callers`.
//! There each table is between `<!-- figures: NAME -->` and `<!-- end -->`; the
//! prose around it is written by people.

use std::fmt::Display;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use rustix::fs::{FlockOperation, flock};

/// Whether the campaigns run in their long form.
pub fn long() -> bool {
    std::env::var_os("ONETIME_CAMPAIGN").is_some_and(|form| form == "long")
}

/// The extent of a campaign: of its short form, or of its long one.
pub fn extent<T>(short_form: T, long_form: T) -> T {
    if long() { long_form } else { short_form }
}

/// A table in the making.
pub struct Figures {
    name: &'static str,
    lines: Vec<String>,
}

impl Figures {
    /// `name` is that of the table's place in docs/RELIABILITY.md.
    pub fn new(name: &'static str, columns: &[&str]) -> Self {
        let head = line(columns);
        let rule = line(&vec!["---"; columns.len()]);
        Self { name, lines: vec![head, rule] }
    }

    pub fn row(&mut self, cells: &[&dyn Display]) {
        self.lines.push(line(cells));
    }

    /// Prints the table, and in the long form puts it into its place.
    #[track_caller]
    pub fn publish(self) {
        println!("\n{}:\n{}", self.name, self.table());
        if long() {
            self.write();
        }
    }

    /// Puts the table into its place.
    #[track_caller]
    pub fn write(self) {
        let text = format!("{}\n{}\n", self.table(), when_and_where());
        into_place("docs/RELIABILITY.md", self.name, |_| text);
    }

    fn table(&self) -> String {
        self.lines.iter().flat_map(|line| [line, "\n"]).collect()
    }
}

/// Puts a text in the place of what is between `<!-- figures: NAME -->` and
/// `<!-- end -->` on a page of the project.
#[track_caller]
pub fn into_place(page: &str, name: &str, text: impl FnOnce(&str) -> String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    // Several may end at once.
    let file = File::open(&path).unwrap_or_else(|e| panic!("cannot open {page}: {e}"));
    flock(&file, FlockOperation::LockExclusive).expect("the page can be locked");
    let old = fs::read_to_string(&path).expect("the page can be read");
    let begin = format!("<!-- figures: {name} -->\n");
    let (before, rest) =
        old.split_once(&begin).unwrap_or_else(|| panic!("no place for {name} in {page}"));
    let (place, after) = rest.split_once("<!-- end -->").expect("the end of the place");
    let written = format!("{before}{begin}{}<!-- end -->{after}", text(place));
    fs::write(&path, written).expect("the page can be written");
}

fn line<T: Display>(cells: &[T]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| format!(" {cell} |")).collect();
    format!("|{}", cells.concat())
}

/// When, at which commit and on what the figures came about.
pub fn when_and_where() -> String {
    let said = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).output();
        output.map(|it| String::from_utf8_lossy(&it.stdout).trim().to_owned()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{}, commit {}, Linux {}, {cores} cores.",
        said("date", &["+%Y-%m-%d"]),
        said("git", &["rev-parse", "--short", "HEAD"]),
        said("uname", &["-r"]),
    )
}
