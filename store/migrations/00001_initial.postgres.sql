-- +goose Up

-- The present: rows that merge. half_hour counts from the Unix epoch; minutes has one bit per minute.
CREATE TABLE usage_open (
    half_hour   integer  NOT NULL,
    template_id uuid     NOT NULL,
    subject     bigint   NOT NULL,
    kind        smallint NOT NULL,
    app         text     NOT NULL,
    minutes     integer  NOT NULL,
    connected   boolean  NOT NULL,
    latencies   text     NOT NULL,
    PRIMARY KEY (half_hour, template_id, subject, kind, app)
) WITH (fillfactor = 60);

-- The past: one page per template and day. The bytes are already compact, so the database leaves them as they are.
CREATE TABLE usage_day (
    template_id uuid    NOT NULL,
    day         integer NOT NULL,
    version     bigint  NOT NULL,
    usage       bytea   NOT NULL,
    latency     bytea   NOT NULL,
    PRIMARY KEY (template_id, day)
);
ALTER TABLE usage_day ALTER COLUMN usage SET STORAGE EXTERNAL;
ALTER TABLE usage_day ALTER COLUMN latency SET STORAGE EXTERNAL;

-- The only link between a person and the rows above.
CREATE TABLE subjects (
    user_id uuid   NOT NULL PRIMARY KEY,
    subject bigint NOT NULL UNIQUE
);

-- The catalog. Times are Unix microseconds; 0 is "never". Lists are JSON; NULL is the empty one.
CREATE TABLE organizations (
    id           uuid NOT NULL PRIMARY KEY,
    name         text NOT NULL,
    display_name text NOT NULL
);

CREATE TABLE templates (
    id              uuid   NOT NULL PRIMARY KEY,
    organization_id uuid   NOT NULL,
    name            text   NOT NULL,
    display_name    text   NOT NULL,
    icon            text   NOT NULL,
    created_at      bigint NOT NULL,
    deleted_at      bigint NOT NULL
);

CREATE TABLE template_versions (
    id          uuid   NOT NULL PRIMARY KEY,
    template_id uuid   NOT NULL,
    name        text   NOT NULL,
    created_at  bigint NOT NULL,
    parameters  text
);

CREATE TABLE users (
    id               uuid   NOT NULL PRIMARY KEY,
    username         text   NOT NULL,
    avatar_url       text   NOT NULL,
    kind             text   NOT NULL,
    status           text   NOT NULL,
    organization_ids text,
    created_at       bigint NOT NULL,
    deleted_at       bigint NOT NULL
);

CREATE TABLE user_status_changes (
    user_id uuid   NOT NULL,
    at      bigint NOT NULL,
    status  text   NOT NULL,
    PRIMARY KEY (user_id, at)
);

CREATE TABLE groups (
    id              uuid NOT NULL PRIMARY KEY,
    organization_id uuid NOT NULL,
    name            text NOT NULL
);

CREATE TABLE group_members (
    group_id uuid NOT NULL,
    user_id  uuid NOT NULL,
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX group_members_user ON group_members (user_id);

CREATE TABLE workspaces (
    id          uuid   NOT NULL PRIMARY KEY,
    owner_id    uuid   NOT NULL,
    template_id uuid   NOT NULL,
    name        text   NOT NULL,
    created_at  bigint NOT NULL,
    deleted_at  bigint NOT NULL,
    changed_at  bigint NOT NULL
);
CREATE INDEX workspaces_changed ON workspaces (changed_at);

CREATE TABLE agents (
    id           uuid   NOT NULL PRIMARY KEY,
    workspace_id uuid   NOT NULL,
    name         text   NOT NULL,
    created_at   bigint NOT NULL,
    deleted_at   bigint NOT NULL
);
CREATE INDEX agents_workspace ON agents (workspace_id);

CREATE TABLE agent_states (
    agent_id           uuid   NOT NULL PRIMARY KEY,
    version            text   NOT NULL,
    first_connected_at bigint NOT NULL,
    last_seen_at       bigint NOT NULL
) WITH (fillfactor = 60);

CREATE TABLE apps (
    agent_id     uuid NOT NULL,
    slug         text NOT NULL,
    display_name text NOT NULL,
    icon         text NOT NULL,
    PRIMARY KEY (agent_id, slug)
);

-- What an app of a template is called: the definition of the newest agent that declared it.
CREATE TABLE template_apps (
    template_id  uuid   NOT NULL,
    slug         text   NOT NULL,
    display_name text   NOT NULL,
    icon         text   NOT NULL,
    declared_at  bigint NOT NULL,
    PRIMARY KEY (template_id, slug)
);

CREATE TABLE builds (
    id                  uuid   NOT NULL PRIMARY KEY,
    workspace_id        uuid   NOT NULL,
    template_id         uuid   NOT NULL,
    template_version_id uuid   NOT NULL,
    number              bigint NOT NULL,
    transition          text   NOT NULL,
    status              text   NOT NULL,
    created_at          bigint NOT NULL,
    started_at          bigint NOT NULL,
    finished_at         bigint NOT NULL,
    parameters          text
);
CREATE INDEX builds_created ON builds (created_at);

-- Access.
CREATE TABLE tokens (
    id             text   NOT NULL PRIMARY KEY,
    hash           bytea  NOT NULL,
    name           text   NOT NULL,
    principal_kind text   NOT NULL,
    principal_id   uuid   NOT NULL,
    created_at     bigint NOT NULL,
    expires_at     bigint NOT NULL,
    revoked_at     bigint NOT NULL,
    last_used_at   bigint NOT NULL
);

CREATE TABLE role_bindings (
    id              uuid   NOT NULL PRIMARY KEY,
    principal_kind  text   NOT NULL,
    principal_id    uuid   NOT NULL,
    role            text   NOT NULL,
    organization_id uuid   NOT NULL,
    template_id     uuid   NOT NULL,
    created_at      bigint NOT NULL,
    UNIQUE (principal_kind, principal_id, role, organization_id, template_id)
);

CREATE TABLE audit_events (
    id             uuid   NOT NULL PRIMARY KEY,
    at             bigint NOT NULL,
    principal_kind text   NOT NULL,
    principal_id   uuid   NOT NULL,
    action         text   NOT NULL,
    target         text   NOT NULL
);
CREATE INDEX audit_events_at ON audit_events (at);
