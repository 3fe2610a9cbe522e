//! What an erase and an export do with the tables of this domain.

use pg::{Erase, Export, PersonalTable, Walk};

/// The tables with data of users.
pub const PERSONAL_DATA: &[PersonalTable] = &[PersonalTable {
    table: "webhooks.events",
    // Receivers still get what happened, with the figures: those of the books.
    erase: Erase::Empty {
        walk: Walk { of: Walk::USER, key: &[("id", "bigint")], bytes: "pg_column_size(payload)" },
        columns: &[],
        statement: "UPDATE webhooks.events SET payload = payload || '{\"description\": null}'
            WHERE {piece} AND payload ->> 'description' IS NOT NULL",
    },
    keeps: &[
        ("event_type", "a word"),
        ("payload", "figures and ids of the books; its description is emptied"),
    ],
    export: Export::No("copies of what is exported, on the way to receivers"),
}];
