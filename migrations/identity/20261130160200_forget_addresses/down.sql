REVOKE UPDATE (address) ON identity.audit_events FROM CURRENT_USER;
DROP FUNCTION identity.forget_audit_addresses;
CREATE FUNCTION identity.forget_audit_addresses(of_user text) RETURNS bigint LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    forgotten bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(7284018846117465014);
    GRANT UPDATE ON identity.audit_events TO CURRENT_USER;
    PERFORM set_config('identity.audit_exception', 'UPDATE', true);
    UPDATE identity.audit_events SET address = NULL
    WHERE address IS NOT NULL AND (user_id = of_user OR actor IN ('user:' || of_user, 'admin:' || of_user));
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    PERFORM set_config('identity.audit_exception', '', true);
    REVOKE UPDATE ON identity.audit_events FROM CURRENT_USER;
    RETURN forgotten;
END
$$;
COMMENT ON FUNCTION identity.forget_audit_addresses IS 'Exception of the append-only rule: removes the addresses from the events of a user who is erased (HTTP contract 3.4)';
REVOKE ALL ON FUNCTION identity.forget_audit_addresses FROM PUBLIC;
DROP TRIGGER audit_events_keep_what_happened ON identity.audit_events;
DROP FUNCTION identity.refuse_other_audit_change;
