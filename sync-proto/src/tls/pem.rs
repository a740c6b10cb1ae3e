//! Reads certificates and keys from PEM text, and says in which file and line it stumbled.
//!
//! Easy to get wrong: a file may hold other sections beside those that are wanted (many tools put the key beside its
//! certificate), so what is not wanted is passed over, and a file without anything wanted is an error.

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::{ConfigError, ConfigProblem};

/// The text of a PEM file, and what it is called in errors. Reading it is the caller's job.
#[derive(Clone, Copy)]
pub struct PemFile<'a> {
    /// The file's name.
    pub name: &'a str,
    /// What is in it.
    pub text: &'a [u8],
}

impl std::fmt::Debug for PemFile<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The text may be a private key.
        f.debug_struct("PemFile").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PemFile<'_> {
    /// Every certificate of the file, at least one, each with the line that it begins in.
    pub(super) fn certificates(self) -> Result<Vec<(usize, CertificateDer<'static>)>, ConfigError> {
        let found = self.sections()?;
        if found.is_empty() { Err(self.error(None, ConfigProblem::NoCertificate)) } else { Ok(found) }
    }

    /// The one private key of the file.
    pub(super) fn key(self) -> Result<PrivateKeyDer<'static>, ConfigError> {
        let mut found = self.sections()?.into_iter();
        match (found.next(), found.next()) {
            (Some((_, key)), None) => Ok(key),
            (None, _) => Err(self.error(None, ConfigProblem::NoKey)),
            (_, Some((line, _))) => Err(self.error(Some(line), ConfigProblem::SecondKey)),
        }
    }

    pub(super) fn error(self, line: Option<usize>, problem: ConfigProblem) -> ConfigError {
        ConfigError { file: self.name.to_owned(), line, problem }
    }

    /// The sections of the wanted kind with the lines that they begin in.
    fn sections<T: PemObject>(self) -> Result<Vec<(usize, T)>, ConfigError> {
        let mut found = Vec::new();
        let mut rest = self.text;
        loop {
            let line = self.next_section_line(rest);
            match pem::from_buf(&mut rest) {
                Ok(None) => return Ok(found),
                Ok(Some((kind, der))) => found.extend(T::from_pem(kind, der).map(|item| (line, item))),
                Err(error) => return Err(self.error(Some(line), ConfigProblem::Pem(told(&error)))),
            }
        }
    }

    /// The number of the line in which the first section of `rest`, a tail of the text, begins.
    fn next_section_line(self, rest: &[u8]) -> usize {
        let begin = b"-----BEGIN";
        let within = rest.windows(begin.len()).position(|window| window == begin).unwrap_or(rest.len());
        let before = self.text.len().saturating_sub(rest.len()).saturating_add(within);
        let newlines = self.text.iter().take(before).filter(|&&byte| byte == b'\n').count();
        newlines + 1
    }
}

/// The error without the text that it stumbled over, which may be part of a key.
fn told(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end",
        pem::Error::IllegalSectionStart { .. } => "a section begins with a malformed line",
        pem::Error::Base64Decode(_) => "a section is not base64",
        _ => "it is no PEM text",
    }
}
