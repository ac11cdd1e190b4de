//! Why a writer may never write again, as the service says it.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    Fenced,
    Writes(u64),
}
