use super::*; use crate::{id::TenantId, domain::{channel::Channel,event::Scope,outcome::Reason}};
impl Store { pub async fn suppress(&self, t: TenantId, c: Channel, a:&str, s: Scope, r: Reason, src:&str)->StoreResult<()> {
 sqlx::query("insert into suppressions (tenant_id,channel,address,scope,reason,source) values ($1,$2,$3,$4,$5,$6) on conflict do nothing").bind(t.uuid()).bind(c.as_str()).bind(a).bind(s.as_str()).bind(r.as_str()).bind(src).execute(self.pool()).await?; self.grace(t).await } }
