mod abuse;
mod bodies;
mod inbound;
mod leaks;
mod outbound;
mod races;
mod tenants;
mod wire;
