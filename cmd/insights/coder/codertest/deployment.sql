-- A small deployment with a schema of before 590: one user of one template, at work since noon of yesterday.
INSERT INTO organizations VALUES ('c0000000-0000-4000-8000-000000000001', 'acme', '', true);
INSERT INTO users (id, username) VALUES ('00000000-0000-0000-0000-000000000002', 'ann');
INSERT INTO organization_members VALUES ('00000000-0000-0000-0000-000000000002', 'c0000000-0000-4000-8000-000000000001');
INSERT INTO templates (id, organization_id, name) VALUES ('00000000-0000-0000-0000-000000000003', 'c0000000-0000-4000-8000-000000000001', 'docker');
INSERT INTO workspace_agent_stats (created_at, user_id, template_id, connection_count, session_count_ssh)
    SELECT at, '00000000-0000-0000-0000-000000000002', '00000000-0000-0000-0000-000000000003', 1, 1
    FROM generate_series(date_trunc('day', now(), 'UTC') - INTERVAL '12 hours', now(), INTERVAL '1 minute') AS at;
