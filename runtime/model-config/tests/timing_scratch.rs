//! scratch
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "scratch")]
use std::time::Instant;
#[test]
fn timing() {
    let rss = || std::fs::read_to_string("/proc/self/status").unwrap().lines().find(|l| l.starts_with("VmRSS")).unwrap().to_owned();
    println!("{}", rss());
    let text = include_str!("samples/documented_styles.pbtxt");
    let start = Instant::now();
    hanok_model_config::parse_pbtxt(text).unwrap();
    println!("first parse {:?} {}", start.elapsed(), rss());
    let start = Instant::now();
    for _ in 0..1000 { hanok_model_config::load_config(text, &hanok_model_config::CompletionFacts::new("styles"), None).unwrap(); }
    println!("load_config {:?} each", start.elapsed() / 1000);
    let config = hanok_model_config::load_config(text, &hanok_model_config::CompletionFacts::new("styles"), None).unwrap();
    let start = Instant::now();
    for _ in 0..1000 { hanok_model_config::to_json(&config.config.wire); }
    println!("to_json {:?} each", start.elapsed() / 1000);
    let worst = "input{}".repeat((1 << 20) / 7);
    let start = Instant::now();
    let wire = hanok_model_config::parse_pbtxt(&worst).unwrap();
    println!("1 MiB of inputs {:?} {} n={}", start.elapsed(), rss(), wire.input.len());
    let worst = "dynamic_batching{priority_queue_policy[".to_owned() + &(0..60000).map(|i| format!("{{key:{i}}}")).collect::<Vec<_>>().join(",") + "]}";
    let start = Instant::now();
    let r = hanok_model_config::load_config(&worst, &hanok_model_config::CompletionFacts::new("m"), None);
    println!("many policies {:?} {}", start.elapsed(), r.is_err());
    if let Ok(bytes) = std::fs::read("/tmp/big.onnx") {
        println!("{}", rss());
        let start = Instant::now();
        let facts = hanok_model_config::read_onnx_signature(&bytes).unwrap();
        println!("onnx {} MB {:?} ops {} {}", bytes.len() >> 20, start.elapsed(), facts.operators.len(), rss());
    }
}
