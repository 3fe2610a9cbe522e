ALTER TABLE credits.budgets DROP CONSTRAINT budgets_amount_check;
ALTER TABLE credits.budgets ADD CONSTRAINT budgets_amount_check CHECK (amount BETWEEN 0 AND 1000000000000000) NOT VALID;
