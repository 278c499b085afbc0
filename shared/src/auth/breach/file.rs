//! A file of leaked hashes, searched where it lies.
//!
//! The collections that can be downloaded have tens of gigabytes: a line for each SHA-1 in hexadecimal digits, sorted,
//! each with `:count` after it. Some 40 small reads find a line in any of them.

use std::{
    cmp::Ordering,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

const HASH_DIGITS: usize = 40;
/// A line is no longer, its end included: 40 digits, a colon, a count.
const MAX_LINE: usize = 64;
/// So many places are looked at before the file is believed to be sorted.
const SAMPLES: u64 = 100;

/// The file is of no use.
#[derive(Debug, thiserror::Error)]
#[error("passwords.breach_file: {}: {reason}", path.display())]
pub struct BreachFileError {
    path: PathBuf,
    reason: io::Error,
}

/// The open file.
pub(super) struct BreachFile {
    file: File,
    bytes: u64,
}

/// A line and where it lies.
struct Line {
    start: u64,
    end: u64,
    hash: [u8; HASH_DIGITS],
}

impl BreachFile {
    /// Opens the file and looks at some of its lines.
    pub(super) fn open(path: &Path) -> Result<Self, BreachFileError> {
        let open = || {
            let file = File::open(path)?;
            let bytes = file.metadata()?.len();
            let opened = Self { file, bytes };
            opened.check()?;
            Ok(opened)
        };
        open().map_err(|reason| BreachFileError {
            path: path.to_owned(),
            reason,
        })
    }

    fn check(&self) -> io::Result<()> {
        if self.bytes == 0 {
            return Err(malformed("is empty"));
        }
        let mut before: Option<Line> = None;
        for sample in 0..SAMPLES {
            // In 128 bits: the product can be larger than any file.
            let at = u128::from(sample) * u128::from(self.bytes) / u128::from(SAMPLES);
            let line = self.line_around(u64::try_from(at).unwrap_or_default())?;
            if let Some(before) = &before
                && line.start > before.start
                && line.hash <= before.hash
            {
                return Err(malformed("is not sorted by hash"));
            }
            before = Some(line);
        }
        Ok(())
    }

    /// Whether the file has the hash, 40 hexadecimal digits in upper case. Blocks.
    pub(super) fn contains(&self, hash: &str) -> io::Result<bool> {
        // Both stand at the beginning of a line, or at the end.
        let (mut low, mut high) = (0, self.bytes);
        while low < high {
            let line = self.line_around(low.midpoint(high))?;
            match line.hash.as_slice().cmp(hash.as_bytes()) {
                Ordering::Equal => return Ok(true),
                Ordering::Less => low = line.end,
                Ordering::Greater => high = line.start,
            }
        }
        Ok(false)
    }

    /// The line that the byte belongs to.
    fn line_around(&self, at: u64) -> io::Result<Line> {
        let from = at.saturating_sub(MAX_LINE as u64);
        let mut window = [0; 2 * MAX_LINE];
        let read = self.read(&mut window, from)?;
        let middle = usize::try_from(at - from).map_err(io::Error::other)?.min(read);
        let (before, after) = window[..read].split_at(middle);
        let is_end = |byte: &u8| *byte == b'\n';
        let start = match before.iter().rposition(is_end) {
            Some(end) => end + 1,
            None if from == 0 => 0,
            None => return Err(malformed("has a line of more than 64 bytes")),
        };
        let end = middle + after.iter().position(is_end).map_or(after.len(), |end| end + 1);
        let hash = read_hash(&window[start..end]).ok_or_else(|| malformed("has a line that is no SHA-1"))?;
        Ok(Line {
            start: from + start as u64,
            end: from + end as u64,
            hash,
        })
    }

    /// Fills the window as far as the file goes.
    fn read(&self, window: &mut [u8], from: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < window.len() {
            match self.file.read_at(&mut window[read..], from + read as u64) {
                Ok(0) => break,
                Ok(bytes) => read += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }
}

fn read_hash(line: &[u8]) -> Option<[u8; HASH_DIGITS]> {
    let (digits, rest) = line.split_first_chunk::<HASH_DIGITS>()?;
    let ends = matches!(rest.first(), None | Some(b':' | b'\r' | b'\n'));
    (ends && digits.iter().all(u8::is_ascii_hexdigit)).then(|| digits.map(|digit| digit.to_ascii_uppercase()))
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn hash(number: u32) -> String {
        format!("{:040X}", u128::from(number) * 0x0001_0000_0000_0000_0000_0001)
    }

    fn written(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn each_line_is_found_and_nothing_else_whatever_ends_the_lines() {
        let with_count = |number: u32| format!("{}:{}\n", hash(number), number * 7919);
        let with_return = |number: u32| format!("{}:{number}\r\n", hash(number));
        let bare = |number: u32| format!("{}\n", hash(number));
        for line in [&with_count as &dyn Fn(u32) -> String, &with_return, &bare] {
            // Odd numbers only, so that there is something to miss between any two lines.
            let text: String = (0..500).map(|number| line(2 * number + 1)).collect();
            for text in [text.as_str(), text.trim_end()] {
                let file = written(text);
                let opened = BreachFile::open(file.path()).unwrap();
                for number in 0..=1001 {
                    let is_there = number % 2 == 1 && number < 1000;
                    assert_eq!(opened.contains(&hash(number)).unwrap(), is_there, "{number}");
                }
            }
        }
    }

    #[test]
    fn a_file_that_is_not_what_it_should_be_is_refused_at_start() {
        let mut lines: Vec<String> = (0..500).map(hash).collect();
        lines.reverse();
        let unsorted = lines.join("\n");
        let lower = hash(0x00AB_CDEF).to_lowercase();
        for (text, reason) in [
            ("", "is empty"),
            ("password\n", "has a line that is no SHA-1"),
            (&format!("{}0\n", hash(1)), "has a line that is no SHA-1"),
            (
                &format!("{}:{}", hash(1), "0".repeat(500)),
                "has a line of more than 64 bytes",
            ),
            (&unsorted, "is not sorted by hash"),
        ] {
            let file = written(text);
            let error = BreachFile::open(file.path()).err().unwrap().to_string();
            assert!(error.starts_with("passwords.breach_file: /"), "{error}");
            assert!(error.contains(reason), "{error}");
        }
        assert!(BreachFile::open(Path::new("/nonexistent")).is_err());
        // Digits in lower case are as good.
        assert!(
            BreachFile::open(written(&lower).path())
                .unwrap()
                .contains(&hash(0x00AB_CDEF))
                .unwrap()
        );
    }
}
