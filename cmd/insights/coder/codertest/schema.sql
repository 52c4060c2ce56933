-- What this package knows of Coder's schema, with columns beside it that nobody but Coder should read. It is the one table of facts about
-- which column there is since when: Schema makes of it the schema after a migration, and the tests import from each.
--
-- "since N" is on a line that holds from migration N on, "before N" on one that holds until then. Migrations that are known by their number:
-- 335 (tasks), 516 (default roles), 590 (sessions by name in reports). Where a column came is not always known as exactly as that, but
-- which of the schemas 308, 313, 400, 480, 551 and 614 have it is: such a line names the first of them. 308 is the first that tells system
-- accounts from users; Coder v2.21 was the first release with it. Types of values, such as build_reason, have all values of all schemas.

CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL);

CREATE TYPE user_status AS ENUM ('active', 'suspended', 'dormant');
CREATE TYPE workspace_transition AS ENUM ('start', 'stop', 'delete');
CREATE TYPE build_reason AS ENUM (
    'initiator', 'autostart', 'autostop', 'dormancy', 'failedstop', 'autodelete', 'dashboard', 'cli', 'ssh_connection', 'vscode_connection',
    'jetbrains_connection', 'task_auto_pause', 'task_manual_pause', 'task_resume'
);
CREATE TYPE provisioner_job_status AS ENUM ('pending', 'running', 'succeeded', 'canceling', 'canceled', 'failed', 'unknown');

CREATE TABLE organizations (
    id uuid PRIMARY KEY, name text NOT NULL, display_name text NOT NULL DEFAULT '', is_default boolean NOT NULL DEFAULT false,
    default_org_member_roles text[] NOT NULL DEFAULT '{organization-workspace-access}', -- since 516
    deleted boolean NOT NULL DEFAULT false
);
CREATE TABLE users (
    id uuid PRIMARY KEY, email text NOT NULL DEFAULT 'somebody@example.com', username text NOT NULL, hashed_password bytea NOT NULL DEFAULT 'hash',
    created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(), status user_status NOT NULL DEFAULT 'active',
    last_seen_at timestamptz NOT NULL DEFAULT '0001-01-01 00:00:00+00',
    rbac_roles text[] NOT NULL DEFAULT '{}', avatar_url text NOT NULL DEFAULT '', deleted boolean NOT NULL DEFAULT false, name text NOT NULL DEFAULT 'Some Body',
    is_service_account boolean NOT NULL DEFAULT false, -- since 480
    is_system boolean NOT NULL DEFAULT false
);
CREATE TABLE api_keys (id text PRIMARY KEY, hashed_secret bytea NOT NULL, user_id uuid NOT NULL);
CREATE TABLE user_deleted (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid NOT NULL, deleted_at timestamptz NOT NULL);
CREATE TABLE user_status_changes (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid NOT NULL, new_status user_status NOT NULL, changed_at timestamptz NOT NULL);
CREATE TABLE organization_members (user_id uuid NOT NULL, organization_id uuid NOT NULL, roles text[] NOT NULL DEFAULT '{}', PRIMARY KEY (organization_id, user_id));
CREATE TABLE custom_roles (
    name text NOT NULL, organization_id uuid, site_permissions jsonb NOT NULL DEFAULT '[]', org_permissions jsonb NOT NULL DEFAULT '{}'
);
CREATE TABLE groups (id uuid PRIMARY KEY, name text NOT NULL, organization_id uuid NOT NULL);
CREATE TABLE group_members (user_id uuid NOT NULL, group_id uuid NOT NULL);
CREATE TABLE templates (
    id uuid PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(), organization_id uuid NOT NULL,
    deleted boolean NOT NULL DEFAULT false, name varchar(64) NOT NULL, display_name varchar(64) NOT NULL DEFAULT '', icon varchar(256) NOT NULL DEFAULT '',
    user_acl jsonb NOT NULL DEFAULT '{}', group_acl jsonb NOT NULL DEFAULT '{}', default_ttl bigint NOT NULL DEFAULT 604800000000000,
    failure_ttl bigint NOT NULL DEFAULT 0, time_til_dormant bigint NOT NULL DEFAULT 0, time_til_dormant_autodelete bigint NOT NULL DEFAULT 0,
    active_version_id uuid NOT NULL DEFAULT gen_random_uuid()
);
CREATE TYPE provisioner_type AS ENUM ('echo', 'terraform');
CREATE TYPE provisioner_job_type AS ENUM ('template_version_import', 'workspace_build', 'template_version_dry_run');
CREATE TYPE workspace_agent_lifecycle_state AS ENUM (
    'created', 'starting', 'start_timeout', 'start_error', 'ready', 'shutting_down', 'shutdown_timeout', 'shutdown_error', 'off'
);
CREATE TABLE licenses (id serial PRIMARY KEY, uploaded_at timestamptz NOT NULL DEFAULT now(), jwt text NOT NULL, exp timestamptz NOT NULL);
CREATE TABLE provisioner_daemons (
    id uuid PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(), name varchar(64) NOT NULL, last_seen_at timestamptz,
    version text NOT NULL DEFAULT '', key_id uuid NOT NULL
);
CREATE TABLE provisioner_jobs (
    id uuid PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(), started_at timestamptz,
    organization_id uuid NOT NULL DEFAULT gen_random_uuid(), provisioner provisioner_type NOT NULL DEFAULT 'terraform',
    type provisioner_job_type NOT NULL DEFAULT 'workspace_build',
    canceled_at timestamptz, completed_at timestamptz, error text, input jsonb NOT NULL DEFAULT '{}', initiator_id uuid,
    job_status provisioner_job_status NOT NULL GENERATED ALWAYS AS (CASE
        WHEN error <> '' THEN 'failed'::provisioner_job_status
        WHEN completed_at IS NOT NULL AND canceled_at IS NOT NULL THEN 'canceled'
        WHEN completed_at IS NOT NULL THEN 'succeeded'
        WHEN canceled_at IS NOT NULL THEN 'canceling'
        WHEN started_at IS NULL THEN 'pending'
        ELSE 'running' END) STORED
);
CREATE TABLE template_versions (
    id uuid PRIMARY KEY, template_id uuid, organization_id uuid NOT NULL, created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(),
    name varchar(64) NOT NULL, job_id uuid NOT NULL
);
CREATE TABLE template_version_parameters (
    template_version_id uuid NOT NULL, name text NOT NULL, description text NOT NULL DEFAULT '', type text NOT NULL DEFAULT 'string', default_value text NOT NULL DEFAULT '',
    options jsonb NOT NULL DEFAULT '[]', display_name text NOT NULL DEFAULT '', display_order integer NOT NULL DEFAULT 0
);
CREATE TABLE workspaces (
    id uuid PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(), owner_id uuid NOT NULL,
    organization_id uuid NOT NULL, template_id uuid NOT NULL, deleted boolean NOT NULL DEFAULT false, name varchar(64) NOT NULL,
    ttl bigint, autostart_schedule text
);
CREATE TABLE workspace_builds (
    id uuid PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(), workspace_id uuid NOT NULL, template_version_id uuid NOT NULL, build_number integer NOT NULL,
    transition workspace_transition NOT NULL, job_id uuid NOT NULL, provisioner_state bytea, initiator_id uuid NOT NULL DEFAULT gen_random_uuid(),
    reason build_reason NOT NULL DEFAULT 'initiator', template_version_preset_id uuid,
    has_ai_task boolean, -- since 335
    UNIQUE (workspace_id, build_number)
);
CREATE TABLE template_version_presets (
    id uuid PRIMARY KEY, template_version_id uuid NOT NULL, name text NOT NULL, created_at timestamptz NOT NULL DEFAULT now(),
    desired_instances integer, description varchar(128) NOT NULL DEFAULT ''
);
CREATE TABLE workspace_build_parameters (workspace_build_id uuid NOT NULL, name text NOT NULL, value text NOT NULL);
CREATE TABLE workspace_resources (
    id uuid PRIMARY KEY, job_id uuid NOT NULL, name varchar(64) NOT NULL DEFAULT 'main', daily_cost integer NOT NULL DEFAULT 0, instance_type varchar(256)
);
CREATE TABLE workspace_agents (
    id uuid PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(), name varchar(64) NOT NULL, resource_id uuid NOT NULL,
    auth_token uuid NOT NULL DEFAULT gen_random_uuid(), environment_variables jsonb,
    lifecycle_state workspace_agent_lifecycle_state NOT NULL DEFAULT 'created', first_connected_at timestamptz,
    last_connected_at timestamptz, disconnected_at timestamptz, started_at timestamptz, ready_at timestamptz
);
CREATE TABLE workspace_apps (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), created_at timestamptz NOT NULL DEFAULT now(), agent_id uuid NOT NULL, display_name varchar(64) NOT NULL,
    icon varchar(256) NOT NULL DEFAULT '', url varchar(65534), slug text NOT NULL
);
CREATE TABLE workspace_agent_stats (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), created_at timestamptz NOT NULL, user_id uuid NOT NULL, template_id uuid NOT NULL,
    agent_id uuid NOT NULL DEFAULT gen_random_uuid(), rx_bytes bigint NOT NULL DEFAULT 0, tx_bytes bigint NOT NULL DEFAULT 0,
    workspace_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    session_counts jsonb NOT NULL DEFAULT '{}', -- since 590
    session_count_vscode bigint NOT NULL DEFAULT 0, session_count_jetbrains bigint NOT NULL DEFAULT 0, -- before 590
    session_count_reconnecting_pty bigint NOT NULL DEFAULT 0, session_count_ssh bigint NOT NULL DEFAULT 0, -- before 590
    connection_count bigint NOT NULL DEFAULT 0, connection_median_latency_ms double precision NOT NULL DEFAULT -1
);
CREATE INDEX ON workspace_agent_stats (created_at);
CREATE TABLE workspace_app_stats (
    id bigserial PRIMARY KEY, user_id uuid NOT NULL, workspace_id uuid NOT NULL, access_method text NOT NULL, slug_or_port text NOT NULL,
    session_id uuid NOT NULL DEFAULT gen_random_uuid(), session_started_at timestamptz NOT NULL, session_ended_at timestamptz NOT NULL
);
CREATE TABLE template_usage_stats (
    start_time timestamptz NOT NULL, end_time timestamptz NOT NULL, template_id uuid NOT NULL, user_id uuid NOT NULL, median_latency_ms real,
    usage_mins smallint NOT NULL,
    ssh_mins smallint NOT NULL, sftp_mins smallint NOT NULL, reconnecting_pty_mins smallint NOT NULL, -- before 614
    vscode_mins smallint NOT NULL, jetbrains_mins smallint NOT NULL, -- before 614
    app_usage_mins jsonb, PRIMARY KEY (start_time, template_id, user_id)
);
CREATE TABLE template_usage_stats_session_apps ( -- since 614
    start_time timestamptz NOT NULL, template_id uuid NOT NULL, user_id uuid NOT NULL, app_name text NOT NULL, -- since 614
    usage_mins smallint NOT NULL, PRIMARY KEY (start_time, user_id, template_id, app_name) -- since 614
); -- since 614
CREATE TYPE audit_action AS ENUM (
    'create', 'write', 'delete', 'start', 'stop', 'login', 'logout', 'register', 'request_password_reset', 'connect', 'disconnect', 'open', 'close'
);
CREATE TABLE audit_logs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), "time" timestamptz NOT NULL, user_id uuid NOT NULL, organization_id uuid NOT NULL DEFAULT gen_random_uuid(),
    ip inet, user_agent varchar(256), resource_type text NOT NULL DEFAULT 'api_key', resource_id uuid NOT NULL DEFAULT gen_random_uuid(),
    resource_target text NOT NULL DEFAULT '', action audit_action NOT NULL, diff jsonb NOT NULL DEFAULT '{}', status_code integer NOT NULL,
    additional_fields jsonb NOT NULL DEFAULT '{}', request_id uuid NOT NULL DEFAULT gen_random_uuid(), resource_icon text NOT NULL DEFAULT ''
);
CREATE INDEX ON audit_logs ("time" DESC);

-- Indexes that those have that hold a deployment's past. There is none by the time at which a build, an agent or a session of an app changed.
CREATE UNIQUE INDEX ON workspace_builds (job_id);
CREATE UNIQUE INDEX ON workspace_build_parameters (workspace_build_id, name);
CREATE UNIQUE INDEX ON template_version_parameters (template_version_id, name);
CREATE UNIQUE INDEX ON workspace_apps (agent_id, slug);
CREATE INDEX ON workspace_resources (job_id);
CREATE INDEX ON workspace_agents (resource_id);
CREATE INDEX ON workspace_app_stats (workspace_id);
CREATE INDEX ON workspaces (template_id) WHERE NOT deleted;
CREATE INDEX ON provisioner_jobs (job_status);
CREATE INDEX ON user_status_changes (changed_at);
CREATE INDEX ON user_deleted (deleted_at);
CREATE INDEX ON template_usage_stats (start_time DESC);
CREATE INDEX ON organization_members (user_id);
