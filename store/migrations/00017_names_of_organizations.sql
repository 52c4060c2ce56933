-- +goose Up

-- No two organizations have one name from here on. Of those that have, the one with the lowest id keeps it; the others can be told apart
-- by their ids until the control plane gives them names of their own.
UPDATE organizations SET name = name || '-' || CAST(id AS text) WHERE EXISTS (SELECT 1 FROM organizations AS other
    WHERE lower(other.name) = lower(organizations.name) AND other.id < organizations.id);
