//! The root cause of an error, for the log: `connection refused` is more useful than `error sending request`.

/// The innermost cause of an error. `None` if it has no cause.
#[must_use]
pub fn innermost(error: &dyn std::error::Error) -> Option<String> {
    std::iter::successors(error.source(), |cause| cause.source()).last().map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Failure {
        #[error("sending failed")]
        Sending(#[source] Box<Self>),
        #[error("refused")]
        Refused,
    }

    #[test]
    fn the_innermost_cause_is_the_last_one_and_an_error_is_not_its_own_cause() {
        let sending = Failure::Sending(Failure::Sending(Failure::Refused.into()).into());
        assert_eq!(innermost(&sending).as_deref(), Some("refused"));
        assert_eq!(innermost(&Failure::Refused), None);
    }
}
