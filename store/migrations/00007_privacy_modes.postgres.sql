-- +goose Up

-- How much is known about persons. organization_id is the nil UUID for the deployment; mode is full, pseudonym, aggregate or
-- off. treated_at is when what was stored before had been treated accordingly; 0 is not yet.
CREATE TABLE privacy_modes (
    organization_id uuid    NOT NULL PRIMARY KEY,
    mode            text    NOT NULL,
    since           bigint  NOT NULL,
    treated_at      bigint  NOT NULL
);

-- Ids under which users appear who are not named, and who they are, sealed with a key that is not in the database.
CREATE TABLE pseudonyms (
    id     uuid  NOT NULL PRIMARY KEY,
    sealed bytea NOT NULL
);
