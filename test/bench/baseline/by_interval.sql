-- Days of 24 hours; half hours that lie in two of them are in none.
WITH intervals AS (
    SELECT begins, least(begins + interval '24 hours', $2) AS ends
    FROM generate_series($1::timestamptz, $2::timestamptz - interval '1 microsecond', interval '24 hours') AS begins
)
SELECT begins, count(DISTINCT user_id), array_agg(DISTINCT template_id) FILTER (WHERE template_id IS NOT NULL)
FROM intervals
LEFT JOIN template_usage_stats ON start_time >= begins AND start_time < ends AND end_time <= ends
    AND (cardinality($3::uuid[]) = 0 OR template_id = ANY ($3))
GROUP BY begins
ORDER BY begins
