use std::time::Instant;
use syncline::*;
fn key(n: u64) -> [u8; 16] {
    let a = n.wrapping_mul(0x9e3779b97f4a7c15);
    let mut k = [0; 16];
    k[..8].copy_from_slice(&a.to_be_bytes());
    k[8..].copy_from_slice(&n.to_be_bytes());
    k
}
fn rss() -> u64 {
    let s = std::fs::read_to_string("/proc/self/status").unwrap();
    let f = |n: &str| {
        s.lines()
            .find(|l| l.starts_with(n))
            .unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
            / 1024
    };
    println!("   RssAnon {} MiB RssFile {} MiB", f("RssAnon"), f("RssFile"));
    0
}
fn main() {
    let n: u64 = std::env::args().nth(1).map_or(1_000_000, |s| s.parse().unwrap());
    let dir = std::env::args().nth(2).unwrap();
    let db = Db::builder(&dir).open_or_create().unwrap();
    let v = [7u8; 100];
    let t = Instant::now();
    for i in 0..n {
        db.put(key(i), v).unwrap();
    }
    println!("fill {:.0}/s", n as f64 / t.elapsed().as_secs_f64());
    rss();
    let t = Instant::now();
    println!("root {:?} {:?}", db.root().unwrap().counts, t.elapsed());
    let t = Instant::now();
    for i in 0..n {
        let j = i.wrapping_mul(7919) % n;
        assert!(db.get(key(j)).unwrap().is_some());
    }
    println!("get {:.0}/s", n as f64 / t.elapsed().as_secs_f64());
    let t = Instant::now();
    for i in 0..n {
        assert!(db.get(key(i + n)).unwrap().is_none());
    }
    println!("miss {:.0}/s", n as f64 / t.elapsed().as_secs_f64());
    let t = Instant::now();
    let c = db.iter().count();
    println!("scan {c} {:.0}/s", n as f64 / t.elapsed().as_secs_f64());
    let t = Instant::now();
    for i in 0..n {
        db.put(key(i), v).unwrap();
    }
    println!("overwrite {:.0}/s", n as f64 / t.elapsed().as_secs_f64());
    let s = db.stats().unwrap();
    println!("{s:?}");
    rss();
    let t = Instant::now();
    let r = db.verify(&mut |_| true).unwrap();
    println!("verify {:?} {} {:?}", t.elapsed(), r.entries, r.problems.iter().take(3).collect::<Vec<_>>());
    let root = db.root().unwrap();
    drop(db);
    let t = Instant::now();
    let db = Db::open(&dir).unwrap();
    println!("reopen {:?} {:?}", t.elapsed(), db.recovery());
    assert_eq!(root, db.root().unwrap());
    rss();
    let t = Instant::now();
    db.compact(|| true).unwrap();
    println!("compact {:?}", t.elapsed());
    drop(db);
    let t = Instant::now();
    let db = Db::open(&dir).unwrap();
    println!("reopen {:?}", t.elapsed());
    println!("{:?}", db.stats().unwrap());
}
