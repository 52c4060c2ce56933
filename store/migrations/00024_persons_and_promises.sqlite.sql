-- +goose Up

-- A user may be several persons, where both ids of one user had one before they came together. counted_as is the person whose number new
-- usage of the user gets and as whom all are counted; NULL: that one itself.
CREATE TABLE persons (
    person         integer NOT NULL PRIMARY KEY CHECK (person BETWEEN 1 AND 549755813887),
    user_id        text    NOT NULL,
    seats          integer NOT NULL DEFAULT 0,
    former_subject integer UNIQUE,
    counted_as     integer
);
INSERT INTO persons (person, user_id, seats, former_subject) SELECT person, user_id, seats, former_subject FROM people;
DROP TABLE people;
ALTER TABLE persons RENAME TO people;
CREATE UNIQUE INDEX people_of_users ON people (user_id, (CASE WHEN counted_as IS NULL THEN 0 ELSE person END));
CREATE INDEX people_counted_as_others ON people (person) WHERE counted_as IS NOT NULL;

-- Whether a server tells the use of AI tools of each person.
ALTER TABLE promises ADD COLUMN ai_per_person integer NOT NULL DEFAULT 0;
