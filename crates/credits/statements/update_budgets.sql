UPDATE credits.budgets AS old SET spent = new.spent, window_start = new.window_start, window_end = new.window_end
    FROM (SELECT unnest($1::text[]) AS user_id, unnest($2::text[]) AS period, unnest($3::bigint[]) AS spent,
      unnest($4::timestamptz[]) AS window_start, unnest($5::timestamptz[]) AS window_end) AS new
    WHERE old.user_id = new.user_id AND old.period = new.period
