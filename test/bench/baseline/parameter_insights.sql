WITH latest AS (
    SELECT DISTINCT ON (workspaces.id) workspace_builds.id, template_version_id, template_id
    FROM workspace_builds
    JOIN workspaces ON workspaces.id = workspace_builds.workspace_id
    WHERE created_at >= $1 AND created_at < $2 AND (cardinality($3::uuid[]) = 0 OR template_id = ANY ($3))
    ORDER BY workspaces.id, build_number DESC
),
defined AS (
    SELECT latest.id, template_id, name, type, display_name, description, options
    FROM latest
    JOIN template_version_parameters USING (template_version_id)
),
templates AS (
    SELECT name, type, display_name, description, options, array_agg(DISTINCT template_id) AS template_ids
    FROM defined
    GROUP BY name, type, display_name, description, options
)
SELECT name, template_ids, value, count(*)
FROM defined
JOIN templates USING (name, type, display_name, description, options)
JOIN workspace_build_parameters USING (name)
WHERE workspace_build_parameters.workspace_build_id = defined.id
GROUP BY name, type, display_name, description, options, template_ids, value
