//! The OpenAPI document, made from the routes themselves, and the page on which to try them.
//!
//! A route says what is its own: parameters, body, answers, and the permission that it needs. What follows from those is
//! added here for all of them alike: who may be refused, and with which problems.

use axum::{Json, Router, routing::get};
use utoipa::{
    OpenApi,
    openapi::{
        Content, OpenApi as Document, RefOr, Response,
        path::{Operation, ParameterIn, PathItem},
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};
use utoipa_swagger_ui::SwaggerUi;

use super::problem::{Code, FieldError, ProblemDetails};
use crate::service::Service;

pub(crate) const DOCUMENT: &str = "/api/openapi.json";
pub(crate) const PAGE: &str = "/api/docs";

#[derive(OpenApi)]
#[openapi(
    info(title = "Fanfare", description = "Notifications and campaigns to millions of people, by e-mail, SMS and WhatsApp."),
    components(schemas(ProblemDetails, FieldError)),
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

/// Adds to every operation the problems that follow from what it takes.
pub(crate) fn finish(document: &mut Document) {
    for item in document.paths.paths.values_mut() {
        for operation in operations(item) {
            let problems = problems(operation);
            for code in problems {
                let status = code.status().as_str().to_owned();
                operation.responses.responses.entry(status).or_insert_with(|| RefOr::T(problem(code)));
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch]
        .into_iter()
        .filter_map(|operation| operation.as_mut())
}

fn problems(operation: &Operation) -> Vec<Code> {
    let mut codes = vec![Code::TooMany, Code::Broken, Code::NotReady];
    if operation.security.as_ref().is_some_and(|security| !security.is_empty()) {
        codes.extend([Code::Unauthenticated, Code::Forbidden]);
    }
    let (mut in_path, mut in_query) = (false, false);
    for parameter in operation.parameters.iter().flatten() {
        if let RefOr::T(parameter) = parameter {
            in_path |= matches!(parameter.parameter_in, ParameterIn::Path);
            in_query |= matches!(parameter.parameter_in, ParameterIn::Query);
        }
    }
    if in_path {
        codes.push(Code::NotFound);
    }
    if operation.request_body.is_some() {
        codes.extend([Code::Malformed, Code::TooLarge, Code::WrongContentType, Code::Conflict]);
    }
    if operation.request_body.is_some() || in_query {
        codes.push(Code::Invalid);
    }
    codes
}

fn problem(code: Code) -> Response {
    let schema = utoipa::openapi::Ref::from_schema_name("ProblemDetails");
    Response::builder()
        .description(code.detail())
        .content("application/problem+json", Content::builder().schema(Some(schema)).build())
        .build()
}

/// The routes of the document and the page. Its assets are part of this program.
pub(crate) fn routes(document: Document) -> Router<Service> {
    let served = document.clone();
    let page = SwaggerUi::new(PAGE).url(DOCUMENT, document);
    Router::new().merge(page).route("/api/openapi", get(move || async move { Json(served) }))
}
