//! Rules between sessions and their messages.

use pg::Audit;

/// The audits of this domain.
pub const AUDITS: &[Audit] = &[
    Audit {
        rule: "session counters are the counts and sums of the messages",
        sql: "SELECT s.session_id::text AS subject, \
                  format('count %s, tokens %s, cost %s; messages have %s, %s, %s', \
                      s.message_count, s.total_tokens, s.total_cost, \
                      coalesce(m.messages, 0), coalesce(m.tokens, 0), coalesce(m.cost, 0)) AS detail \
              FROM sessions.sessions AS s \
              LEFT JOIN (SELECT user_id, session_id, count(*) AS messages, sum(tokens_used) AS tokens, \
                      sum(cost_usd) AS cost \
                  FROM sessions.messages GROUP BY user_id, session_id) AS m USING (user_id, session_id) \
              WHERE s.message_count <> coalesce(m.messages, 0) OR s.total_tokens <> coalesce(m.tokens, 0) \
                  OR s.total_cost <> coalesce(m.cost, 0) \
              LIMIT 20",
    },
    Audit {
        rule: "message seq runs from 1 to the count without a gap",
        sql: "SELECT session_id::text AS subject, \
                  format('%s messages, seq from %s to %s', count(*), min(seq), max(seq)) AS detail \
              FROM sessions.messages GROUP BY user_id, session_id \
              HAVING min(seq) <> 1 OR max(seq) <> count(*) LIMIT 20",
    },
    Audit {
        rule: "every message has its session",
        sql: "SELECT m.session_id::text AS subject, format('message %s of %s', m.message_id, m.user_id) AS detail \
              FROM sessions.messages AS m \
              WHERE NOT EXISTS (SELECT FROM sessions.sessions AS s \
                  WHERE s.user_id = m.user_id AND s.session_id = m.session_id) \
              LIMIT 20",
    },
    Audit {
        rule: "times and ids of messages never go back along seq",
        sql: "SELECT session_id::text AS subject, format('at seq %s', seq) AS detail \
              FROM (SELECT session_id, seq, created_at < lag(created_at) OVER along OR id < lag(id) OVER along AS back \
                  FROM sessions.messages WINDOW along AS (PARTITION BY user_id, session_id ORDER BY seq)) AS steps \
              WHERE back LIMIT 20",
    },
    Audit {
        rule: "last activity of a session is the time of its newest message",
        sql: "SELECT s.session_id::text AS subject, \
                  format('last activity %s, newest message %s', s.last_activity, m.created_at) AS detail \
              FROM sessions.sessions AS s \
              JOIN sessions.messages AS m \
                  ON m.user_id = s.user_id AND m.session_id = s.session_id AND m.seq = s.message_count \
              WHERE s.last_activity <> m.created_at LIMIT 20",
    },
];
