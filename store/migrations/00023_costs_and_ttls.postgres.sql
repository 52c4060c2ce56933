-- +goose Up

-- How long workspaces of a template run, unless they are used or their owner says otherwise (ttl_seconds of the workspace), and after how
-- long without use they are dormant and deleted. 0: never.
ALTER TABLE templates ADD COLUMN default_ttl_seconds bigint NOT NULL DEFAULT 0;
ALTER TABLE templates ADD COLUMN dormant_after_seconds bigint NOT NULL DEFAULT 0;
ALTER TABLE templates ADD COLUMN delete_dormant_after_seconds bigint NOT NULL DEFAULT 0;
ALTER TABLE workspaces ADD COLUMN ttl_seconds bigint NOT NULL DEFAULT 0;

-- What the resources of a build cost a day, in the unit of the control plane, and of which types of instances they are, as JSON.
ALTER TABLE builds ADD COLUMN daily_cost bigint NOT NULL DEFAULT 0;
ALTER TABLE builds ADD COLUMN instance_types text;
