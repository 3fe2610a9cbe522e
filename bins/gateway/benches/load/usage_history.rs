//! Fills the tables of usage with months of records, by statements over whole sets.
//!
//! The rows are those the service would have written had it recorded the events one by one when they occurred: the same
//! columns, event ids with the fingerprints of their events, corrections, roll-ups, and months made by the service itself.
//! [`check`] holds it to that.

use std::{thread, time::Instant};

use kernel::{Clock as _, Credits, ManualClock, SystemClock, Usd, UserId};
use pg::{Pool, PoolSettings, Tx};
use time::{Duration, OffsetDateTime};
use usage::{Replay, UsageInput};

use crate::service::Service;

/// Age of the oldest records.
const DAYS: i64 = 180;

/// Records `count` events of all users over the last half year, and says how long it took.
///
/// A tenth of the users makes two thirds of the events (the first one a tenth of all); models, kinds and tools are used
/// unevenly too. Every tenth event has an id, every thousandth record was taken back.
pub async fn fill(service: &mut Service, count: u64) {
    let began = Instant::now();
    let now = SystemClock.now();
    let first = now - Duration::days(DAYS);
    let pool = pool(service);
    let months = months(first, now);
    for (from, _) in &months {
        usage::create_months(&pool, &ManualClock::at(*from), 0).await.unwrap();
    }
    let length = (now - first).whole_seconds() as f64;
    let mut behind = 0;
    let mut loads = Vec::new();
    for (place, (from, until)) in months.iter().enumerate() {
        let share = (*until - *from).whole_seconds() as f64 / length;
        let records = if place + 1 == months.len() { count - behind } else { (count as f64 * share) as u64 };
        loads.push(Load {
            from: *from,
            until: *until,
            first: behind + 1,
            records,
            users: service.users.len(),
        });
        behind += records;
    }
    // Months know nothing of one another; two cores are the least there is.
    let next = std::sync::Mutex::new(loads.into_iter());
    let shared: &Service = service;
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(load) = next.lock().unwrap().next() else {
                        break;
                    };
                    shared.sql(&load.statements());
                }
            });
        }
    });
    service.sql(ACROSS_USERS);
    service.settle();
    eprintln!("{count} records in {:.0} s", began.elapsed().as_secs_f64());
}

/// Returns true if the rows are what the service would have written: every audit, and an event that is sent again is known.
pub async fn check(service: &Service) {
    let began = Instant::now();
    let pool = pool(service);
    let mut conn = pool.get().await.unwrap();
    assert_eq!(pg::audit::run(&mut conn, usage::AUDITS).await.unwrap(), []);
    drop(conn);
    let row = service.query(
        "SELECT concat_ws('|', split_part(user_id, '|', 2), event_id, endpoint, session_id, trace_id, event_type, model_name, \
           provider, operation_name, prompt_tokens, completion_tokens, credits_charged, cost_usd, calculation_method, \
           request_data) \
         FROM usage.records WHERE event_id IS NOT NULL AND tool_name IS NULL ORDER BY id LIMIT 1",
    );
    let row: Vec<&str> = row.trim().split('|').collect();
    let text = |place: usize| Some(row[place].to_owned());
    let number = |place: usize| row[place].parse::<i64>().unwrap();
    let user: UserId = format!("load|{}", row[0]).parse().unwrap();
    let again = UsageInput {
        event_id: text(1),
        endpoint: text(2),
        session_id: text(3),
        trace_id: text(4),
        model_name: text(6),
        provider: text(7),
        operation_name: text(8),
        prompt_tokens: Some(number(9)),
        completion_tokens: Some(number(10)),
        credits_charged: Some(Credits::from_micro(number(11))),
        cost_usd: Some(Usd::from_nano(number(12))),
        calculation_method: text(13),
        request_data: Some(kernel::FreeForm::stored(row[14].to_owned())),
        ..UsageInput::new(user, row[5])
    };
    let mut tx = Tx::begin(&pool).await.unwrap();
    let outcomes = usage::record(&mut tx, &SystemClock, &[again.complete()]).await.unwrap();
    tx.rollback().await;
    let recorded = outcomes.into_iter().next().unwrap().unwrap();
    assert_eq!(recorded.replay, Replay::ByEvent);
    eprintln!("audited in {:.0} s", began.elapsed().as_secs_f64());
}

/// Connections as the service has them.
pub fn pool(service: &Service) -> Pool {
    Pool::new(&PoolSettings::new(service.server.url())).unwrap()
}

/// The months from `first` to `now`, the ends cut off.
fn months(first: OffsetDateTime, now: OffsetDateTime) -> Vec<(OffsetDateTime, OffsetDateTime)> {
    let mut months = Vec::new();
    let mut from = first;
    while from < now {
        let next = (from.replace_day(28).unwrap() + Duration::days(4)).replace_day(1).unwrap();
        let until = next.replace_time(time::Time::MIDNIGHT).min(now);
        months.push((from, until));
        from = until;
    }
    months
}

/// Objects of one month.
struct Load {
    from: OffsetDateTime,
    until: OffsetDateTime,
    /// The number of its first event.
    first: u64,
    records: u64,
    users: usize,
}

impl Load {
    fn statements(&self) -> String {
        [RECORDS, CORRECTIONS, EVENT_IDS, ROLL_UPS]
            .concat()
            .replace("$from", &format!("'{}'::timestamptz", kernel::rfc3339(self.from)))
            .replace("$until", &format!("'{}'::timestamptz", kernel::rfc3339(self.until)))
            .replace("$first", &format!("{}::bigint", self.first))
            .replace("$records", &format!("{}::bigint", self.records))
            .replace("$users", &self.users.to_string())
    }
}

/// Of 8 models, 3 providers, 5 kinds and 10 tools: 120 combinations. Ids rise with time within a month; the same
/// events come every time.
const RECORDS: &str = "
SET work_mem = '256MB'; SET maintenance_work_mem = '256MB';
DO $$ BEGIN PERFORM setseed(0.5); END $$;
INSERT INTO usage.records
      (id, user_id, occurred_at, recorded_at, event_id, session_id, trace_id, endpoint, event_type, model_name, provider,
       tool_name, operation_name, tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd,
       calculation_method, request_data, size_bytes)
SELECT new.*, octet_length(concat(event_id, session_id, trace_id, endpoint, event_type, model_name, provider, tool_name,
       operation_name, calculation_method, request_data))
FROM (SELECT nextval('usage.record_ids'), 'load|' || least(who, $users) - 1, at, at,
       CASE WHEN n % 10 = 0 THEN 'history-' || n END, 'sess_' || md5(who || ':' || (n >> 12)),
       'trace_' || lpad(to_hex(n * 2654435761), 16, '0'), '/api/' || event_type, event_type, model[1], model[2],
       CASE WHEN tool > 0.7 THEN event_type || '_search' WHEN tool > 0.4 THEN event_type || '_code' END,
       'generate_response', prompt + completion, prompt, completion,
       (prompt + 3 * completion) * model[3]::int, (prompt + 3 * completion) * model[3]::int * 2, model[1] || '_pricing',
       '{\"stream\": true, \"temperature\": 0.7}'::jsonb
FROM (
    SELECT n, $from + ($until - $from) * ((n - $first + random()) / $records) AS at,
           floor(($users + 1) ^ random())::int AS who,
           (ARRAY['ai_chat', 'completion', 'embedding', 'image', 'agent_step'])[1 + floor(5 * random() ^ 2)::int]
             AS event_type,
           string_to_array((ARRAY['gpt-5 openai 10', 'gpt-5-mini openai 2', 'claude-sonnet-4-5 anthropic 12',
             'gemini-2.5-pro google 8', 'claude-haiku-4-5 anthropic 3', 'gemini-2.5-flash google 1', 'gpt-4o openai 9',
             'claude-opus-4-5 anthropic 20'])[1 + floor(8 * random() ^ 1.5)::int], ' ') AS model,
           random() AS tool, 100 + floor(4000 * random() ^ 2)::bigint AS prompt,
           20 + floor(1500 * random() ^ 2)::bigint AS completion
    FROM generate_series($first, $first + $records - 1) AS n OFFSET 0) AS drawn) AS new
      (id, user_id, occurred_at, recorded_at, event_id, session_id, trace_id, endpoint, event_type, model_name, provider,
       tool_name, operation_name, tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd,
       calculation_method, request_data);";

/// An hour later, with the figures negated.
const CORRECTIONS: &str = "
INSERT INTO usage.records
      (id, user_id, occurred_at, recorded_at, sign, correction_of, session_id, trace_id, endpoint, event_type, model_name,
       provider, tool_name, operation_name, tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd,
       calculation_method, billing_metadata, size_bytes)
SELECT new.*, octet_length(concat(session_id, trace_id, endpoint, event_type, model_name, provider, tool_name, operation_name,
       calculation_method, billing_metadata))
FROM (SELECT nextval('usage.record_ids'), user_id, occurred_at, recorded_at + interval '1 hour', -1, id, session_id, trace_id,
       endpoint, event_type, model_name, provider, tool_name, operation_name, -tokens_used, -prompt_tokens,
       -completion_tokens, -credits_charged, -cost_usd, 'correction', '{\"reason\": \"counted twice\"}'::jsonb
FROM (SELECT * FROM usage.records WHERE occurred_at >= $from AND occurred_at < $until AND id % 1000 = 0 ORDER BY id)
  AS wrong) AS new
      (id, user_id, occurred_at, recorded_at, sign, correction_of, session_id, trace_id, endpoint, event_type, model_name,
       provider, tool_name, operation_name, tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd,
       calculation_method, billing_metadata);";

/// The fingerprint of an event is a hash of what its caller stated, each word with its length before it; that of a
/// correction a hash of its reason.
const EVENT_IDS: &str = "
CREATE FUNCTION pg_temp.word(word text) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN word IS NULL THEN '\\x00'::bytea
                ELSE '\\x01'::bytea || int8send(octet_length(word)) || convert_to(word, 'UTF8') END $$;
INSERT INTO usage.dedupe (user_id, event_id, payload, record_id, occurred_at)
SELECT user_id, coalesce(event_id, 'correction:' || correction_of),
       sha256(CASE WHEN event_id IS NULL THEN pg_temp.word('counted twice') ELSE
           pg_temp.word('v1') || pg_temp.word(event_type) || pg_temp.word(NULL) || pg_temp.word(endpoint)
           || pg_temp.word(session_id) || pg_temp.word(trace_id) || pg_temp.word(model_name) || pg_temp.word(provider)
           || pg_temp.word(tool_name) || pg_temp.word(operation_name) || pg_temp.word(credits_charged::text)
           || pg_temp.word(cost_usd::text) || pg_temp.word(calculation_method) || pg_temp.word(NULL)
           || pg_temp.word(prompt_tokens::text) || pg_temp.word(completion_tokens::text) || pg_temp.word(NULL)
           || pg_temp.word(request_data::text) || pg_temp.word(NULL) END),
       id, occurred_at
FROM usage.records
WHERE occurred_at >= $from AND occurred_at < $until AND (event_id IS NOT NULL OR correction_of IS NOT NULL);";

/// In the order of time, as they come.
const ROLL_UPS: &str = "
INSERT INTO usage.rollups_15m
      (user_id, bucket, event_type, model, provider, tool, part, records, tokens_used, prompt_tokens, completion_tokens,
       credits_charged, credits_deducted, cost_usd)
SELECT user_id, date_bin('15 minutes', occurred_at, '2000-01-01 00:00:00+00') AS bucket, event_type,
       coalesce(model_name, '') AS model, coalesce(provider, '') AS provider, coalesce(tool_name, '') AS tool, 0,
       sum(sign), sum(tokens_used), sum(prompt_tokens), sum(completion_tokens), sum(credits_charged), 0, sum(cost_usd)
FROM usage.records WHERE occurred_at >= $from AND occurred_at < $until
GROUP BY bucket, user_id, event_type, model, provider, tool
ORDER BY bucket, user_id, event_type, model, provider, tool;";

/// Of all months, once: the ends of what was loaded lie within quarters.
const ACROSS_USERS: &str = "
SET work_mem = '256MB';
INSERT INTO usage.rollups_all
      (bucket, event_type, model, provider, tool, part, records, tokens_used, prompt_tokens, completion_tokens,
       credits_charged, credits_deducted, cost_usd)
SELECT bucket, event_type, model, provider, tool, part, sum(records), sum(tokens_used), sum(prompt_tokens),
       sum(completion_tokens), sum(credits_charged), 0, sum(cost_usd)
FROM usage.rollups_15m GROUP BY bucket, event_type, model, provider, tool, part
ORDER BY bucket, event_type, model, provider, tool, part;
INSERT INTO usage.rollups_all_hours
      (hours, bucket, event_type, model, provider, tool, part, records, tokens_used, prompt_tokens, completion_tokens,
       credits_charged, credits_deducted, cost_usd)
SELECT span.hours, date_bin(make_interval(hours => span.hours), bucket, '2000-01-01 00:00:00+00') AS begins, event_type,
       model, provider, tool, part, sum(records), sum(tokens_used), sum(prompt_tokens), sum(completion_tokens),
       sum(credits_charged), 0, sum(cost_usd)
FROM usage.rollups_all CROSS JOIN unnest(ARRAY[1, 4, 24]) AS span (hours)
GROUP BY span.hours, begins, event_type, model, provider, tool, part
ORDER BY span.hours, begins, event_type, model, provider, tool, part;
INSERT INTO usage.user_numbers (user_id) SELECT DISTINCT user_id FROM usage.rollups_15m ORDER BY user_id;
INSERT INTO usage.presence (hours, bucket, event_type, model, provider, tool, thousand, users)
SELECT 1, date_bin('1 hour', bucket, '2000-01-01 00:00:00+00') AS begins, event_type, model, provider, tool,
       number >> 10 AS thousand, bit_or(set_bit(0::bit(1024), number & 1023, 1))
FROM usage.rollups_15m JOIN usage.user_numbers USING (user_id)
GROUP BY begins, event_type, model, provider, tool, thousand
ORDER BY begins, event_type, model, provider, tool, thousand;
INSERT INTO usage.presence (hours, bucket, event_type, model, provider, tool, thousand, users)
SELECT span.hours, date_bin(make_interval(hours => span.hours), bucket, '2000-01-01 00:00:00+00') AS begins, event_type,
       model, provider, tool, thousand, bit_or(users)
FROM usage.presence CROSS JOIN unnest(ARRAY[4, 24]) AS span (hours) WHERE presence.hours = 1
GROUP BY span.hours, begins, event_type, model, provider, tool, thousand
ORDER BY span.hours, begins, event_type, model, provider, tool, thousand;";
