-- +goose Up

-- The key of page tokens, which all servers of the database share: 64 hexadecimal digits, made when it is first needed.
CREATE TABLE page_token_keys (
    id     integer NOT NULL PRIMARY KEY CHECK (id = 1),
    secret text    NOT NULL
);
