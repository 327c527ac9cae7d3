//! Success on the wire: `{"success": true, "data": …}`.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Envelope<T> {
    /// Always true; a problem says false.
    success: bool,
    data: T,
}

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Data<T>(pub(crate) T);

/// What was made.
#[derive(Debug)]
pub(crate) struct Made<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Data<T> {
    fn into_response(self) -> Response {
        Json(Envelope { success: true, data: self.0 }).into_response()
    }
}

impl<T: Serialize> IntoResponse for Made<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, Json(Envelope { success: true, data: self.0 })).into_response()
    }
}
