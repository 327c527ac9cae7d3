//! Parameters of a query that a route does not have are refused by name, whatever the route: a filter that is spelt wrong
//! would otherwise answer everything. Which ones a route has, its document says.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::Method,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use utoipa::openapi::{OpenApi, RefOr, path::ParameterIn};

use super::{openapi::operations, problem::Problem};
use crate::auth::caller::SignedIn;

/// What the operations of a document take in their queries.
#[derive(Debug)]
pub(crate) struct Parameters(BTreeMap<(String, &'static str), Operation>);

#[derive(Debug, Default)]
struct Operation {
    names: BTreeSet<String>,
    /// Anybody may ask.
    public: bool,
}

impl Parameters {
    pub(crate) fn of(document: &mut OpenApi) -> Arc<Self> {
        let mut known = BTreeMap::new();
        for (path, item) in &mut document.paths.paths {
            for (method, operation) in operations(item) {
                let parameters =
                    operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
                        RefOr::T(parameter) if matches!(parameter.parameter_in, ParameterIn::Query) => {
                            Some(parameter.name.clone())
                        }
                        _ => None,
                    });
                let public = operation.security.as_ref().is_none_or(Vec::is_empty);
                known.insert((path.clone(), method), Operation { names: parameters.collect(), public });
            }
        }
        Arc::new(Self(known))
    }

    fn operation(&self, request: &Request) -> Option<&Operation> {
        let method = match *request.method() {
            Method::GET | Method::HEAD => "get",
            Method::PUT => "put",
            Method::POST => "post",
            Method::DELETE => "delete",
            Method::PATCH => "patch",
            _ => return None,
        };
        let path = request.extensions().get::<MatchedPath>()?;
        self.0.get(&(path.as_str().to_owned(), method))
    }
}

/// Runs when it is known who asks: whoever has to prove that first is told so, and nothing else.
pub(crate) async fn known(State(known): State<Arc<Parameters>>, request: Request, next: Next) -> Response {
    let Some(query) = request.uri().query() else { return next.run(request).await };
    let Some(operation) = known.operation(&request) else { return next.run(request).await };
    if !operation.public && SignedIn::seen(request.extensions()).is_none() {
        return next.run(request).await;
    }
    let mut given = form_urlencoded::parse(query.as_bytes());
    let Some((unknown, _)) = given.find(|(name, _)| !operation.names.contains(name.as_ref())) else {
        return next.run(request).await;
    };
    let names: Vec<String> = operation.names.iter().map(|name| format!("`{name}`")).collect();
    let why = if names.is_empty() {
        "is unknown here, as is every parameter".to_owned()
    } else {
        format!("is unknown here: there are {}", names.join(", "))
    };
    // Whatever stands there comes back: as little of it as names it.
    let unknown: String = unknown.chars().take(100).collect();
    Problem::field(unknown, why).into_response()
}
