//! Spreadsheets of Office Open XML, and zip files that are none.

use super::{
    sample::FileSample,
    zip_file::{ZipEntry, ZipLayout, zip},
};

const TYPES: &str = "[Content_Types].xml";
const WORKBOOK: &str = "xl/workbook.xml";
const MAIN: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml";
const SCRIPT: &str = "<html><script>alert(document.domain)</script></html>";

pub(super) fn good() -> Vec<FileSample> {
    let stored =
        parts().iter().map(|(name, part)| ZipEntry::stored(name, part.as_bytes())).collect::<Vec<_>>();
    let described = deflated().into_iter().map(ZipEntry::with_descriptor).collect::<Vec<_>>();
    let mut types_last = deflated();
    types_last.rotate_left(1);
    let mut mixed = types_last.clone();
    mixed[0] = ZipEntry::stored("xl/media/image1.png", b"\x89PNG\r\n\x1a\n");
    mixed.push(ZipEntry::stored("xl/media/", b""));
    mixed.push(ZipEntry::stored("docProps/app.xml", b""));
    mixed.extend(deflated().into_iter().filter(|entry| entry.name == types_last[0].name));
    let streamed: Vec<ZipEntry> =
        described.iter().cloned().map(|one| ZipEntry { is_zip64: true, ..one }).collect();
    let zip64_end = ZipLayout { has_zip64_end: true, ..ZipLayout::default() };
    let mut repetitive = deflated();
    let cells = "<c r=\"A1\"><v>0</v></c>".repeat(4000);
    repetitive.push(ZipEntry::deflated("xl/worksheets/sheet2.xml", cells.as_bytes()));
    let mut most = deflated();
    most.extend(
        (0..5000 - most.len()).map(|number| ZipEntry::stored(&format!("xl/media/{number}.png"), b"-")),
    );
    vec![
        file(&deflated(), "content types first, as Excel writes it"),
        file(&types_last, "content types last, as openpyxl writes it"),
        file(&described, "sizes after the content, as LibreOffice writes it"),
        file(&stored, "entries that are not packed"),
        file(&mixed, "packed and unpacked entries, and a folder"),
        FileSample::good(
            "streamed.xlsx",
            zip(&streamed, &zip64_end),
            "Zip64 in a small file, as streams are written",
        ),
        file(&repetitive, "a small entry with a ratio above 100"),
        file(&most, "5,000 entries"),
    ]
}

pub(super) fn hostile() -> Vec<FileSample> {
    [bombs(), macros(), entries(), layouts(), not_spreadsheets()].concat()
}

fn bombs() -> Vec<FileSample> {
    let mut ratio = deflated();
    ratio.push(ZipEntry::zeros("xl/worksheets/sheet2.xml", 8 << 10));
    let mut many = deflated();
    many.extend((0..100).map(|number| ZipEntry::zeros(&format!("xl/media/{number}.bin"), 100)));
    let mut numerous = deflated();
    numerous.extend((0..4996).map(|number| ZipEntry::stored(&format!("xl/media/{number}.png"), b"-")));
    let kernel = ZipEntry { offset: Some(0), ..ZipEntry::zeros("xl/media/0.bin", 90) };
    let shared = |number| ZipEntry { name: format!("xl/media/{number}.bin").into_bytes(), ..kernel.clone() };
    let overlapping: Vec<ZipEntry> = (0..50).map(shared).chain(deflated()).collect();
    let inner = zip(&[ZipEntry::zeros("zeros", 1 << 10)], &ZipLayout::default());
    let mut nested = deflated();
    nested.push(ZipEntry::stored("xl/embeddings/inner.zip", &inner));
    let mut nested_ratio = deflated();
    let level = zip(&[ZipEntry::zeros("zeros", 128 << 10)], &ZipLayout::default());
    nested_ratio.push(ZipEntry::deflated("xl/embeddings/inner.zip", &level));
    vec![
        bad(&ratio, "an entry of zeros with a ratio of 1,000"),
        bad(&many, "small entries with a ratio of 900 together"),
        bad(&numerous, "5,001 entries"),
        bad(&overlapping, "entries that share their content"),
        file(&nested, "a zip inside is content, which nothing unpacks here"),
        bad(&nested_ratio, "a bomb inside is packed again, and stands out by its ratio"),
    ]
}

fn macros() -> Vec<FileSample> {
    let renamed = |name: &str| {
        let mut entries = deflated();
        entries.push(ZipEntry::deflated(name, b"macro"));
        entries
    };
    let typed = |types: &dyn AsRef<[u8]>| {
        let mut entries = deflated();
        entries[0] = ZipEntry::deflated(TYPES, types.as_ref());
        entries
    };
    let types = parts()[0].1.clone();
    let enabled = "application/vnd.ms-excel.sheet.macroEnabled.main+xml";
    let part = |kind: &str| {
        types.replace("</Types>", &format!("<Override PartName=\"/a\" ContentType=\"{kind}\"/></Types>"))
    };
    vec![
        bad(&renamed("xl/vbaProject.bin"), "macros"),
        bad(&renamed("XL/VBAPROJECT.BIN"), "macros in upper case"),
        bad(&renamed("xl/vbaProjectSignature.bin"), "a signature of macros"),
        bad(&renamed("xl/macrosheets/sheet1.xml"), "macros of Excel 4"),
        bad(&typed(&types.replace(MAIN, enabled)), "the content type of a workbook with macros"),
        bad(&typed(&part("application/vnd.ms-office.vbaProject")), "macros under another name"),
        bad(&typed(&part("application/vnd.ms-excel.macrosheet+xml")), "macros of Excel 4 under another name"),
        bad(&typed(&part("application/vnd.ms-office.vba&#80;roject")), "a content type with a reference"),
        bad(
            &typed(&types.replace("<Types", "<!DOCTYPE t [<!ENTITY e 'x'>]><Types")),
            "a declaration of entities",
        ),
        bad(&typed(&types.replace("sheet.main", "template.main")), "a template"),
        bad(&typed(&super::texts::utf16(&types)), "content types in UTF-16"),
        bad(&typed(&""), "no content types"),
        bad(
            &typed(&types.replace("</Types>", &format!("{}</Types>", " ".repeat(1 << 20)))),
            "1 MiB of content types",
        ),
    ]
}

fn entries() -> Vec<FileSample> {
    let with = |change: &dyn Fn(&mut Vec<ZipEntry>)| {
        let mut entries = deflated();
        change(&mut entries);
        entries
    };
    let added =
        |name: &[u8]| with(&|entries| entries.push(ZipEntry { name: name.to_vec(), ..entries[3].clone() }));
    vec![
        bad(&with(&|entries| entries[2].flags |= 1), "an encrypted entry"),
        bad(&with(&|entries| entries[2].flags |= 1 << 6), "a strongly encrypted entry"),
        bad(&with(&|entries| entries[2].flags |= 1 << 13), "a hidden header"),
        bad(&with(&|entries| entries[2].method = 12), "packed by bzip2"),
        bad(&with(&|entries| entries[2].method = 99), "packed and encrypted by AES"),
        bad(
            &with(&|entries| entries[4].packed_bytes += 1000),
            "a packed size that reaches into the directory",
        ),
        bad(&with(&|entries| entries[1].packed_bytes += 1), "a packed size that reaches into the next entry"),
        bad(&with(&|entries| entries[3].packed_bytes = u32::MAX), "a size of 64 bits that is missing"),
        bad(&with(&|entries| entries[3].unpacked_bytes = u32::MAX - 1), "an unpacked size of 4 GiB"),
        bad(
            &with(&|entries| entries[0].unpacked_bytes -= 1),
            "an unpacked size of the content types that is wrong",
        ),
        bad(
            &with(&|entries| entries[0].header_name = Some(b"[Content_Typez].xml".to_vec())),
            "two names of an entry",
        ),
        bad(&with(&|entries| entries[0].packed[0] ^= 0x06), "content types that cannot be unpacked"),
        bad(&with(&|entries| entries[3].offset = Some(u32::MAX - 1)), "an offset after the end"),
        bad(&with(&|entries| entries[3].offset = Some(0)), "two entries at one place"),
        bad(&with(&|entries| entries[0].offset = Some(1)), "nothing at offset 0"),
        bad(&with(&|entries| entries.push(entries[2].clone())), "two entries of one name"),
        bad(&added(b"XL/Workbook.xml"), "two entries of one name, apart from case"),
        bad(&added(b"../evil.xml"), "a path upwards"),
        bad(&added(b"xl/../../evil.xml"), "a path upwards inside"),
        bad(&added(b"/etc/evil.xml"), "an absolute path"),
        bad(&added(b"xl\\evil.xml"), "a backslash"),
        bad(&added(b"C:evil.xml"), "a drive"),
        bad(&added(b"xl//evil.xml"), "an empty component"),
        bad(&added(b"xl/evil.xml\0.png"), "a NUL"),
        bad(&added(b""), "an empty name"),
        bad(&added(b"xl/\xff.xml"), "a name that is not UTF-8"),
        bad(&with(&|entries| drop(entries.remove(2))), "no workbook"),
        bad(&with(&|entries| drop(entries.remove(0))), "no content types"),
        bad(&with(&|entries| entries[2].name = b"xl/workbook.bin".to_vec()), "a binary workbook"),
    ]
}

fn layouts() -> Vec<FileSample> {
    let layout = ZipLayout::default();
    let bad = |layout: &ZipLayout, why: &str| FileSample::bad("layout.xlsx", zip(&deflated(), layout), why);
    let before = ZipLayout { before: SCRIPT.into(), ..layout.clone() };
    let whole = zip(&deflated(), &layout);
    let after = [whole.as_slice(), SCRIPT.as_bytes()].concat();
    let zip64 = ZipLayout { has_zip64_end: true, ..layout.clone() };
    let mut two_ends = whole.clone();
    two_ends.extend(&whole[whole.len() - 22..]);
    vec![
        bad(&before, "HTML before the zip"),
        bad(&ZipLayout { counts_before: true, ..before }, "HTML before the zip, and counted"),
        bad(&ZipLayout { before: b"PK\x03\x04".to_vec(), ..layout.clone() }, "a signature before the zip"),
        bad(
            &ZipLayout { before: b"PK\x03\x04".to_vec(), counts_before: true, ..layout.clone() },
            "a signature before the zip, and counted",
        ),
        bad(
            &ZipLayout { after_directory: SCRIPT.into(), ..layout.clone() },
            "HTML between directory and end",
        ),
        bad(&ZipLayout { comment: SCRIPT.into(), ..layout.clone() }, "HTML in the comment"),
        bad(&ZipLayout { entries: Some(4), ..layout.clone() }, "fewer entries than listed"),
        bad(&ZipLayout { entries: Some(6), ..layout.clone() }, "more entries than listed"),
        bad(&ZipLayout { entries: Some(0), ..layout.clone() }, "no entries"),
        bad(&ZipLayout { start: Some(0), ..layout.clone() }, "a directory at the start"),
        bad(&ZipLayout { start: Some(u32::MAX), ..layout }, "a directory after the end"),
        bad(&ZipLayout { zip64_entries: Some(4), ..zip64.clone() }, "Zip64 says otherwise"),
        bad(&ZipLayout { start: Some(9), ..zip64 }, "Zip64 with a wrong start"),
        FileSample::bad("after.xlsx", after, "HTML after the zip"),
        FileSample::bad("ends.xlsx", two_ends, "two ends"),
        FileSample::bad("cut.xlsx", &whole[..whole.len() - 1], "a zip without its last byte"),
        FileSample::bad("cut.xlsx", &whole[..whole.len() - 22], "a zip without its end"),
        FileSample::bad("cut.xlsx", &whole[..whole.len() / 2], "half of a zip"),
        FileSample::bad("cut.xlsx", "PK", "a part of the signature"),
        FileSample::bad("empty.xlsx", &whole[whole.len() - 22..], "only an end"),
    ]
}

fn not_spreadsheets() -> Vec<FileSample> {
    let document = [ZipEntry::deflated(TYPES, b"<Types/>"), ZipEntry::deflated("word/document.xml", b"<w/>")];
    let archive = [ZipEntry::deflated("META-INF/MANIFEST.MF", b"Main-Class: Evil\r\n")];
    vec![
        bad(&document, "a text document"),
        bad(&archive, "a Java archive"),
        bad(&[ZipEntry::stored("index.html", SCRIPT.as_bytes())], "a zip with HTML in its head"),
        bad(
            &[ZipEntry::stored("mimetype", b"application/vnd.oasis.opendocument.spreadsheet")],
            "OpenDocument",
        ),
    ]
}

/// A small workbook.
pub(super) fn spreadsheet() -> Vec<u8> {
    zip(&deflated(), &ZipLayout::default())
}

fn file(entries: &[ZipEntry], why: &str) -> FileSample {
    FileSample::good("table.xlsx", zip(entries, &ZipLayout::default()), why)
}

fn bad(entries: &[ZipEntry], why: &str) -> FileSample {
    FileSample::bad("table.xlsx", zip(entries, &ZipLayout::default()), why)
}

fn deflated() -> Vec<ZipEntry> {
    parts().iter().map(|(name, part)| ZipEntry::deflated(name, part.as_bytes())).collect()
}

/// Content types, relations, workbook, its relations, and a sheet.
fn parts() -> Vec<(&'static str, String)> {
    let open = "http://schemas.openxmlformats.org";
    let relations = |kind: &str, target: &str| {
        format!(
            "<Relationships xmlns=\"{open}/package/2006/relationships\"><Relationship Id=\"r1\" \
             Type=\"{open}/officeDocument/2006/relationships/{kind}\" Target=\"{target}\"/></Relationships>"
        )
    };
    let sheet_type = MAIN.replace("sheet.main", "worksheet");
    let types = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Types xmlns=\"{open}/package/2006/content-types\">\
         <Default Extension=\"rels\" ContentType=\"application/vnd.openxmlformats-package.relationships+xml\"/>\
         <Override PartName=\"/xl/workbook.xml\" ContentType=\"{MAIN}\"/>\
         <Override PartName=\"/xl/worksheets/sheet1.xml\" ContentType=\"{sheet_type}\"/></Types>"
    );
    let workbook = format!(
        "<workbook xmlns=\"{open}/spreadsheetml/2006/main\" xmlns:r=\"{open}/officeDocument/2006/relationships\">\
         <sheets><sheet name=\"Sheet1\" sheetId=\"1\" r:id=\"r1\"/></sheets></workbook>"
    );
    let sheet = format!(
        "<worksheet xmlns=\"{open}/spreadsheetml/2006/main\"><sheetData><row r=\"1\"><c r=\"A1\"><v>1</v></c></row>\
         </sheetData></worksheet>"
    );
    vec![
        (TYPES, types),
        ("_rels/.rels", relations("officeDocument", WORKBOOK)),
        (WORKBOOK, workbook),
        ("xl/worksheets/sheet1.xml", sheet),
        ("xl/_rels/workbook.xml.rels", relations("worksheet", "worksheets/sheet1.xml")),
    ]
}
