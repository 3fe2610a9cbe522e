CREATE INDEX entries_transaction ON credits.entries (user_id, transaction_id);
