create table templates (
    id uuid primary key,
    tenant_id uuid not null references tenants,
    slug text not null check (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    channel text not null check (channel in ('email', 'sms', 'whatsapp')),
    class text not null check (class in ('transactional', 'obligation', 'marketing')),
    name text not null,
    created_at timestamptz not null default now(),
    unique (tenant_id, slug, channel)
);

-- Immutable once it stands here; a change is a new version. `published` is the compiled form that workers render.
create table template_versions (
    id uuid primary key,
    template_id uuid not null references templates,
    locale text not null,
    version integer not null check (version > 0),
    published jsonb not null,
    published_at timestamptz not null default now(),
    unique (template_id, locale, version)
);

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% rows are immutable: publish a new version instead', tg_table_name;
end $$;
create trigger template_versions_are_immutable before update on template_versions
    for each row execute function refuse_change();
