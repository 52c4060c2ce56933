-- +goose Up

-- What servers promise to people, as each of them runs: a row for every server, which it writes again and again. A row that is not written
-- any more is that of a server that ended.
CREATE TABLE promises (
    server            text NOT NULL PRIMARY KEY, -- random, since its start
    at                int8 NOT NULL, -- when it was written last
    privacy_floor     int8 NOT NULL,
    timezone          text NOT NULL,
    usage_retention   int8 NOT NULL, -- in nanoseconds, 0 for ever, as the next two
    latency_retention int8 NOT NULL,
    audit_retention   int8 NOT NULL
);
