//! Treatment of the tables of this domain by an erase and an export.

use pg::{Erase, Export, PersonalTable, Walk};

const BY_EVENT: Walk = Walk { of: Walk::USER, key: &[("event_id", "text")], bytes: "0" };

const SUMS: &str = "figures under the opaque id";
const DIMENSIONS: &[(&str, &str)] = &[
    ("event_type", "a dimension of the sums"),
    ("model", "a dimension of the sums"),
    ("provider", "a dimension of the sums"),
    ("tool", "a dimension of the sums"),
];

/// The tables with data of users. Records stay, for the sums, without the texts that HTTP contract 3.4 names.
pub const PERSONAL_DATA: &[PersonalTable] = &[
    PersonalTable {
        table: "usage.records",
        erase: Erase::Empty {
            walk: Walk { of: Walk::USER, key: &[("occurred_at", "timestamptz"), ("id", "bigint")], bytes: "size_bytes" },
            columns: &["session_id", "trace_id", "event_id", "billing_metadata", "request_data", "response_data"],
            statement: "UPDATE usage.records
                SET session_id = NULL, trace_id = NULL, event_id = NULL, billing_metadata = NULL, request_data = NULL,
                    response_data = NULL, size_bytes = octet_length(concat(endpoint, event_type, model_name, provider,
                        tool_name, operation_name, calculation_method, quantities))
                WHERE {piece} AND (session_id IS NOT NULL OR trace_id IS NOT NULL OR event_id IS NOT NULL
                    OR billing_metadata IS NOT NULL OR request_data IS NOT NULL OR response_data IS NOT NULL)",
        },
        keeps: &[
            ("endpoint", "kept by the contract"),
            ("event_type", "a dimension of the sums"),
            ("model_name", "a dimension of the sums"),
            ("provider", "a dimension of the sums"),
            ("tool_name", "a dimension of the sums"),
            ("operation_name", "kept by the contract"),
            ("calculation_method", "a word"),
            ("quantities", "counts of tokens"),
            ("recorded_by", "a class of callers"),
        ],
        export: Export::In("usage"),
    },
    PersonalTable {
        table: "usage.dedupe",
        erase: Erase::DeleteWhere(BY_EVENT, "event_id NOT LIKE 'correction:%'"),
        keeps: &[
            ("event_id", "of corrections, by the id of the record: each record is corrected once"),
            ("payload", "of corrections: a digest"),
            ("caller", "a class of callers"),
        ],
        export: Export::No("event ids, which are exported with the records"),
    },
    PersonalTable {
        table: "usage.dedupe_shared",
        erase: Erase::Delete(BY_EVENT),
        keeps: &[],
        export: Export::No("event ids, which are exported with the records"),
    },
    PersonalTable {
        table: "usage.rollups_15m",
        erase: Erase::Keep(SUMS),
        keeps: DIMENSIONS,
        export: Export::No("sums of what is exported"),
    },
    PersonalTable {
        table: "usage.presence_deltas",
        erase: Erase::Keep("the id is turned into a number within a minute"),
        keeps: DIMENSIONS,
        export: Export::No("sums of what is exported"),
    },
    PersonalTable {
        table: "usage.user_numbers",
        erase: Erase::Keep("a number under the opaque id"),
        keeps: &[],
        export: Export::No("a number that means nothing outside"),
    },
    PersonalTable {
        table: "usage.anomalies",
        erase: Erase::Keep("instants under the opaque id, deleted after a while"),
        keeps: &[],
        export: Export::No("notes of the operator"),
    },
];
