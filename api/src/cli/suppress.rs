//! `fanfare suppress`: write to an address no more.

use fanfare_engine::{
    domain::{
        address::{EmailAddress, PhoneNumber, Region, masked, normalised},
        channel::Channel,
        event::Scope,
        outcome::Reason,
    },
    store::tenants::Tenant,
};
use serde_json::json;

use super::{
    context::Context,
    exit::{Exit, Failure},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// E-mail address or phone number
    address: String,
    /// Slug of the tenant [default: the only one]
    #[arg(long)]
    tenant: Option<String>,
    /// email, sms, whatsapp or in_app [default: email for an e-mail address]
    #[arg(long)]
    channel: Option<Channel>,
    /// marketing, or all for bills and receipts too
    #[arg(long, default_value = "marketing")]
    scope: Scope,
}

pub(super) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    context.start_log(true)?;
    let store = context.store().await?;
    let tenant = context.tenant(&store, args.tenant.as_deref()).await?;
    let (channel, address) = parsed(&args.address, args.channel, &tenant)?;
    store.suppress(tenant.id, channel, &address, args.scope, Reason::Unsubscribed, "command").await?;
    let detail = json!({"channel": channel, "address": masked(&address), "scope": args.scope, "reason": Reason::Unsubscribed});
    context.note(&store, context.deed(tenant.id, "suppression.add", "", detail)).await?;
    let answer = json!({"address": address, "channel": channel, "scope": args.scope});
    context.out.show(&answer, |_| match args.scope {
        Scope::All => format!("Nothing more leaves for {address} by {channel}."),
        Scope::Marketing => {
            format!("No more marketing leaves for {address} by {channel}; bills and receipts still do.")
        }
    })
}

/// An address in its normal form, and the channel that it is meant for.
pub(super) fn parsed(
    address: &str,
    channel: Option<Channel>,
    tenant: &Tenant,
) -> Result<(Channel, String), Failure> {
    let usage = |sentence: String| Failure::say(Exit::Usage, sentence);
    let channel = match channel {
        Some(channel) => channel,
        None if address.contains('@') => Channel::Email,
        None => return Err(usage("say by --channel whether this is for sms, whatsapp or in_app".to_owned())),
    };
    let normal = match channel {
        Channel::Email => EmailAddress::parse(address).map(|address| address.as_str().to_owned()),
        Channel::Sms | Channel::Whatsapp => {
            let region = Region::parse(&tenant.region).map_err(usage)?;
            PhoneNumber::parse(address, &region).map(|phone| phone.as_str().to_owned())
        }
        Channel::InApp => normalised(channel, address),
    };
    normal
        .map(|address| (channel, address))
        .map_err(|error| usage(format!("`{address}` cannot be written to by {channel}: {error}")))
}
