//! What an erase and an export do with the tables of this domain.

use pg::{Erase, Export, PersonalTable};

/// The tables with data of users. A session that goes takes its last messages with it.
pub const PERSONAL_DATA: &[PersonalTable] = &[
    PersonalTable {
        table: "sessions.messages",
        erase: Erase::Delete,
        keeps: &[],
        export: Export::In("sessions.messages"),
    },
    PersonalTable {
        table: "sessions.sessions",
        erase: Erase::Delete,
        keeps: &[],
        export: Export::In("sessions"),
    },
];
