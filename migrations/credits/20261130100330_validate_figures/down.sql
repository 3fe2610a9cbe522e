ALTER TABLE credits.entries DROP CONSTRAINT entries_figures;
ALTER TABLE credits.entries ADD CONSTRAINT entries_figures CHECK (
    amount > 0 AND balance_before >= 0 AND held_after BETWEEN 0 AND balance_after
    AND balance_after - balance_before IS NOT DISTINCT FROM CASE
        WHEN type = ANY ('{hold,release}') THEN 0
        WHEN type = ANY ('{consume,capture,expire}') OR (type = 'adjust' AND balance_after < balance_before) THEN -amount
        WHEN type = ANY ('{grant,recharge,refund,adjust}') THEN amount END) NOT VALID;
