SELECT users.id, username, avatar_url, array_agg(DISTINCT template_id),
    coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY median_latency_ms), -1),
    coalesce(percentile_cont(0.95) WITHIN GROUP (ORDER BY median_latency_ms), -1)
FROM template_usage_stats
JOIN users ON users.id = user_id
WHERE start_time >= $1 AND end_time <= $2 AND (cardinality($3::uuid[]) = 0 OR template_id = ANY ($3))
GROUP BY users.id, username, avatar_url
ORDER BY users.id
