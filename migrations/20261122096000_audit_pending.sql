-- Deeds that are not chained yet. Whoever notes one waits for nobody; about a second later one process at a time takes them
-- over into the log, in the order of their numbers.
create table audit_pending (
    id bigint generated always as identity primary key,
    tenant_id uuid not null,
    at timestamptz not null,
    actor text not null,
    action text not null,
    subject text not null,
    detail json not null,
    request_id text
);
create index audit_pending_by_tenant on audit_pending (tenant_id, id);
select protect('audit_pending', 'tenant_id = this_tenant()');
revoke update, delete on audit_pending from fanfare_api;
comment on table audit_heads is 'The last row of each tenant; locked by whoever chains.';
