-- +goose Up

ALTER TABLE groups ADD COLUMN everyone integer NOT NULL DEFAULT 0; -- it has all members of its organization
ALTER TABLE groups ADD COLUMN deleted_at integer NOT NULL DEFAULT 0;

-- Who is in a group since when, and was until when. Who is in one now counts as a member since always: nobody knows better. There is no
-- default, so that a server of before, which would replace the past of a group by its present, fails and the control plane asks again.
CREATE TABLE group_periods (
    group_id text    NOT NULL,
    user_id  text    NOT NULL,
    from_at  integer NOT NULL, -- 0: since always
    to_at    integer NOT NULL, -- 0: still
    PRIMARY KEY (group_id, user_id, from_at, to_at)
);
INSERT INTO group_periods SELECT group_id, user_id, 0, 0 FROM group_members;
DROP TABLE group_members;
ALTER TABLE group_periods RENAME TO group_members;
CREATE INDEX group_members_user ON group_members (user_id);

-- Roles may be limited to the members of a group.
CREATE TABLE role_limits (
    id              text    NOT NULL PRIMARY KEY,
    principal_kind  text    NOT NULL,
    principal_id    text    NOT NULL,
    role            text    NOT NULL,
    organization_id text    NOT NULL,
    template_id     text    NOT NULL,
    created_at      integer NOT NULL,
    source          text    NOT NULL DEFAULT '',
    group_id        text    NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    UNIQUE (principal_kind, principal_id, role, organization_id, template_id, group_id)
);
INSERT INTO role_limits (id, principal_kind, principal_id, role, organization_id, template_id, created_at, source)
    SELECT id, principal_kind, principal_id, role, organization_id, template_id, created_at, source FROM role_bindings;
DROP TABLE role_bindings;
ALTER TABLE role_limits RENAME TO role_bindings;
