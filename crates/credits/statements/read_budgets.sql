SELECT t.held, t.at AS now, t.next_due_at, t.user_id AS budget_user_id, t.at AS budget_at, b.period AS budget_period, b.zone AS budget_zone,
      b.amount AS budget_amount, b.spent AS budget_spent, b.window_start AS budget_window_start,
      b.window_end AS budget_window_end, w.window_start AS budget_next_start,
      w.window_end AS budget_next_end
FROM (
    SELECT a.user_id, a.held, a.next_due_at, greatest(a.as_of, coalesce($2, clock_timestamp())) AS at
    FROM credits.accounts a WHERE a.user_id = $1 OFFSET 0
) AS t
LEFT JOIN credits.budgets b ON b.user_id = t.user_id LEFT JOIN LATERAL (
    SELECT max(b.begin) FILTER (WHERE b.begin <= t.at) AS window_start, min(b.begin) FILTER (WHERE b.begin > t.at) AS window_end
    FROM (
        SELECT CASE WHEN (m.late - interval '1 hour') AT TIME ZONE b.zone = m.midnight THEN m.late - interval '1 hour'
                    WHEN (m.late - interval '30 minutes') AT TIME ZONE b.zone = m.midnight THEN m.late - interval '30 minutes'
                    ELSE m.late END AS begin
        FROM (
            SELECT d.midnight, d.midnight AT TIME ZONE b.zone AS late
            FROM (
                SELECT CASE (CASE WHEN b.window_end <= t.at THEN b.period END) WHEN 'day' THEN interval '1 day' WHEN 'month' THEN interval '1 month' END AS step,
                       CASE WHEN (CASE WHEN b.window_end <= t.at THEN b.period END) IN ('day', 'month') THEN date_trunc((CASE WHEN b.window_end <= t.at THEN b.period END), t.at AT TIME ZONE b.zone) END AS today
            ) AS p, generate_series(p.today - p.step, p.today + p.step * 2, p.step) AS d (midnight)
        ) AS m
    ) AS b
) AS w ON true
ORDER BY CASE b.period WHEN 'day' THEN 1 WHEN 'month' THEN 2 ELSE 3 END
