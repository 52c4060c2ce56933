-- +goose Up

-- The present: rows that merge. half_hour counts from the Unix epoch; minutes has one bit per minute.
CREATE TABLE usage_open (
    half_hour   integer NOT NULL,
    template_id text    NOT NULL,
    subject     integer NOT NULL,
    kind        integer NOT NULL,
    app         text    NOT NULL,
    minutes     integer NOT NULL,
    connected   integer NOT NULL,
    latencies   text    NOT NULL,
    PRIMARY KEY (half_hour, template_id, subject, kind, app)
) WITHOUT ROWID;

-- The past: one page per template and day. The bytes are already compact, so nothing compresses them again.
CREATE TABLE usage_day (
    template_id text    NOT NULL,
    day         integer NOT NULL,
    version     integer NOT NULL,
    usage       blob    NOT NULL,
    latency     blob    NOT NULL,
    PRIMARY KEY (template_id, day)
);

-- The only link between a person and the rows above.
CREATE TABLE subjects (
    user_id text    NOT NULL PRIMARY KEY,
    subject integer NOT NULL UNIQUE
);

-- The catalog. Times are Unix microseconds; 0 is "never". Lists are JSON; NULL is the empty one.
CREATE TABLE organizations (
    id           text NOT NULL PRIMARY KEY,
    name         text NOT NULL,
    display_name text NOT NULL
);

CREATE TABLE templates (
    id              text    NOT NULL PRIMARY KEY,
    organization_id text    NOT NULL,
    name            text    NOT NULL,
    display_name    text    NOT NULL,
    icon            text    NOT NULL,
    created_at      integer NOT NULL,
    deleted_at      integer NOT NULL
);

CREATE TABLE template_versions (
    id          text    NOT NULL PRIMARY KEY,
    template_id text    NOT NULL,
    name        text    NOT NULL,
    created_at  integer NOT NULL,
    parameters  text
);

CREATE TABLE users (
    id               text    NOT NULL PRIMARY KEY,
    username         text    NOT NULL,
    avatar_url       text    NOT NULL,
    kind             text    NOT NULL,
    status           text    NOT NULL,
    organization_ids text,
    created_at       integer NOT NULL,
    deleted_at       integer NOT NULL
);

CREATE TABLE user_status_changes (
    user_id text    NOT NULL,
    at      integer NOT NULL,
    status  text    NOT NULL,
    PRIMARY KEY (user_id, at)
);

CREATE TABLE groups (
    id              text NOT NULL PRIMARY KEY,
    organization_id text NOT NULL,
    name            text NOT NULL
);

CREATE TABLE group_members (
    group_id text NOT NULL,
    user_id  text NOT NULL,
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX group_members_user ON group_members (user_id);

CREATE TABLE workspaces (
    id          text    NOT NULL PRIMARY KEY,
    owner_id    text    NOT NULL,
    template_id text    NOT NULL,
    name        text    NOT NULL,
    created_at  integer NOT NULL,
    deleted_at  integer NOT NULL,
    changed_at  integer NOT NULL
);
CREATE INDEX workspaces_changed ON workspaces (changed_at);

CREATE TABLE agents (
    id           text    NOT NULL PRIMARY KEY,
    workspace_id text    NOT NULL,
    name         text    NOT NULL,
    created_at   integer NOT NULL,
    deleted_at   integer NOT NULL
);
CREATE INDEX agents_workspace ON agents (workspace_id);

CREATE TABLE agent_states (
    agent_id           text    NOT NULL PRIMARY KEY,
    version            text    NOT NULL,
    first_connected_at integer NOT NULL,
    last_seen_at       integer NOT NULL
);

CREATE TABLE apps (
    agent_id     text NOT NULL,
    slug         text NOT NULL,
    display_name text NOT NULL,
    icon         text NOT NULL,
    PRIMARY KEY (agent_id, slug)
);

-- What an app of a template is called: the definition of the newest agent that declared it.
CREATE TABLE template_apps (
    template_id  text    NOT NULL,
    slug         text    NOT NULL,
    display_name text    NOT NULL,
    icon         text    NOT NULL,
    declared_at  integer NOT NULL,
    PRIMARY KEY (template_id, slug)
);

CREATE TABLE builds (
    id                  text    NOT NULL PRIMARY KEY,
    workspace_id        text    NOT NULL,
    template_id         text    NOT NULL,
    template_version_id text    NOT NULL,
    number              integer NOT NULL,
    transition          text    NOT NULL,
    status              text    NOT NULL,
    created_at          integer NOT NULL,
    started_at          integer NOT NULL,
    finished_at         integer NOT NULL,
    parameters          text
);
CREATE INDEX builds_created ON builds (created_at);

-- Access.
CREATE TABLE tokens (
    id             text    NOT NULL PRIMARY KEY,
    hash           blob    NOT NULL,
    name           text    NOT NULL,
    principal_kind text    NOT NULL,
    principal_id   text    NOT NULL,
    created_at     integer NOT NULL,
    expires_at     integer NOT NULL,
    revoked_at     integer NOT NULL,
    last_used_at   integer NOT NULL
);

CREATE TABLE role_bindings (
    id              text    NOT NULL PRIMARY KEY,
    principal_kind  text    NOT NULL,
    principal_id    text    NOT NULL,
    role            text    NOT NULL,
    organization_id text    NOT NULL,
    template_id     text    NOT NULL,
    created_at      integer NOT NULL,
    UNIQUE (principal_kind, principal_id, role, organization_id, template_id)
);

CREATE TABLE audit_events (
    id             text    NOT NULL PRIMARY KEY,
    at             integer NOT NULL,
    principal_kind text    NOT NULL,
    principal_id   text    NOT NULL,
    action         text    NOT NULL,
    target         text    NOT NULL
);
CREATE INDEX audit_events_at ON audit_events (at);
