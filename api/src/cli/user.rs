//! `fanfare user`: the first owner of a tenant, and whoever has lost their way in.

use std::time::Duration;

use fanfare_engine::{
    domain::address::EmailAddress,
    id::UserId,
    store::{
        Store, audit,
        roles::{self, OWNER},
        sign_in::{self, LinkPurpose},
        tenants::Tenant,
        users::{self, NewUser},
    },
};
use serde::Serialize;
use serde_json::json;

use super::{
    context::Context,
    exit::{Exit, Failure},
};
use crate::{
    auth::tokens::{self, Kind},
    pages,
};

/// Somebody sits at the keyboard; a link that lies about for days is for others to find.
const LINK_LIFETIME: Duration = Duration::from_hours(4);

#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// Invite an owner, who may do everything; prints the link that sets their password
    Owner(Owner),
}

#[derive(Debug, clap::Args)]
pub struct Owner {
    /// E-mail address that they will sign in with
    email: String,
    /// First name
    #[arg(long)]
    name: String,
    /// Slug of the tenant [default: the only one]
    #[arg(long)]
    tenant: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Invited {
    user_id: UserId,
    email: String,
    /// Takes `{"password": "…"}` by POST, once.
    url: String,
    hours: u64,
}

pub(super) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    context.start_log(true)?;
    let Args::Owner(Owner { email, name, tenant }) = args;
    let email = EmailAddress::parse(&email)
        .map_err(|error| Failure::say(Exit::Usage, format!("`{email}` is {error}")))?;
    let store = context.declared_store().await?;
    let tenant = context.tenant(&store, tenant.as_deref()).await?;
    let (user_id, token) = invite(context, &store, &tenant, (&email, &name)).await?;
    let invited = Invited {
        user_id,
        email: email.into_string(),
        url: pages::link(&context.config().api.base(), LinkPurpose::Invitation, &token),
        hours: LINK_LIFETIME.as_secs() / 3_600,
    };
    context.out.show(&invited, |invited| {
        format!(
            "{} becomes an owner of {} by choosing a password within {} hours, once:\n  {}",
            invited.email, tenant.name, invited.hours, invited.url
        )
    })
}

/// Makes an owner who has no password yet, and the secret of the link that sets it.
pub(crate) async fn invite(
    context: &Context,
    store: &Store,
    tenant: &Tenant,
    (email, name): (&EmailAddress, &str),
) -> Result<(UserId, String), Failure> {
    let sources = &context.sources;
    let (token, hash) = tokens::make(Kind::Link, &sources.ids);
    let id = sources.ids.next(sources.clock.now());
    let mut tx = store.within(tenant.id).await?;
    let role = roles::by_slug(&mut tx, tenant.id, OWNER).await?;
    let user = NewUser {
        id,
        tenant: tenant.id,
        email: email.as_str(),
        first_name: name,
        last_name: "",
        phone: None,
        role: role.id,
        password_hash: None,
        contact: None,
    };
    users::create(&mut tx, &user).await?;
    sign_in::make_link(&mut tx, tenant.id, (LinkPurpose::Invitation, id), &hash, LINK_LIFETIME).await?;
    audit::append(&mut tx, &context.deed(tenant.id, "user.invite", id, json!({"role": OWNER}))).await?;
    tx.commit().await?;
    Ok((id, token))
}
