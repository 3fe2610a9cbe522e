ALTER TABLE credits.entries DROP CONSTRAINT entries_figures;
ALTER TABLE credits.entries
    ADD CONSTRAINT entries_seq_check CHECK (seq > 0),
    ADD CONSTRAINT entries_amount_check CHECK (amount > 0),
    ADD CONSTRAINT entries_balance_before_check CHECK (balance_before >= 0),
    ADD CONSTRAINT entries_check CHECK (held_after BETWEEN 0 AND balance_after),
    ADD CONSTRAINT entries_check1 CHECK (refunds_seq < seq),
    ADD CONSTRAINT entries_check2 CHECK ((type IN ('hold', 'capture', 'release')) = (hold_id IS NOT NULL)),
    ADD CONSTRAINT entries_check3 CHECK ((type = 'refund') = (refunds_seq IS NOT NULL)),
    ADD CONSTRAINT entry_arithmetic CHECK (CASE
        WHEN type IN ('grant', 'recharge', 'refund') THEN balance_after = balance_before + amount
        WHEN type IN ('consume', 'capture', 'expire') THEN balance_after = balance_before - amount
        WHEN type IN ('hold', 'release') THEN balance_after = balance_before
        WHEN type = 'adjust' THEN abs(balance_after - balance_before) = amount
        ELSE false END);
