update users set status = 'blocked' where id = (select min(id::text)::uuid from users);
