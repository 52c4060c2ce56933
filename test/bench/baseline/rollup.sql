-- Works out the half hours from $1 on anew, of the reports and sessions before $2.
INSERT INTO template_usage_stats AS stats
WITH reports AS (
    SELECT
        date_bin('30 minutes', created_at, 'epoch') AS half_hour,
        date_trunc('minute', created_at) AS minute,
        template_id,
        user_id,
        connection_count > 0 AS connected,
        connection_median_latency_ms AS latency,
        session_count_vscode > 0 AS vscode,
        session_count_jetbrains > 0 AS jetbrains,
        session_count_reconnecting_pty > 0 AS reconnecting_pty,
        session_count_ssh > 0 AS ssh
    FROM workspace_agent_stats
    WHERE created_at >= $1 AND created_at < $2
),
sessions AS (
    SELECT * FROM reports WHERE vscode OR jetbrains OR reconnecting_pty OR ssh
),
-- The connection gate: half hours in which a report with sessions had connections.
gates AS (
    SELECT half_hour, template_id, user_id FROM sessions WHERE connected GROUP BY half_hour, template_id, user_id
),
app_minutes AS (
    SELECT
        date_bin('30 minutes', minute, 'epoch') AS half_hour,
        minute,
        workspaces.template_id,
        app.user_id,
        CASE access_method WHEN 'terminal' THEN '[terminal]' ELSE slug_or_port END AS slug
    FROM workspace_app_stats AS app
    JOIN workspaces ON workspaces.id = app.workspace_id
    CROSS JOIN generate_series(
        date_trunc('minute', session_started_at),
        session_ended_at - interval '1 microsecond',
        interval '1 minute'
    ) AS minute
    WHERE session_ended_at > $1 AND minute >= $1 AND minute < $2
),
minutes AS (
    SELECT half_hour, minute, template_id, user_id,
        bool_or(vscode) AS vscode, bool_or(jetbrains) AS jetbrains, bool_or(reconnecting_pty) AS reconnecting_pty, bool_or(ssh) AS ssh
    FROM (
        SELECT half_hour, minute, template_id, user_id, vscode, jetbrains, reconnecting_pty, ssh
        FROM sessions JOIN gates USING (half_hour, template_id, user_id)
        UNION ALL
        SELECT half_hour, minute, template_id, user_id, false, false, false, false
        FROM app_minutes
    ) AS touched
    GROUP BY half_hour, minute, template_id, user_id
),
totals AS (
    SELECT half_hour, template_id, user_id,
        count(*) AS usage_mins,
        count(*) FILTER (WHERE vscode) AS vscode_mins,
        count(*) FILTER (WHERE jetbrains) AS jetbrains_mins,
        count(*) FILTER (WHERE reconnecting_pty) AS reconnecting_pty_mins,
        count(*) FILTER (WHERE ssh) AS ssh_mins
    FROM minutes
    GROUP BY half_hour, template_id, user_id
),
apps AS (
    SELECT half_hour, template_id, user_id, jsonb_object_agg(slug, mins) AS app_usage_mins
    FROM (
        SELECT half_hour, template_id, user_id, slug, count(DISTINCT minute) AS mins
        FROM app_minutes
        GROUP BY half_hour, template_id, user_id, slug
    ) AS used
    GROUP BY half_hour, template_id, user_id
),
latencies AS (
    SELECT half_hour, template_id, user_id, percentile_cont(0.5) WITHIN GROUP (ORDER BY latency) AS median_latency_ms
    FROM reports JOIN minutes USING (half_hour, minute, template_id, user_id)
    WHERE latency > 0
    GROUP BY half_hour, template_id, user_id
)
SELECT half_hour, half_hour + interval '30 minutes', template_id, user_id, median_latency_ms,
    usage_mins, ssh_mins, 0, reconnecting_pty_mins, vscode_mins, jetbrains_mins, app_usage_mins
FROM totals
LEFT JOIN apps USING (half_hour, template_id, user_id)
LEFT JOIN latencies USING (half_hour, template_id, user_id)
ON CONFLICT (start_time, template_id, user_id) DO UPDATE SET
    median_latency_ms = excluded.median_latency_ms,
    usage_mins = excluded.usage_mins,
    ssh_mins = excluded.ssh_mins,
    sftp_mins = excluded.sftp_mins,
    reconnecting_pty_mins = excluded.reconnecting_pty_mins,
    vscode_mins = excluded.vscode_mins,
    jetbrains_mins = excluded.jetbrains_mins,
    app_usage_mins = excluded.app_usage_mins
WHERE (stats.*) IS DISTINCT FROM (excluded.*)
