//! Rules that stored users keep at any time.

use pg::Audit;

/// The rules of this domain, each as a query that finds what breaks it.
pub const AUDITS: &[Audit] = &[
    Audit {
        rule: "identity: an e-mail address that is vouched for belongs to one user, whatever its case",
        sql: "SELECT min(user_id) AS subject, count(*)::text || ' users hold an address' AS detail \
              FROM identity.users WHERE email_vouched \
              GROUP BY lower(email_folded COLLATE \"C\") HAVING count(*) > 1 LIMIT 100",
    },
    // SQL can only judge addresses of ASCII as the service does.
    Audit {
        rule: "identity: an e-mail address is compared by its lower case",
        sql: "SELECT user_id AS subject, 'the address is folded otherwise' AS detail \
              FROM identity.users WHERE octet_length(email) = char_length(email) \
              AND email_folded <> lower(email COLLATE \"C\") LIMIT 100",
    },
    Audit {
        rule: "identity: integer ids are positive",
        sql: "SELECT user_id AS subject, 'id ' || id AS detail FROM identity.users WHERE id < 1 LIMIT 100",
    },
    Audit {
        rule: "identity: nothing was changed before it was created",
        sql: "SELECT user_id AS subject, 'created ' || created_at || ', updated ' || updated_at AS detail \
              FROM identity.users WHERE updated_at < created_at LIMIT 100",
    },
];
