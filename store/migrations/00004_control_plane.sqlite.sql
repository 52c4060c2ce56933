-- +goose Up

-- What the newest event said of each agent. app_health is JSON: the health of its apps by slug.
CREATE TABLE agent_conditions (
    agent_id        text    NOT NULL PRIMARY KEY,
    at              integer NOT NULL,
    status          text    NOT NULL,
    lifecycle_state text    NOT NULL,
    app_health      text
);

-- Provisioner jobs, as far as their newest events said.
CREATE TABLE jobs (
    id              text    NOT NULL PRIMARY KEY,
    at              integer NOT NULL,
    organization_id text    NOT NULL,
    provisioner     text    NOT NULL,
    type            text    NOT NULL,
    status          text    NOT NULL,
    created_at      integer NOT NULL,
    started_at      integer NOT NULL,
    finished_at     integer NOT NULL
);

-- When the newest event of a build happened.
ALTER TABLE builds ADD COLUMN at integer NOT NULL DEFAULT 0;
CREATE INDEX builds_workspace ON builds (workspace_id, number);

-- Series of the control plane for the metrics endpoint. labels is JSON, its names ascending.
CREATE TABLE control_plane_series (
    name        text    NOT NULL,
    labels      text    NOT NULL,
    value       real    NOT NULL,
    reported_at integer NOT NULL,
    PRIMARY KEY (name, labels)
);
