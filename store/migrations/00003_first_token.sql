-- +goose Up

-- Holds a row once the first token of an owner was made, for ever.
CREATE TABLE first_tokens (
    id       integer NOT NULL PRIMARY KEY CHECK (id = 1),
    token_id text    NOT NULL
);
INSERT INTO first_tokens (id, token_id) SELECT 1, '' FROM role_bindings WHERE role = 'owner' LIMIT 1;
