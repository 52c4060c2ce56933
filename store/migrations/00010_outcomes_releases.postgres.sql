-- +goose Up

-- What counters count of builds and jobs, which events may correct: every outcome that was ever told, a bit for each, and the labels and
-- the duration that were told first. Bits of jobs: 1 succeeded, 2 failed, 4 canceled; of builds: these for start, times 8 for stop, times
-- 64 for delete.
ALTER TABLE builds ADD COLUMN outcomes bigint NOT NULL DEFAULT 0;
ALTER TABLE builds ADD COLUMN outcome_version_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';
UPDATE builds SET outcome_version_id = template_version_id,
    outcomes = CASE transition WHEN 'start' THEN 1 WHEN 'stop' THEN 8 WHEN 'delete' THEN 64 ELSE 0 END
        * CASE status WHEN 'succeeded' THEN 1 WHEN 'failed' THEN 2 WHEN 'canceled' THEN 4 ELSE 0 END;
ALTER TABLE jobs ADD COLUMN outcomes bigint NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN outcome_provisioner text NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN outcome_micros bigint;
UPDATE jobs SET outcome_provisioner = provisioner,
    outcomes = CASE status WHEN 'succeeded' THEN 1 WHEN 'failed' THEN 2 WHEN 'canceled' THEN 4 ELSE 0 END,
    outcome_micros = CASE WHEN status IN ('succeeded', 'failed', 'canceled') AND started_at > 0 AND finished_at >= started_at
        THEN finished_at - started_at END;

-- Parameters whose values are shown although they look like credentials.
CREATE TABLE parameter_releases (
    template_id uuid NOT NULL,
    name        text NOT NULL,
    PRIMARY KEY (template_id, name)
);
