UPDATE sessions.sessions AS s
         SET message_count = new.message_count, total_tokens = new.total_tokens, total_cost = new.total_cost,
             last_activity = new.last_activity, updated_at = greatest(s.updated_at, new.last_activity)
         FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::timestamptz[]) AS new (user_id, session_id, message_count, total_tokens, total_cost, last_activity)
         WHERE s.user_id = new.user_id AND s.session_id = new.session_id
