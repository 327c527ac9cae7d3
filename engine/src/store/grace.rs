use super::*; impl Store { pub async fn grace(&self, _t: crate::id::TenantId) -> StoreResult<()> { Ok(()) } }
