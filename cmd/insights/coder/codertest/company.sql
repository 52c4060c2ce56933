-- A company at work, with a schema of before 590: company.people and company.workspaces are how many there are, company.days how long its past
-- is. Seven of ten workspaces run on a day, from nine hours before the time of day at which this is run until half an hour after it; there is
-- no work on two days of seven. Of reports the last day is there, as Coder keeps them. live() goes on: one call is what happens in a second.

CREATE SCHEMA company;

-- Ids and numbers that look random and are the same in each run.
CREATE FUNCTION company.id(kind text, VARIADIC n integer[]) RETURNS uuid LANGUAGE sql IMMUTABLE
    RETURN md5(kind || array_to_string(n, ','))::uuid;
CREATE FUNCTION company.percent(VARIADIC n integer[]) RETURNS integer LANGUAGE sql IMMUTABLE
    RETURN mod(abs(hash_array_extended(n, 1)), 100)::integer;

CREATE TABLE company.machines AS
    SELECT n, company.id('workspace', n) AS id, mod(n, people) AS person, company.id('user', mod(n, people)) AS owner,
        mod(n * 7 + n / people * 3, 20) AS kind, company.id('template', mod(n * 7 + n / people * 3, 20)) AS template
    FROM (SELECT current_setting('company.people')::integer AS people, current_setting('company.workspaces')::integer AS machines) AS size,
        generate_series(0, machines - 1) AS n;
-- The days on which they run; day 0 is the last one. A day has two builds.
CREATE TABLE company.shifts AS
    SELECT n, id, person, owner, kind, template, day, now() - make_interval(days => day, hours => 9, mins => -mod(n, 30)) AS start,
        2 * row_number() OVER (PARTITION BY n ORDER BY day DESC) - 1 AS number
    FROM company.machines, generate_series(0, current_setting('company.days')::integer - 1) AS day
    WHERE mod(day, 7) < 5 AND mod(n * 3 + day, 10) < 7 ORDER BY day DESC, n;
CREATE TABLE company.builds AS
    SELECT n, id, owner, kind, template, day, 2 * day + closing AS key, closing = 0 AS starts, number + closing AS number,
        company.id('job', n, 2 * day + closing) AS job, company.id('build', n, 2 * day + closing) AS build,
        start + closing * INTERVAL '9 hours 30 minutes' AS at
    FROM company.shifts, generate_series(0, 1) AS closing WHERE day > 0 OR closing = 0 ORDER BY at;

INSERT INTO organizations VALUES (company.id('organization', 0), 'acme', 'Acme', true);
INSERT INTO groups SELECT company.id('organization', 0), 'Everyone', company.id('organization', 0)
    UNION ALL SELECT company.id('group', n), 'team' || n, company.id('organization', 0) FROM generate_series(0, 19) AS n;
INSERT INTO users (id, username, created_at, rbac_roles, deleted)
    SELECT company.id('user', n), 'user' || n, now() - INTERVAL '1 year', CASE WHEN mod(n, 200) = 7 THEN '{auditor}'::text[] ELSE '{}' END,
        n >= people
    FROM (SELECT current_setting('company.people')::integer AS people) AS size, generate_series(0, people + people / 10) AS n;
INSERT INTO user_deleted (user_id, deleted_at) SELECT id, now() - INTERVAL '100 days' FROM users WHERE deleted;
INSERT INTO user_status_changes (user_id, new_status, changed_at) SELECT id, 'active', created_at FROM users;
INSERT INTO organization_members SELECT id, company.id('organization', 0) FROM users WHERE NOT deleted;
INSERT INTO group_members SELECT company.id('user', n), company.id('group', mod(n, 20))
    FROM generate_series(0, current_setting('company.people')::integer - 1) AS n;

INSERT INTO templates (id, organization_id, name, created_at, updated_at, group_acl)
    SELECT company.id('template', n), company.id('organization', 0), 'template' || n, now() - INTERVAL '1 year', now() - INTERVAL '1 year',
        jsonb_build_object(company.id('group', n), '["*"]'::jsonb)
    FROM generate_series(0, 19) AS n;
CREATE TABLE company.versions AS
    SELECT kind, week, now() - make_interval(weeks => week, days => 1) AS at
    FROM generate_series(0, 19) AS kind, generate_series(0, current_setting('company.days')::integer / 7) AS week ORDER BY week DESC;
INSERT INTO provisioner_jobs (id, created_at, updated_at, started_at, completed_at)
    SELECT company.id('version job', kind, week), at, at, at, at FROM company.versions;
INSERT INTO template_versions
    SELECT company.id('version', kind, week), company.id('template', kind), company.id('organization', 0), at, at, 'v' || week,
        company.id('version job', kind, week)
    FROM company.versions;
INSERT INTO template_version_parameters (template_version_id, name, default_value)
    SELECT company.id('version', kind, week), 'parameter' || n, '1' FROM company.versions, generate_series(1, 6) AS n;

INSERT INTO workspaces (id, created_at, updated_at, owner_id, organization_id, template_id, name)
    SELECT id, now() - INTERVAL '100 days', now() - INTERVAL '100 days', owner, company.id('organization', 0), template, 'workspace' || n
    FROM company.machines;
-- Rows are about as wide as Coder's.
CREATE PROCEDURE company.add_builds() LANGUAGE sql BEGIN ATOMIC
    INSERT INTO provisioner_jobs (id, created_at, updated_at, started_at, completed_at, input, initiator_id)
        SELECT job, at, at + INTERVAL '1 minute', at, at + INTERVAL '1 minute',
            jsonb_build_object('workspace_build_id', build, 'log_level', '', 'tags', repeat('t', 200)), owner
        FROM company.builds ORDER BY at;
    INSERT INTO workspace_builds (id, created_at, workspace_id, template_version_id, build_number, transition, job_id, initiator_id)
        SELECT build, at, id, company.id('version', kind, day / 7), number,
            CASE WHEN starts THEN 'start'::workspace_transition ELSE 'stop' END, job, owner
        FROM company.builds ORDER BY at;
    INSERT INTO workspace_build_parameters
        SELECT build, 'parameter' || i, company.percent(n, i)::text FROM company.builds, generate_series(1, 4) AS i ORDER BY at;
    INSERT INTO workspace_resources (id, job_id, daily_cost, instance_type)
        SELECT company.id('resource', n, key, r), job, 10, CASE WHEN r = 0 THEN 'm5.large' END
        FROM company.builds, generate_series(0, 1) AS r WHERE starts OR r = 0 ORDER BY at;
    INSERT INTO workspace_agents (id, created_at, name, resource_id, environment_variables)
        SELECT company.id('agent', n, key), at + INTERVAL '1 minute', 'main', company.id('resource', n, key, 0),
            jsonb_build_object('PATH', repeat('p', 600))
        FROM company.builds WHERE starts ORDER BY at;
    INSERT INTO workspace_apps (created_at, agent_id, display_name, url, slug)
        SELECT at + INTERVAL '1 minute', company.id('agent', n, key), app, 'http://localhost:8080/' || repeat('u', 50), app
        FROM company.builds, unnest('{code, jupyter}'::text[]) AS app WHERE starts ORDER BY at;
END;
CALL company.add_builds();

-- A login a day, and an entry for each build.
INSERT INTO audit_logs ("time", user_id, action, status_code, diff)
    SELECT start, owner, 'login', 201, '{}' FROM company.shifts
    UNION ALL SELECT at, owner, CASE WHEN starts THEN 'start'::audit_action ELSE 'stop' END, 200, jsonb_build_object('old', repeat('o', 150))
    FROM company.builds ORDER BY 1;

INSERT INTO template_usage_stats
    SELECT half, half + INTERVAL '30 minutes', template, owner, 20 + mod(n, 30), 20, mod(n, 2) * 5, 0, 0, 15, 0, '{"code": 5}'
    FROM company.shifts, generate_series(0, 16) AS i, date_bin('30 minutes', start + i * INTERVAL '30 minutes', '2000-01-01Z') AS half
    WHERE company.percent(n, day, i) < 60 AND half < date_bin('30 minutes', now(), '2000-01-01Z') ORDER BY half;

-- Sessions of ten minutes; one of ten people has one that has gone on for hours.
INSERT INTO workspace_app_stats (user_id, workspace_id, access_method, slug_or_port, session_started_at, session_ended_at)
    SELECT owner, id, 'path', 'code', at, at + INTERVAL '10 minutes'
    FROM company.shifts, generate_series(0, 9) AS i, LATERAL (SELECT start + i * INTERVAL '51 minutes' AS at) AS begun
    WHERE at + INTERVAL '10 minutes' < now() ORDER BY at;
INSERT INTO workspace_app_stats (user_id, workspace_id, access_method, slug_or_port, session_started_at, session_ended_at)
    SELECT owner, id, 'subdomain', 'jupyter', start, now() FROM company.shifts WHERE day = 0 AND mod(n, 10) = 0;
CREATE TABLE company.going_on AS SELECT id FROM workspace_app_stats WHERE session_ended_at = now();

-- A report each half a minute. The agent of a workspace that nobody uses reports too.
INSERT INTO workspace_agent_stats (
    created_at, user_id, template_id, workspace_id, session_count_vscode, session_count_ssh, connection_count, connection_median_latency_ms
)
    SELECT at, owner, template, id, used, used * mod(n, 2), used, CASE WHEN used > 0 THEN 20 + mod(n, 30) ELSE -1 END
    FROM company.shifts, generate_series(start + INTERVAL '1 minute', now(), INTERVAL '30 seconds') AS at,
        LATERAL (SELECT CASE WHEN company.percent(n, extract(hour FROM at)::integer) < 60 THEN 1 ELSE 0 END AS used) AS use
    WHERE day = 0 ORDER BY at;

-- What happens in a second of the work: a thirtieth of the agents reports, a thirtieth of the sessions goes on, some are new. In every other
-- second a workspace is started again.
CREATE PROCEDURE company.live(second integer) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO workspace_agent_stats (
        created_at, user_id, template_id, workspace_id, session_count_vscode, session_count_ssh, connection_count,
        connection_median_latency_ms
    )
        SELECT now(), owner, template, id, used, used * mod(n, 2), used, CASE WHEN used > 0 THEN 20 + mod(n, 30) ELSE -1 END
        FROM company.shifts, LATERAL (SELECT CASE WHEN company.percent(n, second / 3600) < 60 THEN 1 ELSE 0 END AS used) AS use
        WHERE day = 0 AND mod(n, 30) = mod(second, 30);
    UPDATE workspace_app_stats SET session_ended_at = now() FROM company.going_on
        WHERE going_on.id = workspace_app_stats.id AND mod(workspace_app_stats.id, 30) = mod(second, 30);
    INSERT INTO workspace_app_stats (user_id, workspace_id, access_method, slug_or_port, session_started_at, session_ended_at)
        SELECT owner, id, 'path', 'code', now() - INTERVAL '1 minute', now() FROM company.shifts WHERE day = 0 AND mod(n, 300) = mod(second, 300);
    IF mod(second, 2) = 0 THEN
        DELETE FROM company.builds;
        INSERT INTO company.builds
            SELECT n, id, owner, kind, template, 0, -1 - second, true, (SELECT MAX(build_number) + 1 FROM workspace_builds WHERE workspace_id = shifts.id),
                gen_random_uuid(), gen_random_uuid(), now() - INTERVAL '1 minute'
            FROM company.shifts WHERE day = 0 ORDER BY mod(n + second * 7, 1000), n LIMIT 1;
        CALL company.add_builds();
        INSERT INTO audit_logs ("time", user_id, action, status_code) SELECT now(), owner, 'login', 201 FROM company.builds;
    END IF;
END
$$;
TRUNCATE company.builds;
ANALYZE;
