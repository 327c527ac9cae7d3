//! Amounts of money on the wire.

use fanfare_engine::domain::price::{Bill, Micros};
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Cost {
    #[schema(value_type = f64, example = 0.05)]
    amount: Micros,
    /// ISO 4217.
    currency: String,
}

impl Cost {
    /// An amount for each currency.
    pub(super) fn each(bill: Bill) -> Vec<Self> {
        let cost = |(currency, micros)| Self { amount: Micros(micros), currency };
        bill.micros.into_iter().map(cost).collect()
    }
}
