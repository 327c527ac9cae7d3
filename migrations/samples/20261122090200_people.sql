update contacts set branch = 'Port Louis' where id = '01990000-0000-7000-8000-000000000011';
insert into contact_preferences (contact_id, channels, topics) values
    ('01990000-0000-7000-8000-000000000011', '{whatsapp,email}', '{"offers": false}');
