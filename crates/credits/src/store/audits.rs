//! The rules of the ledger as queries over what is stored. Each finds at most 20 things that break its rule, with whose
//! account (`subject`), which entry (`seq`, if it is about one) and the figures (`detail`), amounts in credits: they are stored
//! in millionths.
//!
//! The rules are written once and asked twice: of everything at the end of a test, and of a range of accounts at a time by
//! [`verify`](crate::verify). A comment stands where the condition on these accounts belongs.
//!
//! L20 judges the end of a hold by `holds.ended_by` and compares that with the entry. It is null where a version ended the
//! hold that knew no classes; such a version let users end holds of services, and entries can never be corrected.

use std::sync::LazyLock;

use pg::Audit;

/// The lines of all entries, with those that entries imply by naming their grant.
macro_rules! lines {
    () => {
        "(SELECT user_id, seq, grant_id, delta, held_delta FROM credits.entry_lines WHERE /* accounts */ true
               UNION ALL SELECT user_id, seq, grant_id, balance_after - balance_before, CASE type WHEN 'hold' THEN amount
                 WHEN 'capture' THEN -amount WHEN 'release' THEN -amount ELSE 0 END
               FROM credits.entries WHERE grant_id IS NOT NULL AND /* accounts */ true)"
    };
}

/// L1-L6, L10 and L18-L24 as far as stored data shows them, of all accounts.
pub const AUDITS: &[Audit] = &[
    Audit {
        rule: "credits L1: nothing is overdrawn or over-held",
        sql: "SELECT user_id AS subject, NULL::bigint AS seq, format('posted %s credits, held %s credits',
              trim_scale(posted * 0.000001),
             trim_scale(held * 0.000001)) AS detail
             FROM credits.accounts WHERE /* accounts */ true AND (held < 0 OR posted < held) LIMIT 20",
    },
    Audit {
        rule: "credits L2: each entry continues the one before",
        sql: "SELECT subject, seq, detail FROM (
               SELECT user_id AS subject, seq,
               format('entry %s begins with %s credits at %s, the one before (%s) ended with %s credits at %s', seq,
               trim_scale(balance_before * 0.000001), created_at, seq_before,
                 trim_scale(ended_with * 0.000001), ended_at) AS detail,
                 seq <> seq_before + 1 OR balance_before <> ended_with OR created_at < ended_at OR id <= id_before
                   AS broken
               FROM (SELECT user_id, seq, id, balance_before, created_at,
                   lag(seq, 1, 0::bigint) OVER journal AS seq_before,
                   lag(id, 1, 0::bigint) OVER journal AS id_before,
                   lag(balance_after, 1, 0::bigint) OVER journal AS ended_with,
                   lag(created_at, 1, created_at) OVER journal AS ended_at
                 FROM credits.entries WHERE /* accounts */ true
                 WINDOW journal AS (PARTITION BY user_id ORDER BY seq)) AS steps) AS checked
             WHERE broken LIMIT 20",
    },
    Audit {
        rule: "credits L2: an account is where its newest entry left it",
        sql: "SELECT coalesce(a.user_id, e.user_id) AS subject, e.seq,
              format('account: seq %s, posted %s, held %s; journal: seq %s, posted %s, held %s (credits)', a.entry_seq,
              trim_scale(a.posted * 0.000001),
               trim_scale(a.held * 0.000001), e.seq, trim_scale(e.balance_after * 0.000001),
               trim_scale(e.held_after * 0.000001))
               AS detail
             FROM (SELECT * FROM credits.accounts WHERE /* accounts */ true) AS a FULL JOIN (
               SELECT DISTINCT ON (user_id) user_id, seq, balance_after, held_after, created_at
               FROM credits.entries WHERE /* accounts */ true ORDER BY user_id, seq DESC) AS e ON e.user_id = a.user_id
             WHERE a.user_id IS NULL OR a.entry_seq <> coalesce(e.seq, 0)
               OR a.posted <> coalesce(e.balance_after, 0) OR a.held <> coalesce(e.held_after, 0)
               OR e.created_at > a.as_of LIMIT 20",
    },
    Audit {
        rule: "credits L3: a grant is the sum of its lines",
        sql: concat!("SELECT coalesce(g.user_id, l.user_id) AS subject, NULL::bigint AS seq,
              format('grant %s: remaining %s, held %s; lines: %s, %s (credits)', coalesce(g.id, l.grant_id),
              trim_scale(g.remaining * 0.000001),
               trim_scale(g.held * 0.000001), trim_scale(l.delta * 0.000001), trim_scale(l.held_delta * 0.000001)) AS detail
             FROM (SELECT * FROM credits.current_grants WHERE /* accounts */ true) AS g FULL JOIN (
               SELECT user_id, grant_id, sum(delta) AS delta, sum(held_delta) AS held_delta
               FROM ", lines!(), " AS lines
               GROUP BY user_id, grant_id) AS l
               ON l.user_id = g.user_id AND l.grant_id = g.id
             WHERE g.id IS NULL OR g.held NOT BETWEEN 0 AND g.remaining OR g.remaining > g.amount
               OR CASE WHEN g.booked_seq IS NULL THEN l.grant_id IS NOT NULL OR g.remaining <> g.amount
                  ELSE g.remaining <> coalesce(l.delta, 0) OR g.held <> coalesce(l.held_delta, 0) END LIMIT 20"),
    },
    Audit {
        rule: "credits L3: an entry is the sum of its lines",
        sql: concat!("SELECT coalesce(e.user_id, l.user_id) AS subject, coalesce(e.seq, l.seq) AS seq,
               format('entry %s: moved %s credits, held %s credits; lines: %s, %s credits', coalesce(e.seq, l.seq),
               trim_scale(e.moved * 0.000001), trim_scale(e.held_moved * 0.000001), trim_scale(l.delta * 0.000001),
               trim_scale(l.held_delta * 0.000001)) AS detail
             FROM (SELECT user_id, seq, type, amount, balance_after - balance_before AS moved,
                 held_after - lag(held_after, 1, 0::bigint) OVER (PARTITION BY user_id ORDER BY seq) AS held_moved
               FROM credits.entries WHERE /* accounts */ true) AS e FULL JOIN (
               SELECT user_id, seq, sum(delta) AS delta, sum(held_delta) AS held_delta
               FROM ", lines!(), " AS lines
               GROUP BY user_id, seq) AS l
               ON l.user_id = e.user_id AND l.seq = e.seq
             WHERE e.seq IS NULL OR e.moved <> coalesce(l.delta, 0) OR e.held_moved <> coalesce(l.held_delta, 0)
               OR CASE e.type WHEN 'hold' THEN e.held_moved <> e.amount WHEN 'release' THEN e.held_moved <> -e.amount
                  WHEN 'capture' THEN e.held_moved NOT BETWEEN -e.amount AND -1 ELSE e.held_moved <> 0 END LIMIT 20"),
    },
    Audit {
        rule: "credits L3: an entry names its grant or has lines",
        sql: "SELECT l.user_id AS subject, l.seq, format('entry of grant %s has a line of grant %s', e.grant_id, l.grant_id)
               AS detail
             FROM (SELECT * FROM credits.entry_lines WHERE /* accounts */ true) AS l
             JOIN credits.entries e ON e.user_id = l.user_id AND e.seq = l.seq
             WHERE e.grant_id IS NOT NULL LIMIT 20",
    },
    Audit {
        rule: "credits L3: a booked grant has the entry that booked it",
        sql: "SELECT g.user_id AS subject, g.booked_seq AS seq,
              format('grant %s of kind %s and amount %s credits is booked by entry %s: %s of %s credits', g.id, g.kind,
              trim_scale(g.amount * 0.000001), g.booked_seq,
               e.type, trim_scale(e.amount * 0.000001)) AS detail
             FROM (SELECT * FROM credits.grants WHERE /* accounts */ true) AS g
             LEFT JOIN (SELECT * FROM credits.entries WHERE /* accounts */ true) AS e
               ON e.user_id = g.user_id AND e.seq = g.booked_seq
             WHERE g.booked_seq IS NOT NULL AND (e.seq IS NULL OR e.reference_id IS DISTINCT FROM g.reference_id
               OR e.type <> CASE g.kind WHEN 'purchase' THEN 'recharge' WHEN 'refund' THEN 'refund'
                  WHEN 'adjustment' THEN 'adjust' ELSE 'grant' END
               OR CASE g.kind WHEN 'refund' THEN e.amount < g.amount ELSE e.amount <> g.amount END) LIMIT 20",
    },
    Audit {
        rule: "credits L4: an account is the sum of its grants, and its open holds",
        sql: "SELECT a.user_id AS subject, NULL::bigint AS seq,
              format('posted %s, held %s credits, newest grant %s; grants: %s, %s credits, newest %s; holds: %s credits',
              trim_scale(a.posted * 0.000001),
               trim_scale(a.held * 0.000001), a.grant_seq, trim_scale(g.remaining * 0.000001), trim_scale(g.held * 0.000001),
               g.newest, trim_scale(h.amount * 0.000001)) AS detail
             FROM (SELECT * FROM credits.accounts WHERE /* accounts */ true) AS a LEFT JOIN (
               SELECT user_id, sum(remaining) FILTER (WHERE booked_seq IS NOT NULL) AS remaining,
                 sum(held) AS held, max(id) AS newest FROM credits.current_grants WHERE /* accounts */ true GROUP BY user_id) AS g
               ON g.user_id = a.user_id LEFT JOIN (
               SELECT user_id, sum(amount) AS amount FROM credits.holds WHERE state = 'open' AND /* accounts */ true
               GROUP BY user_id) AS h ON h.user_id = a.user_id
             WHERE a.posted <> coalesce(g.remaining, 0) OR a.held <> coalesce(g.held, 0)
               OR a.held <> coalesce(h.amount, 0) OR a.grant_seq <> coalesce(g.newest, 0) LIMIT 20",
    },
    Audit {
        rule: "credits L4: what is held of a grant is what open holds set aside of it",
        sql: "SELECT coalesce(g.user_id, h.user_id) AS subject, NULL::bigint AS seq,
              format('grant %s: held %s credits; holds: %s credits', coalesce(g.id, h.grant_id),
              trim_scale(g.held * 0.000001),
               trim_scale(h.amount * 0.000001)) AS detail
             FROM (SELECT * FROM credits.grants WHERE held <> 0 AND /* accounts */ true) AS g FULL JOIN (
               SELECT o.user_id, l.grant_id, sum(l.held_delta) AS amount
               FROM (SELECT * FROM credits.holds WHERE state = 'open' AND /* accounts */ true) AS o
               JOIN credits.entry_grants l ON l.user_id = o.user_id AND l.seq = o.entry_seq
               GROUP BY o.user_id, l.grant_id) AS h
               ON h.user_id = g.user_id AND h.grant_id = g.id
             WHERE g.held IS DISTINCT FROM h.amount LIMIT 20",
    },
    Audit {
        rule: "credits L22: the head of an account is the first grant with free credit",
        sql: "SELECT a.user_id AS subject, NULL::bigint AS seq, format('head: grant %s with %s credits; first grant with free credit:
               %s, amount %s, held %s credits', a.head_grant_id, trim_scale(a.head_remaining * 0.000001), g.id,
               trim_scale(g.amount * 0.000001), trim_scale(g.held * 0.000001)) AS detail
             FROM (SELECT * FROM credits.accounts WHERE head_grant_id IS NOT NULL AND /* accounts */ true) AS a LEFT JOIN (
               SELECT DISTINCT ON (user_id) user_id, id, amount, held FROM credits.current_grants
               WHERE booked_seq IS NOT NULL AND live AND remaining > held AND /* accounts */ true
               ORDER BY user_id, priority, expires_at NULLS LAST, paid, effective_at, id) AS g ON g.user_id = a.user_id
             WHERE g.id IS DISTINCT FROM a.head_grant_id OR g.held <> 0 OR a.head_remaining > g.amount LIMIT 20",
    },
    Audit {
        rule: "credits L5: a hold is made once and resolved once, as its entries say",
        sql: "SELECT coalesce(h.user_id, e.user_id) AS subject, coalesce(h.entry_seq, e.seq) AS seq,
              format('hold %s is %s: %s of %s credits, captured %s, released %s, uncollected %s credits; entries: made %s of %s, captured %s of %s, released %s of %s credits', coalesce(h.id, e.hold_id), h.state,
               trim_scale(h.amount * 0.000001), trim_scale(h.requested * 0.000001), trim_scale(h.captured * 0.000001),
               trim_scale(h.released * 0.000001), trim_scale(h.uncollected * 0.000001), e.holds,
               trim_scale(e.held * 0.000001),
               e.captures, trim_scale(e.captured * 0.000001), e.releases, trim_scale(e.released * 0.000001)) AS detail
             FROM (SELECT * FROM credits.holds WHERE /* accounts */ true) AS h FULL JOIN (
               SELECT user_id, hold_id, min(seq) AS seq, count(*) FILTER (WHERE type = 'hold') AS holds,
                 coalesce(sum(amount) FILTER (WHERE type = 'hold'), 0) AS held,
                 count(*) FILTER (WHERE type = 'capture') AS captures,
                 coalesce(sum(amount) FILTER (WHERE type = 'capture'), 0) AS captured,
                 count(*) FILTER (WHERE type = 'release') AS releases,
                 coalesce(sum(amount) FILTER (WHERE type = 'release'), 0) AS released,
                 max(created_at) FILTER (WHERE type <> 'hold') AS resolved_at,
                 max(balance_after - held_after) FILTER (WHERE type = 'capture') AS left_over
               FROM credits.entries WHERE hold_id IS NOT NULL AND /* accounts */ true GROUP BY user_id, hold_id) AS e
               ON e.user_id = h.user_id AND e.hold_id = h.id
             WHERE h.id IS NULL OR e.hold_id IS NULL OR e.seq <> h.entry_seq OR e.holds <> 1 OR e.held <> h.amount
               OR e.captures > 1 OR e.captured <> h.captured OR e.releases > 1 OR e.released <> h.released
               OR e.resolved_at IS DISTINCT FROM h.resolved_at OR (h.uncollected > 0 AND e.left_over > 0 AND NOT h.capped)
               OR (h.state <> 'open' AND least(h.captured, h.amount) + h.released <> h.amount) LIMIT 20",
    },
    Audit {
        rule: "credits L20: users make and end holds as users, and end none of services",
        sql: "SELECT h.user_id AS subject, e.seq, format('hold %s of class %s: %s by %s', h.id, h.made_by, e.type,
               e.actor) AS detail
             FROM (SELECT * FROM credits.holds WHERE made_by IS NOT NULL AND /* accounts */ true) AS h
             JOIN (SELECT * FROM credits.entries WHERE hold_id IS NOT NULL AND /* accounts */ true) AS e
               ON e.user_id = h.user_id AND e.hold_id = h.id
             WHERE CASE e.type WHEN 'hold' THEN e.actor IN ('user', 'service') AND e.actor <> h.made_by
               ELSE h.made_by = 'service' AND h.ended_by = 'user' OR h.ended_by = 'service' AND e.actor = 'user'
               END LIMIT 20",
    },
    Audit {
        rule: "credits L21: a reference that is unique among all users belongs to a grant of its user",
        sql: "SELECT r.user_id AS subject, NULL::bigint AS seq, format('reference %s', r.reference_id) AS detail
             FROM (SELECT * FROM credits.global_references WHERE /* accounts */ true) AS r
             LEFT JOIN (SELECT * FROM credits.grants WHERE /* accounts */ true) AS g
               ON g.user_id = r.user_id AND g.reference_id = r.reference_id
             WHERE g.id IS NULL LIMIT 20",
    },
    Audit {
        rule: "credits L6: nothing that was due is left",
        sql: "SELECT a.user_id AS subject, NULL::bigint AS seq, format('%s at %s', due.what, a.as_of) AS detail
             FROM (SELECT * FROM credits.accounts WHERE /* accounts */ true) AS a JOIN (
               SELECT user_id, CASE WHEN booked_seq IS NULL THEN effective_at ELSE expires_at END AS at,
                 format('grant %s from %s to %s has %s credits', id, effective_at, expires_at,
                 trim_scale((remaining - held) * 0.000001)) AS what
               FROM credits.current_grants WHERE (booked_seq IS NULL OR remaining > held) AND /* accounts */ true
               UNION ALL SELECT user_id, expires_at, format('hold %s to %s is open', id, expires_at)
               FROM credits.holds WHERE state = 'open' AND /* accounts */ true) AS due ON due.user_id = a.user_id
             WHERE due.at <= a.as_of LIMIT 20",
    },
    Audit {
        rule: "credits L10: a charge is given back once at most",
        sql: "SELECT r.user_id AS subject, r.refunds_seq AS seq, format('entry %s: %s of %s credits; refunds: %s credits',
              r.refunds_seq, e.type, trim_scale(e.amount * 0.000001), trim_scale(r.refunded * 0.000001)) AS detail
             FROM (SELECT user_id, refunds_seq, sum(amount) AS refunded FROM credits.entries
               WHERE refunds_seq IS NOT NULL AND /* accounts */ true GROUP BY user_id, refunds_seq) AS r
             LEFT JOIN (SELECT * FROM credits.entries WHERE /* accounts */ true) AS e
               ON e.user_id = r.user_id AND e.seq = r.refunds_seq
             WHERE e.seq IS NULL OR e.type NOT IN ('consume', 'capture') OR r.refunded > e.amount LIMIT 20",
    },
    Audit {
        rule: "credits L18: lifetime_granted is what was granted",
        sql: "SELECT a.user_id AS subject, NULL::bigint AS seq, format('%s credits; grants: %s credits',
               trim_scale(a.lifetime_granted * 0.000001), trim_scale(g.granted * 0.000001)) AS detail
             FROM (SELECT * FROM credits.accounts WHERE /* accounts */ true) AS a LEFT JOIN (
               SELECT user_id, sum(amount) AS granted FROM credits.grants
               WHERE booked_seq IS NOT NULL AND kind <> 'refund' AND /* accounts */ true GROUP BY user_id) AS g
               ON g.user_id = a.user_id
             WHERE a.lifetime_granted <> coalesce(g.granted, 0) LIMIT 20",
    },
    Audit {
        rule: "credits L18: next_due_at is the next due instant",
        sql: "SELECT a.user_id AS subject, NULL::bigint AS seq, format('%s; grants and holds: %s', a.next_due_at,
               due.at) AS detail
             FROM (SELECT * FROM credits.accounts WHERE /* accounts */ true) AS a LEFT JOIN (
               SELECT user_id, min(at) AS at FROM (
                 SELECT user_id, CASE WHEN booked_seq IS NULL THEN effective_at WHEN remaining > held
                   THEN expires_at END AS at FROM credits.current_grants WHERE /* accounts */ true
                 UNION ALL SELECT user_id, expires_at FROM credits.holds WHERE state = 'open' AND /* accounts */ true)
               AS items GROUP BY user_id) AS due ON due.user_id = a.user_id
             WHERE a.next_due_at IS DISTINCT FROM due.at LIMIT 20",
    },
    Audit {
        rule: "credits L23: an entry has the figures and parts of its type",
        sql: "SELECT user_id AS subject, seq,
               format('entry %s: %s of %s credits, from %s to %s, held %s credits; hold %s, refund of entry %s', seq, type,
               trim_scale(amount * 0.000001), trim_scale(balance_before * 0.000001), trim_scale(balance_after * 0.000001),
               trim_scale(held_after * 0.000001), hold_id, refunds_seq) AS detail
             FROM credits.entries WHERE /* accounts */ true
               AND (amount <= 0 OR balance_before < 0 OR held_after NOT BETWEEN 0 AND balance_after
                 OR balance_after - balance_before IS DISTINCT FROM CASE
                    WHEN type IN ('grant', 'recharge', 'refund') THEN amount
                    WHEN type IN ('consume', 'capture', 'expire') THEN -amount
                    WHEN type IN ('hold', 'release') THEN 0
                    WHEN type = 'adjust' THEN amount * sign(balance_after - balance_before)::bigint END
                 OR (type IN ('hold', 'capture', 'release')) <> (hold_id IS NOT NULL)
                 OR (type = 'refund') <> (refunds_seq IS NOT NULL) OR refunds_seq >= seq) LIMIT 20",
    },
    Audit {
        rule: "credits L24: a transaction id begins with the place of the transaction",
        sql: "SELECT user_id AS subject, seq, format('%s entry %s is of transaction %s, the one before of %s', type, seq,
               transaction_id, id_before) AS detail
             FROM (SELECT user_id, seq, transaction_id, type, actor, ('x' || encode(uuid_send(transaction_id), 'hex'))::bit(48)::bigint
                 AS place, lag(transaction_id) OVER (PARTITION BY user_id ORDER BY seq) AS id_before
               FROM credits.entries WHERE /* accounts */ true) AS e
             WHERE actor <> 'system' AND get_byte(uuid_send(transaction_id), 6) >> 4 = 8 AND seq <> place
               AND (seq <> place + 1 OR id_before IS DISTINCT FROM transaction_id OR type <> 'release') LIMIT 20",
    },
    Audit {
        rule: "credits L24: a transaction belongs to one account",
        sql: "SELECT max(user_id) AS subject, max(seq) AS seq, format('transaction %s is of account %s, too', transaction_id,
               min(user_id)) AS detail
             FROM credits.entries WHERE /* accounts */ true GROUP BY transaction_id HAVING min(user_id) <> max(user_id) LIMIT 20",
    },
    Audit {
        rule: "credits L19: what a budget says was spent is what was charged in its window",
        sql: "SELECT b.user_id AS subject, NULL::bigint AS seq,
              format('budget of a %s from %s to %s: spent %s credits; entries: %s credits', b.period, b.window_start,
              b.window_end,
               trim_scale(b.spent * 0.000001), trim_scale(j.spent * 0.000001)) AS detail
             FROM (SELECT * FROM credits.budgets WHERE /* accounts */ true) AS b CROSS JOIN LATERAL (
               SELECT coalesce(sum(CASE e.type WHEN 'refund' THEN -e.amount ELSE e.amount END), 0) AS spent
               FROM credits.entries e LEFT JOIN credits.entries c
                 ON e.type = 'refund' AND c.user_id = e.user_id AND c.seq = e.refunds_seq
               WHERE e.user_id = b.user_id AND e.type IN ('consume', 'capture', 'refund')
                 AND (b.window_end IS NULL OR e.created_at < b.window_end)
                 AND (b.window_start IS NULL OR coalesce(c.created_at, e.created_at) >= b.window_start)) AS j
             WHERE b.spent <> j.spent LIMIT 20",
    },
    Audit {
        rule: "credits L19: an account knows whether it has budgets",
        sql: "SELECT a.user_id AS subject, NULL::bigint AS seq, format('budgeted: %s; budgets: %s', a.budgeted,
               count(b.period)) AS detail
             FROM (SELECT * FROM credits.accounts WHERE /* accounts */ true) AS a
             LEFT JOIN (SELECT * FROM credits.budgets WHERE /* accounts */ true) AS b ON b.user_id = a.user_id
             GROUP BY a.user_id, a.budgeted HAVING a.budgeted <> (count(b.period) > 0) LIMIT 20",
    },
];

/// [`AUDITS`] of the accounts behind `$1`, up to `$2`.
pub static AUDITS_OF_RANGE: LazyLock<Vec<(&str, String)>> = LazyLock::new(|| {
    let ranged = |audit: &Audit| {
        (audit.rule, audit.sql.replace("/* accounts */ true", "user_id > $1 AND user_id <= $2"))
    };
    AUDITS.iter().map(ranged).collect()
});
