-- +goose Up

-- Up to when usage is here, of imports that bring usage more often than the rest.
ALTER TABLE imports ADD COLUMN usage_until int8 NOT NULL DEFAULT 0;
-- Which process follows the other system, and until when no other one does, by the clock of the database; nobody: '' and 0.
ALTER TABLE imports ADD COLUMN follower text NOT NULL DEFAULT '';
ALTER TABLE imports ADD COLUMN followed_until int8 NOT NULL DEFAULT 0;
