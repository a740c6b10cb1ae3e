//! `cert`: an authority for a replica set, and certificates for its peers. Enough for tests and for small sets; whoever
//! has an authority already uses that.
//!
//! Easy to get wrong: the authority's certificate is not read again, only its key. Its subject is made from the key
//! alone, so that what is signed later names the same issuer.

use std::io::ErrorKind;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use serde_json::json;
use syncline::clock::{SystemClock, WallClock};
use time::{Duration, OffsetDateTime};

use crate::args::{Cert, CertAuthority, CertPeer};
use crate::error::{Error, Result, Verdict};
use crate::host::{self, NewFile};
use crate::output::Output;

/// Certificates are valid from so long before they are made, for clocks that are behind.
const CLOCK_SLACK: Duration = Duration::hours(1);

pub(super) fn run(args: &Cert, output: Output) -> Result<Verdict> {
    match args {
        Cert::Ca(args) => authority(args, output),
        Cert::Peer(args) => peer(args, output),
    }
}

fn authority(args: &CertAuthority, output: Output) -> Result<Verdict> {
    host::create_folder(&args.out)?;
    let key = KeyPair::generate().map_err(unmade)?;
    let secret = key.serialize_pem();
    let mut params = authority_params(&key)?;
    set_validity(&mut params, args.days)?;
    let certificate = CertifiedIssuer::self_signed(params, key).map_err(unmade)?.pem();
    write(&args.out, "ca", &certificate, &secret, output)
}

fn peer(args: &CertPeer, output: Output) -> Result<Verdict> {
    let key_file = args.out.join("ca.key");
    let text = host::read(&key_file).map_err(|error| match error {
        Error::Io { what, source } if source.kind() == ErrorKind::NotFound => {
            let folder = args.out.display();
            Error::Io { what: format!("{what}, so make it with `syncline cert ca --out {folder}`"), source }
        }
        error => error,
    })?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let key = KeyPair::from_pem(&text)
        .map_err(|error| Error::Usage(format!("{} is no key: {error}", key_file.display())))?;
    let issuer = Issuer::new(authority_params(&key)?, key);

    // The first name is the peer's; the hosts that it can be reached at follow.
    let names: Vec<String> = std::iter::once(&args.name).chain(&args.hosts).cloned().collect();
    let mut params = CertificateParams::new(names).map_err(|error| {
        Error::Usage(format!("names and hosts have to be DNS names or addresses: {error}"))
    })?;
    params.distinguished_name.push(DnType::CommonName, args.name.as_str());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    set_validity(&mut params, args.days)?;
    let key = KeyPair::generate().map_err(unmade)?;
    let certificate = params.signed_by(&key, &issuer).map_err(unmade)?.pem();
    write(&args.out, &args.name, &certificate, &key.serialize_pem(), output)
}

/// What the authority with this key is.
fn authority_params(key: &KeyPair) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new()).map_err(unmade)?;
    let fingerprint = xxhash_rust::xxh3::xxh3_64(key.public_key_raw());
    params.distinguished_name.push(DnType::CommonName, format!("Syncline replica set {fingerprint:016x}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok(params)
}

fn set_validity(params: &mut CertificateParams, days: u32) -> Result<()> {
    let now = Duration::milliseconds(i64::try_from(SystemClock.now_ms()).unwrap_or(i64::MAX));
    let now = OffsetDateTime::UNIX_EPOCH.checked_add(now);
    let end = now.and_then(|now| now.checked_add(Duration::days(i64::from(days))));
    let (Some(now), Some(end)) = (now, end) else {
        return Err(Error::Usage(format!("{days} days from now there is no calendar")));
    };
    (params.not_before, params.not_after) = (now - CLOCK_SLACK, end);
    Ok(())
}

/// Writes a certificate and its key. Neither may be there already.
fn write(dir: &Path, name: &str, certificate: &str, key: &str, output: Output) -> Result<Verdict> {
    let [certificate_file, key_file] = ["pem", "key"].map(|end| dir.join(format!("{name}.{end}")));
    NewFile::write(&key_file, key.as_bytes())?;
    NewFile::write(&certificate_file, certificate.as_bytes())?;
    let [certificate_file, key_file] = [certificate_file, key_file].map(|file| file.display().to_string());
    output.answer(
        &json!({ "certificate": certificate_file, "key": key_file }),
        &[("certificate", certificate_file.clone()), ("key, to be kept secret", key_file.clone())],
    )?;
    Ok(Verdict::Fine)
}

fn unmade(error: rcgen::Error) -> Error {
    Error::Usage(format!("no certificate can be made: {error}"))
}
