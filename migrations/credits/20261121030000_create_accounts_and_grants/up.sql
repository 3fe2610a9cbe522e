CREATE SCHEMA credits;
COMMENT ON SCHEMA credits IS 'The credit ledger. Amounts are micro-credits: 1 credit = 1,000,000';

CREATE TABLE credits.accounts (
    user_id text COLLATE "C" PRIMARY KEY,
    posted bigint NOT NULL DEFAULT 0 CHECK (posted BETWEEN 0 AND 1000000000000000),
    held bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    lifetime_granted bigint NOT NULL DEFAULT 0 CHECK (lifetime_granted >= 0),
    entry_seq bigint NOT NULL DEFAULT 0,
    grant_seq bigint NOT NULL DEFAULT 0,
    next_due_at timestamptz,
    as_of timestamptz NOT NULL,
    low_balance_at bigint CHECK (low_balance_at > 0),
    created_at timestamptz NOT NULL,
    CONSTRAINT no_overdraft CHECK (posted - held >= 0)
) WITH (fillfactor = 60);

COMMENT ON TABLE credits.accounts IS 'The credits of a user, one row each. Every change of the ledger locks it first. No index on a mutable column: every update stays HOT';
COMMENT ON COLUMN credits.accounts.user_id IS 'Byte order ("C"), so that every server locks accounts in the same order';
COMMENT ON COLUMN credits.accounts.posted IS 'Sum of the remaining part of all booked grants, held or not';
COMMENT ON COLUMN credits.accounts.held IS 'Part of posted that open holds set aside; posted - held may be spent';
COMMENT ON COLUMN credits.accounts.lifetime_granted IS 'All that was ever granted or recharged; refunds do not count';
COMMENT ON COLUMN credits.accounts.entry_seq IS 'seq of the newest entry';
COMMENT ON COLUMN credits.accounts.grant_seq IS 'id of the newest grant';
COMMENT ON COLUMN credits.accounts.next_due_at IS 'When the next due item comes: a grant that expires or becomes effective, a hold that expires';
COMMENT ON COLUMN credits.accounts.as_of IS 'Time of the account; never goes back';
COMMENT ON COLUMN credits.accounts.low_balance_at IS 'Threshold of the credit_low event';

CREATE TABLE credits.grants (
    user_id text COLLATE "C" NOT NULL REFERENCES credits.accounts,
    id bigint NOT NULL,
    PRIMARY KEY (user_id, id),
    kind text NOT NULL CHECK (kind IN ('initial', 'purchase', 'plan', 'promo', 'refund', 'adjustment')),
    paid boolean NOT NULL,
    priority smallint NOT NULL DEFAULT 100 CHECK (priority BETWEEN 0 AND 255),
    amount bigint NOT NULL CHECK (amount > 0),
    remaining bigint NOT NULL,
    held bigint NOT NULL DEFAULT 0,
    effective_at timestamptz NOT NULL,
    expires_at timestamptz CHECK (expires_at > effective_at),
    booked_seq bigint,
    reference_id text,
    created_at timestamptz NOT NULL,
    live boolean GENERATED ALWAYS AS (remaining > 0) STORED,
    CHECK (0 <= held AND held <= remaining AND remaining <= amount),
    CHECK (booked_seq IS NOT NULL OR (remaining = amount AND held = 0))
) WITH (fillfactor = 60);

-- An index WHERE remaining > 0 would make every spend a non-HOT update; "live" changes only when it flips.
CREATE INDEX grants_live ON credits.grants (user_id) WHERE live;
CREATE INDEX grants_due ON credits.grants (expires_at) WHERE live AND expires_at IS NOT NULL;
CREATE INDEX grants_scheduled ON credits.grants (effective_at) WHERE booked_seq IS NULL;
CREATE UNIQUE INDEX grants_reference ON credits.grants (user_id, reference_id) WHERE reference_id IS NOT NULL;

COMMENT ON TABLE credits.grants IS 'Lots of credit, each with its own kind, priority and life';
COMMENT ON COLUMN credits.grants.id IS 'Counted per account';
COMMENT ON COLUMN credits.grants.paid IS 'A purchase, or the refund of one; burns after what was given';
COMMENT ON COLUMN credits.grants.priority IS 'Low burns first';
COMMENT ON COLUMN credits.grants.remaining IS 'Not yet spent, held or not';
COMMENT ON COLUMN credits.grants.held IS 'Part of remaining that open holds set aside';
COMMENT ON COLUMN credits.grants.booked_seq IS 'Entry that booked the grant; null while it is scheduled and counts nowhere';
COMMENT ON COLUMN credits.grants.reference_id IS 'Identity of the payment or gift outside; one grant each';
COMMENT ON COLUMN credits.grants.live IS 'Something remains; indexed instead of remaining';
