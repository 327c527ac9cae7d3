-- As before, and a template without any variable pins nothing of a large row: there was no statement to make of no names, so
-- that a campaign with such a template could not be frozen.
create or replace function pinned_attributes(attributes text, variables text[]) returns text immutable language sql as $$
    select format('case when pg_column_size(%1$s) <= 512 then %1$s::text else concat(''{'', concat_ws('','', %2$s), ''}'') end',
        attributes,
        coalesce(string_agg(format('%L || (%s -> %L)::text', to_json(name)::text || ':', attributes, name), ', '), 'null'))
    from unnest(variables || '{}'::text[]) name
$$;
