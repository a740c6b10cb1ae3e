//! What a server tells a scraper, and what a hostile client gets from it.

mod common;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::{Folder, Running};
use serde_json::Value;

/// A server of store `a` in `folder`, with its address and that of its metrics.
fn serve(folder: &Folder, more: &str) -> (Running, String, String) {
    let line = format!("serve a --listen 127.0.0.1:0 --metrics 127.0.0.1:0 --insecure --json {more}");
    let mut server = folder.start(&line);
    let first: Value = serde_json::from_str(&server.line()).expect("one object a line");
    let text = |name: &str| first[name].as_str().expect("an address").to_owned();
    let metrics = text("metrics").trim_start_matches("http://").trim_end_matches("/metrics").to_owned();
    (server, text("address"), metrics)
}

/// Reads what the server tells until `part` is in a line.
fn wait_for(server: &mut Running, part: &str) {
    loop {
        let line = server.line();
        assert!(!line.is_empty(), "the server goes on");
        if line.contains(part) {
            return;
        }
    }
}

/// Sends `request` and returns all that comes back.
fn ask(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
    // A server that has enough hangs up, in the middle of either.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).expect("text")
}

fn get(address: &str, path: &str) -> String {
    ask(address, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
}

/// Names and samples of an answer in the text format, which is checked.
fn families(answer: &str) -> BTreeSet<String> {
    let (head, body) = answer.split_once("\r\n\r\n").expect("an empty line");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    let mut names = BTreeSet::new();
    let mut typed = "";
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a kind");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(names.insert(name.to_owned()), "{name} comes once");
            typed = name;
        } else if !line.starts_with("# HELP ") {
            let (name, value) = line.rsplit_once(' ').expect("a value");
            assert_eq!(name.split('{').next(), Some(typed), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
    names
}

#[test]
fn a_server_tells_figures_of_store_sessions_and_peers_and_the_dashboard_names_no_others() {
    let folder = Folder::new();
    folder.text("init a");
    folder.text("init b --replica-of a");
    folder.text("init c --replica-of a");
    folder.text("put a k 1");
    let mut peer = folder.start("serve c --listen 127.0.0.1:0 --insecure --json");
    let first: Value = serde_json::from_str(&peer.line()).expect("one object a line");
    let address = first["address"].as_str().expect("an address");
    let (mut server, own, metrics) = serve(&folder, &format!("--peer {address} --every 10ms"));
    // The session is counted before it is told of.
    wait_for(&mut server, "\"outcome\":\"complete\"");
    folder.text(&format!("sync b {own} --insecure"));
    wait_for(&mut server, "\"direction\":\"in\"");

    let answer = get(&metrics, "/metrics");
    let names = families(&answer);
    for line in [
        "\nsyncline_entries 1\n".to_owned(),
        "\nsyncline_writable 1\n".to_owned(),
        "\nsyncline_sessions_total{direction=\"in\",outcome=\"complete\"} 1\n".to_owned(),
        "\nsyncline_session_entries_total{direction=\"sent\"} 2\n".to_owned(),
        format!(
            "\nsyncline_peer_divergence_entries{{peer=\"{}\"}} 0\n",
            address.trim_start_matches("tcp://")
        ),
    ] {
        assert!(answer.contains(&line), "{line} in {answer}");
    }
    assert!(get(&metrics, "/health").ends_with("\r\n\r\ngood\n"));

    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/");
    let dashboard = std::fs::read_to_string(format!("{root}grafana.json")).expect("the dashboard");
    let _: Value = serde_json::from_str(&dashboard).expect("it is JSON");
    let is_name = |character: char| character.is_ascii_lowercase() || character == '_';
    for (at, _) in dashboard.match_indices("syncline_") {
        let rest = &dashboard[at..];
        let name = &rest[..rest.find(|character| !is_name(character)).unwrap_or(rest.len())];
        assert!(names.contains(name), "{name} is told by the server");
    }
    let page = std::fs::read_to_string(format!("{root}metrics.md")).expect("the page");
    for name in names {
        let ending = name.strip_prefix("syncline").expect("the prefix");
        assert!(page.contains(&name) || page.contains(&format!("`{ending}`")), "{name} is explained");
    }
    assert_eq!(server.end("TERM"), Some(0));
}

#[test]
fn a_hostile_client_gets_an_error_or_nothing_and_the_server_goes_on() {
    let folder = Folder::new();
    folder.text("init a");
    let (_server, _, metrics) = serve(&folder, "");
    for (request, status) in [
        (&b"POST /metrics HTTP/1.1\r\n\r\n"[..], "405"),
        (b"GET /../etc/passwd HTTP/1.1\r\n\r\n", "404"),
        (b"GET /metrics HTTP/2\r\n\r\n", "400"),
        (b"\xff\x00 \xff\r\n\r\n", "400"),
        (b"\r\n\r\n", "400"),
    ] {
        let answer = ask(&metrics, request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
    }
    let head = ask(&metrics, b"HEAD /health HTTP/1.0\r\n\r\n");
    assert!(head.ends_with("\r\n\r\n") && head.contains("Content-Length: 5\r\n"), "{head}");
    let long = ask(&metrics, &[b'x'; 1 << 20]);
    assert!(long.is_empty() || long.starts_with("HTTP/1.1 431 "), "{long}");
    // Some connections that say nothing do not keep others out.
    let _idle: Vec<_> = (0..8).map(|_| TcpStream::connect(&metrics).expect("a connection")).collect();
    assert!(get(&metrics, "/health").starts_with("HTTP/1.1 200 OK"));
}
