//! The caller of a request. A route's signature says what it needs: [`May`] a permission, or [`SignedIn`] only.

use std::{marker::PhantomData, sync::Arc};

use axum::{
    extract::FromRequestParts,
    http::{Extensions, Method, request::Parts},
};
use fanfare_engine::{
    domain::{
        environment::Environment,
        permission::{Needs, Permission, Permissions},
    },
    id::{ApiKeyId, SessionId, TenantId, UserId},
    store::{audit::Deed, tenants::Tenant, users::RowScope},
};
use jiff::Timestamp;
use serde_json::Value;

use crate::http::{
    headers::RequestId,
    problem::{Code, Problem},
};

/// What production goes by: its people and what they may do, its accounts and settings.
const OF_PRODUCTION: [Permission; 4] = [
    Permission::UsersUpdate,
    Permission::RolesUpdate,
    Permission::AccountsUpdate,
    Permission::SettingsUpdate,
];

/// A person or a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Actor {
    User { user: UserId, session: SessionId },
    Key(ApiKeyId),
}

impl Actor {
    /// As the audit log writes it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::User { user, .. } => format!("user:{user}"),
            Self::Key(key) => format!("key:{key}"),
        }
    }
}

/// Everything about the caller that decides what they see and may do. The tenant comes from here, never from the request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) tenant: TenantId,
    /// Their tenant, as it was when the request came.
    pub(crate) home: Arc<Tenant>,
    pub(crate) environment: Environment,
    pub(crate) actor: Actor,
    pub(crate) permissions: Permissions,
    pub(crate) scope: RowScope,
    pub(crate) request: RequestId,
}

impl Caller {
    /// What a route can't say in its signature, because it depends on the request.
    pub(crate) fn needs(&self, permission: Permission) -> Result<(), Problem> {
        if self.permissions.allows(permission) {
            return Ok(());
        }
        Err(Problem::say(Code::Forbidden, format!("You need the permission `{permission}` for this.")))
    }

    /// Whoever tries things out touches nothing of production.
    pub(crate) fn works_in(&self, environment: Environment, otherwise: &'static str) -> Result<(), Problem> {
        if [environment, Environment::Production].contains(&self.environment) {
            return Ok(());
        }
        Err(Problem::say(Code::Forbidden, otherwise))
    }

    /// What shows everybody's rows, or lets somebody else see them, is for whoever sees all of them.
    pub(crate) fn sees_everybody(&self, otherwise: &'static str) -> Result<(), Problem> {
        if self.scope == RowScope::All { Ok(()) } else { Err(Problem::say(Code::Forbidden, otherwise)) }
    }

    /// The same of a list of people.
    pub(crate) fn may_list_everybody(&self) -> Result<(), Problem> {
        self.sees_everybody("You see only some of the contacts, and this list holds those of everybody.")
    }

    /// What they did, for the audit log. `detail` bears no secrets, and addresses masked.
    pub(crate) fn deed(&self, at: Timestamp, action: &'static str, subject: &str, detail: Value) -> Deed {
        Deed {
            at,
            tenant: self.tenant,
            actor: self.actor.name(),
            action,
            subject: subject.to_owned(),
            detail,
            request_id: Some(self.request.as_str().to_owned()),
        }
    }

    pub(crate) const fn key(&self) -> Option<ApiKeyId> {
        match self.actor {
            Actor::Key(key) => Some(key),
            Actor::User { .. } => None,
        }
    }

    /// The user, where only a person makes sense.
    pub(crate) fn user(&self) -> Result<(UserId, SessionId), Problem> {
        match self.actor {
            Actor::User { user, session } => Ok((user, session)),
            Actor::Key(_) => Err(Problem::say(Code::Forbidden, "An API key is no person: sign in for this.")),
        }
    }
}

/// What [`super::identify`] found out about a request.
pub(super) type Identified = Result<Option<Caller>, Problem>;

/// Anybody who proved who they are.
#[derive(Debug, Clone)]
pub(crate) struct SignedIn(pub(crate) Caller);

impl SignedIn {
    /// The caller of a request, for what runs before its route.
    pub(crate) fn seen(extensions: &Extensions) -> Option<Caller> {
        extensions.get::<Identified>().cloned()?.ok().flatten()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let identified = parts.extensions.get::<Identified>().cloned().unwrap_or(Ok(None));
        identified?.map(Self).ok_or_else(|| Code::Unauthenticated.into())
    }
}

/// Whoever has the permission `P`.
#[derive(Debug, Clone)]
pub(crate) struct May<P> {
    pub(crate) caller: Caller,
    needs: PhantomData<fn() -> P>,
}

impl<P: Needs, S: Send + Sync> FromRequestParts<S> for May<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let SignedIn(caller) = SignedIn::from_request_parts(parts, state).await?;
        caller.needs(P::PERMISSION)?;
        if parts.method != Method::GET && OF_PRODUCTION.contains(&P::PERMISSION) {
            caller.works_in(
                Environment::Production,
                "Production goes by this, and you are outside of it: sign in there, or take a key of production.",
            )?;
        }
        Ok(Self { caller, needs: PhantomData })
    }
}
