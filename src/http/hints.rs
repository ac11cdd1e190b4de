//! The hints of the status: the faults that are there, with what to do about each.

use super::prelude::*;
use crate::alert::FoundFault;

/// Something that makes the figures unreliable, or has stopped minting.
#[derive(Debug, Serialize, ToSchema)]
pub struct HintBody {
    /// Stable identifier for programs.
    #[schema(example = "NO_REPORTS")]
    code: &'static str,
    /// The severity.
    #[schema(schema_with = schema::severity)]
    severity: &'static str,
    /// What it means, and what to do.
    #[schema(example = "No client has reported a connection: the estimate cannot see usage.")]
    message: String,
    /// When it ends, if that is known.
    #[schema(value_type = Option<String>, format = DateTime, required = true, example = json!(null))]
    until: Option<Timestamp>,
}

impl HintBody {
    /// The hint about a fault. Only the operator gets the detail, which can name hosts, paths and addresses.
    pub(super) fn of(mut found: FoundFault, is_for_operator: bool) -> Self {
        if !is_for_operator {
            found.detail.clear();
        }
        let (code, severity) = (found.fault.facts().code, found.severity.name());
        Self { code, severity, message: found.message(), until: found.until }
    }
}

#[cfg(test)]
#[path = "hints_tests.rs"]
mod tests;
