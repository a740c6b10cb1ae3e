//! Served stores with certificates: who gets in, what they may do, and servers that visit each other.
#![allow(clippy::disallowed_methods)] // The tests look at the permissions of files.

mod common;

use std::os::unix::fs::PermissionsExt;

use common::{Folder, Running};
use serde_json::{Value, json};

/// Stores `a`, with a small table, and `b`, an empty replica of it; an authority with certificates for both.
fn replicas() -> Folder {
    let folder = Folder::new();
    folder.write("t.tsv", b"k\tv\na\t1\nb\t1\nc\t1\nd\t1\n");
    folder.text("load a t.tsv");
    folder.text("init b --replica-of a");
    folder.text("cert ca --out certs");
    folder.text("cert peer --out certs --name a");
    folder.text("cert peer --out certs --name b");
    folder
}

/// The arguments of a peer that has the certificate called `name`.
fn link(name: &str) -> String {
    format!("--cert certs/{name}.pem --key certs/{name}.key --ca certs/ca.pem")
}

fn next(server: &mut Running) -> Value {
    serde_json::from_str(&server.line()).expect("one object a line")
}

/// Starts to serve `store` and returns its address too.
fn serve(folder: &Folder, store: &str, more: &str) -> (Running, String) {
    let line = format!("serve {store} --listen 127.0.0.1:0 {} --json {more}", link(store));
    let mut server = folder.start(&line);
    let address = next(&mut server)["address"].as_str().expect("an address").to_owned();
    (server, address)
}

#[test]
fn certificates_are_for_their_owner_alone_and_are_never_overwritten() {
    let folder = replicas();
    let mode = |name: &str| {
        let metadata = std::fs::metadata(folder.path().join(name)).expect("it is there");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode("certs"), 0o700);
    assert_eq!(["ca.pem", "ca.key", "a.pem", "a.key"].map(|name| mode(&format!("certs/{name}"))), [0o600; 4]);
    let before = folder.read("certs/ca.key");
    assert_eq!(folder.json("cert ca --out certs", 3)["kind"], "io");
    assert_eq!(folder.json("cert peer --out certs --name ca", 3)["kind"], "io");
    assert_eq!(folder.read("certs/ca.key"), before);
    assert_eq!(folder.json("cert peer --out certs --name ../x", 2)["kind"], "usage");
    assert_eq!(folder.json("cert peer --out none --name x", 3)["kind"], "io");
}

#[test]
fn a_store_is_served_to_peers_of_its_authority_and_to_nobody_else() {
    let folder = replicas();
    assert_eq!(folder.json("serve a --listen nowhere", 2)["kind"], "usage");
    assert_eq!(folder.json("serve a --listen nowhere --cert certs/a.pem", 2)["kind"], "usage");
    folder.write("broken.pem", b"-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n");
    let broken = "serve a --listen nowhere --cert broken.pem --key certs/a.key --ca certs/ca.pem";
    let error = folder.json(broken, 3);
    assert_eq!(error["kind"], "tls");
    assert!(error["error"].as_str().is_some_and(|text| text.starts_with("broken.pem, line 1: ")), "{error}");

    let (mut server, address) = serve(&folder, "a", "");
    assert!(address.starts_with("tls://127.0.0.1:"), "{address}");
    let b = link("b");
    assert_eq!(folder.json(&format!("diff {address} b {b}"), 1)["only_left"], 4);
    let told = next(&mut server);
    assert_eq!(
        (&told["peer"], &told["direction"], &told["outcome"]),
        (&json!("b"), &json!("in"), &json!("partial"))
    );
    assert_eq!(folder.json(&format!("sync {address} b {b}"), 0)["entries_sent"], 4);
    assert_eq!(told["divergence"], 4);
    let told = next(&mut server);
    assert_eq!(
        (&told["outcome"], &told["divergence"], &told["found"]),
        (&json!("complete"), &json!(0), &json!(4))
    );
    assert_eq!(folder.json("digest a", 0), folder.json("digest b", 0));

    let plain = address.replace("tls://", "tcp://");
    let refused = |line: &str, code, kind, word: &str| {
        let error = folder.json(line, code);
        assert_eq!(error["kind"], kind, "{line}: {error}");
        assert!(error["error"].as_str().is_some_and(|text| text.contains(word)), "{line}: {error}");
    };
    refused(&format!("sync {address} b"), 2, "usage", "--cert");
    refused(&format!("sync {plain} b"), 2, "usage", "--insecure");
    refused(&format!("sync {plain} b --insecure"), 3, "peer", "tls://");
    folder.text("cert ca --out others");
    folder.text("cert peer --out others --name b");
    let other = "--cert others/b.pem --key others/b.key";
    refused(&format!("sync {address} b {other} --ca others/ca.pem"), 3, "peer", "authority");
    refused(&format!("sync {address} b {other} --ca certs/ca.pem"), 3, "peer", "authority");
    assert_eq!(server.end("TERM"), Some(0));
}

#[test]
fn a_peer_may_do_what_it_was_granted() {
    let folder = replicas();
    folder.text("put b new 1");
    folder.text("cert peer --out certs --name nobody");
    let (mut server, address) = serve(&folder, "a", "--grant *=none --grant b=read");
    let denied = folder.json(&format!("sync {address} b {}", link("nobody")), 3);
    assert!(denied["error"].as_str().is_some_and(|text| text.contains("--grant")), "{denied}");
    let taken = folder.json(&format!("sync {address} b {}", link("b")), 1);
    assert_eq!((&taken["outcome"], &taken["entries_sent"]), (&json!("partial"), &json!(4)));
    assert_eq!(server.end("TERM"), Some(0));
    assert_eq!(folder.text("get b a"), "a\t1\n");
    assert_eq!(folder.json("get a new", 1)["found"], false);
}

#[test]
fn a_peer_that_is_visited_may_do_no_more_than_it_was_granted() {
    let folder = replicas();
    folder.text("put b new 1");
    let (mut visited, address) = serve(&folder, "b", "");
    let (mut visitor, _) = serve(&folder, "a", &format!("--peer {address} --every 20ms --grant b=read"));
    let told = next(&mut visitor);
    assert_eq!(
        (&told["outcome"], &told["entries_sent"], &told["entries_received"]),
        (&json!("partial"), &json!(4), &json!(0))
    );
    assert_eq!((visitor.end("TERM"), visited.end("TERM")), (Some(0), Some(0)));
    assert_eq!(folder.json("get a new", 1)["found"], false);
    assert_eq!(folder.text("get b a"), "a\t1\n");
}

#[test]
fn a_server_visits_its_peers_and_makes_them_equal() {
    let folder = replicas();
    folder.text("put b new 1");
    let (mut visited, address) = serve(&folder, "b", "");
    let (mut visitor, _) = serve(&folder, "a", &format!("--peer {address} --every 20ms --jitter 50%"));
    let first = next(&mut visitor);
    assert_eq!(
        ["direction", "outcome", "entries_sent", "entries_received", "divergence"]
            .map(|name| first[name].clone()),
        [json!("out"), json!("complete"), json!(4), json!(1), json!(0)]
    );
    assert_eq!(next(&mut visited)["peer"], "a");
    visitor.signal("USR1");
    while next(&mut visitor)["outcome"] != "compared" {}
    assert_eq!(visitor.end("TERM"), Some(0));
    assert_eq!(visited.end("INT"), Some(0));
    assert_eq!(folder.json("digest a", 0), folder.json("digest b", 0));
    assert_eq!(folder.text("get a new"), "1\n");
    assert_eq!(folder.json(&format!("serve a --peer tcp://h:1 {}", link("a")), 2)["kind"], "usage");
}
