-- What a campaign counts of its recipients, each only if its authors ask for it.
alter table campaigns
    -- Links of its e-mails lead over this service.
    add column track_links boolean not null default false,
    -- Its e-mails hold a picture that tells that they were opened.
    add column track_opens boolean not null default false,
    -- Names it in links that have to be short.
    add column short_no bigint generated always as identity;
create unique index campaigns_by_short_no on campaigns (short_no);
