//! Every adapter against the simulated providers: the same promises, row by row, whatever the channel.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fanfare_engine::{
    domain::{
        channel::{MessageClass, Provider},
        event::EventKind,
        outcome::{Outcome, Reason},
    },
    id::{CampaignId, Ids, MessageId},
    providers::{
        Adapter, Answer, BatchAnswer, Effect, Envelope, HeaderLookup, HookError, HookItem, HookRequest,
        Sought,
        settings::{AccountSettings, HttpSettings, build},
    },
};
use fanfare_sandbox::{
    ChannelFaults, FaultCode, FaultsChange, Malformed, RetryAfter, RunningSandbox, Sandbox, SandboxConfig,
    Share, Targets,
};
use fanfare_templates::{Rendered, segments};
use serde_json::json;

/// Long enough for a busy machine, except where a time-out is what is looked at.
const PATIENCE: Duration = Duration::from_secs(10);
const IMPATIENCE: Duration = Duration::from_secs(1);

/// An adapter, and what its provider calls the things that all providers have.
struct Case {
    provider: Provider,
    to: &'static str,
    /// The sandbox's codes for: no for good, the account is refused.
    refused: &'static str,
    blocked: &'static str,
    /// How long too fast means when the provider does not say.
    unasked: Option<u64>,
    /// What a 500 of this provider means.
    trouble: fn(&Outcome) -> bool,
}

const CASES: [Case; 3] = [
    Case {
        provider: Provider::BrevoEmail,
        to: "ann@example.com",
        refused: "400",
        blocked: "401",
        unasked: None,
        trouble: |outcome| *outcome == Outcome::Unknown { reason: Reason::GatewayError },
    },
    Case {
        provider: Provider::BrevoSms,
        to: "+23052345678",
        refused: "400",
        blocked: "402",
        unasked: None,
        trouble: |outcome| *outcome == Outcome::Unknown { reason: Reason::GatewayError },
    },
    Case {
        provider: Provider::WhatsappCloud,
        to: "+23052345678",
        refused: "131009",
        blocked: "190",
        unasked: Some(60),
        // Meta's own code 1: it says that nothing was sent.
        trouble: |outcome| {
            matches!(outcome, Outcome::Retry { reason: Reason::ProviderUnavailable, burns_attempt: true, .. })
        },
    },
];

struct Bench {
    sandbox: RunningSandbox,
    adapter: Arc<dyn Adapter>,
    ids: Ids,
    campaign: CampaignId,
}

impl Bench {
    async fn new(provider: Provider) -> Self {
        Self::with(provider, None, PATIENCE).await
    }

    async fn with(provider: Provider, key: Option<&str>, patience: Duration) -> Self {
        let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
        let adapter = adapter(provider, &sandbox.base_url(), key, patience);
        let ids = Ids::from_seed(1);
        let campaign = ids.next("2026-11-21T12:00:00Z".parse().unwrap());
        Self { sandbox, adapter, ids, campaign }
    }

    const fn message(&self, n: i32) -> MessageId {
        MessageId { campaign: self.campaign, n }
    }

    fn faults(&self, faults: ChannelFaults) {
        let change = match self.adapter.provider() {
            Provider::BrevoEmail => FaultsChange { email: Some(faults), ..FaultsChange::default() },
            Provider::BrevoSms => FaultsChange { sms: Some(faults), ..FaultsChange::default() },
            Provider::WhatsappCloud => FaultsChange { whatsapp: Some(faults), ..FaultsChange::default() },
            Provider::InApp => panic!("it is no HTTP contract"),
        };
        self.sandbox.set_faults(change).unwrap();
    }

    async fn send(&self, n: i32, to: &str) -> Answer {
        let content = content(self.adapter.provider(), n);
        let message = self.message(n);
        let envelope = Envelope {
            message,
            to,
            class: MessageClass::Marketing,
            content: &content,
            key: message.idempotency_key(1),
            unsubscribe: None,
        };
        self.adapter.send(envelope).await
    }

    async fn batch(&self, recipients: &[(i32, String)]) -> BatchAnswer {
        let contents: Vec<Rendered> =
            recipients.iter().map(|(n, _)| content(self.adapter.provider(), *n)).collect();
        let key = self.ids.random_uuid();
        let envelopes: Vec<Envelope<'_>> = recipients
            .iter()
            .zip(&contents)
            .map(|((n, to), content)| Envelope {
                message: self.message(*n),
                to,
                class: MessageClass::Marketing,
                content,
                key,
                unsubscribe: None,
            })
            .collect();
        self.adapter.send_batch(key, &envelopes).await
    }

    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.sandbox.clock().epoch_us.cast_signed()).unwrap()
    }

    fn times_received(&self, n: i32) -> u32 {
        self.sandbox.audit().message(&self.message(n).to_string()).iter().map(|record| record.count).sum()
    }
}

fn adapter(provider: Provider, base: &str, key: Option<&str>, patience: Duration) -> Arc<dyn Adapter> {
    let auth = json!({"bearer": {"token": "hook-token"}});
    let settings = match provider {
        Provider::BrevoEmail => json!({
            "provider": "brevo_email", "base_url": format!("{base}/v3"), "api_key": key.unwrap_or("xkeysib-sandbox"),
            "sender_email": "bills@acme.example", "sender_name": "Acme", "webhook_auth": auth,
        }),
        Provider::BrevoSms => json!({
            "provider": "brevo_sms", "base_url": format!("{base}/v3"), "api_key": key.unwrap_or("xkeysib-sandbox"),
            "sender": "Acme", "webhook_auth": auth,
        }),
        Provider::WhatsappCloud => json!({
            "provider": "whatsapp_cloud", "base_url": base, "phone_number_id": "106540352242922",
            "access_token": key.unwrap_or("sandbox-token"), "app_secret": "app_secret", "verify_token": "verify-token",
        }),
        Provider::InApp => panic!("it is no HTTP contract"),
    };
    let settings: AccountSettings = serde_json::from_value(settings).unwrap();
    let http =
        HttpSettings { connect_timeout: patience, request_timeout: patience, ..HttpSettings::default() };
    build(&settings, &http).unwrap()
}

fn content(provider: Provider, n: i32) -> Rendered {
    let text = format!("Policy {n} is due");
    match provider {
        Provider::BrevoEmail => {
            Rendered::Email { subject: text.clone(), html: format!("<p>{text}</p>"), text }
        }
        Provider::BrevoSms => Rendered::Sms { segments: segments(&text), text },
        Provider::WhatsappCloud => Rendered::Whatsapp(
            serde_json::from_value(json!({"type": "text", "text": {"preview_url": false, "body": text}}))
                .unwrap(),
        ),
        Provider::InApp => panic!("it is no HTTP contract"),
    }
}

fn always() -> Share {
    Share::try_from(1.0).unwrap()
}

fn refusing(code: &str) -> ChannelFaults {
    let code = FaultCode::try_from(code.to_owned()).unwrap();
    ChannelFaults { error_mix: BTreeMap::from([(code, always())]), ..ChannelFaults::default() }
}

#[tokio::test]
async fn an_accepted_message_arrives_once_and_has_its_provider_id() {
    for case in &CASES {
        let bench = Bench::new(case.provider).await;
        let answer = bench.send(1, case.to).await;
        let Outcome::Accepted { provider_id: Some(id) } = &answer.outcome else {
            panic!("{}: {answer:?}", case.provider)
        };
        assert_eq!(answer.effect, Effect::None);
        let [record] = &bench.sandbox.audit().message(&bench.message(1).to_string())[..] else {
            panic!("{}", case.provider)
        };
        assert_eq!(record.count, 1);
        assert_eq!(record.provider_id.trim_matches(['<', '>']), id);
        assert_eq!(answer.quota.is_some(), case.provider != Provider::WhatsappCloud);
        assert_eq!(bench.adapter.probe().await, Ok(()));
    }
}

#[tokio::test]
async fn a_refusal_is_the_messages_fault_and_nobody_elses() {
    for case in &CASES {
        let bench = Bench::new(case.provider).await;
        bench.faults(refusing(case.refused));
        let answer = bench.send(1, case.to).await;
        assert!(matches!(answer.outcome, Outcome::Failed { .. }), "{}: {answer:?}", case.provider);
        assert_eq!((answer.effect, bench.times_received(1)), (Effect::None, 0));
    }
}

#[tokio::test]
async fn a_refused_account_burns_nobodys_attempt() {
    for case in &CASES {
        let bench = Bench::new(case.provider).await;
        bench.faults(refusing(case.blocked));
        let answer = bench.send(1, case.to).await;
        let reason = Reason::AccountBlocked;
        assert_eq!(
            answer.outcome,
            Outcome::Retry { reason, after: None, burns_attempt: false },
            "{}",
            case.provider
        );
        assert_eq!(answer.effect, Effect::Blocked { reason });
        let wrong = Bench::with(case.provider, Some("wrong"), PATIENCE).await;
        assert_eq!(wrong.send(1, case.to).await.effect, Effect::Blocked { reason }, "{}", case.provider);
        let sentence = wrong.adapter.probe().await.unwrap_err();
        assert!(sentence.contains("401"), "{sentence}");
    }
}

#[tokio::test]
async fn too_fast_slows_the_account_for_as_long_as_it_says() {
    for case in &CASES {
        let bench = Bench::new(case.provider).await;
        for (retry_after, expected) in [
            (RetryAfter::Absent, None),
            (RetryAfter::Seconds(7), Some(7..=7)),
            (RetryAfter::Date(90), Some(88..=91)),
            (RetryAfter::Absurd, Some(1_000_000_000..=1_000_000_000)),
        ] {
            bench.faults(ChannelFaults { retry_after, ..refusing("429") });
            let answer = bench.send(1, case.to).await;
            let Outcome::Retry { reason: Reason::Throttled, after, burns_attempt: false } = answer.outcome
            else {
                panic!("{}: {answer:?}", case.provider)
            };
            assert_eq!(answer.effect, Effect::Throttled { retry_after: after });
            let seconds = after.map(|after| after.as_secs());
            let sound = seconds
                .is_some_and(|seconds| expected.as_ref().is_some_and(|range| range.contains(&seconds)));
            assert!(
                sound || (expected.is_none() && seconds == case.unasked),
                "{}: {after:?} for {retry_after:?}",
                case.provider
            );
        }
    }
}

#[tokio::test]
async fn a_500_counts_against_the_provider() {
    for case in &CASES {
        let bench = Bench::new(case.provider).await;
        bench.faults(refusing("500"));
        let answer = bench.send(1, case.to).await;
        assert!((case.trouble)(&answer.outcome), "{}: {answer:?}", case.provider);
        assert_eq!(answer.effect, Effect::Failing);
    }
}

#[tokio::test]
async fn what_may_have_been_taken_is_unknown() {
    futures::future::join_all(CASES.iter().map(async |case| {
        let bench = Bench::with(case.provider, None, IMPATIENCE).await;
        let check = async |n: i32, faults: ChannelFaults, reason: Reason| {
            bench.faults(faults.clone());
            let answer = bench.send(n, case.to).await;
            assert_eq!(answer.outcome, Outcome::Unknown { reason }, "{}: {faults:?}", case.provider);
            assert_eq!(answer.effect, Effect::Failing);
            assert_eq!(bench.times_received(n), 1, "{}: {faults:?}", case.provider);
        };
        let none = ChannelFaults::default;
        check(1, ChannelFaults { timeout_after_accept: always(), ..none() }, Reason::TimedOut).await;
        check(2, ChannelFaults { drop_after_accept: always(), ..none() }, Reason::ConnectionLost).await;
        let kinds = [
            Malformed::NotJson,
            Malformed::WrongType,
            Malformed::Truncated,
            Malformed::Html,
            Malformed::Empty,
        ];
        for (n, kind) in (3..).zip(kinds) {
            let faults = ChannelFaults { malformed_2xx: always(), malformed_kinds: vec![kind], ..none() };
            check(n, faults, Reason::UnreadableAnswer).await;
        }
        let huge =
            ChannelFaults { malformed_2xx: always(), malformed_kinds: vec![Malformed::HugeBody], ..none() };
        check(20, huge, Reason::UnreadableAnswer).await;
        let slow =
            ChannelFaults { malformed_2xx: always(), malformed_kinds: vec![Malformed::SlowBody], ..none() };
        check(21, slow, Reason::TimedOut).await;
    }))
    .await;
}

#[tokio::test]
async fn without_a_connection_nothing_was_sent() {
    for case in &CASES {
        let Bench { sandbox, adapter, ids, campaign } = Bench::new(case.provider).await;
        sandbox.shutdown().await;
        let bench = Bench {
            sandbox: Sandbox::start(SandboxConfig::default()).await.unwrap(),
            adapter,
            ids,
            campaign,
        };
        let answer = bench.send(1, case.to).await;
        let expected = Outcome::Retry { reason: Reason::NotConnected, after: None, burns_attempt: true };
        assert_eq!((answer.outcome, answer.effect), (expected, Effect::Failing), "{}", case.provider);
        assert!(bench.adapter.probe().await.is_err());
    }
}

#[tokio::test]
async fn a_key_that_was_used_is_never_a_second_mail() {
    let bench = Bench::new(Provider::BrevoEmail).await;
    assert!(matches!(bench.send(1, "ann@example.com").await.outcome, Outcome::Accepted { .. }));
    let again = bench.send(1, "ann@example.com").await;
    assert_eq!(again.outcome, Outcome::Unknown { reason: Reason::KeyAlreadyUsed });
    assert_eq!((again.effect, bench.times_received(1)), (Effect::None, 1));
}

fn many(first: i32, count: i32) -> Vec<(i32, String)> {
    (first..first + count).map(|n| (n, format!("person{n}@example.com"))).collect()
}

#[tokio::test]
async fn a_batch_has_one_fate_a_member_or_one_for_all() {
    let bench = Bench::new(Provider::BrevoEmail).await;
    let BatchAnswer::Each { answers, quota } = bench.batch(&many(1, 1_000)).await else {
        panic!("not accepted")
    };
    assert_eq!(answers.len(), 1_000);
    assert!(quota.is_some());
    for (n, answer) in (1..).zip(&answers) {
        let Outcome::Accepted { provider_id: Some(id) } = answer else { panic!("{answer:?}") };
        let record = &bench.sandbox.audit().message(&bench.message(n).to_string())[0];
        assert_eq!(record.provider_id.trim_matches(['<', '>']), id, "in the order of the members");
        assert_eq!(record.address, format!("person{n}@example.com"));
    }
    for (first, kind) in
        (2_001..).step_by(10).zip([Malformed::FewerIds, Malformed::MoreIds, Malformed::SameIdTwice])
    {
        bench.faults(ChannelFaults {
            malformed_2xx: always(),
            malformed_kinds: vec![kind],
            ..ChannelFaults::default()
        });
        let BatchAnswer::All(answer) = bench.batch(&many(first, 5)).await else {
            panic!("{kind:?} was believed")
        };
        assert_eq!(answer.outcome, Outcome::Unknown { reason: Reason::UnreadableAnswer }, "{kind:?}");
        assert_eq!(bench.times_received(first), 1);
    }
    bench.faults(refusing("400"));
    assert_eq!(bench.batch(&many(3_001, 5)).await, BatchAnswer::Bisect);
    bench.faults(refusing("401"));
    let BatchAnswer::All(answer) = bench.batch(&many(4_001, 5)).await else {
        panic!("blocked for some only")
    };
    assert_eq!(answer.effect, Effect::Blocked { reason: Reason::AccountBlocked });
}

#[tokio::test]
async fn the_event_log_tells_of_messages_sent_alone_and_in_batches() {
    let bench = Bench::new(Provider::BrevoEmail).await;
    bench.faults(ChannelFaults { drop_after_accept: always(), ..ChannelFaults::default() });
    assert!(matches!(bench.send(1, "ann@example.com").await.outcome, Outcome::Unknown { .. }));
    assert!(matches!(
        bench.batch(&many(2, 20)).await,
        BatchAnswer::All(Answer { outcome: Outcome::Unknown { .. }, .. })
    ));
    let sought = |n: i32, to: &str| Sought { message: bench.message(n), to: to.to_owned() };
    let asked = [
        sought(1, "ann@example.com"),
        sought(7, "person7@example.com"),
        // Never sent: to nobody, and to somebody who got another message of the same campaign.
        sought(400, "nobody@example.com"),
        sought(900, "ann@example.com"),
    ];
    let now = bench.now();
    let events = bench.adapter.look_up(&asked, now, now).await.unwrap();
    let mut found: Vec<(i32, EventKind)> = events.iter().map(|event| (event.message.n, event.kind)).collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [(1, EventKind::Sent), (1, EventKind::Delivered), (7, EventKind::Sent), (7, EventKind::Delivered)]
    );
    assert_eq!(bench.adapter.look_up_limit(), 80);
}

#[derive(Debug)]
struct Headers(BTreeMap<String, String>);

impl HeaderLookup for Headers {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// The next request to `listener`, answered with 200.
async fn webhook(listener: &tokio::net::TcpListener) -> (Headers, Vec<u8>) {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = BufReader::new(stream);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        match line.trim_end().split_once(": ") {
            Some((name, value)) => drop(headers.insert(name.to_lowercase(), value.to_owned())),
            None if line.trim().is_empty() => break,
            None => {}
        }
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    (Headers(headers), body)
}

#[tokio::test]
async fn the_providers_webhooks_are_believed_and_understood() {
    for case in &CASES {
        let bench = Bench::new(case.provider).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let target = json!({"url": url, "auth": {"bearer": "hook-token"}});
        let name = case.provider.channel().as_str();
        let targets: Targets = serde_json::from_value(json!({ name: target })).unwrap();
        bench.sandbox.set_webhooks(targets);
        bench.send(1, case.to).await;
        let mut kinds = Vec::new();
        while kinds.len() < 2 {
            let (headers, body) =
                tokio::time::timeout(Duration::from_secs(10), webhook(&listener)).await.unwrap();
            let request = HookRequest { peer: None, headers: &headers, body: &body };
            assert_eq!(bench.adapter.verify(&request), Ok(()), "{}", case.provider);
            let forged = Headers(BTreeMap::new());
            assert_eq!(
                bench.adapter.verify(&HookRequest { headers: &forged, ..request }),
                Err(HookError::Forged)
            );
            for item in bench.adapter.parse(&body, bench.now()).unwrap() {
                let HookItem::Event(event) = item else { panic!("{}: {item:?}", case.provider) };
                assert_eq!(event.message, bench.message(1));
                kinds.push(event.kind);
            }
        }
        kinds.sort_unstable();
        assert_eq!(kinds, [EventKind::Sent, EventKind::Delivered], "{}", case.provider);
    }
}
