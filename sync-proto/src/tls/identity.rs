//! Who a certificate says that its owner is.
//!
//! Easy to get wrong: only certificates that were verified may be asked. The name is the *first* DNS name among the
//! subject's alternative names; further names and addresses are the hosts that the peer can be reached at.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::rights::PeerName;

/// The name of the peer that a verified certificate belongs to, if it has one.
pub(crate) fn peer_name(certificate: &CertificateDer<'_>) -> Option<PeerName> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    certificate.valid_dns_names().next().map(PeerName::new)
}
