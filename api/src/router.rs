//! Every route.
//!
//! Those under `/api` are made together with the document that describes them: what is not in the one is not in the other.
//! Before each of them runs: its id and its line in the log, the page that it comes from, who calls and how often, whether it
//! has the parameters that are named, and whether it is a repetition; and it goes on to its end although its caller has gone.
//!
//! Webhooks come by the ten thousand a second and need none of that but the id: they do not pass the router, which makes a
//! service anew for each request and each layer around its route.

use std::{net::SocketAddr, panic::AssertUnwindSafe};

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::{self, HeaderName, HeaderValue, Method, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::get,
};
use fanfare_engine::seen_through;
use futures::FutureExt as _;
use hyper::body::Incoming;
use tower_http::{
    compression::{CompressionLayer, DefaultPredicate, Predicate as _, predicate::SizeAbove},
    cors::CorsLayer,
};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    auth::identify,
    health, hooks,
    http::{
        headers, idempotency, incoming, openapi,
        parameters::{self, Parameters},
        problem::{Code, Problem},
    },
    pages, public, routes,
    service::Service,
};

/// Bytes of an answer that goes into one packet as it is.
const WORTH_COMPRESSING: u64 = 1_024;

/// Answers requests; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Routes {
    service: Service,
    router: Router,
}

impl Routes {
    pub(crate) fn new(service: Service) -> Self {
        Self { router: router(service.clone()), service }
    }

    pub(crate) async fn answer(self, mut request: http::Request<Incoming>, peer: SocketAddr) -> Response {
        let Self { service, mut router } = self;
        let mark = headers::Mark::of(&service, &mut request);
        let response = if let Some(account) = hooks::account_of(&service, &request) {
            match account {
                Ok(account) => hooks::receive(&service, &account, peer.ip(), request).await.into_response(),
                Err(unknown) => unknown.into_response(),
            }
        } else {
            request.extensions_mut().insert(ConnectInfo(peer));
            let request = request.map(|body| incoming::in_time(body, service.idle));
            let Ok(response) = tower::Service::call(&mut router, request).await;
            response
        };
        mark.put_on(response)
    }
}

fn router(service: Service) -> Router {
    let (api, mut document) = api();
    let layered = api
        .layer(from_fn_with_state(service.clone(), idempotency::once))
        .layer(from_fn_with_state(Parameters::of(&mut document), parameters::known))
        .layer(from_fn_with_state(service.clone(), seen_through))
        .layer(from_fn_with_state(service.clone(), identify))
        .merge(openapi::routes(document))
        .layer(
            CompressionLayer::new()
                .compress_when(DefaultPredicate::new().and(SizeAbove::new(WORTH_COMPRESSING))),
        );
    Router::new()
        .route("/livez", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .merge(public::routes(service.clone()))
        .merge(layered)
        .merge(pages::routes())
        .fallback(|| async { Problem::from(Code::NoSuchRoute) })
        .method_not_allowed_fallback(no_such_method)
        // Around the answers to methods that a path does not take, too: OPTIONS, with which a page asks first, is one of them.
        .layer(cors(&service.cors_origins))
        // No page of anybody's has business with a provider's webhooks.
        .route("/hooks/{account_id}", get(hooks::handshake).fallback(hooks::no_such_method))
        .with_state(service)
}

async fn no_such_method() -> Problem {
    Code::NoSuchMethod.into()
}

/// Whoever goes away before the answer does not stop half-way what they asked for.
async fn seen_through(State(service): State<Service>, request: Request, next: Next) -> Response {
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    seen_through::seen_through(answer, Some(service.direct.tasks.clone())).await.unwrap_or_else(|_panic| {
        // What it said is on the error output.
        tracing::error!("a request could not be answered");
        Problem::from(Code::Broken).into_response()
    })
}

/// The routes under `/api`, and the document of exactly those.
pub(crate) fn api() -> (Router<Service>, OpenApi) {
    let (router, mut document) =
        OpenApiRouter::with_openapi(openapi::basis()).merge(routes::all()).split_for_parts();
    openapi::finish(&mut document);
    (router, document)
}

fn cors(origins: &[String]) -> CorsLayer {
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    let headers = [
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        // Of a piece of a large file.
        header::CONTENT_RANGE,
        header::IF_MATCH,
        HeaderName::from_static("idempotency-key"),
        headers::REQUEST_ID,
    ];
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(headers)
        .expose_headers([
            header::CONTENT_DISPOSITION,
            header::ETAG,
            header::RETRY_AFTER,
            headers::REQUEST_ID,
            HeaderName::from_static("idempotency-replayed"),
            HeaderName::from_static("ratelimit-limit"),
            HeaderName::from_static("ratelimit-remaining"),
            HeaderName::from_static("ratelimit-reset"),
        ])
}
