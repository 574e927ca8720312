//! A JPEG file in grey: what a phone's camera makes, and how screenshots are sent on.

use anyhow::{Context as _, anyhow};
use zeroize::Zeroizing;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{Grey, bounded};

/// Pixels a side of the largest that the format knows.
const MOST_A_SIDE: usize = u16::MAX as usize;
/// How often a progressive file may go over the picture; cameras and libjpeg do it 10
/// times, and each takes time.
const MOST_SCANS: usize = 64;

/// The picture in grey.
///
/// # Errors
/// It is damaged, cut off, or too large.
pub(super) fn decode(file: &[u8]) -> anyhow::Result<Grey> {
    // Strict: what is missing of a file would be grey, and whose code was there too.
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_use_unsafe(false)
        .set_max_width(MOST_A_SIDE)
        .set_max_height(MOST_A_SIDE)
        .jpeg_set_max_scans(MOST_SCANS)
        .jpeg_set_out_colorspace(ColorSpace::Luma);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options);
    decoder.decode_headers().map_err(out_of_order)?;
    let (width, height) = decoder.dimensions().context("a JPEG file without a size")?;
    bounded(u64::try_from(width)?, u64::try_from(height)?)?;
    let size = decoder.output_buffer_size().context("the picture is too large")?;
    let mut samples = Zeroizing::new(vec![0; size]);
    decoder.decode_into(&mut samples).map_err(out_of_order)?;
    Ok(Grey { width, height, samples })
}

/// Without what the decoder says of it: for programmers, and it may quote the file.
fn out_of_order(error: DecodeErrors) -> anyhow::Error {
    drop(error);
    anyhow!("not a JPEG file in order, or of a rare kind: convert it to PNG")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Kind, texts};

    const URI: &str = "otpauth://totp/host:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n";

    /// By qrencode and libjpeg's cjpeg, in colour: sequential, and progressive.
    const FILES: [&[u8]; 2] = [
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/pictures/alice.jpg")),
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/data/pictures/alice-progressive.jpg"
        )),
    ];

    /// Where the height is, and behind it the width.
    fn size_of(file: &[u8]) -> usize {
        let frame = |at: &[u8]| matches!(at, [0xff, 0xc0 | 0xc2, 0, 17, 8]);
        file.windows(5).position(frame).unwrap() + 5
    }

    #[test]
    fn a_code_is_read_from_sequential_and_progressive_files() {
        for file in FILES {
            assert_eq!(texts(Kind::of(file).unwrap(), file).unwrap().as_slice(), URI.as_bytes());
        }
    }

    #[test]
    fn a_picture_of_too_many_pixels_is_refused_before_room_is_made_for_them() {
        for file in FILES {
            for (height, width) in [(u16::MAX, u16::MAX), (6325, 6325), (616, u16::MAX)] {
                let mut file = file.to_vec();
                let at = size_of(&file);
                file[at..at + 2].copy_from_slice(&height.to_be_bytes());
                file[at + 2..at + 4].copy_from_slice(&width.to_be_bytes());
                let error = texts(Kind::Jpeg, &file).unwrap_err().to_string();
                assert!(error.contains("more than 40000000"), "{height} {width}: {error}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 60, ..ProptestConfig::default() })]
        #[test]
        fn a_file_that_is_damaged_or_cut_off_is_an_error_or_says_what_it_said(
            which in any::<prop::sample::Index>(),
            noise in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut file = FILES[which.index(FILES.len())].to_vec();
            let size = size_of(&file);
            for (at, value) in noise {
                // Of a usual size: else it is slow, and only that.
                let at = at.index(file.len());
                if !(size..size + 4).contains(&at) {
                    file[at] = value;
                }
            }
            let cut = &file[..cut.index(file.len())];
            for file in [file.as_slice(), cut] {
                if let Ok(text) = texts(Kind::Jpeg, file) {
                    prop_assert_eq!(text.as_slice(), URI.as_bytes());
                }
            }
        }
    }
}
