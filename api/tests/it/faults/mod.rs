//! Promises under fault: whole processes on servers of their own, killed and cut in mid-campaign.

mod crash;
mod quota;
mod rig;
mod stops;
