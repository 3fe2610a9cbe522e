DROP TABLE identity.audit_events;
DROP FUNCTION identity.refuse_audit_change(), identity.prune_audit_events, identity.forget_audit_addresses;
