-- Not a question, but the least that counting users per day can be: see calibrationReference.
SELECT date_trunc('day', start_time), count(DISTINCT user_id)
FROM template_usage_stats
WHERE start_time >= $1 AND end_time <= $2
GROUP BY 1
