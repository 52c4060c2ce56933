-- +goose Up

-- Up to when the data of another system is here.
CREATE TABLE imports (
    source         text   NOT NULL PRIMARY KEY,
    imported_until bigint NOT NULL
);

-- The system that a binding is kept in step with; empty if it was granted here.
ALTER TABLE role_bindings ADD COLUMN source text NOT NULL DEFAULT '';
