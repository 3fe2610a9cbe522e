//! What an erase and an export do with the tables of this domain.

use pg::{Erase, Export, PersonalTable};

/// The tables with data of users.
pub const PERSONAL_DATA: &[PersonalTable] = &[PersonalTable {
    table: "webhooks.events",
    // Receivers still get what happened, with the figures: those of the books.
    erase: Erase::Empty {
        columns: &[],
        statement: "WITH emptied AS (
            UPDATE webhooks.events SET payload = payload || '{\"description\": null}'
            WHERE ctid = ANY (ARRAY(SELECT ctid FROM webhooks.events
                WHERE user_id = $1 AND payload ->> 'description' IS NOT NULL LIMIT $2))
            RETURNING 1)
          SELECT count(*) AS changed FROM emptied",
    },
    keeps: &[
        ("event_type", "a word"),
        ("payload", "figures and ids of the books; its description is emptied"),
    ],
    export: Export::No("copies of what is exported, on the way to receivers"),
}];
