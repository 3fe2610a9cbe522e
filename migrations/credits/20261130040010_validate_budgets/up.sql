-- Reads the table while others read and write it.
ALTER TABLE credits.budgets VALIDATE CONSTRAINT budgets_amount_check;
