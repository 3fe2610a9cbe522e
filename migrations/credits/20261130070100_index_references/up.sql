-- References are looked up across users when one is named with the scope of all users, so user_id does not lead this index.
-- Most grants have no reference. The build takes a SHARE lock: reads go on, writes of grants wait until it is done.
CREATE INDEX grants_reference_of_all ON credits.grants (reference_id) WHERE reference_id IS NOT NULL;

COMMENT ON INDEX credits.grants_reference_of_all IS 'Finds who was credited with a reference before it is claimed for one user of all';
