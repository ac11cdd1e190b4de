//! HTML forms: the fields of a body, urlencoded or multipart. A file counts as a field with its content.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use turn_base::error::ApiError;

/// The most fields of a form.
const FIELDS_MAX: usize = 16;
const URLENCODED: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data";

/// The fields of a form, in their order.
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Parses a body that has arrived.
    pub(crate) async fn parse(headers: &HeaderMap, body: Bytes) -> Result<Self, ApiError> {
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            URLENCODED => {
                let fields = url::form_urlencoded::parse(&body).into_owned();
                Ok(Self(fields.take(FIELDS_MAX).collect()))
            }
            MULTIPART => multipart(kind, body).await,
            _ => Err(ApiError::invalid(format!("Send a form: {URLENCODED} or {MULTIPART}."))),
        }
    }

    /// The first field with this name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

async fn multipart(kind: &str, body: Bytes) -> Result<Form, ApiError> {
    let unreadable = || ApiError::invalid("Send the form again: it could not be read.");
    let request = Request::builder().header(CONTENT_TYPE, kind).body(Body::from(body));
    let request = request.map_err(|_| unreadable())?;
    let mut form = Multipart::from_request(request, &()).await.map_err(|_| unreadable())?;
    let mut fields = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|_| unreadable())? {
        if fields.len() == FIELDS_MAX {
            break;
        }
        let name = field.name().unwrap_or_default().to_owned();
        fields.push((name, field.text().await.map_err(|_| unreadable())?));
    }
    Ok(Form(fields))
}
