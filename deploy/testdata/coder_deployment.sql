-- A deployment in which everything happened that the dashboards of Coder ask about. Reports of an agent come for ten minutes from now.
INSERT INTO organizations (id, name, is_default) VALUES ('00000000-0000-0000-0000-00000000000a', 'acme', true);
INSERT INTO users (id, username, last_seen_at) VALUES ('00000000-0000-0000-0000-00000000000b', 'ann', now());
INSERT INTO users (id, username, is_system) VALUES ('c42fdf75-3097-471c-8c33-fb52454d81c0', 'prebuilds', true);
INSERT INTO organization_members (user_id, organization_id) SELECT users.id, organizations.id FROM users, organizations;
INSERT INTO licenses (jwt, exp) VALUES ('key', now() + INTERVAL '1 day');
INSERT INTO provisioner_daemons (id, name, last_seen_at, version, key_id)
    VALUES (gen_random_uuid(), 'coder-0', now() + INTERVAL '1 day', 'v2.30.0+abc', '00000000-0000-0000-0000-000000000001');
INSERT INTO templates (id, organization_id, name, active_version_id)
    VALUES ('00000000-0000-0000-0000-00000000000c', '00000000-0000-0000-0000-00000000000a', 'docker', '00000000-0000-0000-0000-00000000000d');
INSERT INTO provisioner_jobs (id, organization_id, type, started_at, completed_at)
    VALUES ('00000000-0000-0000-0000-00000000000e', '00000000-0000-0000-0000-00000000000a', 'template_version_import', now(), now());
INSERT INTO template_versions (id, template_id, organization_id, name, job_id) VALUES ('00000000-0000-0000-0000-00000000000d',
    '00000000-0000-0000-0000-00000000000c', '00000000-0000-0000-0000-00000000000a', 'v1', '00000000-0000-0000-0000-00000000000e');
INSERT INTO template_version_presets (id, template_version_id, name, desired_instances)
    VALUES ('00000000-0000-0000-0000-00000000000f', '00000000-0000-0000-0000-00000000000d', 'large', 2);

-- Workspaces with who asked for their builds, in turn, and whether the last one failed.
CREATE TEMPORARY TABLE made AS SELECT gen_random_uuid() AS workspace, * FROM (VALUES
    ('dev', 'ann', ARRAY['ann'], false), ('broken', 'ann', ARRAY['ann'], true), ('taken', 'ann', ARRAY['prebuilds', 'ann'], false),
    ('waiting', 'prebuilds', ARRAY['prebuilds'], false), ('failed', 'prebuilds', ARRAY['prebuilds'], true)
) AS made (name, owner, initiators, fails);
INSERT INTO workspaces (id, owner_id, organization_id, template_id, name) SELECT workspace, users.id, '00000000-0000-0000-0000-00000000000a',
    '00000000-0000-0000-0000-00000000000c', made.name FROM made JOIN users ON username = owner;
CREATE TEMPORARY TABLE built AS SELECT gen_random_uuid() AS job, workspace, username, number, fails AND number = cardinality(initiators) AS fails
    FROM made, unnest(initiators) WITH ORDINALITY AS initiator (username, number);
INSERT INTO provisioner_jobs (id, organization_id, created_at, started_at, completed_at, error)
    SELECT job, '00000000-0000-0000-0000-00000000000a', now() - INTERVAL '40 seconds', now() - INTERVAL '30 seconds', now(),
    CASE WHEN fails THEN 'no' END FROM built;
INSERT INTO workspace_builds (id, created_at, workspace_id, template_version_id, build_number, transition, job_id, initiator_id, template_version_preset_id)
    SELECT gen_random_uuid(), now() - INTERVAL '40 seconds', workspace, '00000000-0000-0000-0000-00000000000d', number, 'start', job, users.id,
    '00000000-0000-0000-0000-00000000000f' FROM built JOIN users USING (username);
INSERT INTO workspace_resources (id, job_id) SELECT job, job FROM built;
INSERT INTO workspace_agents (id, created_at, name, resource_id, lifecycle_state, first_connected_at, last_connected_at, started_at, ready_at)
    SELECT gen_random_uuid(), now() - INTERVAL '20 seconds', 'main', job, 'ready', now(), now() + INTERVAL '1 day', now() - INTERVAL '5 seconds', now()
    FROM built WHERE NOT fails;
INSERT INTO workspace_agent_stats
    (created_at, agent_id, user_id, template_id, workspace_id, session_counts, connection_count, connection_median_latency_ms, rx_bytes, tx_bytes)
    SELECT at, workspace_agents.id, users.id, '00000000-0000-0000-0000-00000000000c', workspace, '{"vscode": 1}', 1, 5, 100, 200
    FROM made JOIN built USING (workspace) JOIN workspace_agents ON resource_id = job JOIN users ON users.username = 'ann',
    generate_series(now() - INTERVAL '1 minute', now() + INTERVAL '10 minutes', INTERVAL '5 seconds') AS at WHERE made.name = 'dev';
