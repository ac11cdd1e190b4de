//! HTML forms: the fields of a body, urlencoded or multipart. A file counts as a field with its content.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use turn_base::ApiError;

const FIELDS_MAX: usize = 16;
const URLENCODED: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data";

/// The fields of a form, in their order.
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    pub(crate) async fn parse(headers: &HeaderMap, body: Bytes) -> Result<Self, ApiError> {
        match media_type(headers).as_str() {
            URLENCODED => {
                let fields = url::form_urlencoded::parse(&body).into_owned();
                Ok(Self(fields.take(FIELDS_MAX).collect()))
            }
            MULTIPART => multipart(headers, body).await,
            _ => Err(ApiError::invalid(format!("Send a form: {URLENCODED} or {MULTIPART}."))),
        }
    }

    /// The first field with this name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

/// The media type of a body in lower case, without parameters such as a charset.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let stated = headers.get(CONTENT_TYPE).and_then(|stated| stated.to_str().ok()).unwrap_or_default();
    stated.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

async fn multipart(headers: &HeaderMap, body: Bytes) -> Result<Form, ApiError> {
    let unreadable = || ApiError::invalid("Send the form again: it could not be read.");
    let mut request = Request::new(Body::from(body));
    request.headers_mut().clone_from(headers);
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
