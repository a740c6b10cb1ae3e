//! Files that are not what they should be are named, with the line.

use sync_proto::tls::{ConfigError, ConfigProblem, PemFile, TlsConfig};

use super::authority::{Authority, Valid};

fn config(certificate: &str, key: &str, authority: &str) -> Result<TlsConfig, ConfigError> {
    let file = |name, text: &'static [u8]| PemFile { name, text };
    let leaked = |text: &str| text.as_bytes().to_vec().leak();
    TlsConfig::from_pem(
        file("c.pem", leaked(certificate)),
        file("k.pem", leaked(key)),
        file("ca.pem", leaked(authority)),
    )
}

#[test]
fn a_file_that_is_not_what_it_should_be_is_named_with_its_line() {
    let authority = Authority::new();
    let (own, other) = (authority.certify(&["a"], Valid::Now), authority.certify(&["b"], Valid::Now));
    let nameless = authority.certify(&["127.0.0.1"], Valid::Now);
    let ca = authority.pem();
    config(&own.certificate, &own.key, &ca).expect("sound");
    let both = format!("{}{}", own.key, own.certificate);
    config(&both, &both, &ca).expect("one file may hold both");

    let told = |result: Result<TlsConfig, ConfigError>| {
        let ConfigError { file, line, problem, .. } = result.expect_err("unsound");
        (file, line, problem)
    };
    let at = |file: &str, line, problem| (file.to_owned(), line, problem);
    use ConfigProblem as P;
    assert_eq!(told(config("", &own.key, &ca)), at("c.pem", None, P::NoCertificate));
    assert_eq!(told(config(&own.certificate, &own.certificate, &ca)), at("k.pem", None, P::NoKey));
    assert_eq!(told(config(&own.certificate, &own.key, "words\n")), at("ca.pem", None, P::NoCertificate));
    assert_eq!(told(config(&nameless.certificate, &own.key, &ca)), at("c.pem", None, P::NoName));
    let two = format!("\n{}{}", own.key, other.key);
    let second_line = 2 + own.key.lines().count();
    assert_eq!(told(config(&own.certificate, &two, &ca)), at("k.pem", Some(second_line), P::SecondKey));
    let cut = format!("# a comment\n{}", &ca[..ca.len() - 30]);
    assert_eq!(
        told(config(&own.certificate, &own.key, &cut)),
        at("ca.pem", Some(2), P::Pem("a section has no end"))
    );
    let (_, _, problem) = told(config(&own.certificate, &other.key, &ca));
    assert!(matches!(problem, P::KeyPair(_)), "{problem}");
    let error = config(&own.certificate, &two, &ca).expect_err("unsound").to_string();
    assert_eq!(error, format!("k.pem, line {second_line}: it holds a second private key"));
}
