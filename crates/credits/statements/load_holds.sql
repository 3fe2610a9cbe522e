SELECT h.user_id AS hold_row_user_id, h.id AS hold_row_id, h.requested AS hold_row_requested,
      h.amount AS hold_row_amount, h.state AS hold_row_status, h.captured AS hold_row_captured,
      h.released AS hold_row_released, h.uncollected AS hold_row_uncollected,
      h.entry_seq AS hold_row_entry_seq, h.expires_at AS hold_row_expires_at,
      h.created_at AS hold_row_created_at, h.resolved_at AS hold_row_resolved_at,
      coalesce(h.made_by, (SELECT CASE maker.actor WHEN 'user' THEN 'user' ELSE 'service' END
           FROM credits.entries maker WHERE maker.user_id = h.user_id AND maker.seq = h.entry_seq), 'service') AS hold_row_made_by,
      CASE WHEN h.named THEN h.description END AS hold_row_description,
      CASE WHEN h.named THEN h.metadata END AS hold_row_metadata
FROM (
    SELECT o.*, (o.user_id, o.id) IN (SELECT * FROM unnest($2::text[], $3::uuid[])) AS named
    FROM credits.holds o WHERE o.user_id = ANY($1) AND o.state = 'open'
) AS h
UNION ALL
SELECT h.user_id AS hold_row_user_id, h.id AS hold_row_id, h.requested AS hold_row_requested,
      h.amount AS hold_row_amount, h.state AS hold_row_status, h.captured AS hold_row_captured,
      h.released AS hold_row_released, h.uncollected AS hold_row_uncollected,
      h.entry_seq AS hold_row_entry_seq, h.expires_at AS hold_row_expires_at,
      h.created_at AS hold_row_created_at, h.resolved_at AS hold_row_resolved_at,
      coalesce(h.made_by, (SELECT CASE maker.actor WHEN 'user' THEN 'user' ELSE 'service' END
           FROM credits.entries maker WHERE maker.user_id = h.user_id AND maker.seq = h.entry_seq), 'service') AS hold_row_made_by,
      h.description AS hold_row_description, h.metadata AS hold_row_metadata
FROM unnest($2::text[], $3::uuid[]) AS w (user_id, id)
JOIN credits.holds h ON h.user_id = w.user_id AND h.id = w.id WHERE h.state <> 'open'
