-- The smallest limit that was allowed before.
UPDATE credits.budgets SET amount = 1 WHERE amount = 0;

ALTER TABLE credits.budgets DROP CONSTRAINT budgets_amount_check;
ALTER TABLE credits.budgets ADD CONSTRAINT budgets_amount_check CHECK (amount BETWEEN 1 AND 1000000000000000);

COMMENT ON COLUMN credits.budgets.amount IS 'The limit';
