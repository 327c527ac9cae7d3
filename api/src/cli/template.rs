//! `fanfare template`: publish, look at, list.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use fanfare_engine::{
    deliver::direct::variables,
    domain::{
        address::Region,
        channel::{Channel, MessageClass},
    },
    store::{Store, people::ContactKey, templates::TemplateHead, tenants::Tenant},
};
use fanfare_templates::{Compiled, EmailBody, Locale, Rendered, Source, Starter, publish, starters};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    context::Context,
    exit::{Exit, Failure},
    out, send,
};
use crate::assemble::links;

#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// Publish a version, from a file or from a starter
    Publish(Publish),
    /// Show a message as a contact would get it
    Preview(Preview),
    /// List templates, or the starters that come with Fanfare
    List(List),
}

#[derive(Debug, clap::Args)]
pub struct Publish {
    /// .json (whole template), .mjml or .html (e-mail body), .txt (SMS)
    #[arg(
        required_unless_present = "starter",
        conflicts_with = "starter",
        requires = "slug",
        requires = "class"
    )]
    file: Option<PathBuf>,
    /// A starter's slug; in all its channels and locales, unless --channel and --locale say which
    #[arg(long)]
    starter: Option<String>,
    /// Slug of the template [default: that of the starter]
    #[arg(long)]
    slug: Option<String>,
    /// transactional, obligation or marketing
    #[arg(long)]
    class: Option<MessageClass>,
    /// Name as people know it
    #[arg(long)]
    name: Option<String>,
    /// Only this channel of a starter
    #[arg(long, requires = "starter")]
    channel: Option<Channel>,
    /// Language of the file [default: the tenant's]; only this locale of a starter
    #[arg(long)]
    locale: Option<String>,
    /// Subject of an e-mail whose body is the file
    #[arg(long)]
    subject: Option<String>,
    /// Slug of the tenant [default: the only one]
    #[arg(long)]
    tenant: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct Preview {
    /// Slug of the template
    template: String,
    /// email, sms, whatsapp or in_app
    #[arg(long)]
    channel: Channel,
    /// E-mail address, phone number or id of a contact [default: the sample values of the starter of this slug]
    #[arg(long)]
    contact: Option<String>,
    /// A value over those, as NAME=VALUE; may be repeated. JSON is taken as JSON
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = send::pair)]
    vars: Vec<(String, String)>,
    /// Language [default: the contact's, then the tenant's]
    #[arg(long)]
    locale: Option<String>,
    /// Print an e-mail's HTML instead of its text
    #[arg(long)]
    html: bool,
    /// Slug of the tenant [default: the only one]
    #[arg(long)]
    tenant: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct List {
    /// List the starters that come with Fanfare
    #[arg(long)]
    starters: bool,
    /// Slug of the tenant [default: the only one]
    #[arg(long)]
    tenant: Option<String>,
}

pub(super) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    context.start_log(true)?;
    match args {
        Args::Publish(args) => publish_all(context, args).await,
        Args::Preview(args) => preview(context, args).await,
        Args::List(args) => list(context, args).await,
    }
}

/// One version to publish.
struct Item {
    source: Source,
    slug: String,
    class: MessageClass,
    name: String,
    locale: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PublishedLine {
    slug: String,
    channel: Channel,
    locale: String,
    version: i32,
    variables: Vec<String>,
}

async fn publish_all(context: &Context, args: Publish) -> Result<(), Failure> {
    // What is wrong with the source is told before anything is asked of the database.
    let mut items = match (&args.starter, &args.file) {
        (Some(slug), _) => starter_items(slug, &args)?,
        (None, Some(file)) => vec![file_item(file, &args)?],
        (None, None) => return Err(Failure::say(Exit::Usage, "give a file, or a starter by --starter")),
    };
    let store = context.store().await?;
    let tenant = context.tenant(&store, args.tenant.as_deref()).await?;
    let mut lines = Vec::with_capacity(items.len());
    for item in &mut items {
        if item.locale.is_empty() {
            item.locale.clone_from(&tenant.locale);
        }
        lines.push(publish_one(context, &store, &tenant, item).await?);
    }
    context.out.show(&lines, |lines| {
        let row = |l: &PublishedLine| {
            vec![
                l.slug.clone(),
                l.channel.to_string(),
                l.locale.clone(),
                l.version.to_string(),
                l.variables.join(", "),
            ]
        };
        let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
        out::table(&["PUBLISHED", "CHANNEL", "LOCALE", "VERSION", "VARIABLES"], &rows)
    })
}

async fn publish_one(
    context: &Context,
    store: &Store,
    tenant: &Tenant,
    item: &Item,
) -> Result<PublishedLine, Failure> {
    let unusable = |error: &dyn std::fmt::Display| {
        Failure::say(Exit::BadInput, format!("{} cannot be published: {error}", item.slug))
    };
    let published = publish(&item.source).map_err(|error| unusable(&error))?;
    Locale::parse(&item.locale).map_err(|error| unusable(&error))?;
    let channel: Channel = published.channel().as_str().parse().map_err(|error: String| unusable(&error))?;
    let head = TemplateHead { slug: &item.slug, channel, class: item.class, name: &item.name };
    let (template, version) =
        store.publish_template(&context.sources.ids, tenant.id, &head, &item.locale, &published).await?;
    let detail = json!({"slug": item.slug, "channel": channel, "locale": item.locale, "version": version});
    context.note(store, context.deed(tenant.id, "template.publish", template, detail)).await?;
    Ok(PublishedLine {
        slug: item.slug.clone(),
        channel,
        locale: item.locale.clone(),
        version,
        variables: published.variables().all().map(str::to_owned).collect(),
    })
}

fn starter_items(slug: &str, args: &Publish) -> Result<Vec<Item>, Failure> {
    let of_slug: Vec<&Starter> = starters().iter().filter(|starter| starter.slug == slug).collect();
    if of_slug.is_empty() {
        let mut known: Vec<&str> = starters().iter().map(|starter| starter.slug).collect();
        known.dedup();
        return Err(Failure::say(
            Exit::Usage,
            format!("there is no starter `{slug}`; there are: {}", known.join(", ")),
        ));
    }
    let wanted = |starter: &&&Starter| {
        args.channel.is_none_or(|channel| channel.as_str() == starter.channel.as_str())
            && args.locale.as_deref().is_none_or(|locale| locale == starter.locale)
    };
    let chosen: Vec<Item> = of_slug
        .iter()
        .filter(wanted)
        .map(|starter| {
            let mut item = starter_item(starter)?;
            item.slug = args.slug.clone().unwrap_or(item.slug);
            item.name = args.name.clone().unwrap_or(item.name);
            item.class = args.class.unwrap_or(item.class);
            Ok(item)
        })
        .collect::<Result<_, Failure>>()?;
    if chosen.is_empty() {
        let mut known: Vec<&str> = of_slug.iter().map(|starter| starter.locale).collect();
        known.dedup();
        return Err(Failure::say(
            Exit::Usage,
            format!("starter `{slug}` has these locales: {}", known.join(", ")),
        ));
    }
    Ok(chosen)
}

fn starter_item(starter: &Starter) -> Result<Item, Failure> {
    let class =
        serde_json::to_value(starter.class).and_then(serde_json::from_value).map_err(Failure::refused)?;
    Ok(Item {
        source: starter.source.clone(),
        slug: starter.slug.to_owned(),
        class,
        name: starter.name.clone(),
        locale: starter.locale.to_owned(),
    })
}

fn file_item(file: &Path, args: &Publish) -> Result<Item, Failure> {
    let bad = |problem: String| Failure::say(Exit::BadInput, format!("{}: {problem}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| bad(format!("cannot be read: {error}")))?;
    let subject = || {
        args.subject
            .clone()
            .ok_or_else(|| bad("this is an e-mail's body: give its --subject, too".to_owned()))
    };
    let extension =
        file.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_lowercase();
    let source = match extension.as_str() {
        "json" => serde_json::from_str(&text).map_err(|error| bad(format!("is no template: {error}")))?,
        "mjml" => {
            Source::Email { subject: subject()?, preheader: None, body: EmailBody::Mjml(text), text: None }
        }
        "html" | "htm" => {
            Source::Email { subject: subject()?, preheader: None, body: EmailBody::Html(text), text: None }
        }
        "txt" => Source::Sms { text: text.trim_end().to_owned() },
        _ => return Err(bad("must be .json, .mjml, .html or .txt".to_owned())),
    };
    let (Some(slug), Some(class)) = (args.slug.clone(), args.class) else {
        return Err(Failure::say(Exit::Usage, "give the template's --slug and --class"));
    };
    let name = args.name.clone().unwrap_or_else(|| slug.clone());
    Ok(Item { source, slug, class, name, locale: args.locale.clone().unwrap_or_default() })
}

async fn preview(context: &Context, args: Preview) -> Result<(), Failure> {
    let store = context.store().await?;
    let tenant = context.tenant(&store, args.tenant.as_deref()).await?;
    let (mut values, known) = match &args.contact {
        Some(contact) => contact_values(context, &store, &tenant, contact).await?,
        None => (sample(&args.template), None),
    };
    if let Value::Object(values) = &mut values {
        values.extend(variables(&args.vars.iter().cloned().collect::<BTreeMap<_, _>>()));
    }
    let locale = args.locale.or(known).unwrap_or_else(|| tenant.locale.clone());
    let template = store.template(tenant.id, &args.template, args.channel).await?;
    let variants = store.variants(template.id, &locale).await?;
    let variant = variants.first().ok_or_else(|| {
        Failure::say(
            Exit::Refused,
            format!("template `{}` has no published version: publish one", args.template),
        )
    })?;
    let bad = |error: &dyn std::fmt::Display| {
        Failure::say(Exit::BadInput, format!("it cannot be rendered: {error}"))
    };
    let compiled = Compiled::new(&variant.published).map_err(|error| bad(&error))?;
    let locale = Locale::parse(&variant.locale).map_err(|error| bad(&error))?;
    let rendered = compiled
        .render_with(&values, links(context.config()).samples(), &locale)
        .map_err(|error| bad(&error))?;
    let answer = json!({"template": template.slug, "channel": template.channel, "locale": variant.locale, "version": variant.version, "message": shown(&rendered)});
    context.out.show(&answer, |_| text(&rendered, args.html))
}

async fn contact_values(
    context: &Context,
    store: &Store,
    tenant: &Tenant,
    contact: &str,
) -> Result<(Value, Option<String>), Failure> {
    let region = Region::parse(&tenant.region).map_err(|error| Failure::say(Exit::Refused, error))?;
    let key = ContactKey::parse(contact, &region).ok_or_else(|| {
        Failure::say(
            Exit::Usage,
            format!("`{contact}` is no e-mail address, phone number or id of a contact (cont_…)"),
        )
    })?;
    let found = store.find_contact(tenant.id, &key).await?;
    let detail = json!({"for": "template.preview"});
    context.note(store, context.deed(tenant.id, "contact.read", found.id, detail)).await?;
    Ok((found.facts, found.locale))
}

fn sample(slug: &str) -> Value {
    let starter = starters().iter().find(|starter| starter.slug == slug);
    starter.map_or_else(|| json!({}), |starter| starter.sample.clone())
}

fn shown(rendered: &Rendered) -> Value {
    match rendered {
        Rendered::Email { subject, html, text } => json!({"subject": subject, "html": html, "text": text}),
        Rendered::Sms { text, segments } => json!({"text": text, "segments": segments.count}),
        Rendered::Whatsapp(message) => json!(message),
        Rendered::InApp(notice) => json!(notice),
    }
}

fn text(rendered: &Rendered, as_html: bool) -> String {
    match rendered {
        Rendered::Email { html, .. } if as_html => html.clone(),
        Rendered::Email { subject, text, .. } => format!("Subject: {subject}\n\n{text}"),
        Rendered::Sms { text, segments } => format!("{text}\n\n({} SMS parts)", segments.count),
        Rendered::Whatsapp(message) => serde_json::to_string_pretty(message).unwrap_or_default(),
        Rendered::InApp(notice) => format!("{}\n\n{}", notice.title, notice.message),
    }
}

async fn list(context: &Context, args: List) -> Result<(), Failure> {
    if args.starters {
        let entry = |s: &Starter| json!({"slug": s.slug, "channel": s.channel, "locale": s.locale, "class": s.class, "name": s.name});
        let all: Vec<Value> = starters().iter().map(entry).collect();
        return context.out.show(&all, |_| {
            let row = |s: &Starter| {
                vec![s.slug.to_owned(), s.channel.as_str().to_owned(), s.locale.to_owned(), s.name.clone()]
            };
            let rows: Vec<Vec<String>> = starters().iter().map(row).collect();
            out::table(&["STARTER", "CHANNEL", "LOCALE", "NAME"], &rows)
        });
    }
    let store = context.store().await?;
    let tenant = context.tenant(&store, args.tenant.as_deref()).await?;
    let lines = store.template_lines(tenant.id).await?;
    context.out.show(&lines, |lines| {
        let row = |l: &fanfare_engine::store::listing::TemplateLine| {
            vec![
                l.slug.clone(),
                l.channel.to_string(),
                l.class.to_string(),
                l.versions.join(" "),
                l.name.clone(),
            ]
        };
        let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
        out::table(&["TEMPLATE", "CHANNEL", "CLASS", "VERSIONS", "NAME"], &rows)
    })
}
