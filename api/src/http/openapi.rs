//! The OpenAPI document, made from the routes themselves, and the page on which to try them.
//!
//! A route says what is its own: parameters, body, answers, and the permission that it needs. What follows from those is
//! added here for all of them alike: who may be refused, and with which problems.

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderValue, Response, header},
    middleware::map_response,
    response::Html,
    routing::get,
};
use utoipa::{
    OpenApi,
    openapi::{
        Content, ObjectBuilder, OpenApi as Document, RefOr, Response as Answer, Type,
        path::{Operation, Parameter, ParameterIn, PathItem},
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::problem::{Code, FieldError, ProblemDetails};
use crate::service::Service;

const DOCUMENT: &str = "/api/openapi.json";
const PAGE: &str = "/api/docs";
/// Where each code is explained, under an anchor of its name.
pub(crate) const ERRORS: &str = "/api/docs/errors";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Fanfare",
        description = "Notifications and campaigns to millions of people, by e-mail, SMS and WhatsApp, and inside the application."
    ),
    components(schemas(ProblemDetails, FieldError))
)]
struct Basis;

/// What every document begins with.
pub(crate) fn basis() -> Document {
    let mut document = Basis::openapi();
    let bearer = Http::builder().scheme(HttpAuthScheme::Bearer).description(Some(
        "An access token of `POST /api/auth/login`, or an API key. The scopes of an operation are the permissions it needs.",
    ));
    document
        .components
        .get_or_insert_default()
        .add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
    document
}

/// Adds to every operation its name, the header that every POST of a caller takes, and the problems that follow from what it takes.
pub(crate) fn finish(document: &mut Document) {
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            operation.operation_id = Some(name(method, path));
            // Of somebody who is nobody yet it could not be told whose key it is.
            if method == "post" && signed_in(operation) {
                operation.parameters.get_or_insert_default().push(RefOr::T(idempotency_key()));
            }
            let problems = problems(operation);
            for code in problems {
                let status = code.status().as_str().to_owned();
                operation.responses.responses.entry(status).or_insert_with(|| RefOr::T(problem(code)));
            }
        }
    }
}

pub(super) fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    [
        ("get", &mut item.get),
        ("put", &mut item.put),
        ("post", &mut item.post),
        ("delete", &mut item.delete),
        ("patch", &mut item.patch),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// As clients call the operation: no other has this name, as handlers of several modules do.
fn name(method: &str, path: &str) -> String {
    let words = path.trim_start_matches("/api").split(|c: char| !c.is_ascii_alphanumeric());
    words.filter(|word| !word.is_empty()).fold(method.to_owned(), |name, word| {
        let (first, rest) = word.split_at(1);
        name + &first.to_ascii_uppercase() + rest
    })
}

fn idempotency_key() -> Parameter {
    Parameter::builder()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .description(Some(
            "The first request with a key is done, and its answer is given to every repetition for a day.",
        ))
        .schema(Some(
            ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(255)),
        ))
        .build()
}

fn signed_in(operation: &Operation) -> bool {
    operation.security.as_ref().is_some_and(|security| !security.is_empty())
}

fn problems(operation: &Operation) -> Vec<Code> {
    // A parameter of the query that it does not have is refused everywhere.
    let mut codes = vec![Code::TooMany, Code::Broken, Code::NotReady, Code::Invalid];
    if signed_in(operation) {
        codes.extend([Code::Unauthenticated, Code::Forbidden]);
    }
    let mut in_path = false;
    for parameter in operation.parameters.iter().flatten() {
        if let RefOr::T(parameter) = parameter {
            match parameter.name.as_str() {
                "If-Match" => codes.push(Code::Changed),
                "Idempotency-Key" => {
                    codes.extend([Code::UnderWay, Code::KeyReused, Code::TooLarge, Code::Stalled])
                }
                _ => {}
            }
            in_path |= matches!(parameter.parameter_in, ParameterIn::Path);
        }
    }
    if in_path {
        codes.push(Code::NotFound);
    }
    if operation.request_body.is_some() {
        codes.extend([
            Code::Malformed,
            Code::TooLarge,
            Code::Stalled,
            Code::WrongContentType,
            Code::Conflict,
        ]);
    }
    codes
}

fn problem(code: Code) -> Answer {
    let schema = utoipa::openapi::Ref::from_schema_name("ProblemDetails");
    Answer::builder()
        .description(code.detail())
        .content("application/problem+json", Content::builder().schema(Some(schema)).build())
        .build()
}

/// The document, the page to try it on, whose assets are part of this program, and the page that explains the codes.
pub(crate) fn routes(document: Document) -> Router<Service> {
    // Kept as it is sent, not as a tree.
    let text = Bytes::from(serde_json::to_vec(&document).expect("a document is always JSON"));
    let told = move || std::future::ready(([(header::CONTENT_TYPE, "application/json")], text.clone()));
    Router::new()
        .merge(SwaggerUi::new(PAGE).config(Config::new([DOCUMENT])))
        .route(DOCUMENT, get(told))
        .route(ERRORS, get(|| async { Html(errors()) }))
        .layer(map_response(guarded))
}

/// The page runs its own scripts and no others.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'",
);

async fn guarded(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY);
    response
}

fn errors() -> String {
    let rows: String = Code::ALL
        .iter()
        .map(|code| {
            let (name, status, detail) = (code.as_str(), code.status(), code.detail());
            format!(
                "<tr id=\"{name}\"><td><code>{name}</code></td><td>{}</td><td>{detail}</td></tr>\n",
                status.as_u16()
            )
        })
        .collect();
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Errors</title>\n\
         <style>body {{ font: 16px/1.5 sans-serif; margin: 2rem }} td, th {{ padding: .3rem 1rem; text-align: left }} :target {{ background: #ffc }}</style>\n\
         <h1>Errors</h1>\n<p>Every error has a <code>code</code>, which never changes its meaning.</p>\n\
         <table><tr><th>Code</th><th>Status</th><th>What it means</th></tr>\n{rows}</table></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use axum::{body::to_bytes, response::IntoResponse as _};
    use serde_json::Value;

    use super::*;
    use crate::http::problem::Problem;

    #[tokio::test]
    async fn every_code_leads_to_its_own_paragraph() {
        let page = errors();
        for &code in Code::ALL {
            let answer = Problem::from(code).into_response();
            assert_eq!(answer.status(), code.status());
            assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json");
            let body = to_bytes(answer.into_body(), 1 << 16).await.expect("a body");
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            let anchor = body["type"].as_str().and_then(|kind| kind.strip_prefix("/api/docs/errors#"));
            assert_eq!((anchor, body["code"].as_str()), (Some(code.as_str()), Some(code.as_str())));
            let row = format!(
                "<tr id=\"{0}\"><td><code>{0}</code></td><td>{1}</td>",
                code.as_str(),
                code.status().as_u16()
            );
            assert_eq!(page.matches(&row).count(), 1, "{row}");
        }
    }
}
