#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub struct Window { pub requests: u64 }
impl Window { pub fn per_second(&self) -> f64 { 1.0 } }
#[derive(Debug)] pub struct AccountPacer;
#[derive(Debug)] pub struct Permit;
#[derive(Debug)] pub struct Admission;
impl Admission { pub fn count(&self) -> usize { 1 } }
#[derive(Debug, Clone, Copy)] pub enum Priority { Urgent, Bulk }
impl AccountPacer {
  pub async fn admit(&self, _k: usize) -> Option<Admission> { None }
  pub fn admit_now(&self, _k: usize) -> Option<Admission> { None }
  pub async fn permit(&self, _p: Priority) -> Result<Permit, ()> { Ok(Permit) }
  pub async fn throttled(&self, _r: Option<std::time::Duration>, _p: Permit) {}
  pub async fn quota(&self, _q: &crate::providers::Quota) {}
}
pub mod breaker { #[derive(Debug)] pub struct Breaker; impl Breaker { pub fn allows(&self)->bool{true} pub fn succeeded(&self){} pub fn failed(&self,_r:Option<std::time::Duration>){} } }
