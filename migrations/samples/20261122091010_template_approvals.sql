insert into template_approvals (account_id, name, language, tenant_id, template_id, locale, version, category, provider_id, status)
select a.id, 'renewal_reminder', 'en', a.tenant_id, t.id, 'en', 1, 'utility', '900001', 'pending'
from accounts a join templates t on t.tenant_id = a.tenant_id order by a.id, t.id limit 1;
