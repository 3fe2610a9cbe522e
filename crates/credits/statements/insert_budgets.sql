INSERT INTO credits.budgets (user_id, period, zone, amount, window_start, window_end, spent)
SELECT a.user_id, n.period, n.zone, n.amount, w.window_start, w.window_end, coalesce(s.spent, 0)
FROM credits.accounts a CROSS JOIN unnest($2::text[], $3::text[], $4::bigint[]) AS n (period, zone, amount)
CROSS JOIN LATERAL (
    SELECT max(b.begin) FILTER (WHERE b.begin <= a.as_of) AS window_start, min(b.begin) FILTER (WHERE b.begin > a.as_of) AS window_end
    FROM (
        SELECT CASE WHEN (m.late - interval '1 hour') AT TIME ZONE n.zone = m.midnight THEN m.late - interval '1 hour'
                    WHEN (m.late - interval '30 minutes') AT TIME ZONE n.zone = m.midnight THEN m.late - interval '30 minutes'
                    ELSE m.late END AS begin
        FROM (
            SELECT d.midnight, d.midnight AT TIME ZONE n.zone AS late
            FROM (
                SELECT CASE n.period WHEN 'day' THEN interval '1 day' WHEN 'month' THEN interval '1 month' END AS step,
                       CASE WHEN n.period IN ('day', 'month') THEN date_trunc(n.period, a.as_of AT TIME ZONE n.zone) END AS today
            ) AS p, generate_series(p.today - p.step, p.today + p.step * 2, p.step) AS d (midnight)
        ) AS m
    ) AS b
) AS w
CROSS JOIN LATERAL (
  WITH RECURSIVE search (low, high) AS (
    SELECT 1::bigint, a.entry_seq + 1 WHERE w.window_start IS NOT NULL
    UNION ALL
    SELECT CASE WHEN probe.earlier THEN probe.middle + 1 ELSE probe.low END,
      CASE WHEN probe.earlier THEN probe.high ELSE probe.middle END
    FROM (SELECT s.low, s.high, (s.low + s.high) / 2 AS middle,
      (SELECT e.created_at < w.window_start FROM credits.entries e
        WHERE e.user_id = a.user_id AND e.seq = (s.low + s.high) / 2) AS earlier
      FROM search s WHERE s.low < s.high) AS probe)
  SELECT coalesce((SELECT low FROM search WHERE low = high), 1) AS seq) AS first
CROSS JOIN LATERAL (
  SELECT (SELECT e.balance_before FROM credits.entries e WHERE e.user_id = a.user_id AND e.seq = first.seq) - a.posted
    + coalesce(sum(r.balance_after - r.balance_before
        - CASE WHEN r.refunds_seq >= first.seq THEN r.amount ELSE 0 END), 0)::bigint AS spent
  FROM credits.entries r WHERE r.user_id = a.user_id AND r.seq >= first.seq
    AND r.type IN ('grant', 'recharge', 'refund', 'expire', 'adjust')) AS s
WHERE a.user_id = $1
