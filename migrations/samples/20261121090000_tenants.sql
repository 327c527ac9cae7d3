insert into tenants (id, slug, name, region, locale, time_zone, currency) values
    ('01990000-0000-7000-8000-000000000001', 'acme', 'Acme Insurance', 'MU', 'en', 'Indian/Mauritius', 'MUR'),
    ('01990000-0000-7000-8000-000000000002', 'fleet', 'Fleet & Co', 'FR', 'fr', 'Europe/Paris', 'EUR');
insert into duties (name, holder, fence, until) values ('finish', '01990000-0000-7000-8000-00000000000a', 3, now());
