ALTER TABLE credits.holds DROP COLUMN capped;
ALTER TABLE credits.accounts DROP COLUMN budgeted;
DROP TABLE credits.budgets;
