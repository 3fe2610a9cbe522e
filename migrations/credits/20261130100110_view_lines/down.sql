-- Entries name their grants until the migration before is taken back, too.
INSERT INTO credits.entry_lines (user_id, seq, grant_id, delta, held_delta)
    SELECT g.user_id, g.seq, g.grant_id, g.delta, g.held_delta
    FROM credits.entry_grants g JOIN credits.entries e ON e.user_id = g.user_id AND e.seq = g.seq
    WHERE e.grant_id IS NOT NULL;
DROP VIEW credits.entry_grants;
ALTER TABLE credits.entry_lines RENAME TO entry_grants;
ALTER INDEX credits.entry_lines_pkey RENAME TO entry_grants_pkey;
COMMENT ON TABLE credits.entry_grants IS 'Which grants an entry touched. Append-only';
