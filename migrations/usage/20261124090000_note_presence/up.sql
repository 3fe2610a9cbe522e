-- Who used what is counted from sets of users, one bit a user, by the spans of 1, 4 and 24 hours that sums across users are
-- kept in: from the sums of each user it was a matter of seconds. A user who was there stays counted when his records are
-- taken back, so bits are only ever added, in any order, by any number of workers.
--
-- What the version before records from now on would be missing here: do not run it beside this one.
LOCK TABLE usage.rollups_15m IN SHARE MODE;

-- Numbers are given to users by a worker, the first time that it adds up what they did.
CREATE TABLE usage.user_numbers (
    user_id text COLLATE "C" PRIMARY KEY,
    number integer GENERATED ALWAYS AS IDENTITY (MINVALUE 0 START WITH 0) UNIQUE
);

CREATE TABLE usage.presence (
    hours smallint NOT NULL,
    bucket timestamptz NOT NULL,
    event_type text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    provider text COLLATE "C" NOT NULL,
    tool text COLLATE "C" NOT NULL,
    thousand integer NOT NULL,
    users bit(1024) NOT NULL,
    PRIMARY KEY (hours, bucket, event_type, model, provider, tool, thousand),
    CONSTRAINT presence_spans CHECK (hours IN (1, 4, 24)),
    CONSTRAINT presence_bucket CHECK (date_bin(make_interval(hours => hours), bucket, '2000-01-01 00:00:00+00') = bucket)
) WITH (fillfactor = 70);

CREATE TABLE usage.presence_deltas (
    user_id text COLLATE "C" NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    bucket timestamptz NOT NULL,
    event_type text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    provider text COLLATE "C" NOT NULL,
    tool text COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id, id)
);

INSERT INTO usage.user_numbers (user_id) SELECT DISTINCT user_id FROM usage.rollups_15m ORDER BY user_id;

INSERT INTO usage.presence (hours, bucket, event_type, model, provider, tool, thousand, users)
SELECT 1, date_bin('1 hour', bucket, '2000-01-01 00:00:00+00') AS begins, event_type, model, provider, tool,
       number >> 10 AS thousand, bit_or(set_bit(0::bit(1024), number & 1023, 1))
FROM usage.rollups_15m JOIN usage.user_numbers USING (user_id)
GROUP BY begins, event_type, model, provider, tool, thousand;

INSERT INTO usage.presence (hours, bucket, event_type, model, provider, tool, thousand, users)
SELECT span.hours, date_bin(make_interval(hours => span.hours), bucket, '2000-01-01 00:00:00+00') AS begins, event_type,
       model, provider, tool, thousand, bit_or(users)
FROM usage.presence CROSS JOIN unnest(ARRAY[4, 24]) AS span (hours) WHERE presence.hours = 1
GROUP BY span.hours, begins, event_type, model, provider, tool, thousand;

-- Last, because it locks readers out.
ALTER TABLE usage.rollups_15m ADD COLUMN added_to boolean NOT NULL DEFAULT false;

COMMENT ON COLUMN usage.rollups_15m.added_to IS 'Whether something was added since the row was made; a row that was just made is noted in usage.presence_deltas';
COMMENT ON TABLE usage.user_numbers IS 'Numbers of users, as close as may be, for sets of users in bits';
COMMENT ON TABLE usage.presence IS 'Which users have records, by spans of 1, 4 and 24 hours and dimensions; complete only together with usage.presence_deltas';
COMMENT ON COLUMN usage.presence.hours IS 'Length of the span';
COMMENT ON COLUMN usage.presence.bucket IS 'Beginning of the span: a whole multiple of its length since midnight, UTC';
COMMENT ON COLUMN usage.presence.thousand IS 'Which 1,024 numbers: those from 1,024 times this on';
COMMENT ON COLUMN usage.presence.users IS 'A bit for each of those numbers, the first for the lowest: whether that user has records, taken back or not';
COMMENT ON TABLE usage.presence_deltas IS 'Who came to a quarter of an hour and is still to be noted in usage.presence';
