-- The rows that exist keep the narrower rule, so none is looked at here: an exclusive lock of an instant. Another migration
-- validates the constraint.
ALTER TABLE credits.budgets DROP CONSTRAINT budgets_amount_check;
ALTER TABLE credits.budgets ADD CONSTRAINT budgets_amount_check CHECK (amount BETWEEN 0 AND 1000000000000000) NOT VALID;

COMMENT ON COLUMN credits.budgets.amount IS 'The limit; 0 lets nothing be spent';
