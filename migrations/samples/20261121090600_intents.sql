select * from refusals('01990000-0000-7000-8000-000000000001', 'email', 'obligation', array[null]::uuid[], array['gone@example.com']);
