-- +goose Up

-- What a workspace is for: development, ai_task or prebuild.
ALTER TABLE workspaces ADD COLUMN purpose text NOT NULL DEFAULT 'development';

-- Why a build was asked for and by whom, as far as the control plane says so, the preset of parameters that was chosen, and whether the
-- build made a prebuilt workspace or took one: none, created or claimed.
ALTER TABLE builds ADD COLUMN reason text NOT NULL DEFAULT '';
ALTER TABLE builds ADD COLUMN initiator_kind text NOT NULL DEFAULT '';
ALTER TABLE builds ADD COLUMN preset text NOT NULL DEFAULT '';
ALTER TABLE builds ADD COLUMN prebuild text NOT NULL DEFAULT 'none';
