-- +goose Up

-- What the newest event said of each agent. app_health is JSON: the health of its apps by slug.
CREATE TABLE agent_conditions (
    agent_id        uuid   NOT NULL PRIMARY KEY,
    at              bigint NOT NULL,
    status          text   NOT NULL,
    lifecycle_state text   NOT NULL,
    app_health      text
);

-- Provisioner jobs, as far as their newest events said.
CREATE TABLE jobs (
    id              uuid   NOT NULL PRIMARY KEY,
    at              bigint NOT NULL,
    organization_id uuid   NOT NULL,
    provisioner     text   NOT NULL,
    type            text   NOT NULL,
    status          text   NOT NULL,
    created_at      bigint NOT NULL,
    started_at      bigint NOT NULL,
    finished_at     bigint NOT NULL
);

-- When the newest event of a build happened.
ALTER TABLE builds ADD COLUMN at bigint NOT NULL DEFAULT 0;
CREATE INDEX builds_workspace ON builds (workspace_id, number);

-- Series of the control plane for the metrics endpoint. labels is JSON, its names ascending.
CREATE TABLE control_plane_series (
    name        text             NOT NULL,
    labels      text             NOT NULL,
    value       double precision NOT NULL,
    reported_at bigint           NOT NULL,
    PRIMARY KEY (name, labels)
);
