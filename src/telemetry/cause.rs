//! Which of an error's causes is told beside it: the innermost, since `connection refused` says more than `error sending
//! request`.

/// The last of an error's causes; `None` for one that has none.
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
    fn the_last_cause_is_told_and_an_error_is_no_cause_of_itself() {
        let sending = Failure::Sending(Failure::Sending(Failure::Refused.into()).into());
        assert_eq!(innermost(&sending).as_deref(), Some("refused"));
        assert_eq!(innermost(&Failure::Refused), None);
    }
}
