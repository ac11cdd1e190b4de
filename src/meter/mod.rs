//! The room for what reads a provider's own count of bytes: each module asks once and understands the answer. When to ask,
//! and what a count means for the books, is decided elsewhere.

pub mod cloudflare_analytics;
