//! PDF files and spreadsheets in OLE compound files.

use super::sample::FileSample;

const SECTOR_BYTES: usize = 512;
const SCRIPT: &str = "<html><script>alert(document.domain)</script></html>";

pub(super) fn good() -> Vec<FileSample> {
    vec![
        FileSample::good("report.pdf", pdf("1.4"), "PDF 1.4"),
        FileSample::good("report.pdf", pdf("2.0"), "PDF 2.0"),
        FileSample::good("table.xls", xls(), "BIFF8 in an OLE compound file"),
    ]
}

pub(super) fn hostile() -> Vec<FileSample> {
    let mut early = b"%PDF-1.4\n".to_vec();
    early.extend_from_slice(SCRIPT.as_bytes());
    let mut late = pdf("1.7");
    late.extend_from_slice(&[b' '; 2000]);
    late.extend_from_slice(SCRIPT.as_bytes());
    let mut marked = xls();
    marked[600..600 + SCRIPT.len()].copy_from_slice(SCRIPT.as_bytes());
    vec![
        FileSample::bad("polyglot.pdf", early, "HTML in the head of a PDF"),
        FileSample::good("polyglot.pdf", late, "HTML after a PDF is no HTML to a browser"),
        FileSample::bad("late.pdf", [b" ".as_slice(), &pdf("1.4")].concat(), "a PDF begins at offset 0"),
        FileSample::bad("cut.pdf", "%PDF", "a part of the signature"),
        FileSample::bad("empty.pdf", "", "an empty PDF"),
        FileSample::bad("polyglot.xls", marked, "HTML in the head of a spreadsheet"),
        FileSample::bad("cut.xls", &xls()[..SECTOR_BYTES - 1], "a header without its end"),
        FileSample::bad("cut.xls", &xls()[..8], "only the signature"),
        FileSample::bad("zeros.xls", [&xls()[..8], &[0; 2000]].concat(), "a signature without a header"),
        FileSample::bad("table.xls", "<table><tr><td>1</td></tr></table>", "HTML that Excel would open"),
        FileSample::bad("table.xls", "a\tb\n1\t2\n", "text that Excel would open"),
    ]
}

pub(super) fn pdf(version: &str) -> Vec<u8> {
    let mut file = format!("%PDF-{version}\n%\u{e9}\u{e8}\n");
    let objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 72 72]>>",
    ];
    let mut table = "0000000000 65535 f \n".to_owned();
    for (number, object) in (1..).zip(objects) {
        table += &format!("{:010} 00000 n \n", file.len());
        file += &format!("{number} 0 obj{object}endobj\n");
    }
    let start = file.len();
    file += &format!("xref\n0 4\n{table}trailer<</Size 4/Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n");
    file.into_bytes()
}

/// A compound file of version 3: header, table of sectors, folder, and a stream `Workbook` of 4,096 bytes.
pub(super) fn xls() -> Vec<u8> {
    const FREE: u32 = u32::MAX;
    const END: u32 = u32::MAX - 1;
    const TABLE: u32 = u32::MAX - 2;
    let mut header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec();
    header.extend([0; 16]);
    for field in [0x3e_u16, 3, 0xfffe, 9, 6, 0, 0, 0] {
        header.extend(field.to_le_bytes());
    }
    // Sectors of the folder, of the table, the folder's first one, transactions, small streams, more tables, and the
    // first sectors of the table.
    for field in [0, 1, 1, 0, 4096, END, 0, END, 0, 0] {
        header.extend(u32::to_le_bytes(field));
    }
    header.resize(SECTOR_BYTES, 0xff);

    let mut table: Vec<u8> = [TABLE, END].iter().flat_map(|next| next.to_le_bytes()).collect();
    table.extend((3..10_u32).flat_map(u32::to_le_bytes));
    table.extend(END.to_le_bytes());
    table.resize(SECTOR_BYTES, 0xff);

    let entry = |name: &str, kind: u8, child: u32, start: u32, bytes: u32| {
        let mut entry: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        entry.resize(64, 0);
        let name_bytes = u16::try_from(name.len() * 2 + 2).unwrap();
        entry.extend(name_bytes.to_le_bytes());
        entry.extend([kind, 1]);
        entry.extend([FREE, FREE, child].iter().flat_map(|link| link.to_le_bytes()));
        entry.extend([0; 36]);
        entry.extend([start, bytes, 0].iter().flat_map(|field| field.to_le_bytes()));
        entry
    };
    let mut folder = entry("Root Entry", 5, 1, END, 0);
    folder.extend(entry("Workbook", 2, FREE, 2, 4096));
    folder.resize(SECTOR_BYTES, 0);

    // The beginning and the end of the globals and of an empty sheet.
    let mut workbook = Vec::new();
    for kind in [5_u16, 0x10] {
        let fields = [0x809, 16, 0x600, kind, 0xdbb, 0x7cc, 0, 0, 0, 0, 0x0a, 0];
        workbook.extend(fields.iter().flat_map(|field: &u16| field.to_le_bytes()));
    }
    workbook.resize(4096, 0);
    [header, table, folder, workbook].concat()
}
