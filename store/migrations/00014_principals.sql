-- +goose Up

-- For what belongs to one caller.
CREATE INDEX tokens_principal ON tokens (principal_id);
CREATE INDEX audit_events_principal ON audit_events (principal_id, at);
