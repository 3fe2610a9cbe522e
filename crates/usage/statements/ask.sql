SELECT version, stamp::text AS stamp, ARRAY(SELECT nextval('usage.record_ids') FROM generate_series(1, $3)) AS ids,
       NULL::bigint AS place, NULL::text AS caller, NULL::boolean AS shared, NULL::bytea AS payload, NULL::timestamptz AS occurred_at, NULL::bigint AS record_id
FROM usage.price_book
UNION ALL
SELECT NULL, NULL, NULL, given.place - 1, claim.caller, false, claim.payload, claim.occurred_at, claim.record_id
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS given (user_id, event_id, place)
JOIN usage.dedupe AS claim ON claim.user_id = given.user_id AND claim.event_id = given.event_id
UNION ALL
SELECT NULL, NULL, NULL, given.place - 1, claim.caller, true, claim.payload, claim.occurred_at, claim.record_id
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS given (user_id, event_id, place)
JOIN usage.dedupe_shared AS claim ON claim.user_id = given.user_id AND claim.event_id = given.event_id
