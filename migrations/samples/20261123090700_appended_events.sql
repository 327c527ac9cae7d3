select append_events(array_agg(campaign_id), array_agg(kind), array[1], array_agg(n), array_agg(dedup), array[now()], array[null::text])
from (select * from events limit 1) told;
