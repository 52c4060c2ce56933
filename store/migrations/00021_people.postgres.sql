-- +goose Up

-- A fence: from here on a subject is a person at a workspace, and the rows of the present stand in a table of another name. A server of
-- before finds no place for reports and refuses them as something that passes; its agents send them again.
LOCK TABLE usage_open, subjects IN ACCESS EXCLUSIVE MODE;

-- The only link between a person and usage: subject = person * 2^24 + seat, and seat 0 is no workspace that is known. The number of a
-- person is the upper part of the number that the user had; seats counts the seats that were given. former_subject is that number for the
-- few whose upper part was taken.
CREATE TABLE people (
    person         bigint NOT NULL PRIMARY KEY CHECK (person BETWEEN 1 AND 549755813887),
    user_id        uuid   NOT NULL UNIQUE,
    seats          integer NOT NULL DEFAULT 0,
    former_subject bigint UNIQUE
);
INSERT INTO people (person, user_id) SELECT upper_part, user_id FROM (
    SELECT user_id, subject >> 24 AS upper_part, row_number() OVER (PARTITION BY subject >> 24 ORDER BY subject) AS nth FROM subjects
) AS numbered WHERE nth = 1 AND upper_part > 0;
INSERT INTO people (person, user_id, former_subject)
    SELECT (SELECT COALESCE(MAX(person), 0) FROM people) + row_number() OVER (ORDER BY subject), user_id, subject
    FROM subjects WHERE user_id NOT IN (SELECT user_id FROM people);

CREATE TABLE seats (
    subject      bigint  NOT NULL PRIMARY KEY,
    workspace_id uuid    NOT NULL
);
CREATE UNIQUE INDEX seats_of_workspaces ON seats (workspace_id, (subject >> 24));

-- Through which relay people reached their seats: from the half hour on, until the next row of the seat.
CREATE TABLE seat_regions (
    subject   bigint  NOT NULL,
    half_hour integer NOT NULL,
    region    text    NOT NULL,
    PRIMARY KEY (subject, half_hour)
);

-- The present: rows that merge. half_hour counts from the Unix epoch; minutes has one bit per minute.
CREATE TABLE usage_rows (
    half_hour   integer  NOT NULL,
    template_id uuid     NOT NULL,
    subject     bigint   NOT NULL,
    kind        smallint NOT NULL,
    app         text     NOT NULL,
    minutes     integer  NOT NULL,
    connected   boolean  NOT NULL,
    latencies   text     NOT NULL,
    PRIMARY KEY (half_hour, template_id, subject, kind, app)
) WITH (fillfactor = 60);
INSERT INTO usage_rows
    SELECT half_hour, template_id, COALESCE(person, subject >> 24) << 24, kind, app, minutes, connected, latencies
    FROM usage_open LEFT JOIN people ON people.former_subject = usage_open.subject;
DROP TABLE usage_open;
DROP TABLE subjects;

-- The past: one page of format 2 per template, day and part; part 0 is all of the day. sums has room for what is counted of it once.
-- Pages of format 1 stay in usage_day until they are rewritten.
CREATE TABLE usage_pages (
    template_id uuid     NOT NULL,
    day         integer  NOT NULL,
    part        smallint NOT NULL DEFAULT 0,
    version     bigint   NOT NULL,
    usage       bytea    NOT NULL,
    latency     bytea    NOT NULL,
    sums        bytea    NOT NULL DEFAULT '',
    PRIMARY KEY (template_id, day, part)
);
ALTER TABLE usage_pages ALTER COLUMN usage SET STORAGE EXTERNAL;
ALTER TABLE usage_pages ALTER COLUMN latency SET STORAGE EXTERNAL;
ALTER TABLE usage_pages ALTER COLUMN sums SET STORAGE EXTERNAL;
CREATE INDEX usage_pages_versions ON usage_pages (day, template_id, part, version);
