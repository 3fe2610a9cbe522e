//! Treatment of the tables of this domain by an erase and an export.

use pg::{Erase, Export, PersonalTable, Walk};

/// The tables with data of users.
pub const PERSONAL_DATA: &[PersonalTable] = &[
    PersonalTable {
        table: "webhooks.receivers",
        erase: Erase::Keep("what the operator wants to hear; rows that have ended are read by the audit"),
        keeps: &[
            ("name", "given by the operator"),
            ("only_user_id", "the opaque id; written by no route yet"),
            ("event_types", "words"),
        ],
        export: Export::No("settings of the operator"),
    },
    PersonalTable {
        table: "webhooks.events",
        // Receivers still get what happened, with the figures: those of the books.
        erase: Erase::Empty {
            walk: Walk { of: Walk::USER, key: &[("id", "bigint")], bytes: "pg_column_size(payload)" },
            columns: &[],
            statement: "UPDATE webhooks.events SET payload = payload || (
                SELECT jsonb_object_agg(name, NULL) FROM unnest('{description,file_path}'::text[]) AS text (name)
                WHERE payload ? name)
            WHERE {piece} AND (payload ->> 'description' IS NOT NULL OR payload ->> 'file_path' IS NOT NULL)",
        },
        keeps: &[
            ("event_type", "a word"),
            ("payload", "figures and ids of the books; its description and path of a file are emptied"),
        ],
        export: Export::No("copies of what is exported, on the way to receivers"),
    },
];
