//! What one replica needs to secure its connections, as server and as client.
//!
//! Only TLS 1.3 is compiled in. Nothing of one connection helps another: no resumption, no tickets, no early data, so
//! replayed bytes of an older session never get past the handshake. Both sides must agree on the protocol by ALPN.
//! The cryptography is ring: it builds with a C compiler alone and is under Apache-2.0 and ISC.

use std::fmt;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::error::{ConfigError, ConfigProblem};
use super::identity::peer_name;
use super::pem::PemFile;
use crate::rights::PeerName;

/// The name of the protocol, with its version, that both sides agree on within the TLS handshake.
pub const ALPN: &[u8] = b"syncline/1";

/// One replica's certificate and key, and the authority whose certificates it trusts. Cheap to clone.
#[derive(Clone)]
pub struct TlsConfig {
    name: PeerName,
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) server: Arc<ServerConfig>,
}

impl TlsConfig {
    /// A configuration from PEM text: this replica's certificate (and those between it and the authority, if there are
    /// any), its private key, and the certificates of the replica set's authority. The certificate has to be good for
    /// servers and for clients, for every replica may be either.
    ///
    /// # Errors
    /// The file, and the line where it is known, that is malformed, lacks what it should hold, or does not fit.
    pub fn from_pem(
        certificate: PemFile<'_>,
        key: PemFile<'_>,
        authority: PemFile<'_>,
    ) -> Result<TlsConfig, ConfigError> {
        let mut roots = RootCertStore::empty();
        for (line, root) in authority.certificates()? {
            roots.add(root).map_err(|_| authority.error(Some(line), ConfigProblem::Authority))?;
        }
        let roots = Arc::new(roots);
        let chain = certificate.certificates()?;
        let name = chain.first().and_then(|(_, own)| peer_name(own));
        let name = name.ok_or_else(|| certificate.error(None, ConfigProblem::NoName))?;
        let chain: Vec<_> = chain.into_iter().map(|(_, certificate)| certificate).collect();
        let private = key.key()?;

        let provider = Arc::new(ring::default_provider());
        let unfit = |error: rustls::Error| key.error(None, ConfigProblem::KeyPair(error.to_string()));
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let verifier = verifier.build().map_err(|_| authority.error(None, ConfigProblem::Authority))?;
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(unfit)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), private.clone_key())
            .map_err(unfit)?;
        server.alpn_protocols = vec![ALPN.to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.max_early_data_size = 0;

        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(unfit)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, private)
            .map_err(unfit)?;
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = Resumption::disabled();
        client.enable_early_data = false;
        Ok(TlsConfig { name, client: Arc::new(client), server: Arc::new(server) })
    }

    /// The name by which peers know this replica.
    pub fn name(&self) -> &PeerName {
        &self.name
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig").field("name", &self.name).finish_non_exhaustive()
    }
}
