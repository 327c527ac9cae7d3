insert into roles (id, tenant_id, slug, name, permissions)
select '01990000-0000-7000-8000-000000000081', id, 'clerk', 'Clerk', '{contacts:read}' from tenants limit 1;
insert into users (id, tenant_id, email, first_name, role_id, status, password_hash)
select '01990000-0000-7000-8000-000000000082', tenant_id, 'clerk@example.com', 'Asha', id, 'active', '$argon2id$'
from roles where slug = 'clerk';
insert into sign_in_failures (subject_hash, failures, last_at) values ('\x01', 1, now());
insert into recovery_codes (user_id, code_hash) values ('01990000-0000-7000-8000-000000000082', '\x01');
insert into sessions (id, tenant_id, user_id, environment, user_agent, expires_at)
select '01990000-0000-7000-8000-000000000083', tenant_id, id, 'production', 'curl', now() + interval '1 day' from users;
insert into refresh_tokens (token_hash, session_id, expires_at)
values ('\x01', '01990000-0000-7000-8000-000000000083', now() + interval '1 day');
insert into one_time_links (token_hash, tenant_id, purpose, user_id, expires_at)
select '\x01', tenant_id, 'invitation', id, now() + interval '1 hour' from users;
insert into api_keys (id, tenant_id, name, prefix, key_hash, scopes, environment)
select '01990000-0000-7000-8000-000000000084', tenant_id, 'billing', 'ffk_abcdef', '\x01', '{contacts:read}', 'sandbox' from users;
insert into audit_log (tenant_id, seq, at, actor, action, subject, detail, hash)
select tenant_id, 1, now(), 'command', 'user.invite', 'usr_1', '{}', '\x01' from users;
insert into audit_heads (tenant_id, seq, hash) select tenant_id, 1, '\x01' from users;
insert into idempotency_keys (tenant_id, key, request_hash) select tenant_id, 'one', '\x01' from users;
