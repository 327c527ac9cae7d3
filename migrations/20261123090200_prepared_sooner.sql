-- Who is in an audience twice is known before its first slice, so a launch waits for it: half a microsecond a row instead of
-- three. Addresses and people are unique, so of an e-mail campaign it is who stands in the file twice; a phone number may be
-- several people's. The twice are found by hashes first, and looked at only if there are any.
create or replace function prepare_audience(p_campaign uuid) returns void language plpgsql set work_mem = '64MB' as $$
declare
    k campaigns;
    upload uuid;
    by_person boolean;
    people uuid[];
    hashes bigint[];
begin
    select * into k from campaigns where id = p_campaign for update;
    if k.prepared then
        return;
    end if;
    upload := (k.audience ->> 'upload')::uuid;
    by_person := k.channel in ('email', 'in_app');
    if upload is not null and by_person then
        people := array(select r.contact_id from upload_rows r where r.upload_id = upload
                        group by r.contact_id having count(*) > 1);
        insert into duplicate_addresses (campaign_id, address, kept_contact, kept_row)
        select p_campaign, case k.channel when 'email' then c.email else c.id::text end, c.id,
               (array_agg(r.row_no order by r.time_zone, r.row_no))[1]
        from upload_rows r join contacts c on c.id = r.contact_id
        where cardinality(people) > 0 and r.upload_id = upload and r.contact_id = any (people)
          and c.erased_at is null and (k.channel <> 'email' or c.email is not null)
        group by c.id;
    elsif upload is not null then
        hashes := array(select hashtextextended(c.phone, 0)
                        from upload_rows r join contacts c on c.id = r.contact_id
                        where r.upload_id = upload and c.phone is not null and c.erased_at is null
                        group by 1 having count(*) > 1);
        insert into duplicate_addresses (campaign_id, address, kept_contact, kept_row)
        select p_campaign, c.phone, (array_agg(c.id order by r.time_zone, c.id, r.row_no))[1],
               (array_agg(r.row_no order by r.time_zone, c.id, r.row_no))[1]
        from upload_rows r join contacts c on c.id = r.contact_id
        where cardinality(hashes) > 0 and r.upload_id = upload and hashtextextended(c.phone, 0) = any (hashes)
          and c.erased_at is null
        group by c.phone having count(*) > 1;
    elsif not by_person then
        hashes := array(select hashtextextended(c.phone, 0) from contacts c
                        where c.tenant_id = k.tenant_id and c.phone is not null and c.created_at <= k.launched_at
                          and c.erased_at is null
                        group by 1 having count(*) > 1);
        insert into duplicate_addresses (campaign_id, address, kept_contact, kept_row)
        select p_campaign, c.phone, (array_agg(c.id order by c.time_zone, c.id))[1], 0
        from contacts c
        where cardinality(hashes) > 0 and c.tenant_id = k.tenant_id and hashtextextended(c.phone, 0) = any (hashes)
          and c.created_at <= k.launched_at and c.erased_at is null
        group by c.phone having count(*) > 1;
    end if;
    update campaigns set prepared = true, cursor_zone = '', cursor_row = 0,
        cursor_contact = '00000000-0000-0000-0000-000000000000' where id = p_campaign;
end $$;
