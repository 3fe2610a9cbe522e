//! Texts, tables and JSON.

use super::sample::FileSample;

const HTML: &str = "<!DOCTYPE html><html><script>alert(document.domain)</script></html>";

pub(super) fn good() -> Vec<FileSample> {
    // "Chinese", in GB18030; a character that needs four bytes there.
    let gb18030 = b"\xd6\xd0\xce\xc4,\x94\x39\xda\x33\r\n";
    vec![
        FileSample::good("a.txt", "plain\n", "ASCII"),
        FileSample::good("a.txt", "", "an empty text"),
        FileSample::good("a.csv", "", "an empty table"),
        FileSample::good("a.csv", "a,b\r\n1,\"2\n3\"\r\n", "a table"),
        FileSample::good("a.csv", "\u{feff}名称,数量\n苹果,1\n", "UTF-8 with a byte order mark"),
        FileSample::good("a.txt", "中文😀é\n".repeat(3000), "UTF-8"),
        FileSample::good("a.csv", gb18030, "GB18030"),
        FileSample::good("a.txt", gb18030.repeat(3000), "GB18030 over many chunks"),
        FileSample::good("a.json", "{\"a\":[1,-2.5e+3,true,false,null,\"\\u4e2d\\n\"],\"b\":{}}", "JSON"),
        FileSample::good("a.json", " \t\r\n0 ", "a number in white space"),
        FileSample::good("a.json", "{\"名\":\"\u{10ffff}\"}", "UTF-8 in JSON"),
        // The second byte of the last character is a backslash.
        FileSample::good("a.json", b"{\"\xc3\xfb\":\"\xd5\x5c\"}", "GB18030 in JSON"),
    ]
}

pub(super) fn hostile() -> Vec<FileSample> {
    [markup(), encodings(), json()].concat()
}

fn markup() -> Vec<FileSample> {
    let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"/>";
    let xml = "<?xml version=\"1.0\"?><?xml-stylesheet href=\"https://evil.example.com/a.xsl\"?><a/>";
    let beginnings = [
        ("", "at the start"),
        ("\u{feff}", "after a byte order mark"),
        (" \t\r\n\x0c\x0b", "after white space"),
        ("\u{feff}\n\u{feff} ", "after two byte order marks"),
        ("\u{a0}\u{3000}\u{2028}\u{200b}", "after white space of Unicode"),
        ("\x01\x1b\x7f", "after control characters"),
        ("<!-- \u{4e2d} -->", "after a comment"),
        ("<!-- <?xml?> -->\n\n", "after a comment and lines"),
    ];
    let blank = " ".repeat(5000);
    let mut samples = Vec::new();
    for (before, place) in beginnings.into_iter().chain([(blank.as_str(), "after 5,000 spaces")]) {
        for (kind, text) in [("HTML", HTML), ("SVG", svg), ("XML", xml)] {
            for name in ["a.txt", "a.csv", "a.json"] {
                samples.push(FileSample::bad(name, format!("{before}{text}"), &format!("{kind} {place}")));
            }
        }
    }
    let scripts = [
        "#!/bin/sh\nreboot\n",
        " \n#!/usr/bin/env python3\n",
        "<?php system('id'); ?>",
        "<?='a'?>",
        "<% Response.Write(1) %>",
        "<script>alert(1)</script>",
        "<SCRIPT SRC=//evil.example.com></SCRIPT>",
        "</title><script>alert(1)</script>",
        "<a href=javascript:alert(1)>",
        "<iframe srcdoc=x>",
        "<plaintext>",
        "<x:script xmlns:x='http://www.w3.org/1999/xhtml'>alert(1)</x:script>",
        "%PDF-1.4 all in ASCII",
    ];
    samples.extend(scripts.map(|text| FileSample::bad("a.txt", text, "markup or a script")));
    let gb18030 = [b"\x84\x31\x95\x33\xa1\xa1".as_slice(), HTML.as_bytes(), b"\xd6\xd0"].concat();
    samples.push(FileSample::bad("a.txt", gb18030, "HTML after a byte order mark and a space of GB18030"));
    let ambiguous = ["\u{3000}\u{3000}".as_bytes(), HTML.as_bytes()].concat();
    samples.push(FileSample::bad("a.txt", ambiguous, "HTML in one of two possible encodings"));
    let harmless = [
        ("a < b and <3", "a sign that opens no tag"),
        ("<3 <html>", "a sign before a digit"),
        ("< html>", "a sign before a space"),
        ("# heading\n<script>alert(1)</script>", "markup that is not at the start is text"),
        ("#", "a mark at the end"),
        ("<", "a sign at the end"),
        ("BM,MZ,GIF87a", "letters that begin binary files"),
        (
            "=HYPERLINK(\"https://evil.example.com\",\"click\")\n",
            "a formula is text; whoever opens it must know",
        ),
        ("@SUM(1+1)*cmd|' /C calc'!A0\n", "a formula that starts a program is text, too"),
    ];
    for (text, why) in harmless {
        samples.extend([FileSample::good("a.txt", text, why), FileSample::good("a.csv", text, why)]);
    }
    samples
}

/// In UTF-16 without a byte order mark, little-endian.
pub(super) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn encodings() -> Vec<FileSample> {
    let swapped: Vec<u8> = HTML.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let long = |end: &[u8]| [&b"x".repeat(10_000), end].concat();
    let text = |content: Vec<u8>, why: &str| FileSample::good("a.txt", content, why);
    let bad = |content: Vec<u8>, why: &str| FileSample::bad("a.txt", content, why);
    vec![
        bad(utf16(HTML), "UTF-16"),
        bad(swapped.clone(), "UTF-16, big-endian"),
        bad([b"\xff\xfe".as_slice(), &utf16(HTML)].concat(), "UTF-16 with a byte order mark"),
        bad([b"\xfe\xff".as_slice(), &swapped].concat(), "UTF-16, big-endian, with a byte order mark"),
        bad([b"\xff\xfe\0\0".as_slice(), &utf16("a")].concat(), "UTF-32"),
        bad(utf16("plain"), "UTF-16 without markup"),
        text(utf16("中文"), "UTF-16 without any ASCII may be GB18030"),
        bad(b"a\0b".to_vec(), "a NUL"),
        bad(long(b"\0"), "a NUL at the end"),
        bad(b"\xef\xbb\xbf\0".to_vec(), "a NUL after a byte order mark"),
        text(b"\x1b[31mred\x1b[0m\x07\x08\n".to_vec(), "control characters of a terminal are text"),
        bad(b"caf\xe9\n".to_vec(), "Latin-1 that is neither UTF-8 nor GB18030"),
        text(b"caf\xe9s\n".to_vec(), "Latin-1 that is GB18030 too"),
        bad(long(b"\xe4"), "a character cut at the end"),
        bad(long(b"\xf0\x9f\x98"), "four bytes cut at the end, with three left"),
        bad(long(b"\x94\x39\xda"), "four bytes of GB18030 cut at the end"),
        bad(long(b"\xff"), "no encoding at the end"),
        bad(long("中\u{80}".as_bytes()).into_iter().chain(*b"\xff\xff").collect(), "no encoding after UTF-8"),
        bad(b"\x94\x39\xda\x20\n".to_vec(), "four bytes of GB18030 with a wrong one"),
        bad(b"\xc0\xbcscript\xc0\xbe\xff".to_vec(), "overlong UTF-8"),
        text(b"\xd6\xd0\xe4\xbd\xa0\xe5\xa5\xbd\xce\xc4\n".to_vec(), "UTF-8 inside of GB18030 is GB18030"),
        bad("中\n中\n".bytes().chain(*b"\xd6\xd0\n").collect(), "lines in two encodings"),
        bad(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec(), "an image"),
    ]
}

/// No JSON.
const BROKEN: &[(&str, &str)] = &[
    ("", "nothing"),
    ("\u{feff}", "only a byte order mark"),
    (" \u{feff}1", "a byte order mark after a space"),
    ("\u{feff}\u{feff}1", "two byte order marks"),
    ("\u{a0}1", "white space of Unicode"),
    ("{} x", "more after the value"),
    ("{}{}", "two values"),
    ("{}\n{}", "two lines"),
    ("1 2", "two numbers"),
    ("[1]]", "an end too many"),
    ("[1}", "the wrong end"),
    ("{\"a\":1]", "the wrong end of an object"),
    ("[1,]", "a comma too many"),
    ("[,1]", "a comma at the start"),
    ("{\"a\":1,}", "a comma too many in an object"),
    ("{\"a\"}", "no value"),
    ("{1:2}", "a number as name"),
    ("{'a':1}", "wrong quotes"),
    ("{a:1}", "no quotes"),
    ("\"\\x41\"", "no such escape"),
    ("\"\\u12g4\"", "a letter that is no digit"),
    ("\"\\u12\"", "too few digits"),
    ("\"a\nb\"", "a line end in a string"),
    ("\"a\tb\"", "a tab in a string"),
    ("\"abc", "a string without end"),
    ("\"abc\\\"", "a string whose end is escaped"),
    ("[1", "an array without end"),
    ("01", "a zero too many"),
    ("-", "a minus"),
    ("+1", "a plus"),
    (".5", "no digit before the point"),
    ("1.", "no digit after the point"),
    ("1e", "no exponent"),
    ("1e+", "a sign without exponent"),
    ("0x10", "hexadecimal"),
    ("NaN", "not a number"),
    ("Infinity", "infinity"),
    ("nul", "a word cut"),
    ("nulll", "a word too long"),
    ("True", "a word of Python"),
    ("// a\n1", "a comment"),
    ("/* a */ 1", "a comment of C"),
    (")]}'\n[]", "a guard against inclusion"),
    ("callback({})", "a call"),
    ("a,b\n1,2\n", "a table"),
];

fn json() -> Vec<FileSample> {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let objects = |depth: usize| "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth);
    let digits = "9".repeat(100_000);
    let accepted = [
        (nested(128), "128 arrays"),
        (objects(128), "128 objects"),
        ("{\"a\":1,\"a\":2}".to_owned(), "a name twice is grammatical"),
        ("\"\\ud800\"".to_owned(), "half of a pair of surrogates is grammatical"),
        ("[1e999999,-0.0E-9]".to_owned(), "numbers of any size"),
        (digits.clone(), "100,000 digits"),
        (format!("\"{digits}\""), "a long string"),
        ("\u{feff}[]".to_owned(), "a byte order mark"),
        ("\"\x7f\u{2028}\"".to_owned(), "characters that may stay unescaped"),
        ("\"<script>alert(1)</script>\"".to_owned(), "markup in a string"),
        ("[\"</script>\"]".to_owned(), "markup in an array"),
    ];
    let refused = [
        (nested(129), "129 arrays"),
        (objects(129), "129 objects"),
        ("[".repeat(1 << 20), "a million arrays"),
        ("[{\"a\":".repeat(1 << 18), "half a million arrays and objects"),
    ];
    let mut samples: Vec<FileSample> =
        accepted.into_iter().map(|(text, why)| FileSample::good("a.json", text, why)).collect();
    samples.extend(refused.into_iter().map(|(text, why)| FileSample::bad("a.json", text, why)));
    samples.extend(BROKEN.iter().map(|(text, why)| FileSample::bad("a.json", *text, why)));
    samples.push(FileSample::bad("a.json", b"\"a\0\"", "a NUL in a string"));
    samples.push(FileSample::bad("a.json", b"\"\xff\"", "a string in no encoding"));
    samples.push(FileSample::bad("a.json", utf16("{}"), "UTF-16"));
    // Two characters in UTF-8; three in GB18030, the last of which ends in the backslash.
    samples.push(FileSample::bad(
        "a.json",
        b"[\"\xe4\xbd\xa0\xe5\xa5\x99\x5cx\"]",
        "a wrong escape in UTF-8, not in GB18030",
    ));
    // The last quote is escaped in GB18030 only if the byte before it is taken for a character.
    samples.push(FileSample::bad("a.json", b"\"\xd5\x5c\\\"", "a string without end in GB18030"));
    samples
}
