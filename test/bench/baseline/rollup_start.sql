-- Where a rollup begins: the hour before the newest half hour, or the hour of the oldest report.
SELECT coalesce(
    (SELECT date_trunc('hour', max(start_time) - interval '1 hour') FROM template_usage_stats),
    (SELECT date_trunc('hour', min(created_at)) FROM workspace_agent_stats)
)
