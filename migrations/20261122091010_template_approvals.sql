-- Templates that were submitted to Meta, and where they stand there. Meta knows a template by its name and language within a
-- business account; whatever version of ours bears that name is sent with what it approved. One that is not here was approved
-- without us, and nothing is known of it.
create table template_approvals (
    account_id uuid not null references accounts on delete cascade,
    name text collate "C" not null,
    language text collate "C" not null,
    tenant_id uuid not null references tenants,
    -- Which version was submitted last.
    template_id uuid not null references templates on delete cascade,
    locale text not null,
    version integer not null,
    category text not null check (category in ('marketing', 'utility', 'authentication')),
    -- Meta's; null while nobody knows whether it took the submission.
    provider_id text,
    status text not null check (status in ('pending', 'approved', 'rejected', 'paused', 'disabled')),
    reason text,
    submitted_at timestamptz not null default now(),
    -- When the status was last told, and when Meta was last asked.
    status_at timestamptz not null default now(),
    asked_at timestamptz not null default now(),
    primary key (account_id, name, language)
);
create index template_approvals_by_template on template_approvals (template_id);
select protect('template_approvals', 'tenant_id = this_tenant()');
