-- +goose Up

-- A question about all templates asks for the versions of its days, however many days there are beside.
CREATE INDEX usage_day_versions ON usage_day (day, template_id, version);
