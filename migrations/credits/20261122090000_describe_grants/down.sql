ALTER TABLE credits.grants
    DROP COLUMN transaction_id,
    DROP COLUMN description,
    DROP COLUMN metadata;
