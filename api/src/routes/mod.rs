//! The routes under `/api`, a file for each kind of thing. A route reads the request, calls the store within the caller's
//! tenant, notes the deed in the audit log, and answers; rules live in the engine.

mod accounts;
mod api_keys;
mod audit;
mod auth;
mod campaigns;
mod communication;
mod contacts;
mod cost;
mod messages;
mod notifications;
mod references;
mod registration;
mod reports;
mod roles;
mod send_caps;
mod settings;
mod suppressions;
mod templates;
mod uploads;
mod users;

use std::time::Instant;

use fanfare_engine::{
    domain::{channel::Channel, environment::Environment},
    id::Id,
    store::{addressees, audit as log, tenancy::Within},
};
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    auth::caller::Caller,
    http::problem::{Code, Problem},
    service::Service,
};

pub(crate) fn all() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .merge(auth::routes())
        .merge(users::routes())
        .merge(roles::routes())
        .merge(api_keys::routes())
        .merge(audit::routes())
        .merge(contacts::routes())
        .merge(suppressions::routes())
        .merge(uploads::routes())
        .merge(templates::routes())
        .merge(communication::routes())
        .merge(messages::routes())
        .merge(references::routes())
        .merge(campaigns::routes())
        .merge(notifications::routes())
        .merge(accounts::routes())
        .merge(settings::routes())
        .merge(registration::routes())
        .merge(send_caps::routes())
        .merge(reports::routes())
}

/// Work of a caller: within their tenant, its deeds in their name. What it changes is a transaction.
#[derive(Debug)]
pub(crate) struct Work<'a> {
    pub(crate) tx: Within,
    caller: &'a Caller,
    service: &'a Service,
}

impl<'a> Work<'a> {
    pub(crate) async fn begin(service: &'a Service, caller: &'a Caller) -> Result<Self, Problem> {
        let asked = Instant::now();
        let tx = service.store.within(caller.tenant).await?;
        Ok(Self::on(tx, asked, (service, caller)))
    }

    /// What changes nothing.
    pub(crate) async fn read(service: &'a Service, caller: &'a Caller) -> Result<Self, Problem> {
        let asked = Instant::now();
        let tx = service.store.reading(caller.tenant).await?;
        Ok(Self::on(tx, asked, (service, caller)))
    }

    fn on(tx: Within, asked: Instant, (service, caller): (&'a Service, &'a Caller)) -> Self {
        service.direct.callers.longer(asked.elapsed());
        Self { tx, caller, service }
    }

    pub(crate) fn new_id<K>(&self) -> Id<K> {
        self.service.ids.next(self.service.clock.now())
    }

    /// Whether the caller may have something sent to this address: outside production only to those that are allowed.
    pub(crate) async fn may_reach(&mut self, channel: Channel, address: &str) -> Result<(), Problem> {
        let Caller { tenant, environment, .. } = self.caller;
        if *environment == Environment::Production
            || addressees::may_be_tried(&mut self.tx, *tenant, channel, address).await?
        {
            return Ok(());
        }
        Err(Code::NotAllowListed.into())
    }

    /// Notes what was done, in the same transaction. `detail` bears no secrets, and addresses masked.
    pub(crate) async fn note(
        &mut self,
        action: &'static str,
        subject: &str,
        detail: Value,
    ) -> Result<(), Problem> {
        let deed = self.caller.deed(self.service.clock.now(), action, subject, detail);
        Ok(log::append(&mut self.tx, &deed).await?)
    }

    /// Ends what was only read, and notes that it was: durable before anything of it is shown.
    pub(crate) async fn seen(
        self,
        action: &'static str,
        subject: &str,
        detail: Value,
    ) -> Result<(), Problem> {
        let deed = self.caller.deed(self.service.clock.now(), action, subject, detail);
        self.tx.end();
        self.service.together.deeds.ask(deed).await
    }

    pub(crate) async fn commit(self) -> Result<(), Problem> {
        Ok(self.tx.commit().await?)
    }

    /// Ends what was only read.
    pub(crate) fn end(self) {
        self.tx.end();
    }
}
