-- +goose Up

-- What diagnosis needs to know of agents: whether the last sessions came in the older form, and when peers were last reached
-- directly and through a relay.
ALTER TABLE agent_states
    ADD COLUMN legacy_sessions boolean,
    ADD COLUMN direct_at       bigint  NOT NULL DEFAULT 0,
    ADD COLUMN relayed_at      bigint  NOT NULL DEFAULT 0,
    ADD COLUMN derp_region     text    NOT NULL DEFAULT '';
