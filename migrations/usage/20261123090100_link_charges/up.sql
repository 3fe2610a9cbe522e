-- A record that was charged names the transaction that did it, as a caller knows it.
ALTER TABLE usage.records ADD COLUMN charge_transaction uuid;
ALTER TABLE usage.records ADD CONSTRAINT records_charge CHECK ((charge_seq IS NULL) = (charge_transaction IS NULL));
COMMENT ON COLUMN usage.records.charge_transaction IS 'The transaction of the ledger that charged it';
