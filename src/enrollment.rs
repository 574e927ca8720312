//! What a user needs to set up an app: the otpauth URI, its QR code as text
//! (and, for the tool, as SVG and PNG), and the key in groups of four.
//!
//! Everything here is made from an [`Invitation`], which only who may see the
//! secret can have.

use std::cell::LazyCell;
use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use qrcode::types::Color;
use qrcode::{EcLevel, QrCode};
use rand::TryRng;
use zeroize::Zeroizing;

use crate::account::{Generation, Record, Timestamp, TokenId, Uid, UserName};
use crate::code::{Algorithm, Digits, MovingFactor, Period, Secret, Step, Token};
use crate::config::{Config, Qr, TokenKind};
use crate::login::Invitation;

/// What stays as it is in a URI's component (RFC 3986 section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Modules of light border on a terminal. The standard asks for four; two are
/// read well and let a usual code fit a terminal of 24 lines.
const TERMINAL_BORDER: usize = 2;

/// Lines of a QR code under which key and prompt fit a terminal of 24 lines.
const USUAL_ROWS: usize = 22;

/// How a QR code is drawn with text, and on how large a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Canvas {
    ink: Ink,
    columns: usize,
    /// `None`: any number, the screen scrolls.
    rows: Option<usize>,
}

/// What the characters of a drawing stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ink {
    /// They are light, on a dark screen: light modules are drawn.
    Light,
    /// They are dark, on a light screen: dark modules are drawn.
    Dark,
    /// We set both colours, so that the screen's do not matter.
    Coloured,
    /// We set the colours behind spaces, two for a module.
    Spaces,
}

/// What a terminal is drawn on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cells {
    /// Half blocks, in colours that we set.
    Coloured,
    /// Half blocks in the colours that are there.
    Plain,
    /// Spaces in colours that we set: where half blocks are not understood, since the
    /// terminal's letters are not UTF-8. It takes four times as much room.
    Spaces,
}

/// White on black, by the numbers that no theme of a terminal changes.
const WHITE_ON_BLACK: &str = "\x1b[38;5;231;48;5;16m";
const ON_WHITE: &str = "\x1b[48;5;231m";
const ON_BLACK: &str = "\x1b[48;5;16m";
const USUAL_COLOURS: &str = "\x1b[0m";

impl Canvas {
    /// How a login draws: nobody knows how large the user's screen is, but hardly one
    /// has less than 80 columns. `None` where no QR code is wanted.
    #[must_use]
    pub const fn login(style: Qr) -> Option<Self> {
        let ink = match style {
            Qr::Utf8 => Ink::Light,
            Qr::Utf8Light => Ink::Dark,
            Qr::Ascii | Qr::None => return None,
        };
        Some(Self { ink, columns: 80, rows: None })
    }

    /// A terminal of our own, of which more is known. `None` where no QR code is wanted.
    #[must_use]
    pub const fn terminal(
        style: Qr,
        cells: Cells,
        columns: usize,
        rows: Option<usize>,
    ) -> Option<Self> {
        let Some(Self { ink, .. }) = Self::login(style) else { return None };
        let ink = match cells {
            Cells::Coloured => Ink::Coloured,
            Cells::Plain => ink,
            Cells::Spaces => Ink::Spaces,
        };
        Some(Self { ink, columns, rows })
    }

    /// The screen to try for first: where nobody knows how many lines it has, most have 24
    /// or more. Two are for the key and the prompt.
    fn usual(self) -> Self {
        Self { rows: Some(self.rows.unwrap_or(USUAL_ROWS)), ..self }
    }

    /// Whether it has room for so many modules a side.
    fn holds(self, side: usize) -> bool {
        let (columns, rows) = match self.ink {
            Ink::Light | Ink::Dark | Ink::Coloured => (side, side.div_ceil(2)),
            Ink::Spaces => (side.saturating_mul(2), side),
        };
        columns <= self.columns && self.rows.is_none_or(|most| rows <= most)
    }
}

/// A QR code as text.
#[derive(Debug)]
pub enum QrText {
    /// Lines, without a newline at the end.
    Drawn(Zeroizing<String>),
    /// It is larger than the screen.
    TooLarge,
}

/// How often a URI names the issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IssuerNaming {
    /// In the label and as a parameter, as the format recommends.
    Twice,
    /// In the label alone, which apps read too: shorter.
    Once,
}

/// Modules of light border of a picture, as the standard asks (ISO/IEC 18004).
const PICTURE_BORDER: usize = 4;

/// A new record by the configuration, with one new token and no recovery
/// codes.
///
/// # Errors
/// Those of `rng`.
pub fn new_record<R: TryRng>(
    rng: &mut R,
    config: &Config,
    user: UserName,
    uid: Uid,
    issuer: String,
    now: Timestamp,
) -> Result<Record, R::Error> {
    let token = new_token(rng, config)?;
    Ok(Record {
        user,
        uid,
        generation: Generation::generate(rng)?,
        issuer,
        issued_at: now,
        deadline: config.enrollment.deadline.seconds().map(|seconds| now.plus(seconds)),
        tokens: vec![(TokenId::FIRST, token)],
        recovery: None,
    })
}

/// A new token by the configuration.
///
/// # Errors
/// Those of `rng`.
pub fn new_token<R: TryRng>(rng: &mut R, config: &Config) -> Result<Token, R::Error> {
    Ok(Token {
        secret: Secret::generate(rng)?,
        algorithm: config.code.algorithm,
        digits: config.code.digits,
        kind: match config.code.kind {
            TokenKind::Totp => MovingFactor::Totp { period: config.code.period },
            TokenKind::Hotp => MovingFactor::Hotp,
        },
    })
}

/// What an app needs to know about one token.
#[derive(Debug)]
pub struct Enrollment<'a> {
    /// Who issued it, as the app shows it: 1 to 64 characters, no colon.
    pub issuer: &'a str,
    /// The user, whom the app shows as the account.
    pub user: &'a UserName,
    /// Which of the account's tokens.
    pub id: TokenId,
    /// Until when it must be set up.
    pub deadline: Option<Timestamp>,
    token: &'a Token,
}

impl<'a> Enrollment<'a> {
    /// One for each token of the record.
    pub fn of(invitation: &Invitation<'a>) -> impl Iterator<Item = Self> + use<'a> {
        let record = invitation.record();
        record.tokens.iter().map(|(id, token)| Self {
            id: *id,
            issuer: &record.issuer,
            user: &record.user,
            deadline: record.deadline,
            token,
        })
    }

    /// What the app shows as the account: the user's name, with a number behind that of
    /// a further token. Apps take a second key of one label in the place of the first.
    #[must_use]
    pub fn account(&self) -> String {
        match self.id {
            TokenId::First => self.user.to_string(),
            further @ (TokenId::Second | TokenId::Third | TokenId::Fourth) => {
                format!("{} ({})", self.user, further.get())
            }
        }
    }

    /// The key URI that authenticator apps read. Parameters at their defaults
    /// are left out: the shorter it is, the smaller is its QR code.
    #[must_use]
    pub fn uri(&self) -> Zeroizing<String> {
        self.uri_of(&self.account(), Step(0), IssuerNaming::Twice)
    }

    /// As [`Enrollment::uri`], for another system: its label is the user's name
    /// alone, and a counter token goes on at `counter`.
    #[must_use]
    pub fn uri_from(&self, counter: Step) -> Zeroizing<String> {
        self.uri_of(&self.user.to_string(), counter, IssuerNaming::Twice)
    }

    fn uri_of(&self, account: &str, counter: Step, naming: IssuerNaming) -> Zeroizing<String> {
        let token = self.token;
        let issuer = utf8_percent_encode(self.issuer, RESERVED);
        let user = utf8_percent_encode(account, RESERVED).to_string();
        let secret = token.secret.to_base32();
        // Reserved at once: a string that grows leaves copies behind.
        let mut uri = Zeroizing::new(String::with_capacity(2048));
        let written =
            write!(uri, "otpauth://{}/{issuer}:{user}?secret={}", token.kind.name(), *secret);
        let written = written.and_then(|()| match naming {
            IssuerNaming::Twice => write!(uri, "&issuer={issuer}"),
            IssuerNaming::Once => Ok(()),
        });
        let written = written.and_then(|()| match token.algorithm {
            Algorithm::Sha1 => Ok(()),
            algorithm @ (Algorithm::Sha256 | Algorithm::Sha512) => {
                write!(uri, "&algorithm={algorithm}")
            }
        });
        let written = written.and_then(|()| match token.digits {
            digits if digits == Digits::default() => Ok(()),
            digits => write!(uri, "&digits={digits}"),
        });
        let written = written.and_then(|()| match token.kind {
            MovingFactor::Hotp => write!(uri, "&counter={}", counter.0),
            MovingFactor::Totp { period } if period == Period::default() => Ok(()),
            MovingFactor::Totp { period } => write!(uri, "&period={period}"),
        });
        debug_assert!(written.is_ok(), "writing to a string does not fail");
        uri
    }

    /// The secret as a person types it: groups of four.
    #[must_use]
    pub fn key(&self) -> Zeroizing<String> {
        let secret = self.token.secret.to_base32();
        let mut key = Zeroizing::new(String::with_capacity(secret.len().saturating_mul(2)));
        for (index, letter) in secret.char_indices() {
            if index != 0 && index.is_multiple_of(4) {
                key.push(' ');
            }
            key.push(letter);
        }
        key
    }

    /// What must be set by hand besides the key, where it is not the default.
    #[must_use]
    pub fn parameters(&self) -> Option<String> {
        let (algorithm, digits) = (self.token.algorithm, self.token.digits);
        let moved_by = match self.token.kind {
            MovingFactor::Hotp => "HOTP".to_owned(),
            MovingFactor::Totp { period } if period == Period::default() => String::new(),
            MovingFactor::Totp { period } => format!("{period} s"),
        };
        let parts = [
            if algorithm == Algorithm::Sha1 { String::new() } else { algorithm.to_string() },
            if digits == Digits::default() { String::new() } else { format!("{digits} digits") },
            moved_by,
        ];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// The QR code drawn with text. One that would be too large is made of a shorter
    /// URI first.
    #[must_use]
    pub fn qr_text(&self, canvas: Canvas) -> QrText {
        // Each is made once, and the shorter one only where the other is too large.
        let codes = [IssuerNaming::Twice, IssuerNaming::Once].map(|naming| {
            LazyCell::new(move || {
                let uri = self.uri_of(&self.account(), Step(0), naming);
                Modules::of(&uri, TERMINAL_BORDER)
            })
        });
        for canvas in [canvas.usual(), canvas] {
            let mut codes = codes.iter().filter_map(|code| LazyCell::force(code).as_ref());
            if let Some(modules) = codes.find(|modules| canvas.holds(modules.side())) {
                return QrText::Drawn(modules.drawn(canvas.ink));
            }
        }
        QrText::TooLarge
    }

    /// The QR code as a picture to scale; `None` for a URI that no QR code can
    /// hold.
    #[must_use]
    pub fn qr_svg(&self) -> Option<Zeroizing<String>> {
        Some(self.modules(PICTURE_BORDER)?.svg())
    }

    /// The QR code as SVG paths, one unit a module, and how many units it has
    /// a side: for a picture that shows more than the QR code.
    #[must_use]
    pub fn qr_paths(&self) -> Option<(usize, Zeroizing<String>)> {
        let modules = self.modules(PICTURE_BORDER)?;
        Some((modules.side(), modules.paths()))
    }

    /// The QR code as a PNG file; `None` for a URI that no QR code can hold.
    #[cfg(feature = "tool")]
    #[must_use]
    pub fn qr_png(&self) -> Option<Zeroizing<Vec<u8>>> {
        self.modules(PICTURE_BORDER)?.png()
    }

    fn modules(&self, border: usize) -> Option<Modules> {
        Modules::of(&self.uri(), border)
    }
}

/// The modules of a QR code. Outside of them is light border.
struct Modules {
    width: usize,
    border: usize,
    dark: Zeroizing<Vec<bool>>,
}

impl Modules {
    /// `None`: no QR code can hold it.
    fn of(uri: &str, border: usize) -> Option<Self> {
        let qr = QrCode::with_error_correction_level(uri.as_bytes(), EcLevel::L).ok()?;
        let width = qr.width();
        let dark = qr.into_colors().into_iter().map(|color| color == Color::Dark).collect();
        Some(Self { width, border, dark: Zeroizing::new(dark) })
    }

    /// Modules a side, with the border.
    const fn side(&self) -> usize {
        self.width.saturating_add(self.border.saturating_mul(2))
    }

    /// Counted from the border's corner.
    fn is_light(&self, x: usize, y: usize) -> bool {
        let inside = |at: usize| at.checked_sub(self.border).filter(|at| *at < self.width);
        match (inside(x), inside(y)) {
            (Some(x), Some(y)) => {
                let index = y.saturating_mul(self.width).saturating_add(x);
                !self.dark.get(index).copied().unwrap_or(false)
            }
            _ => true,
        }
    }

    fn drawn(&self, ink: Ink) -> Zeroizing<String> {
        match ink {
            Ink::Light => self.half_blocks(true, "", ""),
            Ink::Dark => self.half_blocks(false, "", ""),
            Ink::Coloured => self.half_blocks(true, WHITE_ON_BLACK, USUAL_COLOURS),
            Ink::Spaces => self.spaces(),
        }
    }

    /// Two modules a cell; `light` ones are inked, or the dark ones. Each line is between
    /// these two.
    fn half_blocks(&self, light: bool, begin: &str, end: &str) -> Zeroizing<String> {
        let side = self.side();
        let room = side.saturating_mul(side).saturating_mul(3);
        let mut text = Zeroizing::new(String::with_capacity(room.saturating_add(2048)));
        let inked = |x, y| y < side && self.is_light(x, y) == light;
        for y in (0..side).step_by(2) {
            if y > 0 {
                text.push('\n');
            }
            text.push_str(begin);
            text.extend((0..side).map(|x| match (inked(x, y), inked(x, y.saturating_add(1))) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            }));
            text.push_str(end);
        }
        text
    }

    /// Two cells a module, told apart by what is behind them.
    fn spaces(&self) -> Zeroizing<String> {
        let side = self.side();
        let most_of_one = ON_WHITE.len().saturating_add(2);
        let room = side.saturating_mul(side).saturating_mul(most_of_one);
        let mut text = Zeroizing::new(String::with_capacity(room.saturating_add(2048)));
        for y in 0..side {
            if y > 0 {
                text.push('\n');
            }
            let mut before = None;
            for light in (0..side).map(|x| self.is_light(x, y)) {
                if before != Some(light) {
                    text.push_str(if light { ON_WHITE } else { ON_BLACK });
                }
                text.push_str("  ");
                before = Some(light);
            }
            text.push_str(USUAL_COLOURS);
        }
        text
    }

    fn svg(&self) -> Zeroizing<String> {
        let side = self.side();
        Zeroizing::new(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">{}</svg>\n",
            *self.paths()
        ))
    }

    /// Dark modules as one path on white.
    fn paths(&self) -> Zeroizing<String> {
        let side = self.side();
        let room = side.saturating_mul(side).saturating_mul(16).saturating_add(128);
        let mut paths = Zeroizing::new(String::with_capacity(room));
        let mut written =
            write!(paths, "<path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/><path d=\"");
        for y in 0..side {
            for x in (0..side).filter(|x| !self.is_light(*x, y)) {
                written = written.and_then(|()| write!(paths, "M{x} {y}h1v1h-1z"));
            }
        }
        debug_assert!(written.is_ok(), "writing to a string does not fail");
        paths.push_str("\"/>");
        paths
    }

    /// Eight pixels a module, in grey.
    #[cfg(feature = "tool")]
    fn png(&self) -> Option<Zeroizing<Vec<u8>>> {
        const SCALE: usize = 8;
        let pixels = self.side().saturating_mul(SCALE);
        let data: Zeroizing<Vec<u8>> = Zeroizing::new(
            (0..pixels)
                .flat_map(|y| (0..pixels).map(move |x| (x, y)))
                .map(|(x, y)| if self.is_light(x / SCALE, y / SCALE) { 255 } else { 0 })
                .collect(),
        );
        let mut file = Zeroizing::new(Vec::new());
        let side = u32::try_from(pixels).ok()?;
        let mut encoder = png::Encoder::new(&mut *file, side, side);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header().and_then(|mut writer| writer.write_image_data(&data)).ok()?;
        Some(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::tests::record;
    use crate::login::PasswordProof;

    fn with<T>(
        kind: MovingFactor,
        change: impl FnOnce(&mut Token),
        of: impl FnOnce(&Enrollment<'_>) -> T,
    ) -> T {
        let mut record = record(kind);
        change(&mut record.tokens[0].1);
        let invitation = Invitation::new(&record, &PasswordProof::by_administrator());
        of(&Enrollment::of(&invitation).next().unwrap())
    }

    fn totp() -> MovingFactor {
        MovingFactor::Totp { period: Period::default() }
    }

    #[test]
    fn the_uri_of_a_default_token_is_short() {
        assert_eq!(
            *with(totp(), |_| {}, |e| e.uri()),
            "otpauth://totp/host.example.org:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=host.example.org"
        );
        assert_eq!(with(totp(), |_| {}, |e| e.parameters()), None);
    }

    #[test]
    fn what_is_not_default_is_in_the_uri_and_is_shown() {
        let change = |token: &mut Token| {
            token.algorithm = Algorithm::Sha256;
            token.digits = Digits::try_from(8).unwrap();
        };
        let sixty = MovingFactor::Totp { period: Period::try_from(60).unwrap() };
        let uri = with(sixty, change, |e| e.uri());
        assert!(uri.ends_with("&algorithm=SHA256&digits=8&period=60"), "{}", *uri);
        assert_eq!(with(sixty, change, |e| e.parameters()).unwrap(), "SHA256, 8 digits, 60 s");
        let uri = with(MovingFactor::Hotp, |_| {}, |e| e.uri());
        assert!(uri.starts_with("otpauth://hotp/") && uri.ends_with("&counter=0"), "{}", *uri);
    }

    #[test]
    fn issuer_and_user_cannot_break_out_of_their_place_in_the_uri() {
        let mut record = record(totp());
        record.issuer = "Ex ample & Söhne/?#".to_owned();
        record.user = UserName::new("a:b&secret=x").unwrap();
        let invitation = Invitation::new(&record, &PasswordProof::by_administrator());
        let uri = Enrollment::of(&invitation).next().unwrap().uri();
        assert!(uri.starts_with("otpauth://totp/Ex%20ample%20%26%20S%C3%B6hne%2F%3F%23:a%3Ab%26secret%3Dx?secret=GEZ"), "{}", *uri);
    }

    #[test]
    fn the_qr_code_of_a_usual_account_fits_a_terminal_of_80_by_24() {
        let text = with(totp(), |_| {}, |e| drawn(e, Canvas::login(Qr::Utf8))).unwrap();
        assert_eq!(text.lines().count(), 21);
        assert!(text.lines().all(|line| line.chars().count() == 41));
        for style in [Qr::Ascii, Qr::None] {
            assert_eq!(Canvas::login(style), None);
            assert_eq!(Canvas::terminal(style, Cells::Coloured, 80, Some(24)), None);
        }
    }

    fn drawn(enrollment: &Enrollment<'_>, canvas: Option<Canvas>) -> Option<String> {
        match enrollment.qr_text(canvas.unwrap()) {
            QrText::Drawn(text) => Some(text.to_string()),
            QrText::TooLarge => None,
        }
    }

    #[test]
    fn for_a_light_screen_the_drawing_is_the_negative_and_on_our_own_the_colours_are_set() {
        let text = |canvas| with(totp(), |_| {}, |e| drawn(e, canvas)).unwrap();
        let dark = text(Canvas::login(Qr::Utf8));
        let light = text(Canvas::login(Qr::Utf8Light));
        let negative = |letter| match letter {
            '█' => ' ',
            '▀' => '▄',
            '▄' => '▀',
            ' ' => '█',
            other => other,
        };
        // Not of the last line: its lower half is beyond the border.
        let lines = |text: &str| text.lines().take(20).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(&dark.chars().map(negative).collect::<String>()), lines(&light));
        let coloured = text(Canvas::terminal(Qr::Utf8Light, Cells::Coloured, 80, Some(24)));
        let line = |line: &str| format!("\x1b[38;5;231;48;5;16m{line}\x1b[0m");
        assert_eq!(coloured, dark.lines().map(line).collect::<Vec<_>>().join("\n"));
        for (style, same) in [(Qr::Utf8, &dark), (Qr::Utf8Light, &light)] {
            assert_eq!(text(Canvas::terminal(style, Cells::Plain, 80, Some(24))), *same);
        }
    }

    #[test]
    fn where_half_blocks_are_not_understood_each_module_is_two_spaces_in_its_colour() {
        let text = |canvas| with(totp(), |_| {}, |e| drawn(e, canvas));
        let spaces = |columns, rows| {
            text(Canvas::terminal(Qr::Utf8Light, Cells::Spaces, columns, Some(rows)))
        };
        // A shorter URI has 37 modules with the border.
        assert!(spaces(73, 41).is_none() && spaces(81, 36).is_none());
        assert_eq!(spaces(81, 40).unwrap().lines().count(), 37);
        let drawn = spaces(82, 41).unwrap();
        assert!(drawn.is_ascii());
        let modules = |line: &str| {
            let line = line.strip_suffix("\x1b[0m").unwrap();
            let runs = line.split("\x1b[48;5;").skip(1).map(|run| run.split_once('m').unwrap());
            let modules = runs.flat_map(|(colour, spaces)| {
                assert!(spaces.chars().all(|letter| letter == ' ') && spaces.len() % 2 == 0);
                vec![colour == "231"; spaces.len() / 2]
            });
            modules.collect::<Vec<_>>()
        };
        let drawn: Vec<_> = drawn.lines().map(modules).collect();
        let half_blocks = text(Canvas::login(Qr::Utf8)).unwrap();
        let rows = half_blocks.lines().flat_map(|line| {
            let half = |letters: [char; 2]| line.chars().map(move |c| letters.contains(&c));
            [half(['█', '▀']).collect::<Vec<_>>(), half(['█', '▄']).collect()]
        });
        assert_eq!(drawn, rows.take(41).collect::<Vec<_>>());
    }

    #[test]
    fn what_does_not_fit_is_made_shorter_and_else_not_drawn() {
        let text = |issuer: usize, user: usize, canvas| {
            let mut record = record(totp());
            record.issuer = "i".repeat(issuer);
            record.user = UserName::new("u".repeat(user)).unwrap();
            let invitation = Invitation::new(&record, &PasswordProof::by_administrator());
            drawn(&Enrollment::of(&invitation).next().unwrap(), canvas)
        };
        let size = |text: Option<String>| {
            let text = text?;
            let text = text.replace("\x1b[38;5;231;48;5;16m", "").replace("\x1b[0m", "");
            Some((text.lines().next()?.chars().count(), text.lines().count()))
        };
        let terminal =
            |columns, rows| Canvas::terminal(Qr::Utf8, Cells::Coloured, columns, Some(rows));
        // The longest issuer and the longest name that useradd makes.
        assert_eq!(size(text(64, 32, Canvas::login(Qr::Utf8))), Some((57, 29)));
        // Where nobody knows how many lines there are, those of most terminals.
        assert_eq!(size(text(42, 8, Canvas::login(Qr::Utf8))), Some((41, 21)));
        assert_eq!(size(text(42, 8, terminal(80, 50))), Some((49, 25)));
        assert_eq!(size(text(64, 255, Canvas::login(Qr::Utf8))), Some((77, 39)));
        assert_eq!(size(text(64, 32, terminal(80, 24))), None);
        assert_eq!(size(text(40, 20, terminal(80, 24))), Some((45, 23)));
        assert_eq!(size(text(4, 5, terminal(40, 24))), Some((37, 19)));
        assert_eq!(size(text(4, 5, terminal(36, 24))), None);
        for (issuer, user) in (1..=64).map(|n| (n, n * 3)) {
            let (columns, _) = size(text(issuer, user, Canvas::login(Qr::Utf8))).unwrap();
            assert!(columns <= 80, "{issuer} {user}");
        }
    }

    #[test]
    fn a_further_token_has_a_label_of_its_own_and_none_for_another_system() {
        let mut record = record(totp());
        let (_, token) = record.tokens.first().unwrap().clone();
        record.tokens.push((TokenId::Second, token));
        let invitation = Invitation::new(&record, &PasswordProof::by_administrator());
        let all: Vec<_> = Enrollment::of(&invitation).collect();
        assert!(all[0].uri().contains(":alice?"), "{}", *all[0].uri());
        assert!(all[1].uri().contains(":alice%20%282%29?"), "{}", *all[1].uri());
        assert!(all[1].uri_from(Step(0)).contains(":alice?"));
        assert_eq!(all[1].account(), "alice (2)");
    }

    #[test]
    fn the_key_is_in_groups_of_four() {
        assert_eq!(*with(totp(), |_| {}, |e| e.key()), "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ");
    }
}
