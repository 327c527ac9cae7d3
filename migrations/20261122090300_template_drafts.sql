-- Templates are edited before they are published, and taken out of use when they have served.

alter table templates
    -- An inactive template is kept for what was sent with it, but nothing new is launched or sent.
    add column active boolean not null default true,
    add column updated_at timestamptz not null default now();
create index templates_by_name on templates (tenant_id, name, id);

alter table template_versions
    -- How its author writes variables: {{name}}, or {name}. What is stored is Handlebars in either case.
    add column notation text not null default 'handlebars' check (notation in ('handlebars', 'single')),
    -- The names as the author declared them; null: those that the text uses.
    add column variables text[];

-- A version that may still change. It has its number already, and becomes a row of template_versions when it is published:
-- whoever sends reads that table only, and so never meets a draft.
create table template_drafts (
    template_id uuid not null references templates on delete cascade,
    locale text not null,
    version integer not null check (version > 0),
    source jsonb not null,
    notation text not null check (notation in ('handlebars', 'single')),
    variables text[] not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (template_id, locale, version)
);
select protect('template_drafts', 'exists (select from templates p where p.id = template_id and p.tenant_id = this_tenant())');

-- Every version, published or not, as people look at it. Whoever reads it is held by the policies of the tables.
create view template_history with (security_invoker = true) as
select template_id, locale, version, published -> 'source' as source, notation,
       coalesce(variables, array(select jsonb_array_elements_text(
           (published #> '{variables,required}') || (published #> '{variables,optional}')))) as variables,
       published_at, published_at as updated_at
from template_versions
union all
select template_id, locale, version, source, notation, variables, null, updated_at
from template_drafts;
grant select on template_history to fanfare_api;

-- Messages that somebody sent to themselves to look at a template: no figure counts them.
alter table campaigns add column test boolean not null default false check (not test or kind = 'direct');
