-- +goose Up

-- Keyed hashes of the ids of erased users and of what they had, and one of the key itself.
CREATE TABLE tombstones (
    hash text NOT NULL PRIMARY KEY
);

-- For what belongs to one user.
CREATE INDEX workspaces_owner ON workspaces (owner_id);
