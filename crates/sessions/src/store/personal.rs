//! Treatment of the tables of this domain by an erase and an export.

use pg::{Erase, Export, PersonalTable, Walk};

/// The tables with data of users. A session that goes takes its last messages with it.
pub const PERSONAL_DATA: &[PersonalTable] = &[
    PersonalTable {
        table: "sessions.replies",
        erase: Erase::Delete(Walk { of: Walk::USER, key: &[("message_id", "uuid")], bytes: "0" }),
        keeps: &[],
        export: Export::No("cost and outcome of messages, which are exported with the usage"),
    },
    PersonalTable {
        table: "sessions.messages",
        erase: Erase::Delete(Walk {
            of: Walk::USER,
            key: &[("session_id", "uuid"), ("seq", "bigint")],
            bytes: "size_bytes",
        }),
        keeps: &[],
        export: Export::In("sessions.messages"),
    },
    PersonalTable {
        table: "sessions.sessions",
        erase: Erase::Delete(Walk { of: Walk::USER, key: &[("session_id", "uuid")], bytes: "size_bytes" }),
        keeps: &[],
        export: Export::In("sessions"),
    },
    // After the sessions: no segment is added while one of its sessions is gone.
    PersonalTable {
        table: "sessions.search_postings",
        erase: Erase::Delete(Walk {
            of: Walk::USER,
            key: &[("after_id", "bigint"), ("bucket", "smallint")],
            bytes: "octet_length(postings)",
        }),
        keeps: &[],
        export: Export::No("an index of messages, which are exported"),
    },
    PersonalTable {
        table: "sessions.search_segments",
        erase: Erase::Delete(Walk {
            of: Walk::USER,
            key: &[("after_id", "bigint")],
            bytes: "octet_length(message_ids)",
        }),
        keeps: &[],
        export: Export::No("an index of messages, which are exported"),
    },
];
