use fanfare_templates::{CLICK_URL, Compiled, OPEN_URL, Published, Rendered, SHORT_URL, publish};
use serde_json::json;

use crate::{locale, source};

fn letter(html: &str) -> Published {
    publish(&source(json!({"channel": "email", "subject": "S", "body": {"html": html}, "text": "T"})))
        .unwrap()
}

fn html(published: &Published, pinned: &str) -> String {
    let given =
        vec![(CLICK_URL, "https://m.example/c/T".to_owned()), (OPEN_URL, "https://m.example/o/T".to_owned())];
    match Compiled::new(published).unwrap().render_pinned(pinned, given, &locale("en")).unwrap() {
        Rendered::Email { html, .. } => html,
        other => panic!("{other:?}"),
    }
}

fn destinations(source: &str, pinned: &str) -> Vec<String> {
    let links = letter(source).links();
    links.iter().map(|link| link.destination(pinned, &locale("en")).unwrap()).collect()
}

#[test]
fn links_lead_over_the_service_and_back_to_where_they_led() {
    let source = r#"<p><a class="x" HREF = 'https://pay.example/?id={{policy}}&amp;n={{default note "a&b"}}'>Pay</a> <a href=https://b.example/>B</a>
        <a href="{{portal}}">Portal</a></p>"#;
    let published = letter(source);
    let pinned = r#"[{"policy":"P 1","portal":"https://portal.example/x"}]"#;
    let links = published.links();
    let led: Vec<_> = links.iter().map(|link| link.destination(pinned, &locale("en")).unwrap()).collect();
    assert_eq!(led, ["https://pay.example/?id=P 1&n=a&b", "https://b.example/", "https://portal.example/x"]);
    let ids: Vec<&str> = links.iter().map(fanfare_templates::Link::id).collect();
    let expected = format!(
        "<p><a class=\"x\" HREF = 'https://m.example/c/T/{}'>Pay</a> <a href=https://m.example/c/T/{}>B</a>
        <a href=\"https://m.example/c/T/{}\">Portal</a></p>",
        ids[0], ids[1], ids[2]
    );
    assert_eq!(html(&published.tracked(true, false), pinned), expected);
    assert!(html(&published, pinned).contains("id=P 1&amp;n=a&amp;b"));
}

#[test]
fn what_leads_nowhere_or_only_here_is_left_as_it_is() {
    let source = r##"<p><a href="#top">a</a><a href="mailto:a@example.com">b</a><a href="tel:+2301">c</a><a name="x">d</a>
        <a href="{{unsubscribe_url}}">e</a><a href="{{preferences_url}}">f</a><link href="https://css.example"><a href>g</a>
        <!-- <a href="https://old.example">h</a> -->{{#each items}}<a href="{{url}}">i</a>{{/each}}
        {{#if x}}<a href="https://if.example/{{x}}">j</a>{{/if}}</p>"##;
    let pinned =
        r#"[{"items":[{"url":"https://i.example"}],"x":1,"unsubscribe_url":"u","preferences_url":"p"}]"#;
    assert_eq!(destinations(source, pinned), ["https://if.example/1"]);
    let tracked = html(&letter(source).tracked(true, false), pinned);
    for kept in [
        "#top",
        "mailto:a@example.com",
        "tel:+2301",
        "\"u\"",
        "\"p\"",
        "https://css.example",
        "https://i.example",
    ] {
        assert!(tracked.contains(kept), "{kept} in {tracked}");
    }
    assert_eq!(tracked.matches("https://m.example/c/T/").count(), 1);
}

#[test]
fn a_link_that_stands_twice_is_one_and_another_is_another() {
    let twice = r#"<a href="https://a.example/?x=1&amp;y=2">1</a><a href="https://a.example/?x=1&#38;y=2">2</a><a href="https://b.example">3</a>"#;
    assert_eq!(destinations(twice, "[]"), ["https://a.example/?x=1&y=2", "https://b.example"]);
    assert_eq!(html(&letter(twice).tracked(true, false), "[]").matches("/c/T/").count(), 3);
}

#[test]
fn the_picture_stands_at_the_end_of_the_body() {
    let tracked = html(&letter("<html><body><p>x</p></BODY></html>").tracked(false, true), "[]");
    assert!(tracked.contains("<p>x</p><img src=\"https://m.example/o/T.gif\""), "{tracked}");
    assert!(tracked.ends_with("></BODY></html>"), "{tracked}");
    assert!(html(&letter("<p>x</p>").tracked(false, true), "[]").ends_with(">"));
    let sms = publish(&source(json!({"channel": "sms", "text": "https://a.example"}))).unwrap();
    assert_eq!(sms.tracked(true, true), sms);
    assert!(sms.links().is_empty());
}

#[test]
fn an_sms_has_the_short_links_that_its_author_asked_for() {
    let text = "Pay {{short_link payment}} or see {{~short_link \"https://a.example/?x=1&y=2\"}} and https://b.example{{#each l}}{{short_link u}}{{/each}}";
    let sms = publish(&source(json!({"channel": "sms", "text": text}))).unwrap();
    let pinned = r#"[{"payment":"https://pay.example/1","l":[{"u":"https://c.example"}]}]"#;
    let text = |published: &Published| {
        let given = vec![(SHORT_URL, "https://m.example/s/T".to_owned())];
        match Compiled::new(published).unwrap().render_pinned(pinned, given, &locale("en")).unwrap() {
            Rendered::Sms { text, .. } => text,
            other => panic!("{other:?}"),
        }
    };
    let plain =
        "Pay https://pay.example/1 or seehttps://a.example/?x=1&y=2 and https://b.examplehttps://c.example";
    assert_eq!(text(&sms), plain);
    assert_eq!(text(&sms.tracked(false, true)), plain);
    let short =
        "Pay https://m.example/s/TA or see https://m.example/s/TB and https://b.examplehttps://c.example";
    assert_eq!(text(&sms.tracked(true, false)), short);
    let led: Vec<_> =
        sms.links().iter().map(|link| link.destination(pinned, &locale("en")).unwrap()).collect();
    assert_eq!(led, ["https://pay.example/1", "https://a.example/?x=1&y=2"]);
}
