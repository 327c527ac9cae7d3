pub mod breaker;
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub struct Window { pub requests: u64 }
impl Window { pub fn per_second(&self) -> f64 { 1.0 } }
#[derive(Debug)] pub struct AccountPacer;
#[derive(Debug)] pub struct Permit;
#[derive(Debug)] pub struct Admission(usize);
impl Admission { pub fn count(&self) -> usize { self.0 } }
#[derive(Debug, Clone, Copy)] pub enum Priority { Urgent, Bulk }
impl AccountPacer {
  pub async fn admit(&self, k: usize) -> Option<Admission> { Some(Admission(k)) }
  pub fn admit_now(&self, k: usize) -> Option<Admission> { Some(Admission(k)) }
  pub async fn permit(&self, _p: Priority) -> Result<Permit, ()> { Ok(Permit) }
  pub async fn throttled(&self, _r: Option<std::time::Duration>, _p: Permit) {}
  pub async fn quota(&self, _q: &crate::providers::Quota) {}
}
pub struct Limiter;
impl Limiter { pub fn for_tests(_r:&str,_p:&str,_s:crate::store::Store)->Self{Self} pub fn account(&self,_i:crate::id::AccountId,_w:Vec<Window>)->std::sync::Arc<AccountPacer>{std::sync::Arc::new(AccountPacer)} }
