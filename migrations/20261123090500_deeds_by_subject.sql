-- What was done to one thing, and what one caller did, are found without reading the log of the whole tenant.

-- Where the log is large, make these concurrently before: they are taken over then.
create index if not exists audit_log_by_subject on audit_log (tenant_id, subject, seq);
create index if not exists audit_log_by_actor on audit_log (tenant_id, actor, seq);
