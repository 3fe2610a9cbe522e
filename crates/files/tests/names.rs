//! Names, shown, in paths and in headers.

use files::names::{content_disposition, display_name, extension, file_path};
use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use testkit::{good_files, hostile_files, user};
use time::macros::datetime;

#[test]
fn names_are_shown_without_what_they_hide() {
    for (name, shown) in [
        ("report.pdf", "report.pdf"),
        ("Report 2025 (final).PDF", "Report 2025 (final).PDF"),
        ("财务报告😀👨‍👩‍👧.pdf", "财务报告😀👨‍👩‍👧.pdf"),
        ("../../etc/passwd.pdf", "passwd.pdf"),
        ("C:\\Users\\a\\report.pdf", "report.pdf"),
        ("a/b\\c/d.txt", "d.txt"),
        ("fdp.\u{202e}lmth.pdf", "fdp.lmth.pdf"),
        ("\u{2066}a\u{2069}\u{200b}\u{feff}.pdf", "a.pdf"),
        ("a\r\nb\0c\u{7f}\u{85}.pdf", "abc.pdf"),
        ("  report.pdf. . ", "report.pdf"),
        ("...report.pdf", "report.pdf"),
        (".pdf", "file.pdf"),
        ("...", "file"),
        ("", "file"),
        ("\u{202e}", "file"),
        ("a/", "file"),
        ("CON.pdf", "_CON.pdf"),
        ("nul", "_nul"),
        ("Com7.tar.txt", "_Com7.tar.txt"),
        ("LPT².csv", "_LPT².csv"),
        ("aux .txt", "_aux .txt"),
        ("console.txt", "console.txt"),
        ("com10.txt", "com10.txt"),
        ("com.txt", "com.txt"),
    ] {
        assert_eq!(display_name(name), shown, "{name:?}");
    }
}

#[test]
fn long_names_keep_their_extension() {
    let shown = display_name(&format!("{}.xlsx", "报".repeat(5000)));
    assert_eq!(shown, format!("{}.xlsx", "报".repeat(250)));
    assert_eq!(display_name(&format!("a.{}", "b".repeat(5000))), format!("a.{}", "b".repeat(253)));
    assert_eq!(display_name(&"x".repeat(255)), "x".repeat(255));
    assert_eq!(display_name(&format!("nul.{}", "b".repeat(5000))).chars().count(), 255);
}

#[test]
fn extensions_are_what_follows_the_last_dot() {
    for (name, expected) in [
        ("a.PDF", Some("pdf")),
        ("a.html.pdf", Some("pdf")),
        ("a.pdf.html", Some("html")),
        ("a.pdf\0.html", Some("html")),
        ("a.p\u{202e}df", Some("pdf")),
        ("a.pdf. ", Some("pdf")),
        (".pdf", Some("pdf")),
        ("dir.pdf/a", None),
        ("a", None),
        ("a.", None),
        ("a.12345678901234567", None),
        ("a.1234567890123456", Some("1234567890123456")),
    ] {
        assert_eq!(extension(name).as_deref(), expected, "{name:?}");
    }
}

#[test]
fn paths_follow_the_rule_of_the_contract() {
    let at = datetime!(2025-07-26 07:00:00.9 UTC);
    let path = |name: &str| file_path(&"auth0|123456789".parse().unwrap(), name, at, 0x0a1b_2c3d);
    let file =
        |name: &str| path(name).strip_prefix("users/auth0|123456789/files/2025/07/").unwrap().to_owned();
    assert_eq!(
        path("document.pdf"),
        "users/auth0|123456789/files/2025/07/document_20250726070000_0a1b2c3d.pdf"
    );
    for (name, stem, extension) in [
        ("../x/My report (1).final.PDF", "My_report__1__final", ".pdf"),
        ("财务-报告_1.csv", "财务-报告_1", ".csv"),
        ("a\u{202e}\0\"%😀.txt", "a_____", ".txt"),
        (".pdf", "file", ".pdf"),
        ("report.pdf.", "report", ".pdf"),
        ("", "file", ""),
        ("CON.txt", "CON", ".txt"),
    ] {
        assert_eq!(file(name), format!("{stem}_20250726070000_0a1b2c3d{extension}"), "{name:?}");
    }
    assert_eq!(
        file(&format!("{}.txt", "报".repeat(300))),
        format!("{}_20250726070000_0a1b2c3d.txt", "报".repeat(80))
    );
    // In UTC, across the end of a year.
    let local = datetime!(2026-01-01 01:02:03 +2);
    let path = file_path(&user("a"), "b.txt", local, 1);
    assert_eq!(path, format!("users/{}/files/2025/12/b_20251231230203_00000001.txt", user("a").as_str()));
}

#[test]
fn dispositions_have_a_plain_and_a_whole_name() {
    for (name, plain, whole) in [
        ("report 1.pdf", "report 1.pdf", "report%201.pdf"),
        ("财务.pdf", "__.pdf", "%E8%B4%A2%E5%8A%A1.pdf"),
        ("a\"b'c%20;.pdf", "a_b'c_20;.pdf", "a%22b%27c%2520%3B.pdf"),
        ("😀*().pdf", "_*().pdf", "%F0%9F%98%80%2A%28%29.pdf"),
        ("!#$&+-.^_`|~.pdf", "!#$&+-.^_`|~.pdf", "!#$&+-.^_`|~.pdf"),
    ] {
        let expected = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{whole}");
        assert_eq!(content_disposition(name), expected);
    }
}

#[test]
fn accepted_samples_are_saved_under_the_extension_of_their_type() {
    for sample in [good_files(), hostile_files()].concat() {
        let header = content_disposition(&sample.name);
        if sample.accepted.is_some() {
            let extension = extension(&sample.name).unwrap();
            assert!(header.to_lowercase().ends_with(&format!(".{extension}")), "{header}");
        }
        assert!(header.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{header:?}");
    }
}

/// An override of direction.
const RIGHT_TO_LEFT: char = '\u{202e}';

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn any_name_is_safe(name in prop_oneof!["\\PC{0,40}", "[./\\\\ a\u{202e}\r\n\0\"%;nulNUL.]{0,12}", any::<String>(), "\\PC{240,300}"]) {
        let shown = display_name(&name);
        prop_assert!((1..=255).contains(&shown.chars().count()));
        prop_assert!(!shown.contains(['/', '\\', RIGHT_TO_LEFT]) && !shown.chars().any(char::is_control));
        prop_assert!(!shown.starts_with('.') && !shown.ends_with(['.', ' ']));
        prop_assert_eq!(&display_name(&shown), &shown);

        let header = content_disposition(&name);
        prop_assert!(header.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        prop_assert_eq!(header.matches('"').count(), 2);
        let whole = header.split("UTF-8''").last().unwrap();
        prop_assert_eq!(percent_decode_str(whole).decode_utf8().unwrap(), shown);

        let path = file_path(&user("a"), &name, datetime!(2025-07-26 07:00 UTC), 0);
        let file = path.strip_prefix(&format!("users/{}/files/2025/07/", user("a").as_str())).unwrap();
        let dotted = extension(&name).map(|extension| format!(".{extension}")).unwrap_or_default();
        let stem = file.strip_suffix(&format!("_20250726070000_00000000{dotted}")).unwrap();
        prop_assert!((1..=80).contains(&stem.chars().count()));
        prop_assert!(stem.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_')));
    }
}
