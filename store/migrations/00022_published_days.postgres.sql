-- +goose Up

-- What is told of a template and a day where small groups are hidden, counted once. floor is from how many people on something is in the
-- body, which is JSON.
CREATE TABLE published_days (
    template_id uuid NOT NULL,
    day         integer NOT NULL, -- of the calendar, from 1970-01-01
    floor       integer NOT NULL,
    body        bytea NOT NULL,
    PRIMARY KEY (day, template_id)
);

-- The days that were published, and those that an import brought and that are to be looked at again.
CREATE TABLE publications (
    day       integer NOT NULL PRIMARY KEY,
    published boolean NOT NULL
);

-- Since when an import runs, after which days are published; 0: none does.
ALTER TABLE imports ADD COLUMN running_at bigint NOT NULL DEFAULT 0;
