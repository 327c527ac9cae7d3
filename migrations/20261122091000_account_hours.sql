-- What the requests over an account came to, for the report of providers: a row for each account, hour and country, added to by
-- each process every few seconds, never by a message. A process that is killed takes the last seconds of it along; what became
-- of messages stands in their own rows.
create table account_hours (
    account_id uuid not null references accounts on delete cascade,
    hour timestamptz not null,
    -- The country calling code that the addresses begin with; 0: they are no numbers.
    code smallint not null,
    requests bigint not null,
    -- How often the price of a message was due: once for each segment of an SMS that was accepted.
    units bigint not null,
    -- How long the provider took to answer, in all, and how many answers took as long as each bound (`domain::answers`).
    answer_us bigint not null,
    answers bigint[] not null,
    primary key (account_id, hour, code)
) with (fillfactor = 70);

create function add_each(one bigint[], other bigint[]) returns bigint[] immutable language sql as $$
    select array_agg(coalesce(a, 0) + coalesce(b, 0) order by at)
    from unnest(one, other) with ordinality as pair (a, b, at)
$$;

select protect('account_hours',
    'exists (select from accounts p where p.id = account_hours.account_id and p.tenant_id = this_tenant())');
