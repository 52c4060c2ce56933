-- +goose Up

ALTER TABLE groups ADD COLUMN everyone boolean NOT NULL DEFAULT false; -- it has all members of its organization
ALTER TABLE groups ADD COLUMN deleted_at bigint NOT NULL DEFAULT 0;

-- Who is in a group since when, and was until when. Who is in one now counts as a member since always: nobody knows better. There is no
-- default, so that a server of before, which would replace the past of a group by its present, fails and the control plane asks again.
ALTER TABLE group_members
    ADD COLUMN from_at bigint NOT NULL DEFAULT 0, -- 0: since always
    ADD COLUMN to_at bigint NOT NULL DEFAULT 0;   -- 0: still
ALTER TABLE group_members
    ALTER COLUMN from_at DROP DEFAULT,
    ALTER COLUMN to_at DROP DEFAULT,
    DROP CONSTRAINT group_members_pkey,
    ADD PRIMARY KEY (group_id, user_id, from_at, to_at);

-- Roles may be limited to the members of a group.
ALTER TABLE role_bindings
    ADD COLUMN group_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    DROP CONSTRAINT role_bindings_principal_kind_principal_id_role_organization_key,
    ADD UNIQUE (principal_kind, principal_id, role, organization_id, template_id, group_id);
