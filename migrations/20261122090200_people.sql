-- What staff does with people beside importing them: finds them, looks after them, asks them what they want, and reads what
-- they were sent.

alter table contacts
    -- Whose they are, for users who see only rows of a branch or rows assigned to them.
    add column branch text,
    add column assigned_to uuid references users on delete set null;
-- The list, newest first: an id holds the moment at which it was made, so a file's rows are added at the end.
create index contacts_newest on contacts (tenant_id, id);
-- Partial, so that an import, which says neither, does not pay for them.
create index contacts_by_branch on contacts (tenant_id, branch, id) where branch is not null;
create index contacts_by_agent on contacts (assigned_to, id) where assigned_to is not null;

-- What a person is found by: each word of the name, the e-mail address, its domain, and the phone number with and without the
-- country's code. Few words a person and not all trigrams of the three: those made a row 40 us dearer to write, which is
-- twice an import of a million; words cost 8. The price: one finds by how a word begins, not by its middle.
create function contact_words(name text, email text, phone text) returns tsvector
immutable parallel safe language sql as $$
    select array_to_tsvector(array_remove(array_remove(
        string_to_array(translate(lower(coalesce(left(name, 500), '')), E'.,;:-_/()"''\t\r\n', repeat(' ', 14)), ' ')
        || array[email::text, split_part(email, '@', 2), substr(phone, 2), right(phone, 8)], ''), null))
$$;
create index contacts_by_words on contacts using gin (contact_words(name, email, phone));

-- Contacts of this tenant that fit a text query. Runs as the owner of the table, since row-level security keeps an index
-- from any operator that might tell something about rows that it hides; therefore it names the tenant itself.
create function contacts_found(query text) returns setof uuid
stable language sql security definer set search_path = public, pg_temp rows 100 as $$
    select id from contacts
    where tenant_id = this_tenant() and erased_at is null and contact_words(name, email, phone) @@ lower(query)::tsquery
$$;

-- What a person would rather have. Consents say what may be sent at all.
create table contact_preferences (
    contact_id uuid primary key references contacts on delete cascade,
    -- In the order in which the person wants to be written to.
    channels text[] not null check (channels <@ array['email', 'sms', 'whatsapp']),
    -- Kinds of marketing, each wanted or not: {"offers": false}.
    topics jsonb not null,
    updated_at timestamptz not null default now()
);
select protect('contact_preferences',
    'exists (select from contacts p where p.id = contact_id and p.tenant_id = this_tenant())');

-- An entry is named by an id, so that no address stands in a path.
alter table suppressions add column id uuid not null default gen_random_uuid();
create unique index suppressions_by_id on suppressions (id);

-- Everything that was sent to one person. A freeze walks the contacts in their order and so writes to neighbouring places of
-- the index: 1 to 2 us and 21 bytes a recipient, a tenth of what freezing one costs. Searching every campaign by its
-- primary key instead would cost a campaign as much as a whole answer does now, and not find direct messages, which follow
-- no order. Where these tables are large, make the index of each partition concurrently before: it is taken over then.
create index recipients_by_contact on recipients (contact_id) where contact_id is not null;
