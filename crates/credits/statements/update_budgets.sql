UPDATE credits.budgets AS old SET spent = new.spent, window_start = new.window_start, window_end = new.window_end
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[], $5::timestamptz[]) AS new (user_id, period, spent, window_start, window_end)
    WHERE old.user_id = new.user_id AND old.period = new.period
