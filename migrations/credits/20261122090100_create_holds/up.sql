CREATE TABLE credits.holds (
    user_id text COLLATE "C" NOT NULL REFERENCES credits.accounts,
    id uuid NOT NULL,
    PRIMARY KEY (user_id, id),
    requested bigint NOT NULL,
    amount bigint NOT NULL CHECK (amount BETWEEN 1 AND requested),
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'captured', 'released', 'expired')),
    captured bigint NOT NULL DEFAULT 0,
    released bigint NOT NULL DEFAULT 0,
    uncollected bigint NOT NULL DEFAULT 0 CHECK (uncollected >= 0),
    entry_seq bigint NOT NULL,
    description text,
    metadata jsonb,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    resolved_at timestamptz,
    CONSTRAINT holds_ttl CHECK (expires_at > created_at AND expires_at <= created_at + interval '24 hours'),
    CONSTRAINT holds_resolved CHECK ((state = 'open') = (resolved_at IS NULL)),
    CONSTRAINT holds_captured CHECK (captured = 0 OR state = 'captured'),
    CONSTRAINT holds_amounts CHECK (CASE state WHEN 'open' THEN captured = 0 AND released = 0
        ELSE captured >= 0 AND least(captured, amount) + released = amount END),
    CONSTRAINT holds_uncollected CHECK (uncollected = 0 OR (state = 'captured' AND captured >= amount))
) WITH (fillfactor = 70);

CREATE INDEX holds_open ON credits.holds (user_id) WHERE state = 'open';
CREATE INDEX holds_due ON credits.holds (expires_at) WHERE state = 'open';
CREATE UNIQUE INDEX holds_newest ON credits.holds (user_id, entry_seq);
-- The capture of a hold is found by its id. A plain charge has none and pays nothing for it.
CREATE INDEX entries_hold ON credits.entries (user_id, hold_id) WHERE hold_id IS NOT NULL;

COMMENT ON TABLE credits.holds IS 'Credit that is set aside. What it sets aside of which grant are the entry_grants of the hold entry';
COMMENT ON COLUMN credits.holds.requested IS 'What the caller asked for; a clamped hold sets aside less';
COMMENT ON COLUMN credits.holds.amount IS 'What is or was set aside';
COMMENT ON COLUMN credits.holds.captured IS 'What was charged, which may be more than was held';
COMMENT ON COLUMN credits.holds.released IS 'Part of amount that was not charged';
COMMENT ON COLUMN credits.holds.uncollected IS 'Part of a charge that nothing was left to pay for';
COMMENT ON COLUMN credits.holds.entry_seq IS 'Entry that made the hold';
COMMENT ON COLUMN credits.holds.resolved_at IS 'When it was captured, released or expired';
