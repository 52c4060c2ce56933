-- +goose Up

-- The version of the catalog, in one row: that of the last change of where agents belong, or of a privacy mode. It is a moment, in
-- microseconds since 1970, and workspaces.changed_at is the version that changed a workspace last. No row: nothing has changed yet.
CREATE TABLE catalog_version (
    id      int2 NOT NULL PRIMARY KEY CHECK (id = 1),
    version int8 NOT NULL
);
