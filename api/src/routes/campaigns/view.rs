//! A campaign as the API shows it.

use fanfare_engine::{
    domain::{
        campaign_status::CampaignStatus,
        channel::{Channel, MessageClass},
        environment::Environment,
        schedule::ScheduleType,
    },
    id::{CampaignId, TemplateId, UploadId},
    store::{
        campaigns::{Audience, Progress},
        sheets::Sheet,
    },
};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::input::{ConversionInput, SendingHours, TargetAudience};

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CampaignView {
    #[schema(value_type = String, example = "camp_01jd3v9x2gfk8s5m7q4w6r0t1z")]
    pub(super) id: CampaignId,
    name: String,
    /// `email`, `sms`, `whatsapp` or `in_app`.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    channel: Channel,
    /// `draft`, `in_review`, `scheduled`, `active`, `paused`, `completed` or `stopped`.
    #[schema(value_type = String)]
    status: CampaignStatus,
    /// `production`, or `sandbox`: it reaches allowed addresses only.
    #[schema(value_type = String)]
    environment: Environment,
    /// Recipients whom the audience reaches over this channel, as counted when it was last written.
    target_count: i64,
    /// There where the audience is so large that a part of it was counted, and the rest taken to be like it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    target_count_estimated: bool,
    #[schema(value_type = String)]
    schedule_type: ScheduleType,
    /// As it was asked for: of a `local` schedule without an offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduled_at: Option<String>,
    /// Why it could not be launched when its time had come; that is tried again every minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    launch_refused: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    upload_id: Option<UploadId>,
    target_audience: TargetAudience,
    template: TemplateRef,
    /// `transactional`, `obligation` or `marketing`; the template's.
    #[schema(value_type = String)]
    class: MessageClass,
    #[serde(skip_serializing_if = "Option::is_none")]
    business_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sending_hours: Option<SendingHours>,
    /// Messages that leave in a minute, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    throttle_per_minute: Option<i32>,
    conversion: ConversionInput,
    /// Whether links of its e-mails lead over this service, so that clicks are counted.
    track_links: bool,
    /// Whether its e-mails hold a picture that tells that they were opened.
    track_opens: bool,
    review: ReviewView,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<Timestamp>,
    /// When it was completed or stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TemplateRef {
    #[schema(value_type = String)]
    id: TemplateId,
    slug: String,
}

/// Whether somebody other than its authors has to approve it, and whether somebody has.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ReviewView {
    required: bool,
    approved: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    approved_at: Option<Timestamp>,
}

impl From<Sheet> for CampaignView {
    fn from(sheet: Sheet) -> Self {
        let required = sheet.review.is_required();
        let hours = |at: jiff::civil::Time| at.strftime("%H:%M").to_string();
        Self {
            id: sheet.id,
            name: sheet.name,
            channel: sheet.channel,
            status: CampaignStatus::of(sheet.state),
            environment: sheet.environment,
            target_count: sheet.target.recipients,
            target_count_estimated: !sheet.target.exact,
            schedule_type: sheet.schedule.kind(),
            scheduled_at: sheet.schedule.text(),
            launch_refused: sheet.launch_refused,
            upload_id: match sheet.audience {
                Some(Audience::Upload(upload)) => Some(upload),
                _ => None,
            },
            target_audience: TargetAudience::All,
            template: TemplateRef { id: sheet.template, slug: sheet.template_slug },
            class: sheet.class,
            business_key: sheet.business_key,
            sending_hours: sheet.window.map(|(from, to)| SendingHours { from: hours(from), to: hours(to) }),
            throttle_per_minute: sheet.throttle_per_minute,
            conversion: ConversionInput {
                within_hours: Some(sheet.conversion.hours),
                kinds: sheet.conversion.kinds,
            },
            track_links: sheet.tracking.links,
            track_opens: sheet.tracking.opens,
            review: ReviewView {
                required,
                approved: sheet.review.approved,
                approved_by: sheet.approved_by,
                approved_at: sheet.approved_at,
            },
            started_at: sheet.launched_at,
            ended_at: sheet.finished_at,
            created_at: sheet.created_at,
            updated_at: sheet.updated_at,
        }
    }
}

/// How far it is. `recipients = excluded + sent + failed + suppressed + unknown + waiting`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProgressView {
    recipients: i64,
    /// Left out when the audience was frozen: no address, a duplicate address, a business key that was sent before.
    excluded: i64,
    sent: i64,
    failed: i64,
    /// Stopped right before the send, or by the campaign's end.
    suppressed: i64,
    /// Whether they were sent is not known yet.
    unknown: i64,
    waiting: i64,
}

impl From<Progress> for ProgressView {
    fn from(progress: Progress) -> Self {
        let Progress { recipients, excluded, sent, failed, suppressed, unknown, waiting } = progress;
        Self { recipients, excluded, sent, failed, suppressed, unknown, waiting }
    }
}

/// A campaign, and how far it is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CampaignShown {
    #[serde(flatten)]
    pub(super) campaign: CampaignView,
    pub(super) progress: ProgressView,
}
