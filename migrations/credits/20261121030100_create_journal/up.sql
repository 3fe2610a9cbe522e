CREATE TABLE credits.entries (
    user_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    id bigint GENERATED ALWAYS AS IDENTITY,
    transaction_id uuid NOT NULL,
    type text NOT NULL,
    amount bigint NOT NULL CHECK (amount > 0),
    balance_before bigint NOT NULL CHECK (balance_before >= 0),
    balance_after bigint NOT NULL,
    held_after bigint NOT NULL CHECK (held_after BETWEEN 0 AND balance_after),
    hold_id uuid,
    usage_record_id bigint,
    reference_id text,
    refunds_seq bigint CHECK (refunds_seq < seq),
    metered boolean NOT NULL DEFAULT false,
    description text,
    metadata jsonb,
    actor text NOT NULL,
    created_at timestamptz NOT NULL,
    booked_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, seq),
    CONSTRAINT entry_arithmetic CHECK (CASE
        WHEN type IN ('grant', 'recharge', 'refund') THEN balance_after = balance_before + amount
        WHEN type IN ('consume', 'capture', 'expire') THEN balance_after = balance_before - amount
        WHEN type IN ('hold', 'release') THEN balance_after = balance_before
        WHEN type = 'adjust' THEN abs(balance_after - balance_before) = amount
        ELSE false END),
    CHECK ((type IN ('hold', 'capture', 'release')) = (hold_id IS NOT NULL)),
    CHECK ((type = 'refund') = (refunds_seq IS NOT NULL))
);

CREATE INDEX entries_transaction ON credits.entries (user_id, transaction_id);
-- What is rare is listed without reading past a million charges; the hot path pays nothing for it.
CREATE INDEX entries_rare ON credits.entries (user_id, type, seq)
    WHERE type IN ('grant', 'recharge', 'refund', 'expire', 'adjust');
CREATE INDEX entries_refunds ON credits.entries (user_id, refunds_seq) WHERE refunds_seq IS NOT NULL;
CREATE UNIQUE INDEX entries_metered ON credits.entries (user_id, usage_record_id) WHERE metered;

COMMENT ON TABLE credits.entries IS 'The journal: what happened to each account. Append-only';
COMMENT ON COLUMN credits.entries.seq IS 'Counted per account: 1, 2, 3 ... without a gap';
COMMENT ON COLUMN credits.entries.id IS 'Documented integer id: unique, but not in the order of commits';
COMMENT ON COLUMN credits.entries.transaction_id IS 'One per command, which may write several entries';
COMMENT ON COLUMN credits.entries.balance_before IS 'Posted credit before the entry; equals balance_after of the entry before';
COMMENT ON COLUMN credits.entries.refunds_seq IS 'The consume or capture entry that a refund gives back';
COMMENT ON COLUMN credits.entries.usage_record_id IS 'A note of the caller, or the record that this entry charges if metered';
COMMENT ON COLUMN credits.entries.metered IS 'Written together with its usage record';
COMMENT ON COLUMN credits.entries.actor IS 'user, service or admin; system for due items';
COMMENT ON COLUMN credits.entries.created_at IS 'When it takes effect: for due items the due instant. Never decreases along seq';
COMMENT ON COLUMN credits.entries.booked_at IS 'When the row was written; for diagnosis only';

CREATE TABLE credits.entry_grants (
    user_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    grant_id bigint NOT NULL,
    PRIMARY KEY (user_id, seq, grant_id),
    delta bigint NOT NULL,
    held_delta bigint NOT NULL,
    CHECK (delta <> 0 OR held_delta <> 0)
);

COMMENT ON TABLE credits.entry_grants IS 'Which grants an entry touched. Append-only';
COMMENT ON COLUMN credits.entry_grants.delta IS 'Change of grants.remaining';
COMMENT ON COLUMN credits.entry_grants.held_delta IS 'Change of grants.held';

-- Append-only twice: triggers stop everyone, superusers too, and the role that writes gives up the right itself.
-- No foreign key touches these tables: its check locks FOR KEY SHARE, which fails once UPDATE is revoked.
CREATE FUNCTION credits.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'credits.% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;
COMMENT ON FUNCTION credits.refuse_change() IS 'Keeps the journal append-only';

CREATE TRIGGER entries_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON credits.entries
    FOR EACH STATEMENT EXECUTE FUNCTION credits.refuse_change();
CREATE TRIGGER entry_grants_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON credits.entry_grants
    FOR EACH STATEMENT EXECUTE FUNCTION credits.refuse_change();

REVOKE UPDATE, DELETE, TRUNCATE ON credits.entries, credits.entry_grants FROM CURRENT_USER;
