-- +goose Up

-- The version of what values of parameters are told from, of each template: that of the last change of builds, of versions of the template,
-- or of what is released. It is a moment, in microseconds since 1970. No row: nothing has changed yet.
CREATE TABLE parameter_versions (
    template_id text NOT NULL PRIMARY KEY,
    version     int8 NOT NULL
);

-- Starts are looked for by templates now, of which most are remembered.
DROP INDEX builds_newest;
CREATE INDEX builds_newest ON builds (template_id, superseded_at, created_at) WHERE transition = 'start' AND status = 'succeeded';
