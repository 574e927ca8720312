//! A real terminal, and a picture of it: xterm on a screen in memory (Xvfb), photographed,
//! and read by two programs of the kind that phones have. No window of this machine's.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::process::{PATIENCE, finish};
use super::screen::Theme;

/// Pixels of a cell of the font below, at the 96 dots an inch of Xvfb.
const CELL: [usize; 2] = [8, 17];

/// A process that ends with the test.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.0.kill().and_then(|()| self.0.wait()));
    }
}

/// What is read from a photograph of the terminal that shows a text, by zbar and by zxing.
#[track_caller]
pub fn read_from_xterm(text: &[u8], theme: Theme, cols: usize, rows: usize) -> [String; 2] {
    let directory = tempfile::tempdir().expect("a directory");
    let screen = Screen::start(&directory, cols * CELL[0], rows * CELL[1]);
    fs::write(directory.path().join("text"), text).expect("a file");
    let _xterm = xterm(&screen, &directory, theme, cols, rows);
    let end = Instant::now() + PATIENCE;
    loop {
        let read = screen.photograph(&directory);
        // The screen is drawn some time after the program has written: it is looked at again.
        if read.iter().all(|content| !content.is_empty()) || Instant::now() > end {
            return read;
        }
        std::thread::sleep(Duration::from_millis(200));
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

    /// The content of the QR code, as each program reads it; empty: it reads none.
    fn photograph(&self, directory: &TempDir) -> [String; 2] {
        let dump = fs::read(directory.path().join("Xvfb_screen0")).expect("the screen's memory");
        let picture = picture(&dump);
        let path = directory.path().join("picture.pgm");
        fs::write(&path, &picture).expect("a file");
        let mut zbar = Command::new("zbarimg");
        zbar.args(["--quiet", "--nodbus", "--raw", "-Sdisable", "-Sqrcode.enable", "pgm:-"]);
        let zbar = finish(&mut zbar, &picture).stdout.trim().to_owned();
        let mut zxing = Command::new("ZXingReader");
        let zxing = finish(zxing.args(["-format", "QRCode"]).arg(&path), b"").stdout;
        let text = zxing.lines().find_map(|line| line.strip_prefix("Text:"));
        [zbar, text.unwrap_or_default().trim().trim_matches('"').to_owned()]
    }
}

fn xterm(screen: &Screen, directory: &TempDir, theme: Theme, cols: usize, rows: usize) -> Started {
    let (ink, paper) = match theme {
        Theme::Dark => ("white", "black"),
        Theme::Light => ("black", "white"),
    };
    let mut xterm = Command::new("xterm");
    xterm.args(["-u8", "+sb", "-b", "0", "-fa", "DejaVu Sans Mono", "-fs", "10"]);
    xterm.args(["-geometry", &format!("{cols}x{rows}+0+0"), "-fg", ink, "-bg", paper]);
    // Without the cursor, which blinks.
    let show = "stty -echo; printf '\\033[?25l'; cat text; exec sleep 600";
    xterm.args(["-e", "sh", "-c", show]).current_dir(directory.path());
    xterm.env("DISPLAY", &screen.display).env("LC_ALL", "C.UTF-8");
    let xterm = xterm.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Started(xterm.spawn().expect("xterm starts"))
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
