//! The rules of the ledger as queries over what is stored. Each finds at most 20 things that break its rule.

use pg::Audit;

/// L1-L4, L6 and L18 as far as stored data can tell.
pub const AUDITS: &[Audit] = &[
    Audit {
        rule: "credits L1: nothing is overdrawn or over-held",
        sql: "SELECT user_id AS subject, format('posted %s, held %s', posted, held) AS detail \
              FROM credits.accounts WHERE held < 0 OR posted < held LIMIT 20",
    },
    Audit {
        rule: "credits L2: each entry continues the one before",
        sql: "SELECT subject, detail FROM ( \
                SELECT user_id AS subject, format('entry %s begins with %s at %s, the one before (%s) ended with %s at %s', \
                    seq, balance_before, created_at, seq_before, ended_with, ended_at) AS detail, \
                  seq <> seq_before + 1 OR balance_before <> ended_with OR created_at < ended_at AS broken \
                FROM (SELECT user_id, seq, balance_before, created_at, \
                    lag(seq, 1, 0::bigint) OVER journal AS seq_before, \
                    lag(balance_after, 1, 0::bigint) OVER journal AS ended_with, \
                    lag(created_at, 1, created_at) OVER journal AS ended_at \
                  FROM credits.entries WINDOW journal AS (PARTITION BY user_id ORDER BY seq)) AS steps) AS checked \
              WHERE broken LIMIT 20",
    },
    Audit {
        rule: "credits L2: an account is where its newest entry left it",
        sql: "SELECT coalesce(a.user_id, e.user_id) AS subject, format('account: seq %s, posted %s, held %s; journal: seq %s, \
                posted %s, held %s', a.entry_seq, a.posted, a.held, e.seq, e.balance_after, e.held_after) AS detail \
              FROM credits.accounts a FULL JOIN ( \
                SELECT DISTINCT ON (user_id) user_id, seq, balance_after, held_after, created_at FROM credits.entries \
                ORDER BY user_id, seq DESC) AS e ON e.user_id = a.user_id \
              WHERE a.user_id IS NULL OR a.entry_seq <> coalesce(e.seq, 0) OR a.posted <> coalesce(e.balance_after, 0) \
                OR a.held <> coalesce(e.held_after, 0) OR e.created_at > a.as_of LIMIT 20",
    },
    Audit {
        rule: "credits L3: a grant is the sum of its lines",
        sql: "SELECT coalesce(g.user_id, l.user_id) AS subject, format('grant %s: remaining %s, held %s; lines: %s, %s', \
                coalesce(g.id, l.grant_id), g.remaining, g.held, l.delta, l.held_delta) AS detail \
              FROM credits.grants g FULL JOIN ( \
                SELECT user_id, grant_id, sum(delta) AS delta, sum(held_delta) AS held_delta \
                FROM credits.entry_grants GROUP BY user_id, grant_id) AS l ON l.user_id = g.user_id AND l.grant_id = g.id \
              WHERE g.id IS NULL OR g.held NOT BETWEEN 0 AND g.remaining OR g.remaining > g.amount \
                OR CASE WHEN g.booked_seq IS NULL THEN l.grant_id IS NOT NULL OR g.remaining <> g.amount \
                   ELSE g.remaining <> coalesce(l.delta, 0) OR g.held <> coalesce(l.held_delta, 0) END LIMIT 20",
    },
    Audit {
        rule: "credits L3: an entry is the sum of its lines",
        sql: "SELECT coalesce(e.user_id, l.user_id) AS subject, format('entry %s: moved %s, held %s; lines: %s, %s', \
                coalesce(e.seq, l.seq), e.moved, e.held_moved, l.delta, l.held_delta) AS detail \
              FROM (SELECT user_id, seq, balance_after - balance_before AS moved, \
                  held_after - lag(held_after, 1, 0::bigint) OVER (PARTITION BY user_id ORDER BY seq) AS held_moved \
                FROM credits.entries) AS e FULL JOIN ( \
                SELECT user_id, seq, sum(delta) AS delta, sum(held_delta) AS held_delta \
                FROM credits.entry_grants GROUP BY user_id, seq) AS l ON l.user_id = e.user_id AND l.seq = e.seq \
              WHERE e.seq IS NULL OR e.moved <> coalesce(l.delta, 0) OR e.held_moved <> coalesce(l.held_delta, 0) LIMIT 20",
    },
    Audit {
        rule: "credits L3: a booked grant has the entry that booked it",
        sql: "SELECT g.user_id AS subject, format('grant %s of kind %s and amount %s is booked by entry %s: %s of %s', g.id, \
                g.kind, g.amount, g.booked_seq, e.type, e.amount) AS detail \
              FROM credits.grants g LEFT JOIN credits.entries e ON e.user_id = g.user_id AND e.seq = g.booked_seq \
              WHERE g.booked_seq IS NOT NULL AND (e.seq IS NULL OR e.reference_id IS DISTINCT FROM g.reference_id \
                OR e.type <> CASE g.kind WHEN 'purchase' THEN 'recharge' WHEN 'refund' THEN 'refund' \
                   WHEN 'adjustment' THEN 'adjust' ELSE 'grant' END \
                OR (g.kind <> 'refund' AND e.amount <> g.amount)) LIMIT 20",
    },
    Audit {
        rule: "credits L4: an account is the sum of its booked grants",
        sql: "SELECT a.user_id AS subject, format('posted %s, held %s, newest grant %s; grants: %s, %s, %s', a.posted, a.held, \
                a.grant_seq, g.remaining, g.held, g.newest) AS detail \
              FROM credits.accounts a LEFT JOIN ( \
                SELECT user_id, sum(remaining) FILTER (WHERE booked_seq IS NOT NULL) AS remaining, sum(held) AS held, \
                  max(id) AS newest FROM credits.grants GROUP BY user_id) AS g ON g.user_id = a.user_id \
              WHERE a.posted <> coalesce(g.remaining, 0) OR a.held <> coalesce(g.held, 0) \
                OR a.grant_seq <> coalesce(g.newest, 0) LIMIT 20",
    },
    Audit {
        rule: "credits L6: nothing that was due is left",
        sql: "SELECT a.user_id AS subject, format('grant %s from %s to %s has %s at %s', g.id, g.effective_at, g.expires_at, \
                g.remaining - g.held, a.as_of) AS detail \
              FROM credits.accounts a JOIN credits.grants g ON g.user_id = a.user_id \
              WHERE CASE WHEN g.booked_seq IS NULL THEN g.effective_at <= a.as_of \
                ELSE g.expires_at <= a.as_of AND g.remaining > g.held END LIMIT 20",
    },
    Audit {
        rule: "credits L18: lifetime_granted is what was granted",
        sql: "SELECT a.user_id AS subject, format('%s; grants: %s', a.lifetime_granted, g.granted) AS detail \
              FROM credits.accounts a LEFT JOIN ( \
                SELECT user_id, sum(amount) AS granted FROM credits.grants \
                WHERE booked_seq IS NOT NULL AND kind <> 'refund' GROUP BY user_id) AS g ON g.user_id = a.user_id \
              WHERE a.lifetime_granted <> coalesce(g.granted, 0) LIMIT 20",
    },
    Audit {
        rule: "credits L18: next_due_at is the next due instant",
        sql: "SELECT a.user_id AS subject, format('%s; grants: %s', a.next_due_at, g.next_due_at) AS detail \
              FROM credits.accounts a LEFT JOIN ( \
                SELECT user_id, min(CASE WHEN booked_seq IS NULL THEN effective_at \
                  WHEN remaining > held THEN expires_at END) AS next_due_at \
                FROM credits.grants GROUP BY user_id) AS g ON g.user_id = a.user_id \
              WHERE a.next_due_at IS DISTINCT FROM g.next_due_at LIMIT 20",
    },
];
