WITH definitions AS (
    SELECT DISTINCT ON (template_id, slug) template_id, slug, display_name, icon
    FROM workspaces
    JOIN workspace_builds ON workspace_builds.workspace_id = workspaces.id
    JOIN workspace_agents ON workspace_agents.workspace_build_id = workspace_builds.id
    JOIN workspace_apps ON workspace_apps.agent_id = workspace_agents.id
    WHERE cardinality($3::uuid[]) = 0 OR template_id = ANY ($3)
    ORDER BY template_id, slug, workspace_apps.created_at DESC
),
used AS (
    SELECT start_time, user_id, template_id, slug, display_name, icon, minutes::int
    FROM template_usage_stats
    CROSS JOIN jsonb_each_text(app_usage_mins) AS app (slug, minutes)
    JOIN definitions USING (template_id, slug)
    WHERE start_time >= $1 AND end_time <= $2 AND (cardinality($3::uuid[]) = 0 OR template_id = ANY ($3))
),
half_hours AS (
    SELECT start_time, user_id, slug, display_name, icon, least(sum(minutes), 30) AS minutes
    FROM used
    GROUP BY start_time, user_id, slug, display_name, icon
),
-- A run of consecutive half hours is one use, whatever the templates.
runs AS (
    SELECT *, start_time - lag(start_time) OVER (PARTITION BY user_id, slug, display_name, icon ORDER BY start_time)
        IS DISTINCT FROM interval '30 minutes' AS begins
    FROM half_hours
),
templates AS (
    SELECT slug, display_name, icon, array_agg(DISTINCT template_id) AS template_ids
    FROM used
    GROUP BY slug, display_name, icon
)
SELECT slug, template_ids, count(DISTINCT user_id), sum(minutes)::bigint * 60, count(*) FILTER (WHERE begins)
FROM runs
JOIN templates USING (slug, display_name, icon)
GROUP BY slug, display_name, icon, template_ids
