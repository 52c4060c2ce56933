-- Makes the role insights in the database of a Coder deployment: it may read what insights import and insights demo need, and
-- no more. It sees no e-mail address, no password, no token, no license key and no state of a workspace, and it writes nothing.
--
--   psql "$CODER_PG_CONNECTION_URL" -f grants.sql
--   psql "$CODER_PG_CONNECTION_URL" -c "ALTER ROLE insights PASSWORD 'choose-one'"
--
-- It may be run again: after an update of Coder, for instance, which may have added a column. Who runs it owns the tables of Coder, and may
-- make roles (CREATEROLE) unless the role is there. One that is there keeps its settings, and gets the rights alone.

DO $$
DECLARE
    needed record;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'insights') THEN
        CREATE ROLE insights LOGIN CONNECTION LIMIT 4;
        ALTER ROLE insights SET default_transaction_read_only = on;
    END IF;
    FOR needed IN
        SELECT allowed.name, string_agg(quote_ident(pg_attribute.attname), ', ') AS columns
        FROM (VALUES
            ('schema_migrations', 'version dirty'),
            ('organizations', 'id name display_name is_default deleted default_org_member_roles'),
            ('organization_members', 'user_id organization_id roles'),
            ('users', 'id username avatar_url status rbac_roles created_at updated_at deleted is_system is_service_account last_seen_at'),
            ('user_deleted', 'user_id deleted_at'),
            ('user_status_changes', 'user_id new_status changed_at'),
            ('custom_roles', 'name organization_id site_permissions org_permissions'),
            ('groups', 'id organization_id name'),
            ('group_members', 'user_id group_id'),
            ('templates', 'id organization_id name display_name icon created_at updated_at deleted user_acl group_acl'
                ' default_ttl time_til_dormant time_til_dormant_autodelete active_version_id'),
            ('template_versions', 'id template_id organization_id name job_id created_at updated_at'),
            ('template_version_parameters', 'template_version_id name display_name type description default_value options display_order'),
            ('provisioner_jobs', 'id organization_id provisioner type created_at updated_at started_at completed_at job_status'),
            ('provisioner_daemons', 'key_id version last_seen_at'),
            ('licenses', 'exp'),
            ('workspaces', 'id owner_id organization_id template_id name created_at updated_at deleted ttl'),
            ('template_version_presets', 'id template_version_id name desired_instances'),
            ('workspace_builds', 'id workspace_id template_version_id job_id build_number transition created_at reason initiator_id'
                ' template_version_preset_id has_ai_task'),
            ('workspace_build_parameters', 'workspace_build_id name value'),
            ('workspace_resources', 'id job_id daily_cost instance_type'),
            ('workspace_agents', 'id resource_id name created_at lifecycle_state first_connected_at last_connected_at disconnected_at'
                ' started_at ready_at'),
            ('workspace_apps', 'agent_id slug display_name icon'),
            ('workspace_agent_stats', 'created_at agent_id rx_bytes tx_bytes template_id user_id workspace_id connection_count connection_median_latency_ms session_counts'
                ' session_count_vscode session_count_jetbrains session_count_reconnecting_pty session_count_ssh'),
            ('audit_logs', 'time user_id action status_code'),
            ('workspace_app_stats', 'id user_id workspace_id access_method slug_or_port session_started_at session_ended_at'),
            ('template_usage_stats', 'start_time template_id user_id usage_mins app_usage_mins median_latency_ms'
                ' ssh_mins sftp_mins reconnecting_pty_mins vscode_mins jetbrains_mins'),
            ('template_usage_stats_session_apps', 'start_time template_id user_id app_name usage_mins')
        ) AS allowed (name, columns)
        JOIN pg_attribute ON pg_attribute.attrelid = to_regclass(allowed.name) AND NOT pg_attribute.attisdropped
            AND pg_attribute.attname = ANY (string_to_array(allowed.columns, ' '))
        GROUP BY allowed.name
    LOOP
        EXECUTE format('GRANT SELECT (%s) ON %I TO insights', needed.columns, needed.name);
    END LOOP;
END
$$;
