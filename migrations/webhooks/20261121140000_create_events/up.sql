CREATE SCHEMA webhooks;
COMMENT ON SCHEMA webhooks IS 'Outgoing events: written in the transaction of their cause';

CREATE TABLE webhooks.events (
    user_id text COLLATE "C" NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    event_type text NOT NULL CHECK (event_type <> ''),
    payload jsonb NOT NULL CHECK (jsonb_typeof(payload) = 'object'),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, id)
);
COMMENT ON TABLE webhooks.events IS 'The outbox: what happened, in order of id for each user, for receivers to be told';
COMMENT ON COLUMN webhooks.events.id IS 'Order within a user; not in commit order across users';
COMMENT ON COLUMN webhooks.events.payload IS 'Members of the event besides event_type, user_id and timestamp';
COMMENT ON COLUMN webhooks.events.created_at IS 'When the cause took effect; the timestamp of the event';
