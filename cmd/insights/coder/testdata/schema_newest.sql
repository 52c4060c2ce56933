-- From the schema beside it to the newest one that this package knows: sessions by name.

UPDATE schema_migrations SET version = 614;

ALTER TABLE workspace_agent_stats ADD COLUMN session_counts jsonb NOT NULL DEFAULT '{}';
UPDATE workspace_agent_stats SET session_counts = jsonb_build_object('vscode', session_count_vscode, 'jetbrains', session_count_jetbrains,
    'reconnecting_pty', session_count_reconnecting_pty, 'ssh', session_count_ssh);
ALTER TABLE workspace_agent_stats DROP COLUMN session_count_vscode, DROP COLUMN session_count_jetbrains,
    DROP COLUMN session_count_reconnecting_pty, DROP COLUMN session_count_ssh;

CREATE TABLE template_usage_stats_session_apps (
    start_time timestamptz NOT NULL, template_id uuid NOT NULL, user_id uuid NOT NULL, app_name text NOT NULL, usage_mins smallint NOT NULL,
    PRIMARY KEY (start_time, user_id, template_id, app_name)
);
INSERT INTO template_usage_stats_session_apps SELECT start_time, template_id, user_id, name, minutes FROM template_usage_stats,
    LATERAL (VALUES ('ssh', ssh_mins), ('sftp', sftp_mins), ('reconnecting_pty', reconnecting_pty_mins), ('vscode', vscode_mins), ('jetbrains', jetbrains_mins)) AS sessions (name, minutes)
    WHERE minutes > 0;
ALTER TABLE template_usage_stats DROP COLUMN ssh_mins, DROP COLUMN sftp_mins, DROP COLUMN reconnecting_pty_mins, DROP COLUMN vscode_mins, DROP COLUMN jetbrains_mins;
