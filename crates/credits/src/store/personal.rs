//! Treatment of the tables of this domain by an erase and an export.

use pg::{Erase, Export, PersonalTable, Walk};

const WALK: Walk = Walk { of: Walk::USER, key: &[("id", "bigint")], bytes: "size_bytes" };
const BY_CLOSING: &str = "credits::close";

/// The tables with data of users.
pub const PERSONAL_DATA: &[PersonalTable] = &[
    PersonalTable {
        table: "credits.accounts",
        erase: Erase::Keep("figures under the opaque id; a user who comes back continues the account"),
        keeps: &[],
        export: Export::In("credits.account"),
    },
    PersonalTable {
        table: "credits.budgets",
        erase: Erase::By(BY_CLOSING),
        keeps: &[],
        export: Export::No("limits that the operator sets"),
    },
    PersonalTable {
        table: "credits.entries",
        erase: Erase::Empty {
            walk: Walk { key: &[("seq", "bigint")], ..WALK },
            columns: &["description", "metadata"],
            statement: "SELECT credits.empty_texts($1, $2[1]::bigint, $3[1]::bigint)",
        },
        keeps: &[
            ("type", "part of the books"),
            ("actor", "a capacity"),
            (
                "reference_id",
                "identity of a payment: the books have to show what was paid (HTTP contract 3.4)",
            ),
        ],
        export: Export::In("credits.transactions"),
    },
    PersonalTable {
        table: "credits.entry_lines",
        erase: Erase::Keep("figures of the books"),
        keeps: &[],
        export: Export::No("parts of transactions, by grant"),
    },
    PersonalTable {
        table: "credits.global_references",
        erase: Erase::Keep("a payment credits one user of all, also one who was erased"),
        keeps: &[("reference_id", "identity of a payment")],
        export: Export::No("references of grants, which are exported"),
    },
    PersonalTable {
        table: "credits.grants",
        erase: Erase::Clear(WALK, &["description", "metadata"]),
        keeps: &[("kind", "part of the books"), ("reference_id", "identity of a payment")],
        export: Export::In("credits.grants"),
    },
    PersonalTable {
        table: "credits.holds",
        erase: Erase::Clear(Walk { key: &[("id", "uuid")], ..WALK }, &["description", "metadata"]),
        keeps: &[("state", "a word"), ("made_by", "a class of callers"), ("ended_by", "a class of callers")],
        export: Export::In("credits.holds"),
    },
];
