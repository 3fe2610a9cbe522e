ALTER TABLE usage.records DROP CONSTRAINT records_charge;
ALTER TABLE usage.records DROP COLUMN charge_transaction;
