COMMENT ON COLUMN credits.entries.metadata IS NULL;
COMMENT ON COLUMN credits.entries.description IS NULL;
COMMENT ON TABLE credits.entries IS 'The journal: what happened to each account. Append-only';
REVOKE UPDATE (description, metadata) ON credits.entries FROM CURRENT_USER;
DROP FUNCTION credits.empty_texts;
DROP TRIGGER entries_keep_their_figures ON credits.entries;
DROP FUNCTION credits.refuse_other_change;
CREATE OR REPLACE FUNCTION credits.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'credits.% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;
