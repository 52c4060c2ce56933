-- +goose Up

-- A user may be several persons, where both ids of one user had one before they came together. counted_as is the person whose number new
-- usage of the user gets and as whom all are counted; NULL: that one itself.
ALTER TABLE people ADD COLUMN counted_as bigint;
ALTER TABLE people DROP CONSTRAINT people_user_id_key;
CREATE UNIQUE INDEX people_of_users ON people (user_id, (CASE WHEN counted_as IS NULL THEN 0 ELSE person END));
CREATE INDEX people_counted_as_others ON people (person) WHERE counted_as IS NOT NULL;

-- Whether a server tells the use of AI tools of each person.
ALTER TABLE promises ADD COLUMN ai_per_person boolean NOT NULL DEFAULT false;
