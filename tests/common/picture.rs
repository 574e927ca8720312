//! Pictures in files, and what a phone's camera makes of them.

use std::process::Command;

use regex::Regex;

use super::process::finish;

/// What a phone reads from a picture; `kind` is `png` or `pgm`.
#[track_caller]
pub fn scan(picture: &[u8], kind: &str) -> String {
    let mut zbarimg = Command::new("zbarimg");
    zbarimg.args(["--quiet", "--nodbus", "--raw", "-Sdisable", "-Sqrcode.enable"]);
    finish(zbarimg.arg(format!("{kind}:-")), picture).ok().trim().to_owned()
}

/// Draws a picture that consists of white ground and black unit squares, as a viewer
/// would; anything else in it fails the test.
#[track_caller]
pub fn rasterise(svg: &str) -> Vec<u8> {
    const SCALE: usize = 8;
    let form = r##"(?s)^<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 (\d+) (\d+)"[^>]*><path fill="#fff" d="M0 0h(\d+)v(\d+)H0z"/><path d="((?:M\d+ \d+h1v1h-1z)+)"/></svg>\s*$"##;
    let form = Regex::new(form).expect("a valid pattern");
    let parts = form.captures(svg).unwrap_or_else(|| panic!("another picture: {svg}"));
    let side: usize = parts[1].parse().expect("a number");
    assert!((2..=4).all(|part| parts[part] == parts[1]), "a white square: {svg}");
    let mut dark = vec![false; side * side];
    for square in Regex::new(r"M(\d+) (\d+)").expect("a valid pattern").captures_iter(&parts[5]) {
        let [x, y] = [1, 2].map(|part| square[part].parse::<usize>().expect("a number"));
        assert!(x < side && y < side, "outside of the picture: {x} {y}");
        dark[y * side + x] = true;
    }
    let pixels = side * SCALE;
    let mut picture = format!("P5 {pixels} {pixels} 255\n").into_bytes();
    for y in 0..pixels {
        picture.extend((0..pixels).map(|x| match dark[y / SCALE * side + x / SCALE] {
            true => 0_u8,
            false => 255,
        }));
    }
    picture
}
