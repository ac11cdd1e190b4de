//! The TURN key that a mint asks for by name. It lets nobody mint what the budget refuses.

use crate::app::App;
use turn_base::error::ApiError;
use turn_base::request::query::parameters;
use turn_ledger::KeyName;

/// The key that `?region=` names. An empty one is none.
pub(super) fn by_region(app: &App, query: Option<&str>) -> Result<Option<KeyName>, ApiError> {
    let invalid = || {
        ApiError::invalid("Set `region` to the name of a TURN key of this service, once, or leave it out.")
    };
    match parameters(query, "region").as_slice() {
        [] => Ok(None),
        [text] if text.is_empty() => Ok(None),
        [text] => {
            let named =
                KeyName::new(text).filter(|name| app.mint.turn_keys().iter().any(|key| key.group == *name));
            named.map(Some).ok_or_else(invalid)
        }
        _ => Err(invalid()),
    }
}
