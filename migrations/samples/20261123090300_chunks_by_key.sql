select campaigns_over(tenant_id, account_id), c.* from chunks c;
