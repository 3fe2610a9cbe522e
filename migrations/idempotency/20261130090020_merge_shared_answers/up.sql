-- Keys that callers of both classes used had a second table. Its rows go to the one table; there are few, and they are found through
-- the index. Versions that know the old name find all keys in the view of the first table, and add through this one, which is
-- empty to readers.
DO $$
BEGIN
    IF to_regclass('credits.idempotency_shared') IS NOT NULL THEN
        PERFORM set_config('enable_seqscan', 'off', true);
        LOCK TABLE credits.idempotency_shared IN ACCESS EXCLUSIVE MODE;
        INSERT INTO idempotency.answers
            (user_id, key, caller, fingerprint, created_at, transaction_id, usage_record_id, answer)
            SELECT user_id, key, caller, fingerprint, created_at, transaction_id, usage_record_id, outcome
            FROM credits.idempotency_shared;
        DROP TABLE credits.idempotency_shared;
        CREATE VIEW credits.idempotency_shared AS
            SELECT user_id, key, caller, fingerprint, created_at, transaction_id, usage_record_id, answer AS outcome
            FROM idempotency.answers WHERE false;
        CREATE RULE answers_are_not_changed AS ON UPDATE TO credits.idempotency_shared DO INSTEAD NOTHING;
        CREATE RULE answers_are_not_removed AS ON DELETE TO credits.idempotency_shared DO INSTEAD NOTHING;
        COMMENT ON VIEW credits.idempotency_shared IS 'A way to add answers under their old name, for versions that know no other; goes with the next release';
    END IF;
END $$;
