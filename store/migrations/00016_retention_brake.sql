-- +goose Up

-- What all servers know of the clock that retention goes by, in one row that each of them writes every hour. No row: none has yet.
CREATE TABLE clock_mark (
    id     int2 NOT NULL PRIMARY KEY CHECK (id = 1),
    at     int8 NOT NULL, -- the clock when a server looked last
    steady int8 NOT NULL, -- for how long it had not jumped then, up to a day, in nanoseconds
    held   int8 NOT NULL  -- for how long nothing had been deleted because it jumped, in nanoseconds
);

-- What is to be deleted a day after it was announced.
CREATE TABLE announced_deletions (
    kind   text NOT NULL PRIMARY KEY,
    keep   int8 NOT NULL, -- the retention, in nanoseconds
    days   int8 NOT NULL, -- how many go
    stored int8 NOT NULL, -- of so many
    at     int8 NOT NULL  -- when that was announced
);
