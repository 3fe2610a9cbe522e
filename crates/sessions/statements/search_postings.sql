SELECT found.after_id, found.bucket, found.postings
FROM unnest($2::bigint[]) AS segment (wanted_segment) CROSS JOIN unnest($3::smallint[]) AS bucket (wanted_bucket)
CROSS JOIN LATERAL (
    SELECT * FROM sessions.search_postings
    WHERE user_id = $1 AND after_id = wanted_segment AND bucket = wanted_bucket LIMIT 1
) AS found
