//! Treatment of the tables of this domain by an erase and an export.

use pg::{Erase, Export, PersonalTable, Walk};

const WALK: Walk = Walk { of: Walk::USER, key: &[("user_id", "text")], bytes: "0" };

const BY_BEGINNING: &str = "identity::erasures::begin";

/// The tables that are erased at once, with the user.
pub const PERSONAL_DATA_AT_ONCE: &[PersonalTable] = &[
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
        erase: Erase::Delete(WALK),
        keeps: &[],
        export: Export::No("the login name is in the profile, the password is a hash"),
    },
    PersonalTable {
        table: "identity.mail_links",
        // With the mails that would be tried again.
        erase: Erase::Empty {
            walk: Walk { key: &[("mail_id", "uuid")], ..WALK },
            columns: &["purpose", "email_folded", "digest"],
            statement: "WITH links AS (DELETE FROM identity.mail_links WHERE {piece} RETURNING mail_id)
                DELETE FROM identity.mails WHERE id IN (SELECT mail_id FROM links)",
        },
        keeps: &[],
        export: Export::No("digests of links"),
    },
    PersonalTable {
        table: "identity.logins",
        erase: Erase::Delete(Walk { key: &[("id", "uuid")], ..WALK }),
        keeps: &[],
        export: Export::No("digests of tokens"),
    },
];

/// The tables that are erased after the user.
pub const PERSONAL_DATA: &[PersonalTable] = &[
    PersonalTable {
        table: "identity.audit_events",
        erase: Erase::Empty {
            walk: Walk {
                of: &["user_id = $1", "actor = 'user:' || $1", "actor = 'admin:' || $1"],
                key: &[("at", "timestamptz"), ("id", "bigint")],
                bytes: "0",
            },
            columns: &["address"],
            statement: "SELECT identity.forget_audit_addresses(
                $1, $2[1]::timestamptz, $2[2]::bigint, $3[1]::timestamptz, $3[2]::bigint)",
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
        table: "identity.mails",
        erase: Erase::By(
            "the erase of identity.mail_links, or the next attempt to send, which finds no account",
        ),
        keeps: &[],
        export: Export::No("links that work once"),
    },
    PersonalTable {
        table: "identity.api_keys",
        erase: Erase::Keep("keys of services; administrators revoke them"),
        keeps: &[
            ("name", "given by an administrator"),
            ("prefix", "part of the key"),
            ("secret_digest", "a digest"),
            ("scopes", "words"),
            ("created_by", "who is responsible, by the opaque id"),
        ],
        export: Export::No("keys of services"),
    },
    PersonalTable {
        table: "identity.erased_users",
        erase: Erase::Keep("keeps the opaque id for its issuer"),
        keeps: &[("issuer", "name of an issuer")],
        export: Export::No("about users who were erased"),
    },
];
