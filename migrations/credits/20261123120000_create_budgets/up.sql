CREATE TABLE credits.budgets (
    user_id text COLLATE "C" NOT NULL REFERENCES credits.accounts,
    period text NOT NULL CHECK (period IN ('day', 'month', 'lifetime')),
    PRIMARY KEY (user_id, period),
    zone text NOT NULL,
    amount bigint NOT NULL CHECK (amount BETWEEN 1 AND 1000000000000000),
    window_start timestamptz,
    window_end timestamptz,
    spent bigint NOT NULL CHECK (spent >= 0),
    CONSTRAINT budgets_window CHECK (CASE period WHEN 'lifetime' THEN window_start IS NULL AND window_end IS NULL
        ELSE coalesce(window_start < window_end, false) END)
) WITH (fillfactor = 60);

COMMENT ON TABLE credits.budgets IS 'What a user may spend in a day, in a month and ever. Changed only while his account is locked';
COMMENT ON COLUMN credits.budgets.zone IS 'Whose days and months are meant';
COMMENT ON COLUMN credits.budgets.amount IS 'The limit';
COMMENT ON COLUMN credits.budgets.window_start IS 'First instant of the window that spent is about; null for a lifetime';
COMMENT ON COLUMN credits.budgets.window_end IS 'First instant behind it: from there on nothing counts as spent';
COMMENT ON COLUMN credits.budgets.spent IS 'Charges of the window, less what was given back of them within it';

-- Read with the lock of the account, so that whoever has no budget pays nothing for those who have.
ALTER TABLE credits.accounts ADD COLUMN budgeted boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN credits.accounts.budgeted IS 'Whether there are budgets of this account';

ALTER TABLE credits.holds ADD COLUMN capped boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN credits.holds.capped IS 'A budget, not the balance, is why the charge went no further';
