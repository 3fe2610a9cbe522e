//! Treatment of the tables of this domain by an erase and an export.

use pg::{Erase, Export, PersonalTable, Walk};

/// The tables with data of users. A row of a file that goes notes its object as to be removed.
pub const PERSONAL_DATA: &[PersonalTable] = &[
    PersonalTable {
        table: "files.files",
        erase: Erase::Delete(Walk { of: Walk::USER, key: &[("file_id", "uuid")], bytes: "0" }),
        keeps: &[],
        export: Export::In("files"),
    },
    PersonalTable {
        table: "files.quotas",
        erase: Erase::Delete(Walk { of: Walk::USER, key: &[("user_id", "text")], bytes: "0" }),
        keeps: &[],
        export: Export::No("sums of the files"),
    },
];
