pub mod reconcile { use crate::{store::{Store,StoreResult}, providers::Adapter, id::*}; pub async fn look_up(_s:&Store,_a:&dyn Adapter,_i:AccountId,_m:&[MessageId],_t:jiff::Timestamp)->StoreResult<usize>{Ok(0)} }
pub fn start(_s:&crate::store::Store,_a:&crate::deliver::accounts::Accounts,_t:&tokio_util::task::TaskTracker,_c:&tokio_util::sync::CancellationToken){}
