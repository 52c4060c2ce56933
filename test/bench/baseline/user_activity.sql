WITH half_hours AS (
    SELECT user_id, least(sum(usage_mins), 30) AS usage_mins
    FROM template_usage_stats
    WHERE start_time >= $1 AND end_time <= $2 AND (cardinality($3::uuid[]) = 0 OR template_id = ANY ($3))
    GROUP BY start_time, user_id
),
templates AS (
    SELECT user_id, array_agg(DISTINCT template_id) AS template_ids
    FROM template_usage_stats
    WHERE start_time >= $1 AND end_time <= $2 AND (cardinality($3::uuid[]) = 0 OR template_id = ANY ($3))
    GROUP BY user_id
)
SELECT users.id, username, avatar_url, template_ids, sum(usage_mins)::bigint * 60
FROM half_hours
JOIN users ON users.id = half_hours.user_id
JOIN templates ON templates.user_id = half_hours.user_id
GROUP BY users.id, username, avatar_url, template_ids
ORDER BY users.id
