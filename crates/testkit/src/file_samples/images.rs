//! Images, and files that begin like one.

use std::io::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compression, Crc, write::ZlibEncoder};

use super::{sample::FileSample, spreadsheets};

const SCRIPT: &str = "<script>alert(document.domain)</script>";

pub(super) fn good() -> Vec<FileSample> {
    vec![
        FileSample::good("a.jpg", jpeg(&[]), "JPEG"),
        FileSample::good("a.jpeg", jpeg(&[(0xe0, b"JFIF\0\x01\x02\0\0\x01\0\x01\0\0")]), "JFIF"),
        FileSample::good(
            "exif.jpg",
            jpeg(&[(0xe1, &exif()), (0xe2, &[7; 60_000])]),
            "EXIF and a long profile",
        ),
        FileSample::good("a.png", png(1, 1), "PNG"),
        FileSample::good("a.png", png(640, 480), "a larger PNG"),
        FileSample::good("a.gif", gif(1, 1, 1), "GIF"),
        FileSample::good("animated.gif", gif(1, 1, 3), "an animated GIF"),
        FileSample::good("old.gif", [b"GIF87a".as_slice(), &gif(1, 1, 1)[6..]].concat(), "GIF87a"),
        FileSample::good("a.webp", webp(LOSSY), "a lossy WebP"),
        FileSample::good("a.webp", webp(LOSSLESS), "a lossless WebP"),
        FileSample::good("a.webp", extended_webp(), "an extended WebP"),
        FileSample {
            declared: Some("image/jpg".to_owned()),
            ..FileSample::good("a.jpg", jpeg(&[]), "image/jpg")
        },
    ]
}

pub(super) fn hostile() -> Vec<FileSample> {
    let archive = spreadsheets::spreadsheet();
    let with = |image: Vec<u8>, more: &[u8]| [image.as_slice(), more].concat();
    let mut zero_png = png(1, 1);
    zero_png[16..20].fill(0);
    let mut huge_png = png(1, 1);
    huge_png[16..20].fill(0xff);
    let mut flat_jpeg = jpeg(&[]);
    let frame = flat_jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    flat_jpeg[frame + 5..frame + 7].fill(0);
    let comment = format!("*/=1;alert(1)//{SCRIPT}");
    vec![
        FileSample::bad("polyglot.png", text_png(SCRIPT), "HTML in the head of a PNG"),
        FileSample::good(
            "polyglot.png",
            text_png(&format!("{}{SCRIPT}", "-".repeat(2000))),
            "HTML far inside of a PNG is no HTML to a browser",
        ),
        FileSample::bad("polyglot.jpg", jpeg(&[(0xfe, comment.as_bytes())]), "HTML in a comment of a JPEG"),
        FileSample::good(
            "script.gif",
            gif_script(),
            "GIF and JavaScript: no script under the type of an image",
        ),
        FileSample::good(
            "gifar.gif",
            with(gif(1, 1, 1), &archive),
            "GIF and zip: no archive under this type",
        ),
        FileSample::good("photo.jpg", with(jpeg(&[]), &[0; 4096]), "phones append films to photos"),
        FileSample::bad("zero.png", zero_png, "a width of 0"),
        FileSample::bad("huge.png", huge_png, "a width of 2^32 - 1"),
        FileSample::bad("zero.gif", gif(0, 1, 1), "a width of 0"),
        FileSample::bad("zero.gif", gif(1, 0, 1), "a height of 0"),
        FileSample::bad("zero.jpg", flat_jpeg, "a height of 0"),
        FileSample::bad("zero.webp", zero_webp(), "a width of 0"),
        FileSample::bad("cut.png", &png(1, 1)[..32], "a header without its end"),
        FileSample::bad("cut.png", &png(1, 1)[..8], "only the signature"),
        FileSample::bad("cut.gif", &gif(1, 1, 1)[..12], "a header without its end"),
        FileSample::bad("cut.jpg", &jpeg(&[])[..frame + 8], "a frame without its width"),
        FileSample::bad("cut.jpg", &jpeg(&[(0xe1, &[0; 5000])])[..3000], "an end inside of a segment"),
        FileSample::bad("cut.webp", &webp(LOSSY)[..webp(LOSSY).len() - 1], "a WebP without its last byte"),
        FileSample::bad("cut.webp", &webp(LOSSLESS)[..24], "a WebP without its dimensions"),
        FileSample::bad("magic.jpg", "\u{ff}\u{d8}\u{ff}", "a signature in UTF-8"),
        FileSample::bad("magic.jpg", b"\xff\xd8\xff\xe0", "only a signature"),
        FileSample::bad(
            "scan.jpg",
            b"\xff\xd8\xff\xda\0\x08\x01\x01\0\0\x3f\0\x3f\xff\xd9",
            "a scan without frame",
        ),
        FileSample::bad(
            "loop.jpg",
            [b"\xff\xd8".as_slice(), &b"\xff\xe0\0\0".repeat(500)].concat(),
            "length 0",
        ),
        FileSample::bad("wave.webp", b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0", "sound in RIFF"),
        FileSample::bad("a.gif", format!("GIF90a{SCRIPT}"), "no such version"),
        FileSample::bad("a.gif", format!("GIF89a{SCRIPT}"), "a signature and HTML"),
        FileSample::bad("a.png", format!("<svg xmlns='http://www.w3.org/2000/svg'>{SCRIPT}</svg>"), "SVG"),
        FileSample::bad("a.jpg", b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\x01\0\0\0", "a bitmap"),
        FileSample::bad("a.webp", "", "empty"),
    ]
}

/// Baseline, one grey pixel, with more segments before the tables.
pub(super) fn jpeg(segments: &[(u8, &[u8])]) -> Vec<u8> {
    let mut file = b"\xff\xd8".to_vec();
    let mut segment = |marker: u8, content: &[u8]| {
        file.extend([0xff, marker]);
        file.extend(u16::try_from(content.len() + 2).unwrap().to_be_bytes());
        file.extend(content);
    };
    for (marker, content) in segments {
        segment(*marker, content);
    }
    segment(0xdb, &[[0].as_slice(), &[1; 64]].concat());
    segment(0xc0, &[8, 0, 1, 0, 1, 1, 1, 0x11, 0]);
    // One code of one bit in each table: no difference, and the end of the block.
    for table in [0, 0x10] {
        segment(0xc4, &[[table, 1].as_slice(), &[0; 15], &[0]].concat());
    }
    segment(0xda, &[1, 1, 0, 0, 63, 0]);
    file.extend(b"\x3f\xff\xd9");
    file
}

/// The resolution in a directory of TIFF.
fn exif() -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01".to_vec();
    exif.extend(b"\x01\x12\0\x03\0\0\0\x01\0\x01\0\0\0\0\0\0");
    exif
}

/// Grey, all pixels alike.
pub(super) fn png(width: u32, height: u32) -> Vec<u8> {
    png_of(width, height, &[])
}

fn text_png(text: &str) -> Vec<u8> {
    png_of(1, 1, &[(b"tEXt", format!("Comment\0{text}").as_bytes())])
}

fn png_of(width: u32, height: u32, more: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let header = [width.to_be_bytes().as_slice(), &height.to_be_bytes(), &[8, 0, 0, 0, 0]].concat();
    let mut pixels = ZlibEncoder::new(Vec::new(), Compression::best());
    let line = vec![0; usize::try_from(width).unwrap() + 1];
    for _ in 0..height {
        pixels.write_all(&line).unwrap();
    }
    let pixels = pixels.finish().unwrap();
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let ends: [(&[u8; 4], &[u8]); 2] = [(b"IDAT", &pixels), (b"IEND", b"")];
    for (kind, content) in [(b"IHDR", header.as_slice())].iter().chain(more).chain(&ends) {
        let mut sum = Crc::new();
        sum.update(*kind);
        sum.update(content);
        file.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
        file.extend(*kind);
        file.extend(*content);
        file.extend(sum.sum().to_be_bytes());
    }
    file
}

/// Frames of one pixel on a screen of this size; several repeat for ever.
pub(super) fn gif(width: u16, height: u16, frames: usize) -> Vec<u8> {
    let mut file = b"GIF89a".to_vec();
    file.extend([width.to_le_bytes(), height.to_le_bytes()].concat());
    file.extend(b"\x80\0\0\0\0\0\xff\xff\xff");
    if frames > 1 {
        file.extend(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0");
    }
    for _ in 0..frames {
        file.extend(b"\x21\xf9\x04\0\x0a\0\0\0\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0");
    }
    file.push(b';');
    file
}

/// A width that begins a comment of JavaScript, which ends after the image.
fn gif_script() -> Vec<u8> {
    let mut file = gif(u16::from_le_bytes(*b"/*"), 1, 1);
    file.extend(b"*/=1;alert(document.domain);");
    file
}

pub(super) const LOSSY: &str = "UklGRiQAAABXRUJQVlA4IBgAAAAwAQCdASoBAAEAAwA0JaQAA3AA/vuUAAA=";
const LOSSLESS: &str = "UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==";

/// One pixel.
pub(super) fn webp(image: &str) -> Vec<u8> {
    STANDARD.decode(image).unwrap()
}

fn extended_webp() -> Vec<u8> {
    let image = &webp(LOSSLESS)[12..];
    let size = u32::try_from(4 + 18 + image.len()).unwrap();
    let header = b"WEBPVP8X\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0";
    [b"RIFF".as_slice(), &size.to_le_bytes(), header, image].concat()
}

fn zero_webp() -> Vec<u8> {
    let mut file = webp(LOSSY);
    file[26..28].fill(0);
    file
}
