//! What kind of picture a file is, by how it begins: one that is read, or one whose user
//! is to be told how to make it one.

use crate::error::ToolError;

/// A file that begins as a picture does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Png,
    Jpeg,
    /// Of a kind that is not read, by its name.
    Other(&'static str),
}

impl Kind {
    /// So many bytes say it.
    pub(crate) const BYTES: u64 = 12;

    /// That of a file with this beginning; `None`: it is no picture.
    pub(crate) fn of(start: &[u8]) -> Option<Self> {
        match *start {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Other("GIF")),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P'] => {
                Some(Self::Other("WebP"))
            }
            // What iPhones make, and Androids: HEIC, AVIF.
            [0, 0, 0, _, b'f', b't', b'y', b'p', ..] => Some(Self::Other("HEIF")),
            [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Some(Self::Other("TIFF")),
            // Its reserved bytes are 0, as no text's are.
            [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => Some(Self::Other("BMP")),
            [b'%', b'P', b'D', b'F', b'-', ..] => Some(Self::Other("PDF")),
            _ => None,
        }
    }
}

/// Why a picture of this kind is not read, and what to do.
pub(super) fn not_read(name: &str) -> anyhow::Error {
    const NOT_READ: ToolError = ToolError::new(
        "of pictures, only PNG and JPEG are read",
        "convert it (for instance: heif-convert, pdftoppm -png, magick), or import the text \
         that another reader, such as zbarimg --raw, reads from it",
    );
    anyhow::Error::from(NOT_READ).context(format!("is {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error;

    #[test]
    fn a_picture_of_another_kind_is_known_by_its_name_and_text_is_none() {
        let others: [(&[u8], _); 7] = [
            (b"GIF89a\x10\0\x10\0\0\0", "GIF"),
            (b"RIFF\x24\0\0\0WEBP", "WebP"),
            (b"\0\0\0\x24ftypheic", "HEIF"),
            (b"\0\0\0\x1cftypavif", "HEIF"),
            (b"II*\0\x08\0\0\0\0\0\0\0", "TIFF"),
            (b"BM\x36\x10\0\0\0\0\0\0\x36\0", "BMP"),
            (b"%PDF-1.7\n%\xc3\xa4", "PDF"),
        ];
        for (start, name) in others {
            assert_eq!(Kind::of(start), Some(Kind::Other(name)));
            let error = not_read(name);
            assert!(error::text(&error).contains(name), "{error:#}");
            assert!(error::remedy(&error).is_some_and(|remedy| remedy.contains("convert")));
        }
        assert_eq!(Kind::of(b"\x89PNG\r\n\x1a\n\0\0\0\r"), Some(Kind::Png));
        assert_eq!(Kind::of(b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01"), Some(Kind::Jpeg));
        for text in
            [&b"BM,alice,GEZ"[..], b"otpauth://to", b"<?xml versio", b"HOTP/T30 ali", b"B", b""]
        {
            assert_eq!(Kind::of(text), None, "{text:?}");
        }
    }
}
