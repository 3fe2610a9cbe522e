ALTER TABLE credits.idempotency DROP COLUMN usage_record_id;
