-- The id of a message as it is shown everywhere: `msg_` and the bytes of its campaign and number in Crockford's base32.
create function message_text(campaign uuid, n integer) returns text language sql immutable strict parallel safe as $$
    select 'msg_' || string_agg(
               substr('0123456789abcdefghjkmnpqrstvwxyz', 1 + substring(bits from 1 + 5 * i for 5)::integer, 1), '' order by i)
    from (select ('x' || encode(uuid_send(campaign) || int4send(n), 'hex'))::bit(160) as bits) id, generate_series(0, 31) i
$$;
