ALTER TABLE credits.entries DROP CONSTRAINT entries_figures;
ALTER TABLE credits.entries ADD CONSTRAINT entries_figures CHECK (
    amount > 0 AND held_after BETWEEN 0 AND balance_after AND balance_after - balance_before = CASE
        WHEN type = ANY ('{hold,release}') THEN 0
        WHEN type = ANY ('{consume,capture,expire}') OR (type = 'adjust' AND balance_after < balance_before) THEN -amount
        ELSE amount END) NOT VALID;
