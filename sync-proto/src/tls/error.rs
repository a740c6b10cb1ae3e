//! What can be wrong with a configuration, and with a certificate that a peer shows or refuses.

use std::fmt;

use rustls::{AlertDescription, CertificateError, Error};

/// Why a [`super::TlsConfig`] could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("{file}{at}: {problem}", at = line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub struct ConfigError {
    /// The file that has to be mended.
    pub file: String,
    /// The line in which the section in question begins, counted from 1.
    pub line: Option<usize>,
    /// What is wrong with it.
    pub problem: ConfigProblem,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigProblem {
    /// The PEM text is malformed.
    #[error("{0}")]
    Pem(&'static str),
    /// There is no certificate in it.
    #[error("it holds no certificate")]
    NoCertificate,
    /// There is no private key in it.
    #[error("it holds no private key")]
    NoKey,
    /// There is more than one private key in it.
    #[error("it holds a second private key")]
    SecondKey,
    /// A certificate of the authority cannot be used.
    #[error("this certificate cannot be used as an authority's")]
    Authority,
    /// The certificate names no peer.
    #[error("the certificate names no peer: its first DNS name is to be the peer's name")]
    NoName,
    /// The key is not the certificate's, or one of them is of a kind that is not supported.
    #[error("certificate and key do not fit: {0}")]
    KeyPair(String),
}

/// Why a certificate was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateProblem {
    /// None was shown.
    Missing,
    /// It was not signed by the replica set's authority.
    UnknownIssuer,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// Its time is over or has not come: a peer that refuses does not say which.
    OutOfTime,
    /// It is for another host than the one that was connected to.
    WrongName,
    /// Its first DNS name, which is the peer's name, is not there.
    NoName,
    /// Anything else, in the words of the library.
    Other(String),
}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CertificateProblem::Missing => "none was shown",
            CertificateProblem::UnknownIssuer => "the replica set's authority did not sign it",
            CertificateProblem::Expired => "it has expired",
            CertificateProblem::NotYetValid => "it is not valid yet",
            CertificateProblem::OutOfTime => "it has expired or is not valid yet",
            CertificateProblem::WrongName => "it is for another host",
            CertificateProblem::NoName => "it names no peer",
            CertificateProblem::Other(words) => words,
        })
    }
}

/// What this side holds against the peer's certificate, if that is why `error` came.
pub(crate) fn problem_of(error: &Error) -> Option<CertificateProblem> {
    use CertificateProblem as P;
    Some(match error {
        Error::NoCertificatesPresented => P::Missing,
        Error::InvalidCertificate(problem) => match problem {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => P::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => P::NotYetValid,
            CertificateError::UnknownIssuer | CertificateError::BadSignature => P::UnknownIssuer,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                P::WrongName
            }
            other => P::Other(other.to_string()),
        },
        _ => return None,
    })
}

/// What the peer holds against this side's certificate, if that is what its alert says.
pub(crate) fn refusal_of(alert: AlertDescription) -> Option<CertificateProblem> {
    use CertificateProblem as P;
    Some(match alert {
        AlertDescription::CertificateRequired => P::Missing,
        AlertDescription::UnknownCA | AlertDescription::DecryptError => P::UnknownIssuer,
        AlertDescription::CertificateExpired => P::OutOfTime,
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => P::Other(format!("{alert:?}")),
        _ => return None,
    })
}
