-- +goose Up

-- What a token is good for, and of a session the token that began it.
ALTER TABLE tokens ADD COLUMN purpose text NOT NULL DEFAULT '';
ALTER TABLE tokens ADD COLUMN parent_id text NOT NULL DEFAULT '';
CREATE INDEX tokens_parent ON tokens (parent_id) WHERE parent_id <> '';
