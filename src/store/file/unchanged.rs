//! A ledger's file that is only read. What redb writes, as in a repair, stays in memory.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;

use crate::store::prelude::*;
use redb::StorageBackend;

/// The length of a part of the file, in bytes. A part that redb writes is kept in memory.
const PART: u64 = 4_096;

/// See the module's description.
#[derive(Debug)]
pub(super) struct UnchangedFile {
    file: File,
    written: Mutex<Written>,
}

/// How the content that redb sees differs from the file.
#[derive(Debug)]
struct Written {
    length: u64,
    /// Bytes before this offset are those of the file, the later ones are zeros, unless a written part replaces them.
    file_end: u64,
    /// Written parts by their number.
    parts: BTreeMap<u64, Vec<u8>>,
}

impl UnchangedFile {
    /// The file as it is now.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file, written: Mutex::new(Written { length, file_end: length, parts: BTreeMap::new() }) })
    }
}

impl Written {
    fn read(&self, file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let in_file = to_usize(self.file_end.saturating_sub(offset)).min(out.len());
        let (from_file, zeros) = out.split_at_mut(in_file);
        file.read_exact_at(from_file, offset)?;
        zeros.fill(0);
        for (number, in_range, in_part) in parts_of(offset, out.len()) {
            let Some(part) = self.parts.get(&number) else { continue };
            let bytes = out.iter_mut().skip(in_range).zip(part.iter().skip(in_part));
            bytes.for_each(|(to, from)| *to = *from);
        }
        Ok(())
    }
}

/// The parts that a range touches: the number of each, the offset in the range at which the part begins, and the offset in the part at
/// which the range begins. At least one of the two offsets is 0.
fn parts_of(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset.saturating_add(to_u64(length));
    (offset / PART..end.div_ceil(PART)).map(move |number| {
        let start = number * PART;
        (number, to_usize(start.saturating_sub(offset)), to_usize(offset.saturating_sub(start)))
    })
}

fn to_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl StorageBackend for UnchangedFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written.lock().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written.lock();
        if offset.saturating_add(to_u64(out.len())) > written.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        written.read(&self.file, offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut written = self.written.lock();
        (written.length, written.file_end) = (length, written.file_end.min(length));
        written.parts.retain(|number, _| number * PART < length);
        if let Some(cut) = written.parts.get_mut(&(length / PART)) {
            cut[to_usize(length % PART)..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written.lock();
        for (number, in_range, in_part) in parts_of(offset, data.len()) {
            let mut part = vec![0; to_usize(PART)];
            written.read(&self.file, number * PART, &mut part)?;
            let bytes = part.iter_mut().skip(in_part).zip(data.iter().skip(in_range));
            bytes.for_each(|(to, from)| *to = *from);
            written.parts.insert(number, part);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_the_file_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let whole: Vec<u8> = (0..20_000_u32).map(|at| at.to_le_bytes()[0]).collect();
        std::fs::write(&path, &whole).unwrap();
        let file = UnchangedFile::new(File::open(&path).unwrap()).unwrap();
        let mut expected = whole.clone();
        // Within a part, over the end of one, a whole one, and beyond the file's end.
        for (offset, length) in
            [(10, 5), (4_090, 20), (8_192, 4_096), (14_000, 2_000), (19_000, 9_000), (5, 12_000)]
        {
            file.set_len(file.len().unwrap().max(to_u64(offset + length))).unwrap();
            file.write(to_u64(offset), &vec![7; length]).unwrap();
            expected.resize(expected.len().max(offset + length), 0);
            expected[offset..offset + length].fill(7);
        }
        let all = |file: &UnchangedFile| {
            let mut read = vec![1; to_usize(file.len().unwrap())];
            file.read(0, &mut read).unwrap();
            read
        };
        assert_eq!(all(&file), expected);
        let mut some = [0; 100];
        file.read(4_050, &mut some).unwrap();
        assert_eq!(some, expected[4_050..4_150]);
        file.set_len(15_000).unwrap();
        assert_eq!(all(&file), expected[..15_000]);
        assert_eq!(file.read(14_999, &mut [0; 2]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        file.set_len(16_384).unwrap();
        assert_eq!(all(&file)[15_000..], [0; 1_384], "new bytes are zeros");
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }
}
