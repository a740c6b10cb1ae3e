use std::time::Instant;
use syncline::*;
fn key(n: u64) -> [u8; 16] {
    let a = n.wrapping_mul(0x9e3779b97f4a7c15);
    let mut k = [0; 16];
    k[..8].copy_from_slice(&a.to_be_bytes());
    k[8..].copy_from_slice(&n.to_be_bytes());
    k
}
fn cpu() -> String {
    let mut s = String::new();
    for t in std::fs::read_dir("/proc/self/task").unwrap() {
        let t = t.unwrap().path();
        let c = std::fs::read_to_string(t.join("stat")).unwrap();
        let f: Vec<&str> = c.split_whitespace().collect();
        s += &format!(" {}:u{}s{}", f[1], f[13], f[14]);
    }
    s
}
fn main() {
    let n: u64 = std::env::args().nth(1).map_or(1_000_000, |s| s.parse().unwrap());
    let dir = std::env::args().nth(2).unwrap();
    let what = std::env::args().nth(3).unwrap_or("fow".into());
    let db = Db::builder(&dir).open_or_create().unwrap();
    let v = [7u8; 100];
    let run = |name: &str, f: &dyn Fn(u64)| {
        let t = Instant::now();
        let mut max = 0;
        let mut big = 0u64;
        for i in 0..n {
            let s = Instant::now();
            f(i);
            let e = s.elapsed().as_micros() as u64;
            if e > max {
                max = e
            }
            if e > 1000 {
                big += e
            }
        }
        println!(
            "{name} {:.0}/s max {max}us stalls>1ms {}ms {}",
            n as f64 / t.elapsed().as_secs_f64(),
            big / 1000,
            cpu()
        );
    };
    for c in what.chars() {
        match c {
            'f' => run("fill", &|i| db.put(key(i), v).unwrap()),
            'o' => run("overwrite", &|i| db.put(key(i.wrapping_mul(7919) % n), v).unwrap()),
            'd' => run("delete", &|i| db.delete(key(i.wrapping_mul(7919) % n)).unwrap()),
            'g' => run("get", &|i| {
                assert!(db.get(key(i.wrapping_mul(7919) % n)).unwrap().is_some());
            }),
            'm' => run("miss", &|i| {
                assert!(db.get(key(i + n)).unwrap().is_none());
            }),
            's' => {
                let t = Instant::now();
                let c = db.iter().count();
                println!("scan {c} {:.0}/s", c as f64 / t.elapsed().as_secs_f64());
            }
            'r' => {
                let t = Instant::now();
                let c = db.iter().rev().count();
                println!("rscan {c} {:.0}/s", c as f64 / t.elapsed().as_secs_f64());
            }
            'k' => {
                let t = Instant::now();
                let m = 100_000;
                for i in 0..m {
                    let c = db.range(&key(i * 7)[..]..).take(100).count();
                    assert!(c > 0);
                }
                println!("seek100 {:.0}/s", m as f64 / t.elapsed().as_secs_f64());
            }
            'w' => {
                let t = Instant::now();
                while db.step().unwrap() {}
                println!("settle {:?} {}", t.elapsed(), cpu());
            }
            'c' => {
                let t = Instant::now();
                db.compact(|| true).unwrap();
                println!("compact {:?}", t.elapsed());
            }
            _ => {}
        }
    }
}
