//! `logits CHECKPOINT PAIRS`: for each pair of a corpus a line of JSON: ids of source and target as the network reads them, and
//! its logits, teacher-forced. For `tests/bench/pytorch_roundtrip.py`.

use std::path::Path;

use anyhow::{Result, bail};
use kinglet_train::checkpoint::Checkpoint;
use kinglet_train::data::corpus;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [checkpoint, pairs] = &arguments[..] else { bail!("usage: logits CHECKPOINT PAIRS") };
    let checkpoint = Checkpoint::load(Path::new(checkpoint))?;
    for pair in corpus::read(Path::new(pairs))? {
        let source = checkpoint.source_vocab.sentence(&pair.source);
        let target = checkpoint.target_vocab.sentence(&pair.target).ids;
        let mut logits: Vec<Vec<f32>> = Vec::new();
        checkpoint.model.observe(&source, &target, &mut |what, row| {
            if what == "decoder.logits" {
                logits.push(row.to_vec());
            }
        });
        println!("{}", serde_json::json!({ "source": source.ids, "target": target, "logits": logits }));
    }
    Ok(())
}
