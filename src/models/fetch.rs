//! Fetches published files: from a mirror folder, a mirror address, or the public source.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use visavis_face::{manifest::Source, sha256_hex};

use super::error::PullError;
use crate::outgoing;

/// Receives the number of bytes of a file that have arrived.
pub type Progress<'a> = &'a dyn Fn(u64);

/// A copy of the public sources, laid out by [`Source::mirror`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mirror {
    /// A folder on this machine or on a share.
    Folder(PathBuf),
    /// An address that the paths are appended to.
    Address(String),
}

impl Mirror {
    /// A text that starts with `http://` or `https://` is an address, any other a folder.
    pub fn parse(text: &str) -> Self {
        if text.starts_with("http://") || text.starts_with("https://") {
            Self::Address(text.trim_end_matches('/').to_owned())
        } else {
            Self::Folder(PathBuf::from(text))
        }
    }
}

/// Fetches files; resumes an interrupted download.
#[derive(Debug)]
pub struct Fetcher {
    mirror: Option<Mirror>,
    agent: ureq::Agent,
}

impl Fetcher {
    /// Fetches from `mirror`, or from the public sources without one.
    pub fn new(mirror: Option<Mirror>) -> Self {
        let agent = outgoing::agent(None)
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_mins(1)))
            .build()
            .new_agent();
        Self { mirror, agent }
    }

    /// The bytes of a source, verified by its digest. They are collected in `part`, which is kept
    /// when the connection breaks and continued the next time.
    ///
    /// # Errors
    /// [`PullError::Unreachable`], [`PullError::WrongBytes`] or [`PullError::File`].
    pub fn fetch(
        &self,
        source: &Source,
        part: &Path,
        progress: Progress<'_>,
    ) -> Result<Vec<u8>, PullError> {
        match &self.mirror {
            Some(Mirror::Folder(folder)) => copy(&folder.join(&source.mirror), part, progress)?,
            Some(Mirror::Address(address)) => {
                self.download(&format!("{address}/{}", source.mirror), source, part, progress)?;
            }
            None => self.download(public(source)?, source, part, progress)?,
        }
        let bytes = fs::read(part).map_err(|e| PullError::file(part, e))?;
        if sha256_hex(&bytes) == source.sha256 {
            return Ok(bytes);
        }
        // Resuming a damaged or different file cannot succeed.
        fs::remove_file(part).map_err(|e| PullError::file(part, e))?;
        Err(PullError::WrongBytes {
            what: self.location(source),
            bytes: bytes.len() as u64,
            expected: source.bytes,
        })
    }

    fn location(&self, source: &Source) -> String {
        match &self.mirror {
            Some(Mirror::Folder(folder)) => folder.join(&source.mirror).display().to_string(),
            Some(Mirror::Address(address)) => format!("{address}/{}", source.mirror),
            None => source.url.clone().unwrap_or_default(),
        }
    }

    fn download(
        &self,
        url: &str,
        source: &Source,
        part: &Path,
        progress: Progress<'_>,
    ) -> Result<(), PullError> {
        let failed = |reason: String| PullError::Unreachable { what: url.to_owned(), reason };
        let have = fs::metadata(part).map_or(0, |m| m.len());
        if have == source.bytes {
            return Ok(());
        }
        let mut request = self.agent.get(url);
        if 0 < have && have < source.bytes {
            request = request.header("Range", format!("bytes={have}-"));
        }
        let response = request.call().map_err(|e| failed(e.to_string()))?;
        let resumed = response.status().as_u16() == 206;
        let mut file = fs::OpenOptions::new()
            .create(true)
            .write(true)
            .append(resumed)
            .truncate(!resumed)
            .open(part)
            .map_err(|e| PullError::file(part, e))?;
        let start = if resumed { have } else { 0 };
        // One byte more than expected is enough to detect a different file.
        let body = response.into_body().into_reader().take(source.bytes - start + 1);
        pour(body, &mut file, start, progress).map_err(|e| failed(e.to_string()))?;
        file.sync_all().map_err(|e| PullError::file(part, e))
    }
}

fn public(source: &Source) -> Result<&str, PullError> {
    source.url.as_deref().ok_or_else(|| PullError::Packaged {
        mirror: source.mirror.clone(),
        package: source.package.clone().unwrap_or_default(),
    })
}

fn copy(from: &Path, part: &Path, progress: Progress<'_>) -> Result<(), PullError> {
    let unreachable = |e: io::Error| PullError::Unreachable {
        what: from.display().to_string(),
        reason: e.to_string(),
    };
    let source = fs::File::open(from).map_err(unreachable)?;
    let mut file = fs::File::create(part).map_err(|e| PullError::file(part, e))?;
    pour(source, &mut file, 0, progress).map_err(|e| PullError::file(part, e))
}

fn pour(
    mut from: impl Read,
    to: &mut impl Write,
    start: u64,
    progress: Progress<'_>,
) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    let mut done = start;
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read])?;
        done += read as u64;
        progress(done);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        io::{BufRead as _, BufReader},
        net::TcpListener,
    };

    use super::*;

    fn source() -> Source {
        Source {
            url: None,
            package: None,
            mirror: "a/b.bin".to_owned(),
            sha256: sha256_hex(b"0123456789"),
            bytes: 10,
        }
    }

    /// Serves `0123456789` once, from the byte that is asked for; returns the Range header it saw.
    fn serve_once() -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/m/", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<String> =
                lines.map(Result::unwrap).take_while(|l| !l.is_empty()).collect();
            let range = head
                .iter()
                .find(|l| l.to_lowercase().starts_with("range:"))
                .cloned()
                .unwrap_or_default();
            let from = range.split(['=', '-']).nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
            let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
            let body = &"0123456789"[from..];
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                .unwrap();
            format!("{} {range}", head[0])
        });
        (address, server)
    }

    #[test]
    fn a_mirror_folder_is_read_and_its_bytes_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("x.part");
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/b.bin"), "0123456789").unwrap();
        let fetcher = Fetcher::new(Some(Mirror::Folder(folder.path().to_path_buf())));
        let seen = Cell::new(0);
        assert_eq!(fetcher.fetch(&source(), &part, &|n| seen.set(n)).unwrap(), b"0123456789");
        assert_eq!(seen.get(), 10);
        fs::write(folder.path().join("a/b.bin"), "012345678X").unwrap();
        let error = fetcher.fetch(&source(), &part, &|_| ()).unwrap_err();
        assert!(matches!(error, PullError::WrongBytes { .. }), "{error}");
        assert!(!part.exists());
    }

    #[test]
    fn a_broken_download_is_continued_where_it_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("x.part");
        fs::write(&part, "0123").unwrap();
        let (address, server) = serve_once();
        let fetcher = Fetcher::new(Some(Mirror::parse(&address)));
        assert_eq!(fetcher.fetch(&source(), &part, &|_| ()).unwrap(), b"0123456789");
        let request = server.join().unwrap();
        assert!(
            request.starts_with("GET /m/a/b.bin ") && request.contains("bytes=4-"),
            "{request}"
        );
    }

    #[test]
    fn a_missing_mirror_file_is_named() {
        let fetcher = Fetcher::new(Some(Mirror::Folder(PathBuf::from("/nowhere"))));
        let error =
            fetcher.fetch(&source(), Path::new("/tmp/none.part"), &|_| ()).unwrap_err().to_string();
        assert!(error.contains("/nowhere/a/b.bin"), "{error}");
    }
}
