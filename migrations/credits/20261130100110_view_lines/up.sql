-- Only entries that do not name their grant have lines. The cost is an exclusive lock of an instant.
ALTER TABLE credits.entry_grants RENAME TO entry_lines;
ALTER INDEX credits.entry_grants_pkey RENAME TO entry_lines_pkey;
COMMENT ON TABLE credits.entry_lines IS 'Which grants an entry changed, for entries that do not name their grant. Append-only';

-- Driven by the entry, so that the lines of one entry are found by the two primary keys. The lines of very many entries are read
-- faster from the two tables.
CREATE VIEW credits.entry_grants AS
    SELECT e.user_id, e.seq, l.grant_id, l.delta, l.held_delta
    FROM credits.entries e CROSS JOIN LATERAL (
        SELECT e.grant_id, e.balance_after - e.balance_before AS delta, CASE e.type WHEN 'hold' THEN e.amount
            WHEN 'capture' THEN -e.amount WHEN 'release' THEN -e.amount ELSE 0 END AS held_delta
        WHERE e.grant_id IS NOT NULL
        UNION ALL
        SELECT own.grant_id, own.delta, own.held_delta
        FROM credits.entry_lines own WHERE own.user_id = e.user_id AND own.seq = e.seq AND e.grant_id IS NULL
    ) AS l;
COMMENT ON VIEW credits.entry_grants IS 'Which grants an entry changed';

-- The version before adds to the old table through this rule, until a later migration renames a column that it needs.
CREATE RULE lines_are_added AS ON INSERT TO credits.entry_grants DO INSTEAD
    INSERT INTO credits.entry_lines (user_id, seq, grant_id, delta, held_delta)
    VALUES (NEW.user_id, NEW.seq, NEW.grant_id, NEW.delta, NEW.held_delta)
    RETURNING user_id, seq, grant_id, delta, held_delta;
