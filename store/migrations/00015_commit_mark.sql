-- +goose Up

-- One row that every server counts up every few seconds, while it can commit. A server that cannot, and finds the number higher than it
-- left it, knows that another one can. No row: no server has run yet.
CREATE TABLE commit_mark (
    id     int2 NOT NULL PRIMARY KEY CHECK (id = 1),
    number int8 NOT NULL
);
