update tenants set self_registration = 'customer'
where id = (select tenant_id from roles where slug = 'customer' order by tenant_id limit 1);
update users u set contact_id = c.id
from contacts c where c.tenant_id = u.tenant_id and c.id = (select min(id::text)::uuid from contacts where tenant_id = u.tenant_id);
