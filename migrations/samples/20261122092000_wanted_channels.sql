update contact_preferences set channels = '{email,sms}' where contact_id = '01990000-0000-7000-8000-000000000011';
