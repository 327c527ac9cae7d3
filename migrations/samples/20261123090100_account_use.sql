select campaigns_over(tenant_id, id) from accounts;
