-- The receivers of events and the times in which they want them. An event that no receiver wants is not written.
CREATE TABLE webhooks.receivers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL CHECK (name <> ''),
    only_user_id text COLLATE "C",
    event_types text[] CHECK (cardinality(event_types) > 0),
    wanted_from timestamptz NOT NULL,
    wanted_until timestamptz CHECK (wanted_until >= wanted_from)
);
CREATE UNIQUE INDEX receivers_name ON webhooks.receivers (name) WHERE wanted_until IS NULL;

COMMENT ON TABLE webhooks.receivers IS 'Receivers of events, with the times in which they want them. Rows that have ended stay: the audit reads them';
COMMENT ON COLUMN webhooks.receivers.name IS 'Name of the receiver; "configured" is that of WEBHOOK_URL';
COMMENT ON COLUMN webhooks.receivers.only_user_id IS 'The user whose events are wanted; null: all users';
COMMENT ON COLUMN webhooks.receivers.event_types IS 'The types that are wanted; null: all types';
COMMENT ON COLUMN webhooks.receivers.wanted_from IS 'Events of causes booked from here on are wanted';
COMMENT ON COLUMN webhooks.receivers.wanted_until IS 'First instant from which they are not; null while they are';

CREATE TABLE webhooks.receivers_edition (
    stamp uuid NOT NULL,
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only)
);
INSERT INTO webhooks.receivers_edition (stamp) VALUES (gen_random_uuid());

COMMENT ON TABLE webhooks.receivers_edition IS 'One row: two sets of receivers with the same stamp are the same';

-- A transaction that may write events holds the lock in shared mode until it ends, a change of the receivers in exclusive mode.
-- So a change waits for the transactions that do not know it, and those after it see it: the statement after the lock has a new
-- snapshot.
CREATE FUNCTION webhooks.receivers_stamp() RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7284018846117465008);
    RETURN (SELECT stamp FROM webhooks.receivers_edition);
END
$$;
COMMENT ON FUNCTION webhooks.receivers_stamp() IS 'Keeps the receivers as they are until the end of the transaction, and returns the stamp of the edition';
