//! The file of reports: one line of JSON for each, for its owner only. At its bound nothing more is appended until an operator moves it
//! away.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

use turn_base::access;

/// The most bytes of the file.
pub(crate) const FILE_MAX: u64 = 16 * 1024 * 1024;

/// The file. It is opened for each report. The lock around it in [`super::Reports`] lets one thread at a time append.
#[derive(Debug)]
pub(crate) struct ReportFile(PathBuf);

impl ReportFile {
    /// Creates the directory, and its parents, for the owner only. Others lose their access to an existing directory.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        access::make_directory(directory)?;
        access::tighten(directory, "REPORTS_DIR")?;
        Ok(Self(directory.join("reports.jsonl")))
    }

    /// Appends a line. `false` if the file has no room for it. A failure leaves no part of the line behind.
    pub(crate) fn append(&self, line: &str) -> io::Result<bool> {
        let mut file = access::open_own(&self.0, File::options().append(true))?;
        let length = file.metadata()?.len();
        if length + u64::try_from(line.len()).unwrap_or(u64::MAX) > FILE_MAX {
            return Ok(false);
        }
        let written = file.write_all(line.as_bytes());
        if written.is_err() {
            let _ = file.set_len(length);
        }
        written.map(|()| true)
    }

    /// The first line that begins with `start`.
    pub(crate) fn find_line(&self, start: &str) -> io::Result<Option<String>> {
        let file = match File::open(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        // An error ends the search too.
        let is_it_or_error =
            |line: &io::Result<String>| line.as_ref().map_or(true, |line| line.starts_with(start));
        BufReader::new(file).lines().find(is_it_or_error).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_the_owner_may_read_and_no_link_is_followed() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("reports");
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        let file = ReportFile::open(&directory).unwrap();
        assert!(file.append("{}\n").unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&file.0)), (0o700, 0o600));
        fs::remove_file(&file.0).unwrap();
        let elsewhere = parent.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, &file.0).unwrap();
        assert!(file.append("{}\n").is_err() && !elsewhere.exists());
    }

    #[test]
    fn the_file_is_bounded_and_a_line_is_found_by_its_start() {
        let directory = tempfile::tempdir().unwrap();
        let file = ReportFile::open(directory.path()).unwrap();
        assert_eq!(file.find_line("a").unwrap(), None);
        let rest = "x".repeat(16 * 1024 * 1024 - 5);
        assert!(file.append("a1\n").unwrap() && !file.append(&format!("{rest}xxx")).unwrap());
        assert!(file.append(&format!("{rest}\n")).unwrap() && file.append("b").unwrap());
        assert!(!file.append("x").unwrap());
        assert_eq!(file.find_line("a").unwrap().as_deref(), Some("a1"));
        assert_eq!(file.find_line("c").unwrap(), None);
    }
}
