//! Treatment of the tables of this domain by an erase and an export.

use pg::{Erase, Export, PersonalTable, Walk};

/// The tables with data of users. After an erase nothing is replayed by an old key (HTTP contract 3.4).
pub const PERSONAL_DATA: &[PersonalTable] = &[PersonalTable {
    table: "idempotency.answers",
    erase: Erase::Delete(Walk { of: Walk::USER, key: &[("key", "text")], bytes: "pg_column_size(answer)" }),
    keeps: &[],
    export: Export::No("copies of answers, whose content is exported where it is stored"),
}];
