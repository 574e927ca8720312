//! What a person at a terminal really sees, and what a phone's camera makes of it:
//! bytes go through a terminal emulator, and a QR code on the emulated screen is
//! drawn as pixels and read by the real zbarimg.

use std::num::NonZero;
use std::process::Command;

use super::process::finish;

/// The default colours of a terminal.
#[derive(Clone, Copy, Debug)]
pub enum Theme {
    /// White on black.
    Dark,
    /// Black on white.
    Light,
}

/// Pixels of a cell; a cell shows two square modules, one above the other.
const CELL_WIDTH: usize = 8;
const CELL_HEIGHT: usize = 2 * CELL_WIDTH;

pub struct Screen(vt100::Parser);

impl Screen {
    /// Shows `bytes` on a screen; choose many rows to see what has scrolled away.
    pub fn show(bytes: &[u8], cols: u16, rows: u16) -> Self {
        let [cols, rows] = [cols, rows]
            .map(|size| NonZero::new(size).expect("a screen has at least one row and column"));
        let mut parser = vt100::Parser::new(rows, cols, 0);
        // What was captured without a terminal in between lacks the carriage returns.
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            parser.process(line.strip_suffix(b"\n").unwrap_or(line));
            if line.ends_with(b"\n") {
                parser.process(b"\r\n");
            }
        }
        Self(parser)
    }

    /// The screen's lines, without trailing blanks.
    pub fn text(&self) -> String {
        self.0.screen().contents()
    }

    /// The content of each QR code on the screen.
    pub fn qr_codes(&self, theme: Theme) -> Vec<String> {
        super::preflight();
        let mut command = Command::new("zbarimg");
        command.args(["--quiet", "--nodbus", "--raw", "-Sdisable", "-Sqrcode.enable", "pgm:-"]);
        let run = finish(&mut command, &self.picture(theme));
        // 4: there was no code in the picture.
        assert!(matches!(run.status.code(), Some(0 | 4)), "zbarimg failed: {}", run.text());
        run.stdout.lines().map(str::to_owned).collect()
    }

    /// The screen as a grey picture (PGM).
    fn picture(&self, theme: Theme) -> Vec<u8> {
        let (rows, cols) = self.0.screen().size();
        let (rows, cols) = (rows.get(), cols.get());
        let (width, height) = (usize::from(cols) * CELL_WIDTH, usize::from(rows) * CELL_HEIGHT);
        let mut picture = format!("P5 {width} {height} 255\n").into_bytes();
        for row in 0..rows {
            let cells: Vec<[u8; 2]> = (0..cols).map(|col| self.halves(row, col, theme)).collect();
            for y in 0..CELL_HEIGHT {
                let half = y / (CELL_HEIGHT / 2);
                picture.extend(cells.iter().flat_map(|cell| [cell[half]; CELL_WIDTH]));
            }
        }
        picture
    }

    /// Grey levels of a cell's upper and lower half.
    fn halves(&self, row: u16, col: u16, theme: Theme) -> [u8; 2] {
        let (ink, paper) = match theme {
            Theme::Dark => (255, 0),
            Theme::Light => (0, 255),
        };
        let Some(cell) = self.0.screen().cell(row, col) else { return [paper; 2] };
        let mut colours = [grey(cell.fgcolor(), ink), grey(cell.bgcolor(), paper)];
        if cell.inverse() {
            colours.reverse();
        }
        let [ink, paper] = colours;
        match cell.contents() {
            "█" | "#" => [ink, ink],
            "▀" => [ink, paper],
            "▄" => [paper, ink],
            _ => [paper, paper],
        }
    }
}

/// The one QR code in `bytes` as a dark terminal shows them.
#[track_caller]
pub fn decode_qr(bytes: &[u8], cols: u16, rows: u16) -> String {
    let screen = Screen::show(bytes, cols, rows);
    let mut codes = screen.qr_codes(Theme::Dark);
    match (codes.pop(), codes.as_slice()) {
        (Some(only), []) => only,
        (found, more) => {
            panic!("one QR code wanted, read {found:?} {more:?} from:\n{}", screen.text())
        }
    }
}

fn grey(colour: vt100::Color, default: u8) -> u8 {
    match colour {
        vt100::Color::Default => default,
        // A camera only distinguishes light and dark: of the named colours, white and
        // the bright ones are light; of the 6x6x6 cube and the greys, the upper half.
        vt100::Color::Idx(0..=6 | 8 | 16..=123 | 232..=243) => 0,
        vt100::Color::Idx(_) => 255,
        vt100::Color::Rgb(red, green, blue) => red / 3 + green / 3 + blue / 3,
    }
}
