-- The one exception of the append-only journal: the descriptions and metadata of a user who is erased are emptied (HTTP contract
-- 3.4), by one function. The right to update ends at these two columns. The first trigger stops every statement but those of the
-- function; the second one lets no row lose or change anything else, whoever set the setting that the first one looks at. Entries are
-- only inserted otherwise, so the second trigger costs nothing. The cost here is a SHARE ROW EXCLUSIVE lock of an instant.
--
-- The right stays: to give and take it each time would write the catalogue, and every connection would plan again.
CREATE OR REPLACE FUNCTION credits.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME <> 'entries' OR TG_OP <> 'UPDATE'
        OR coalesce(current_setting('credits.journal_exception', true), '') <> 'empty_texts' THEN
        RAISE EXCEPTION 'credits.% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION credits.refuse_other_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.description IS NOT NULL OR NEW.metadata IS NOT NULL
        OR to_jsonb(OLD) - '{description,metadata,size_bytes}'::text[]
            IS DISTINCT FROM to_jsonb(NEW) - '{description,metadata,size_bytes}'::text[] THEN
        RAISE EXCEPTION 'credits.% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION credits.refuse_other_change() IS 'Lets an update of an entry empty its texts and nothing else';

CREATE TRIGGER entries_keep_their_figures AFTER UPDATE ON credits.entries
    FOR EACH ROW EXECUTE FUNCTION credits.refuse_other_change();

CREATE FUNCTION credits.empty_texts(of_user text, after_seq bigint, to_seq bigint) RETURNS bigint LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    emptied bigint;
BEGIN
    PERFORM set_config('credits.journal_exception', 'empty_texts', true);
    UPDATE credits.entries SET description = NULL, metadata = NULL
    WHERE user_id = of_user AND seq > coalesce(after_seq, 0) AND seq <= to_seq
        AND (description IS NOT NULL OR metadata IS NOT NULL);
    GET DIAGNOSTICS emptied = ROW_COUNT;
    PERFORM set_config('credits.journal_exception', '', true);
    RETURN emptied;
END
$$;
COMMENT ON FUNCTION credits.empty_texts IS 'Exception of the append-only rule: empties description and metadata of entries of a user who is erased (HTTP contract 3.4), by their seq';
REVOKE ALL ON FUNCTION credits.empty_texts FROM PUBLIC;
GRANT UPDATE (description, metadata) ON credits.entries TO CURRENT_USER;

COMMENT ON TABLE credits.entries IS 'The journal: what happened to each account. Append-only, except for empty_texts';
COMMENT ON COLUMN credits.entries.description IS 'What the caller said about it; null after the user was erased';
COMMENT ON COLUMN credits.entries.metadata IS 'What the caller attached; null for the empty object, and after the user was erased';
