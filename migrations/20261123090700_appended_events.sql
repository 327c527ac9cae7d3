-- Appends events, in the caller's transaction. What those of one campaign and kind share is told once, and `groups` says of each
-- which (from 1) it belongs to. Returns the places (from 1) of those that were there already: where there is one among
-- them, which is rare, it begins again with the dearer form.
create function append_events(
    campaigns uuid[], kinds text[], groups integer[], ns integer[], dedups uuid[], ats timestamptz[], details text[]
) returns integer[] language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    known integer[];
begin
    insert into events (campaign_id, n, kind, dedup, at, detail)
    select campaigns[f.of], f.n, kinds[f.of], f.dedup, f.at, f.detail
    from unnest(groups, ns, dedups, ats, details) as f (of, n, dedup, at, detail);
    return '{}';
exception when unique_violation then
    with new as (
        insert into events (campaign_id, n, kind, dedup, at, detail)
        select campaigns[f.of], f.n, kinds[f.of], f.dedup, f.at, f.detail
        from unnest(groups, ns, dedups, ats, details) as f (of, n, dedup, at, detail)
        on conflict do nothing
        returning campaign_id, n, kind, dedup
    )
    select coalesce(array_agg(f.place), '{}') into known
    from unnest(groups, ns, dedups) with ordinality as f (of, n, dedup, place)
    where not exists (select from new where new.campaign_id = campaigns[f.of] and new.n = f.n
                                        and new.kind = kinds[f.of] and new.dedup = f.dedup);
    return known;
end $$;
