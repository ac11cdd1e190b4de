//! Session descriptions, as far as the proxy reads them: the kind of each mid.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::name::Name;
use super::track::MediaKind;

/// A session description in the body of a request.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    r#type: DescriptionType,
    /// The text.
    pub sdp: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DescriptionType {
    Offer,
    Answer,
}

/// The kind of each mid in a session description (RFC 8866): the kind of the media line above it, if the mid is the first one below that
/// line. Any further mid there counts as video, and so does a mid with several kinds. Empty if any line is not a letter, `=` and a value:
/// another parser could read such a line differently.
pub(crate) fn kinds(sdp: &str) -> BTreeMap<Name, MediaKind> {
    let is_line = |line: &str| {
        let mut bytes = line.bytes();
        let begins =
            bytes.next().is_some_and(|letter| letter.is_ascii_lowercase()) && bytes.next() == Some(b'=');
        begins && !line.chars().any(char::is_control)
    };
    if !sdp.lines().all(is_line) {
        return BTreeMap::new();
    }
    let (mut kind, mut kinds) = (MediaKind::Video, BTreeMap::new());
    for line in sdp.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            kind = if media.starts_with("audio ") { MediaKind::Audio } else { MediaKind::Video };
        } else if let Some(mid) = line.strip_prefix("a=mid:") {
            if let Some(mid) = Name::new(mid) {
                let entry = kinds.entry(mid);
                entry.and_modify(|of| *of = MediaKind::of_all([*of, kind].into_iter())).or_insert(kind);
            }
            kind = MediaKind::Video;
        }
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_that_can_be_read_in_two_ways_is_video() {
        let audio = |sdp: &str| kinds(sdp).values().filter(|kind| **kind == MediaKind::Audio).count();
        assert_eq!(audio("v=0\r\nm=audio 9 UDP 111\r\na=mid:0\r\n"), 1);
        for sdp in [
            "v=0\r\nm=audio 9 UDP 111\r\n\ra=mid:0\r\n\rm=video 9 UDP 96\r\na=mid:1\r\n",
            "m=audio 9 UDP 111\r\n m=video 9 UDP 96\r\na=mid:1\r\n",
            "m=audio 9 UDP 111\rm=video 9 UDP 96\na=mid:1\n",
        ] {
            assert!(kinds(sdp).is_empty(), "{sdp:?}");
        }
        let twice = "m=audio 9 UDP 111\na=mid:0\na=mid:1\nm=video 9 UDP 96\na=mid:1\n";
        assert_eq!(audio(twice), 1, "only the first mid of a section has its kind");
    }
}
