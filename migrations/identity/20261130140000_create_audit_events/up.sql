-- Who did what (HTTP contract 3.6). A row is written in the transaction of the change that it reports.
CREATE TABLE identity.audit_events (
    id         bigint GENERATED ALWAYS AS IDENTITY,
    at         timestamptz NOT NULL,
    actor      text COLLATE "C" NOT NULL CONSTRAINT audit_events_actor_form
               CHECK (actor ~ '^(bootstrap|system|anonymous|(user|admin|key):[A-Za-z0-9._@+:|~-]{1,255})$'),
    action     text COLLATE "C" NOT NULL CONSTRAINT audit_events_action_form CHECK (action ~ '^[a-z_]+(\.[a-z_]+)?$'),
    user_id    text COLLATE "C",
    address    inet,
    request_id text COLLATE "C",
    details    jsonb NOT NULL CONSTRAINT audit_events_details_object CHECK (jsonb_typeof(details) = 'object')
);

-- One for each filter, in the order of the list, so that each page is a piece of one of them.
CREATE UNIQUE INDEX audit_events_user ON identity.audit_events (user_id, at, id);
CREATE INDEX audit_events_time ON identity.audit_events (at, id);
CREATE INDEX audit_events_actor ON identity.audit_events (actor, at, id);
CREATE INDEX audit_events_action ON identity.audit_events (action, at, id);

COMMENT ON TABLE identity.audit_events IS 'Who did what, in the commit of the change. Append-only, except for prune_audit_events and forget_audit_addresses';
COMMENT ON COLUMN identity.audit_events.actor IS 'user:<id>, admin:<id>, key:<key id>, bootstrap, system or anonymous';
COMMENT ON COLUMN identity.audit_events.user_id IS 'The user acted upon; null if there is none';
COMMENT ON COLUMN identity.audit_events.address IS 'Where the request came from; null for commands, and after the user was erased';
COMMENT ON COLUMN identity.audit_events.request_id IS 'The id of the request; null for commands and jobs';
COMMENT ON COLUMN identity.audit_events.details IS 'Plain values about the change, never secrets or contact data';

-- Append-only twice: a trigger stops everyone, superusers too, and the role that writes gives up the right itself.
CREATE FUNCTION identity.refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(current_setting('identity.audit_exception', true), '') <> TG_OP THEN
        RAISE EXCEPTION 'identity.% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION identity.refuse_audit_change() IS 'Keeps the audit log append-only';

CREATE TRIGGER audit_events_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON identity.audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION identity.refuse_audit_change();

-- The exceptions. Each has the right for its own statement only: no other transaction ever sees it granted. One at a time,
-- because two would change the same row of pg_class.
CREATE FUNCTION identity.prune_audit_events(before timestamptz, rows_max bigint) RETURNS bigint LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    pruned bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM identity.audit_events WHERE at < before) THEN
        RETURN 0;
    END IF;
    PERFORM pg_advisory_xact_lock(7284018846117465014);
    GRANT DELETE ON identity.audit_events TO CURRENT_USER;
    PERFORM set_config('identity.audit_exception', 'DELETE', true);
    DELETE FROM identity.audit_events WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM identity.audit_events WHERE at < before ORDER BY at, id LIMIT rows_max));
    GET DIAGNOSTICS pruned = ROW_COUNT;
    PERFORM set_config('identity.audit_exception', '', true);
    REVOKE DELETE ON identity.audit_events FROM CURRENT_USER;
    RETURN pruned;
END
$$;
COMMENT ON FUNCTION identity.prune_audit_events IS 'Exception of the append-only rule: deletes at most so many events from before an instant (AUDIT_RETENTION_DAYS)';

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

REVOKE UPDATE, DELETE, TRUNCATE ON identity.audit_events FROM CURRENT_USER;
REVOKE ALL ON FUNCTION identity.prune_audit_events, identity.forget_audit_addresses FROM PUBLIC;
