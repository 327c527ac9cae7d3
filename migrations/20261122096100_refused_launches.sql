-- Why a scheduled campaign whose time has come could not be launched, and when that was last tried. It is tried again every
-- minute, and holds nobody else up.
alter table campaigns
    add column launch_refused text,
    add column launch_refused_at timestamptz;

create or replace function touch_campaign() returns trigger language plpgsql as $$
begin
    new.updated_at := clock_timestamp();
    new.launch_refused := null;
    new.launch_refused_at := null;
    return new;
end $$;
