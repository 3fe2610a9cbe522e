//! What an erase and an export do with the tables of this domain.

use pg::{Erase, Export, PersonalTable};

const BY_BEGINNING: &str = "identity::erasures::begin";

/// The tables with data of users.
pub const PERSONAL_DATA: &[PersonalTable] = &[
    PersonalTable {
        table: "identity.users",
        erase: Erase::By(BY_BEGINNING),
        keeps: &[],
        export: Export::In("user"),
    },
    PersonalTable {
        table: "identity.identities",
        erase: Erase::By(BY_BEGINNING),
        keeps: &[],
        export: Export::In("identities"),
    },
    PersonalTable {
        table: "identity.credentials",
        erase: Erase::Delete,
        keeps: &[],
        export: Export::No("the login name is in the profile, the password is a hash"),
    },
    PersonalTable {
        table: "identity.mail_links",
        erase: Erase::Delete,
        keeps: &[],
        export: Export::No("digests of links"),
    },
    PersonalTable {
        table: "identity.logins",
        erase: Erase::Delete,
        keeps: &[],
        export: Export::No("digests of tokens"),
    },
    PersonalTable {
        table: "identity.audit_events",
        erase: Erase::Empty {
            columns: &["address"],
            statement: "SELECT identity.forget_audit_addresses($1) AS changed WHERE $2 > 0",
        },
        keeps: &[
            ("actor", "who is responsible, by the opaque id"),
            ("action", "a word"),
            ("request_id", "a random id"),
            ("details", "plain values, never contact data"),
        ],
        export: Export::No("the audit log of the operator"),
    },
    PersonalTable {
        table: "identity.erased_users",
        erase: Erase::Keep("keeps the opaque id for its issuer"),
        keeps: &[("issuer", "name of an issuer")],
        export: Export::No("about users who were erased"),
    },
];
