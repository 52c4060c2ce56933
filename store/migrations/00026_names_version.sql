-- +goose Up

-- The version of the names of people, in one row: that of the last change of a user, or of which user a person is. It is a moment, in
-- microseconds since 1970. No row: nothing has changed yet.
CREATE TABLE names_version (
    id      int2 NOT NULL PRIMARY KEY CHECK (id = 1),
    version int8 NOT NULL
);
