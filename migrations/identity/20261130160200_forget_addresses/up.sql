-- The addresses of a user who is erased are removed from the audit log piece by piece, and without a change of rights: to give and
-- take one each time would write the catalogue, and every connection would plan again. The right to update ends at the address; a
-- trigger lets no row lose or change anything else. Events are only inserted otherwise, so it costs nothing. The cost here is a SHARE
-- ROW EXCLUSIVE lock of an instant.
CREATE FUNCTION identity.refuse_other_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.address IS NOT NULL OR to_jsonb(OLD) - 'address' IS DISTINCT FROM to_jsonb(NEW) - 'address' THEN
        RAISE EXCEPTION 'identity.% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION identity.refuse_other_audit_change() IS 'Lets an update of an event remove its address and nothing else';

CREATE TRIGGER audit_events_keep_what_happened AFTER UPDATE ON identity.audit_events
    FOR EACH ROW EXECUTE FUNCTION identity.refuse_other_audit_change();

DROP FUNCTION identity.forget_audit_addresses(text);
CREATE FUNCTION identity.forget_audit_addresses(of_user text, after_at timestamptz, after_id bigint, to_at timestamptz, to_id bigint)
    RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    forgotten bigint;
BEGIN
    PERFORM set_config('identity.audit_exception', 'UPDATE', true);
    UPDATE identity.audit_events SET address = NULL
    WHERE address IS NOT NULL AND (user_id = of_user OR actor IN ('user:' || of_user, 'admin:' || of_user))
        AND (at, id) > (coalesce(after_at, '-infinity'), coalesce(after_id, 0)) AND (at, id) <= (to_at, to_id);
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    PERFORM set_config('identity.audit_exception', '', true);
    RETURN forgotten;
END
$$;
COMMENT ON FUNCTION identity.forget_audit_addresses IS 'Exception of the append-only rule: removes the addresses from the events of a user who is erased (HTTP contract 3.4), by their instants and ids';
REVOKE ALL ON FUNCTION identity.forget_audit_addresses FROM PUBLIC;
GRANT UPDATE (address) ON identity.audit_events TO CURRENT_USER;
