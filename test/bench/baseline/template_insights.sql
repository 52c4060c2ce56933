WITH half_hours AS (
    SELECT
        user_id,
        least(sum(usage_mins), 30) AS usage_mins,
        least(sum(vscode_mins), 30) AS vscode_mins,
        least(sum(jetbrains_mins), 30) AS jetbrains_mins,
        least(sum(reconnecting_pty_mins), 30) AS reconnecting_pty_mins,
        least(sum(ssh_mins), 30) AS ssh_mins,
        least(sum(sftp_mins), 30) AS sftp_mins
    FROM template_usage_stats
    WHERE start_time >= $1 AND end_time <= $2 AND (cardinality($3::uuid[]) = 0 OR template_id = ANY ($3))
    GROUP BY start_time, user_id
),
templates AS (
    SELECT
        array_agg(DISTINCT template_id) AS any_app,
        array_agg(DISTINCT template_id) FILTER (WHERE vscode_mins > 0) AS vscode,
        array_agg(DISTINCT template_id) FILTER (WHERE jetbrains_mins > 0) AS jetbrains,
        array_agg(DISTINCT template_id) FILTER (WHERE reconnecting_pty_mins > 0) AS reconnecting_pty,
        array_agg(DISTINCT template_id) FILTER (WHERE ssh_mins > 0) AS ssh,
        array_agg(DISTINCT template_id) FILTER (WHERE sftp_mins > 0) AS sftp
    FROM template_usage_stats
    WHERE start_time >= $1 AND end_time <= $2 AND (cardinality($3::uuid[]) = 0 OR template_id = ANY ($3))
)
SELECT
    count(DISTINCT user_id),
    (SELECT any_app FROM templates),
    (SELECT vscode FROM templates), coalesce(sum(vscode_mins) * 60, 0)::bigint,
    (SELECT jetbrains FROM templates), coalesce(sum(jetbrains_mins) * 60, 0)::bigint,
    (SELECT reconnecting_pty FROM templates), coalesce(sum(reconnecting_pty_mins) * 60, 0)::bigint,
    (SELECT ssh FROM templates), coalesce(sum(ssh_mins) * 60, 0)::bigint,
    (SELECT sftp FROM templates), coalesce(sum(sftp_mins) * 60, 0)::bigint
FROM half_hours
