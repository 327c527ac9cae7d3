//! A campaign leaves: now, or at its time. Who may let it, what a launch pins, and what stands in its way.

use fanfare_engine::{
    domain::{
        campaign::CampaignState, campaign_status::CampaignStatus, environment::Environment,
        permission::Permission, schedule::Schedule,
    },
    id::{CampaignId, TenantId},
    launch::{self, LaunchError},
    store::{
        campaigns::{self, Campaign, ChangeError, Pins},
        drafts::{self, DraftFacts},
        sheets,
    },
};

use super::Work;
use crate::{
    auth::caller::Caller,
    http::problem::{Code, Problem},
    service::Service,
};

/// A campaign goes to everybody in its audience, whoever they are: only who sees them all writes or moves one.
pub(super) fn for_everybody(caller: &Caller) -> Result<(), Problem> {
    caller.sees_everybody("You see only some of the contacts, and a campaign is for those of everybody.")
}

/// Whether the caller may launch what they make: outside production it reaches allowed addresses only.
pub(super) fn may_launch(caller: &Caller) -> bool {
    caller.permissions.allows(Permission::CampaignsLaunch)
}

/// Whether the caller may launch a campaign that was made there, or what is missing. One of production goes to everybody in
/// its audience: whoever only tries things out does not launch it.
pub(super) fn must_launch(caller: &Caller, made_in: Environment) -> Result<(), Problem> {
    caller.needs(Permission::CampaignsLaunch)?;
    must_be_of(caller, made_in)
}

/// The same for whoever lets others launch it.
pub(super) fn must_be_of(caller: &Caller, made_in: Environment) -> Result<(), Problem> {
    if caller.environment == Environment::Production || made_in == caller.environment {
        return Ok(());
    }
    Err(Problem::say(
        Code::Conflict,
        "The sandbox launches no campaign of production: a pre-flight shows what would be sent, and a copy that you make reaches allowed addresses only.",
    ))
}

pub(super) fn refused(error: ChangeError) -> Problem {
    match error {
        ChangeError::Refused(why) => Problem::say(Code::Conflict, format!("{why}.")),
        ChangeError::Store(error) => error.into(),
    }
}

pub(super) fn not_launched(error: LaunchError) -> Problem {
    match error {
        LaunchError::Change(error) => refused(error),
        other => Problem::say(Code::Conflict, format!("It can't be launched: {other}.")),
    }
}

/// What a launch of this draft would pin.
pub(super) async fn pins_of(
    service: &Service,
    tenant: TenantId,
    facts: &DraftFacts,
) -> Result<Pins, Problem> {
    let campaign = Campaign {
        id: CampaignId::from_uuid(uuid::Uuid::nil()),
        tenant,
        name: facts.name.clone(),
        channel: facts.template.channel,
        class: facts.template.class,
        template: facts.template.id,
        audience: Some(facts.audience),
        business_key: facts.business_key.clone(),
        state: CampaignState::Draft,
        frozen: 0,
    };
    let field = format!("templates.{}", facts.template.channel);
    match launch::pins(&service.store, &campaign).await {
        Ok((pins, _)) => Ok(pins),
        Err(error @ LaunchError::NotPublished) => Err(Problem::field(field, error.to_string())),
        Err(error @ LaunchError::EmptyUpload(_)) => Err(Problem::field("uploadId", error.to_string())),
        Err(error) => Err(not_launched(error)),
    }
}

/// Lets it leave, at its time if that is still to come.
pub(super) async fn depart(
    service: &Service,
    work: &mut Work<'_>,
    id: CampaignId,
    schedule: Schedule,
    pins: &Pins,
) -> Result<CampaignState, Problem> {
    let due = schedule.due().filter(|due| *due > service.clock.now());
    let tenant = work.caller.tenant;
    let left = match due {
        Some(at) => campaigns::change(&mut work.tx, tenant, id, |state, _| state.schedule(at), None).await,
        None => campaigns::change(&mut work.tx, tenant, id, CampaignState::launch, Some(pins)).await,
    };
    left.map_err(refused)
}

/// Lets a campaign leave that was written before: counts its audience as it is now, and asks whether it may. One that is
/// scheduled leaves at once.
pub(super) async fn launch(
    service: &Service,
    work: &mut Work<'_>,
    seen: &Campaign,
    pins: &Pins,
) -> Result<CampaignState, Problem> {
    let (tenant, id) = (work.caller.tenant, seen.id);
    let sheet = sheets::lock(&mut work.tx, tenant, id).await?;
    if (sheet.template, sheet.audience) != (seen.template, seen.audience) {
        return Err(Problem::say(
            Code::Conflict,
            "Somebody has just changed it: look at it again before you launch it.",
        ));
    }
    let review = drafts::counted(&mut work.tx, tenant, &sheet).await?;
    review.may_leave(sheet.state).map_err(|why| Problem::say(Code::Conflict, sentence(&why.to_string())))?;
    let schedule = if matches!(sheet.state, CampaignState::Scheduled { .. }) {
        drafts::forget_schedule(&mut work.tx, tenant, id).await?;
        Schedule::Immediate
    } else {
        sheet.schedule
    };
    depart(service, work, id, schedule, pins).await
}

/// A reason as a sentence.
pub(super) fn sentence(why: &str) -> String {
    let mut letters = why.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

/// A change that makes no sense, and those that would.
pub(super) fn no_sense(from: CampaignStatus, wanted: CampaignStatus) -> Problem {
    let possible: Vec<&str> = from.reachable().iter().map(|status| status.as_str()).collect();
    let possible = if possible.is_empty() { "nothing any more".to_owned() } else { possible.join(", ") };
    Problem::say(
        Code::Conflict,
        format!("A campaign that is {from} can't be made {wanted}. Possible is: {possible}."),
    )
}
