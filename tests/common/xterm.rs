//! A real terminal, and a picture of it: xterm on a screen in memory (Xvfb), photographed,
//! and read by two programs of the kind that phones have. No window of this machine's.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::process::{PATIENCE, finish};
use super::screen::Theme;

/// Pixels of a cell of the font below, at the 96 dots an inch of Xvfb.
const CELL: [usize; 2] = [8, 17];

/// A terminal, as it is photographed.
#[derive(Clone, Copy, Debug)]
pub struct Xterm {
    pub theme: Theme,
    pub columns: usize,
    pub rows: usize,
    /// What LC_ALL says: whether bytes are letters of UTF-8 to it.
    pub locale: &'static str,
}

/// A picture, as PGM in grey or as PNG.
pub struct Photograph(pub Vec<u8>);

impl Xterm {
    /// One of 80 columns and 24 lines that understands UTF-8.
    pub fn usual(theme: Theme) -> Self {
        Self { theme, columns: 80, rows: 24, locale: "C.UTF-8" }
    }

    /// A photograph of the terminal that shows a text.
    #[track_caller]
    pub fn photograph(self, text: &[u8]) -> Photograph {
        let directory = tempfile::tempdir().expect("a directory");
        let screen = Screen::start(&directory, self.columns * CELL[0], self.rows * CELL[1]);
        fs::write(directory.path().join("text"), text).expect("a file");
        let _xterm = self.start(&screen, &directory);
        let (shown, end) = (directory.path().join("shown"), Instant::now() + PATIENCE);
        let mut before = Vec::new();
        loop {
            let now = screen.dump(&directory);
            // It has taken in the whole text, and draws no more.
            if shown.exists() && now == before {
                return Photograph(picture(&now));
            }
            assert!(Instant::now() < end, "the terminal shows no text in {PATIENCE:?}");
            before = now;
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn start(self, screen: &Screen, directory: &TempDir) -> Started {
        let (ink, paper) = match self.theme {
            Theme::Dark => ("white", "black"),
            Theme::Light => ("black", "white"),
        };
        let mut xterm = Command::new("xterm");
        xterm.args(["+sb", "-b", "0", "-fa", "DejaVu Sans Mono", "-fs", "10"]);
        xterm.args(["-geometry", &format!("{}x{}+0+0", self.columns, self.rows)]);
        xterm.args(["-fg", ink, "-bg", paper]);
        // Without the cursor, which blinks. The terminal answers the question where its
        // cursor is once it has come so far.
        let show = "stty -echo -icanon min 1; printf '\\033[?25l'; cat text; \
                    printf '\\033[6n'; head -c 1 >shown.new && mv shown.new shown; exec sleep 600";
        xterm.args(["-e", "sh", "-c", show]).current_dir(directory.path());
        xterm.env("DISPLAY", &screen.display).env("LC_ALL", self.locale);
        let xterm = xterm.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Started(xterm.spawn().expect("xterm starts"))
    }
}

impl Photograph {
    /// In colour, as a camera or an app stores it.
    #[track_caller]
    pub fn as_jpeg(&self, options: &[&str]) -> Vec<u8> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let mut lines = self.0.splitn(2, |byte| *byte == b'\n');
        let [header, grey] = [(); 2].map(|()| lines.next().expect("a header, and pixels"));
        let mut picture = [b"P6", &header[2..], b"\n"].concat();
        picture.extend(grey.iter().flat_map(|light| [*light; 3]));
        file.write_all(&picture).expect("it takes the picture");
        let jpeg = file.path().with_extension("jpg");
        let mut cjpeg = Command::new("cjpeg");
        cjpeg.args(options).arg("-outfile").arg(&jpeg).arg(file.path());
        finish(&mut cjpeg, b"").ok();
        let bytes = fs::read(&jpeg).expect("the picture");
        fs::remove_file(&jpeg).expect("it can be removed");
        bytes
    }

    /// The content of the QR code, as zbar reads it; empty: it reads none.
    #[track_caller]
    pub fn by_zbar(&self) -> String {
        let mut zbar = Command::new("zbarimg");
        let kind = if self.0.starts_with(b"P5") { "pgm:-" } else { "png:-" };
        zbar.args(["--quiet", "--nodbus", "--raw", "-Sdisable", "-Sqrcode.enable", kind]);
        finish(&mut zbar, &self.0).stdout.trim().to_owned()
    }

    /// The same, as zxing reads it.
    #[track_caller]
    pub fn by_zxing(&self) -> String {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(&self.0).expect("it takes the picture");
        let mut zxing = Command::new("ZXingReader");
        let said = finish(zxing.args(["-format", "QRCode"]).arg(file.path()), b"").stdout;
        let text = said.lines().find_map(|line| line.strip_prefix("Text:"));
        text.unwrap_or_default().trim().trim_matches('"').to_owned()
    }
}

/// A process that ends with the test.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.0.kill().and_then(|()| self.0.wait()));
    }
}

struct Screen {
    _server: Started,
    display: String,
}

impl Screen {
    #[track_caller]
    fn start(directory: &TempDir, width: usize, height: usize) -> Self {
        let mut server = Command::new("Xvfb");
        server.args(["-displayfd", "1", "-nolisten", "tcp", "-screen", "0"]);
        server.arg(format!("{width}x{height}x24")).arg("-fbdir").arg(directory.path());
        let child = server.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = child.spawn().expect("Xvfb starts");
        let stdout = child.stdout.take().expect("a pipe");
        let server = Started(child);
        let mut display = String::new();
        BufReader::new(stdout).read_line(&mut display).expect("the number of a display");
        Self { _server: server, display: format!(":{}", display.trim()) }
    }

    /// What it shows (XWD).
    fn dump(&self, directory: &TempDir) -> Vec<u8> {
        fs::read(directory.path().join("Xvfb_screen0")).expect("the screen's memory")
    }
}

/// A dump of X (XWD) in grey, at half the size: a camera is not sharper than that, and does
/// not see the hair lines that a font leaves between its blocks.
fn picture(dump: &[u8]) -> Vec<u8> {
    let word = |index: usize| {
        let bytes = dump.get(index * 4..index * 4 + 4).expect("the header");
        u32::from_be_bytes(bytes.try_into().expect("four bytes")) as usize
    };
    let (header, width, height, bytes, colours) = (word(0), word(4), word(5), word(12), word(19));
    assert_eq!(word(11), 32, "bits a pixel");
    let pixels = &dump[header + colours * 12..];
    let grey = |x: usize, y: usize| {
        let at = y * bytes + x * 4;
        // One of the four is not used, and 0.
        pixels[at..at + 4].iter().map(|part| usize::from(*part)).sum::<usize>() / 3
    };
    let (half_width, half_height) = (width / 2, height / 2);
    let mut picture = format!("P5 {half_width} {half_height} 255\n").into_bytes();
    for y in 0..half_height {
        picture.extend((0..half_width).map(|x| {
            let [x, y] = [x * 2, y * 2];
            let sum = grey(x, y) + grey(x + 1, y) + grey(x, y + 1) + grey(x + 1, y + 1);
            u8::try_from((sum / 4).min(255)).unwrap_or(u8::MAX)
        }));
    }
    picture
}
