-- Every wall asks once, and none is missing.
do $$ begin
    if exists (select from pg_policies where policyname = 'of_this_tenant'
               and (qual !~ 'SELECT this_tenant\(\)' or with_check <> qual)) then
        raise exception 'a wall asks for every row';
    end if;
end $$;
select tablename from pg_policies where policyname = 'of_this_tenant';
