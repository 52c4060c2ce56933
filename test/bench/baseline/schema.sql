-- What the baseline's questions need, and no more: tables between these, and columns that nobody reads here, would only make
-- it slower.

CREATE TABLE users (
    id uuid PRIMARY KEY,
    username text NOT NULL,
    avatar_url text NOT NULL
);

CREATE TABLE workspaces (
    id uuid PRIMARY KEY,
    owner_id uuid NOT NULL,
    template_id uuid NOT NULL
);

CREATE TABLE template_version_parameters (
    template_version_id uuid NOT NULL,
    name text NOT NULL,
    type text NOT NULL,
    display_name text NOT NULL,
    description text NOT NULL,
    options jsonb NOT NULL,
    PRIMARY KEY (template_version_id, name)
);

CREATE TABLE workspace_builds (
    id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL,
    template_version_id uuid NOT NULL,
    build_number integer NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE (workspace_id, build_number)
);

CREATE INDEX ON workspace_builds (created_at);

CREATE TABLE workspace_build_parameters (
    workspace_build_id uuid NOT NULL,
    name text NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (workspace_build_id, name)
);

CREATE TABLE workspace_agents (
    id uuid PRIMARY KEY,
    workspace_build_id uuid NOT NULL
);

CREATE TABLE workspace_apps (
    agent_id uuid NOT NULL,
    slug text NOT NULL,
    display_name text NOT NULL,
    icon text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (agent_id, slug)
);

-- One row per report of an agent.
CREATE TABLE workspace_agent_stats (
    id uuid PRIMARY KEY,
    created_at timestamptz NOT NULL,
    user_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    template_id uuid NOT NULL,
    connections_by_proto jsonb NOT NULL,
    connection_count bigint NOT NULL,
    rx_packets bigint NOT NULL,
    rx_bytes bigint NOT NULL,
    tx_packets bigint NOT NULL,
    tx_bytes bigint NOT NULL,
    connection_median_latency_ms double precision NOT NULL,
    session_count_vscode bigint NOT NULL,
    session_count_jetbrains bigint NOT NULL,
    session_count_reconnecting_pty bigint NOT NULL,
    session_count_ssh bigint NOT NULL
);

CREATE INDEX ON workspace_agent_stats (created_at);
CREATE INDEX ON workspace_agent_stats (template_id, created_at, user_id);

-- One row per session of a workspace app.
CREATE TABLE workspace_app_stats (
    user_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    access_method text NOT NULL,
    slug_or_port text NOT NULL,
    session_id uuid NOT NULL,
    session_started_at timestamptz NOT NULL,
    session_ended_at timestamptz NOT NULL,
    requests integer NOT NULL,
    PRIMARY KEY (user_id, agent_id, session_id)
);

CREATE INDEX ON workspace_app_stats (session_ended_at);

-- One row per half hour, template and user.
CREATE TABLE template_usage_stats (
    start_time timestamptz NOT NULL,
    end_time timestamptz NOT NULL,
    template_id uuid NOT NULL,
    user_id uuid NOT NULL,
    median_latency_ms real,
    usage_mins smallint NOT NULL,
    ssh_mins smallint NOT NULL,
    sftp_mins smallint NOT NULL,
    reconnecting_pty_mins smallint NOT NULL,
    vscode_mins smallint NOT NULL,
    jetbrains_mins smallint NOT NULL,
    app_usage_mins jsonb,
    PRIMARY KEY (start_time, template_id, user_id)
);

CREATE INDEX ON template_usage_stats (start_time DESC);
