//! Certificate authorities and certificates of every kind that a test needs.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use sync_proto::tls::{PemFile, TlsConfig};
use time::{Duration, OffsetDateTime};

/// An authority of a replica set.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Valid {
    Now,
    Past,
    Future,
}

/// A certificate with its key, both as PEM text.
pub(crate) struct Certified {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority");
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("signed"))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these DNS names and addresses.
    pub(crate) fn certify(&self, names: &[&str], valid: Valid) -> Certified {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        let (now, day) = (OffsetDateTime::UNIX_EPOCH + wall(), Duration::days(1));
        (params.not_before, params.not_after) = match valid {
            Valid::Now => (now - day, now + day),
            Valid::Past => (now - day * 2, now - day),
            Valid::Future => (now + day, now + day * 2),
        };
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("signed").pem();
        Certified { certificate, key: key.serialize_pem() }
    }

    /// What a peer of this name is configured with.
    pub(crate) fn config(&self, name: &str, valid: Valid) -> TlsConfig {
        self.config_of(&self.certify(&[name, "127.0.0.1"], valid))
    }

    /// What the owner of a certificate is configured with that trusts this authority.
    pub(crate) fn config_of(&self, certified: &Certified) -> TlsConfig {
        let file = |name, text| PemFile { name, text };
        let authority = self.pem();
        TlsConfig::from_pem(
            file("certificate", certified.certificate.as_bytes()),
            file("key", certified.key.as_bytes()),
            file("authority", authority.as_bytes()),
        )
        .expect("a sound configuration")
    }
}

#[allow(clippy::disallowed_methods)] // Whether a certificate is valid depends on the real time.
fn wall() -> std::time::Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970")
}
