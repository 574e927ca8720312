//! What standard output can show of a QR code, by what the environment and the terminal
//! say: whether half blocks are understood, whether colours are wanted, and how much fits.

use std::env;
use std::ffi::OsString;
use std::io::IsTerminal;

use pam_onetime::config::Config;
use pam_onetime::enrollment::{Canvas, Cells};

/// Standard output, or somebody's else who reads it later.
pub(super) struct Screen {
    cells: Option<Cells>,
    columns: usize,
    /// `None`: it scrolls, or is read later.
    rows: Option<usize>,
    encoding: Encoding,
}

/// What the bytes of a text are taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    /// One in which half blocks are other letters.
    Other,
}

impl Screen {
    /// That of this process.
    pub(super) fn of_stdout() -> Self {
        let stdout = std::io::stdout();
        let encoding = Encoding::by_locale(|name| env::var_os(name));
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        // What a dumb terminal does with colours is not known.
        let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        let is_terminal = stdout.is_terminal() && !is_dumb;
        let cells = match (encoding, is_terminal && !is_set("NO_COLOR")) {
            (Encoding::Utf8, true) => Some(Cells::Coloured),
            (Encoding::Utf8, false) => Some(Cells::Plain),
            (Encoding::Other, true) => Some(Cells::Spaces),
            (Encoding::Other, false) => None,
        };
        let size = if is_terminal { rustix::termios::tcgetwinsize(&stdout).ok() } else { None };
        let (columns, rows) = match size.map(|size| (size.ws_col, size.ws_row)) {
            Some((columns @ 1.., rows @ 1..)) => (columns.into(), Some(rows.into())),
            // It does not say.
            Some((0, _) | (_, 0)) | None => (80, None),
        };
        Self { cells, columns, rows, encoding }
    }

    /// How a QR code is drawn there; `None` where none is wanted.
    pub(super) fn canvas(&self, config: &Config) -> Option<Canvas> {
        let style = config.enrollment.qr;
        match self.cells {
            Some(cells) => Canvas::terminal(style, cells, self.columns, self.rows),
            // Nothing fits.
            None => Canvas::terminal(style, Cells::Plain, 0, Some(0)),
        }
    }

    /// Why a QR code is not drawn there, and what to do.
    pub(super) const fn obstacle(&self) -> &'static str {
        match (self.encoding, self.cells) {
            (Encoding::Utf8, _) => "the QR code is larger than this terminal: make it larger",
            (Encoding::Other, Some(_)) => {
                "the locale is not UTF-8, and without it the QR code is larger than this \
                 terminal: make it larger, set LC_ALL=C.UTF-8 if it understands UTF-8"
            }
            (Encoding::Other, None) => {
                "the locale is not UTF-8, and without it and colours no QR code can be drawn: \
                 set LC_ALL=C.UTF-8 if what shows it understands UTF-8"
            }
        }
    }
}

impl Encoding {
    /// That of the locale for letters, as the C library chooses it; where none is set it
    /// is `C`. By its name: one that is not installed here still says what the terminal,
    /// which may be far away, understands.
    fn by_locale(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let Some(locale) = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set) else {
            return Self::Other;
        };
        let locale = locale.to_string_lossy();
        let encoding = locale.split_once('.').map(|(_, rest)| rest);
        let name = encoding.map(|rest| rest.split('@').next().unwrap_or_default());
        match name.map(|name| name.replace('-', "").to_ascii_lowercase()) {
            Some(name) if name == "utf8" => Self::Utf8,
            Some(_) | None => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_for_letters_says_whether_half_blocks_are_understood() {
        let of = |set: &[(&str, &str)]| {
            Encoding::by_locale(|name| {
                let value = set.iter().find(|(of, _)| *of == name)?.1;
                Some(OsString::from(value))
            })
        };
        for utf8 in ["C.UTF-8", "de_DE.utf8", "en_US.UTF-8", "ca_ES.UTF-8@valencia"] {
            assert_eq!(of(&[("LANG", utf8)]), Encoding::Utf8, "{utf8}");
        }
        for other in ["", "C", "POSIX", "de_DE", "de_DE@euro", "zh_CN.GB18030", "ja_JP.eucJP"] {
            assert_eq!(of(&[("LANG", other)]), Encoding::Other, "{other}");
        }
        assert_eq!(of(&[]), Encoding::Other);
        assert_eq!(of(&[("LC_ALL", "C"), ("LANG", "C.UTF-8")]), Encoding::Other);
        assert_eq!(of(&[("LC_ALL", ""), ("LANG", "C.UTF-8")]), Encoding::Utf8);
        assert_eq!(of(&[("LC_CTYPE", "C.UTF-8"), ("LANG", "C")]), Encoding::Utf8);
        assert_eq!(of(&[("LC_ALL", "C.UTF-8"), ("LC_CTYPE", "C")]), Encoding::Utf8);
    }
}
