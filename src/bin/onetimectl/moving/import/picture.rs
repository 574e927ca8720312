//! The QR codes in a picture, as text: photographs and screenshots in PNG and JPEG. Whoever
//! made the picture, it takes bounded memory, and a code that is there but cannot be read
//! is an error: its user would be missing.

mod jpeg;
mod kind;

use std::cell::Cell;
use std::cmp::Reverse;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use anyhow::{Context as _, bail, ensure};
use png::{ColorType, Decoder, Transformations};
use rqrr::PreparedImage;
use zeroize::Zeroizing;

use crate::error::ToolError;

pub(super) use kind::Kind;

/// The size of the largest file, in bytes.
pub(super) const BOUND: u64 = 64 * 1024 * 1024;
/// Pixels; a large screen has 8 million, a phone's camera 12 million.
const MOST_PIXELS: u64 = 40_000_000;
/// Pixels of light around the picture: a code may be cut out to its last module.
const MARGIN: usize = 16;
/// A side, in pixels, up to which modules may be too small for the reader.
const SMALL: usize = 512;

const UNREADABLE: ToolError = ToolError::new(
    "there is no QR code in the picture that can be read",
    "crop it to the code, or take a sharper one; or import the text that another reader, \
     such as zbarimg --raw, reads from it",
);
const PARTLY_UNREADABLE: ToolError = ToolError::new(
    "one of the QR codes in the picture cannot be read",
    "crop it to one picture for each code and name them all; or import the text that another \
     reader, such as zbarimg --raw, reads from it",
);
const OTHER: ToolError = ToolError::new(
    "the QR code in the picture is not one of a token: it does not begin with otpauth",
    "crop the picture to the code that an app would scan",
);

/// Samples of grey, row by row.
struct Grey {
    width: usize,
    height: usize,
    samples: Zeroizing<Vec<u8>>,
}

/// What is read from a picture, seen in one way.
#[derive(Default)]
struct Reading {
    texts: Vec<Zeroizing<String>>,
    /// Codes that were found and not read.
    unread: usize,
}

/// What the QR codes in a picture say of tokens, one a line.
///
/// # Errors
/// The file is damaged, too large or of a kind that is not read, or a code in it cannot
/// be read.
pub(super) fn texts(kind: Kind, file: &[u8]) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let mut best = Reading::default();
    // What is transparent is of the colour that shows the code: light or dark.
    for background in [255, 0] {
        let grey = match (kind, background) {
            (Kind::Png, _) => png(file, background)?,
            (Kind::Jpeg, 255) => Some(jpeg::decode(file)?),
            // Nothing in it is transparent.
            (Kind::Jpeg, _) => None,
            (Kind::Other(name), _) => return Err(kind::not_read(name)),
        };
        let Some(grey) = grey else { break };
        for (inverted, scale) in grey.ways() {
            let reading = grey.read(inverted, scale);
            if reading.worth() > best.worth() {
                best = reading;
            }
            if !best.texts.is_empty() && best.unread == 0 {
                break;
            }
        }
        if !best.texts.is_empty() {
            break;
        }
    }
    ensure!(!best.texts.is_empty(), UNREADABLE);
    ensure!(best.unread == 0, PARTLY_UNREADABLE);
    let mut lines = Zeroizing::new(Vec::new());
    for text in best.texts.iter().filter(|text| is_of_tokens(text)) {
        lines.extend_from_slice(text.as_bytes());
        lines.push(b'\n');
    }
    ensure!(!lines.is_empty(), OTHER);
    Ok(lines)
}

/// Whether an app would take it for tokens; a screenshot may have other codes too.
fn is_of_tokens(text: &str) -> bool {
    text.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("otpauth"))
}

/// Refuses a picture of too many pixels, before there is room for them.
fn bounded(width: u64, height: u64) -> anyhow::Result<()> {
    let pixels = width.saturating_mul(height);
    ensure!(
        pixels <= MOST_PIXELS,
        "the picture has {pixels} pixels, and more than {MOST_PIXELS} are not read: crop it to \
         the QR code"
    );
    Ok(())
}

/// A PNG file in grey; `None` for a dark background where nothing is transparent.
fn png(file: &[u8], background: u8) -> anyhow::Result<Option<Grey>> {
    let mut decoder = Decoder::new(Cursor::new(file));
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let header = decoder.read_header_info().context("not a PNG file in order")?;
    bounded(header.width.into(), header.height.into())?;
    let mut reader = decoder.read_info().context("not a PNG file in order")?;
    let channels = match reader.output_color_type().0 {
        ColorType::Grayscale => 1,
        ColorType::GrayscaleAlpha => 2,
        ColorType::Rgb => 3,
        ColorType::Rgba => 4,
        ColorType::Indexed => bail!("a PNG file with colours of an unknown kind"),
    };
    if background == 0 && matches!(channels, 1 | 3) {
        return Ok(None);
    }
    let size = reader.output_buffer_size().context("the picture is too large")?;
    let mut raw = Zeroizing::new(vec![0; size]);
    let frame = reader.next_frame(&mut raw).context("not a PNG file in order")?;
    // To its end: of a file that was cut off, nobody knows what is missing.
    reader.finish().context("not a PNG file in order")?;
    let raw = raw.get(..frame.buffer_size()).unwrap_or_default();
    let samples = raw.chunks_exact(channels).map(|pixel| grey(pixel, background)).collect();
    Ok(Some(Grey {
        width: usize::try_from(frame.width)?,
        height: usize::try_from(frame.height)?,
        samples: Zeroizing::new(samples),
    }))
}

/// A pixel in grey, as it shows on this background.
fn grey(pixel: &[u8], background: u8) -> u8 {
    let (light, alpha) = match *pixel {
        [light] => (u32::from(light), 255),
        [light, alpha] => (u32::from(light), u32::from(alpha)),
        [red, green, blue] => (luma(red, green, blue), 255),
        [red, green, blue, alpha] => (luma(red, green, blue), u32::from(alpha)),
        _ => (255, 255),
    };
    let behind = u32::from(background).saturating_mul(255_u32.saturating_sub(alpha));
    let sum = light.saturating_mul(alpha).saturating_add(behind);
    u8::try_from(sum / 255).unwrap_or(u8::MAX)
}

/// How light a colour is to the eye (ITU-R BT.601), of 255.
fn luma(red: u8, green: u8, blue: u8) -> u32 {
    let [red, green, blue] = [(red, 299), (green, 587), (blue, 114)]
        .map(|(part, weight)| u32::from(part).saturating_mul(weight));
    red.saturating_add(green).saturating_add(blue) / 1000
}

/// What comes of it; `None` if it panics, which the terminal does not show then.
fn without_a_word<T>(work: impl FnOnce() -> T) -> Option<T> {
    thread_local! { static IS_TRIED: Cell<bool> = const { Cell::new(false) } }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_TRIED.get() {
                usual(panic);
            }
        }));
    });
    IS_TRIED.set(true);
    let made = catch_unwind(AssertUnwindSafe(work));
    IS_TRIED.set(false);
    made.ok()
}

impl Reading {
    /// More texts are better, and of as many, fewer codes that were not read.
    fn worth(&self) -> (usize, Reverse<usize>) {
        (self.texts.len(), Reverse(self.unread))
    }
}

impl Grey {
    /// How to look at it: as it is, or light for dark; and enlarged, where it is small.
    fn ways(&self) -> impl Iterator<Item = (bool, usize)> + use<> {
        let scales: &[usize] = if self.width.max(self.height) <= SMALL { &[1, 4] } else { &[1] };
        scales.iter().flat_map(|scale| [(false, *scale), (true, *scale)])
    }

    fn read(&self, inverted: bool, scale: usize) -> Reading {
        let side =
            |pixels: usize| pixels.saturating_mul(scale).saturating_add(MARGIN.saturating_mul(2));
        let mut image =
            PreparedImage::prepare_from_greyscale(side(self.width), side(self.height), |x, y| {
                match self.sample(x.checked_sub(MARGIN), y.checked_sub(MARGIN), scale) {
                    Some(sample) if inverted => 255_u8.saturating_sub(sample),
                    Some(sample) => sample,
                    None => 255,
                }
            });
        // rqrr 0.11 panics where a damaged code leads it far out of the picture.
        let read = without_a_word(|| {
            let mut reading = Reading::default();
            for grid in image.detect_grids() {
                match grid.decode() {
                    Ok((_, text)) => reading.texts.push(Zeroizing::new(text)),
                    Err(_) => reading.unread = reading.unread.saturating_add(1),
                }
            }
            reading
        });
        read.unwrap_or_else(|| Reading { unread: 1, ..Reading::default() })
    }

    fn sample(&self, x: Option<usize>, y: Option<usize>, scale: usize) -> Option<u8> {
        let (x, y) = (x?.checked_div(scale)?, y?.checked_div(scale)?);
        let start = y.checked_mul(self.width)?;
        (x < self.width).then(|| self.samples.get(start.checked_add(x)?).copied())?
    }
}

#[cfg(test)]
mod tests {
    use png::{BitDepth, Encoder};
    use proptest::prelude::*;
    use qrcode::{Color, QrCode};

    use super::*;

    const URI: &str = "otpauth://totp/host:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    /// A PNG file of these rows.
    fn png(width: usize, kind: ColorType, depth: BitDepth, data: &[u8], rows: usize) -> Vec<u8> {
        let mut file = Vec::new();
        let side = |pixels: usize| u32::try_from(pixels).unwrap();
        let mut encoder = Encoder::new(&mut file, side(width), side(rows));
        encoder.set_color(kind);
        encoder.set_depth(depth);
        if kind == ColorType::Indexed {
            encoder.set_palette(vec![0, 0, 90, 255, 250, 240]);
        }
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        file
    }

    /// Whether each pixel is dark, of codes side by side; the width.
    fn modules(texts: &[&str], scale: usize, border: usize) -> (usize, Vec<bool>) {
        let codes: Vec<_> = texts.iter().map(|text| QrCode::new(text).unwrap()).collect();
        let side = codes.iter().map(QrCode::width).max().unwrap() + 2 * border;
        let mut dark = Vec::new();
        for y in 0..side * scale {
            for code in &codes {
                dark.extend((0..side * scale).map(|x| {
                    let at = |pixel: usize| (pixel / scale).wrapping_sub(border);
                    let inside = at(x) < code.width() && at(y) < code.width();
                    inside && code[(at(x), at(y))] == Color::Dark
                }));
            }
        }
        (side * scale * codes.len(), dark)
    }

    fn read(file: &[u8]) -> String {
        String::from_utf8(texts(Kind::of(file).unwrap(), file).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn a_code_is_read_in_all_depths_and_colours_transparent_inverted_cropped_and_small() {
        for (scale, border) in [(8, 4), (3, 4), (1, 4), (4, 0), (2, 1)] {
            let (width, dark) = modules(&[URI], scale, border);
            for inverted in [false, true] {
                let each = |light: &[u8], ink: &[u8]| -> Vec<u8> {
                    let of = |dark: &bool| if *dark != inverted { ink } else { light };
                    dark.iter().flat_map(of).copied().collect()
                };
                let bits: Vec<u8> = {
                    dark.chunks(width)
                        .flat_map(|row| row.chunks(8))
                        .map(|row| {
                            let bit =
                                |(i, dark): (usize, &bool)| u8::from(*dark == inverted) << (7 - i);
                            row.iter().enumerate().map(bit).sum()
                        })
                        .collect()
                };
                use BitDepth::{Eight, One, Sixteen};
                use ColorType::{Grayscale, GrayscaleAlpha, Indexed, Rgb, Rgba};
                for (kind, depth, data) in [
                    (Grayscale, Eight, each(&[255], &[0])),
                    (Grayscale, Sixteen, each(&[250, 1], &[3, 9])),
                    (Grayscale, One, bits.clone()),
                    (Indexed, One, bits.clone()),
                    (Rgb, Eight, each(&[255, 255, 200], &[90, 0, 0])),
                    (GrayscaleAlpha, Eight, each(&[0, 0], &[0, 255])),
                    (GrayscaleAlpha, Eight, each(&[255, 0], &[255, 255])),
                    (Rgba, Eight, each(&[9, 9, 9, 0], &[0, 0, 40, 255])),
                ] {
                    let file = png(width, kind, depth, &data, dark.len() / width);
                    let found = texts(Kind::Png, &file)
                        .map(|text| String::from_utf8_lossy(&text).into_owned());
                    let case = format!("{kind:?} {depth:?} {scale} {border} {inverted}");
                    assert_eq!(found.ok(), Some(format!("{URI}\n")), "{case}");
                }
            }
        }
    }

    #[test]
    fn several_codes_are_read_and_one_that_is_damaged_or_not_of_a_token_is_not_passed_over() {
        let other = URI.replace("alice", "bob");
        let all = [URI, &other, "https://host"];
        let (width, dark) = modules(&all, 4, 4);
        let mut data: Vec<u8> = dark.iter().map(|dark| if *dark { 0 } else { 255 }).collect();
        let rows = data.len() / width;
        let file = |data: &[u8]| png(width, ColorType::Grayscale, BitDepth::Eight, data, rows);
        let found = read(&file(&data));
        let mut found: Vec<_> = found.lines().collect();
        found.sort_unstable();
        assert_eq!(found, [URI, &other]);
        // A third of the first code is covered, between its corners.
        for row in data.chunks_mut(width).skip(rows * 2 / 5).take(rows / 5) {
            row[..rows].fill(0);
        }
        let error = texts(Kind::Png, &file(&data)).unwrap_err().to_string();
        assert_eq!(error, PARTLY_UNREADABLE.to_string());

        let (width, dark) = modules(&["https://host"], 4, 4);
        let data: Vec<u8> = dark.iter().map(|dark| if *dark { 0 } else { 255 }).collect();
        let file = png(width, ColorType::Grayscale, BitDepth::Eight, &data, data.len() / width);
        assert_eq!(texts(Kind::Png, &file).unwrap_err().to_string(), OTHER.to_string());
    }

    #[test]
    fn a_picture_of_too_many_pixels_is_refused_before_room_is_made_for_them() {
        let mut file = png(1, ColorType::Grayscale, BitDepth::Eight, &[0], 1);
        assert_eq!(texts(Kind::Png, &file).unwrap_err().to_string(), UNREADABLE.to_string());
        // The header, with a checksum of its own.
        file[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
        let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&file[12..29]);
        file[29..33].copy_from_slice(&crc.to_be_bytes());
        let error = texts(Kind::Png, &file).unwrap_err().to_string();
        assert!(error.contains("more than 40000000"), "{error}");
        file.truncate(20);
        assert!(texts(Kind::Png, &file).is_err());
    }

    #[test]
    fn what_panics_comes_to_nothing() {
        assert_eq!(without_a_word(|| 7), Some(7));
        assert_eq!(without_a_word(|| Vec::<u8>::new()[0]), None);
        assert_eq!(without_a_word(|| 7), Some(7));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 100, ..ProptestConfig::default() })]
        #[test]
        fn no_picture_makes_the_reader_panic(
            noise in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..600),
            cut in any::<prop::sample::Index>(),
            scale in 1_usize..4,
        ) {
            let (width, dark) = modules(&[URI], scale, 2);
            let mut data: Vec<u8> = dark.iter().map(|dark| if *dark { 0 } else { 255 }).collect();
            for (at, value) in noise {
                let at = at.index(data.len());
                data[at] = value;
            }
            let file = png(width, ColorType::Grayscale, BitDepth::Eight, &data, data.len() / width);
            let _read = texts(Kind::Png, &file);
            prop_assert!(texts(Kind::Png, &file[..cut.index(file.len())]).is_err());
        }
    }
}
