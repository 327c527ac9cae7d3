-- Only indexes: they must be there.
select indexname from pg_indexes where indexname in ('audit_log_by_subject', 'audit_log_by_actor');
