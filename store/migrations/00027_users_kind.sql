-- +goose Up

-- Most questions look up who is no person, and these are few.
CREATE INDEX users_kind ON users (kind);
