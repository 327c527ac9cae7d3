//! `fanfare unsent`: who was not sent, and why.

use fanfare_engine::{id::CampaignId, spreadsheet, store::messages::Unsent};
use serde_json::json;

use super::{context::Context, exit::Failure, out};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Campaign, as in camp_01…
    campaign: CampaignId,
    /// Slug of the tenant [default: the only one]
    #[arg(long)]
    tenant: Option<String>,
    /// Go on after this recipient number
    #[arg(long, default_value_t = 0)]
    after: i32,
    /// How many at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    limit: i64,
    /// Print CSV
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

const HEADING: [&str; 7] = ["n", "message", "address", "state", "reason", "because", "detail"];

pub(super) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    context.start_log(true)?;
    let store = context.store().await?;
    let tenant = context.tenant(&store, args.tenant.as_deref()).await?;
    store.campaign(tenant.id, args.campaign).await?;
    let page = store.unsent(tenant.id, args.campaign, args.after, args.limit).await?;
    let detail = json!({"recipients": page.len(), "of": "unsent"});
    context.note(&store, context.deed(tenant.id, "campaign.recipients_read", args.campaign, detail)).await?;
    if args.csv {
        return csv(&page);
    }
    let full = i64::try_from(page.len()).is_ok_and(|count| count == args.limit);
    let next = page.last().filter(|_| full).map(|last| last.message.n);
    let answer = json!({"unsent": page, "next": next});
    context.out.show(&answer, |_| {
        if page.is_empty() {
            return "Everybody was sent to, or still waits.".to_owned();
        }
        let line = |u: &Unsent| {
            vec![u.message.n.to_string(), u.address.clone(), u.state.clone(), u.reason.clone(), because(u)]
        };
        let rows: Vec<Vec<String>> = page.iter().map(line).collect();
        let more = next.map(|next| format!("\nMore: --after {next}")).unwrap_or_default();
        out::table(&["N", "ADDRESS", "STATE", "REASON", "BECAUSE"], &rows) + &more
    })
}

fn because(unsent: &Unsent) -> String {
    match &unsent.detail {
        Some(detail) => format!("{} ({detail})", unsent.because),
        None => unsent.because.clone(),
    }
}

fn csv(page: &[Unsent]) -> Result<(), Failure> {
    let line = |unsent: &Unsent| {
        let Unsent { message, address, state, reason, because, detail, .. } = unsent.clone();
        [
            message.n.to_string(),
            message.to_string(),
            address,
            state,
            reason,
            because,
            detail.unwrap_or_default(),
        ]
    };
    let all = std::iter::once(HEADING.map(str::to_owned)).chain(page.iter().map(line));
    out::print(&String::from_utf8_lossy(&spreadsheet::lines(all)))
}
