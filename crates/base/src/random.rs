//! Random bytes for keys and ids. The operating system's generator is their only source.

/// The operating system returned no random bytes, so no key or id can be created.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the operating system returned no random bytes")]
pub struct NoRandomness(#[source] getrandom::Error);

/// `N` random bytes.
pub fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}

/// A random number, for what needs no secret. Zero if the operating system returned no random bytes.
pub fn number() -> u64 {
    bytes().map(u64::from_be_bytes).unwrap_or_default()
}
