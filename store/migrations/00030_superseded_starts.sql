-- +goose Up

-- From when on a start is certainly not the newest one of its workspace any more, whatever comes: when the start with the next number was
-- created, if that was not before it. The largest number: nobody knows such a moment, or there is none. A stop and a delete are no starts,
-- ever: 0. So what workspaces were started with last is found without their earlier starts.
ALTER TABLE builds ADD COLUMN superseded_at int8 NOT NULL DEFAULT 9223372036854775807;
UPDATE builds SET superseded_at = 0 WHERE transition <> 'start';
UPDATE builds SET superseded_at = later.created_at FROM (SELECT id, LEAD(number) OVER starts AS number,
		LEAD(created_at) OVER starts AS created_at FROM builds WHERE transition = 'start' AND status = 'succeeded'
		WINDOW starts AS (PARTITION BY workspace_id ORDER BY number, id)) AS later
	WHERE later.id = builds.id AND later.number > builds.number AND later.created_at >= builds.created_at;
CREATE INDEX builds_newest ON builds (superseded_at, template_id, created_at) WHERE transition = 'start' AND status = 'succeeded';
