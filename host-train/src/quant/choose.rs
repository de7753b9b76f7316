//! Choosing a scheme: kinds from the configuration, tables by their bytes, grids by calibration.

use core::f64::consts::LOG2_E;
use std::collections::BTreeMap;

use super::kind::Kind;
use super::requantize::{fraction_bits, power_of_two};
use super::scheme::{FRAMES, OUTPUT, PROJECTION, Scheme, consumers, products, quantities};
use crate::config::{Bridge, Fold, QatConfig};
use crate::error::{Error, Result};
use crate::model::{Reads, Seq2Seq};

/// Key units are told to the device in 2^-18.
pub(crate) const KEY_SCALE_BITS: i32 = 18;

impl Scheme {
    /// The scheme for a float network: grids reach the largest magnitude that its inner values take on the given pairs, times
    /// [`super::MARGIN`]; keys, whose type saturates gently, exactly the largest.
    ///
    /// Pairs are (source ids, target ids), each side ending with the end mark.
    ///
    /// # Errors
    /// [`Error::Config`] when the network is of a form that has no grid yet, or when the configuration names a product that it
    /// has not; [`Error::Training`] when there
    /// are no pairs or a value is not finite.
    pub fn choose(model: &Seq2Seq, config: &QatConfig, pairs: &[(&[u32], &[u32])]) -> Result<Self> {
        let m = &model.config;
        if let Some(form) = m.beyond_grid() {
            return Err(Error::Config(format!("there is no integer grid yet for {form}")));
        }
        let names = products(m);
        if let Some(name) = config.products.keys().find(|name| !names.contains(name)) {
            let names = names.join(", ");
            return Err(Error::Config(format!("qat.products: there is no {name:?}, but {names}")));
        }
        let kind = |name: String| {
            let default = if name == OUTPUT { config.output } else { config.weights };
            (name.clone(), config.products.get(&name).copied().unwrap_or(default))
        };
        let products: BTreeMap<String, Kind> = names.into_iter().map(kind).collect();
        let ranges = ranges(model, pairs)?;
        let largest = |name: &str| f64::from(ranges.get(name).copied().unwrap_or(0.0));
        let bits = |names: &[String], scale: f64, most| {
            let magnitude = names.iter().map(|name| largest(name)).fold(0.0, f64::max);
            fraction_bits(magnitude * scale, most)
        };
        Ok(Self::with(model, products, config.fold, bits, |key| largest(key) / 127.0))
    }

    /// The scheme of a network with the given weights, its grids where calibration puts them: `bits` gives the fraction bits, at
    /// most so many, that quantities share when their values are multiplied by a scale; `unit` what an int8 unit of a
    /// quantity is worth. Quantities go by the names of [`Seq2Seq::observe`].
    pub fn with(
        model: &Seq2Seq,
        products: BTreeMap<String, Kind>,
        how: Fold,
        bits: impl Fn(&[String], f64, u8) -> u8,
        unit: impl Fn(&str) -> f64,
    ) -> Self {
        let m = &model.config;
        let grid = |(name, most): (String, u8)| {
            let log2 = matches!(name.as_str(), "decoder.attention.score" | "decoder.logits");
            let mut names = vec![name.clone()];
            if m.bridge == Bridge::Copy && (name.ends_with(".cell") || name.ends_with(".hidden")) {
                // Encoder and decoder work on one state.
                let layer = &name["encoder".len()..];
                names = ["encoder", "decoder"].map(|side| format!("{side}{layer}")).into();
            }
            // The runtime needs two bits of a logit behind the point.
            let least = if name == "decoder.logits" { 2 } else { 0 };
            (name, bits(&names, if log2 { LOG2_E } else { 1.0 }, most).max(least))
        };
        let key_scale = if m.attends() {
            let scale = unit("decoder.attention.key") * power_of_two(KEY_SCALE_BITS);
            scale.round().clamp(1.0, 65_535.0) as u16
        } else {
            0
        };
        let fold = fold(model, how, &products);
        let bits = quantities(m).into_iter().map(grid).collect();
        let input_scale = match model.reads() {
            Reads::Tokens(..) => 0.0,
            Reads::Frames(_) => unit(FRAMES),
        };
        Self { key_scale, input_scale, products, fold, bits }
    }
}

/// The largest magnitude of everything that [`Seq2Seq::observe`] shows.
fn ranges(model: &Seq2Seq, pairs: &[(&[u32], &[u32])]) -> Result<BTreeMap<String, f32>> {
    if pairs.is_empty() {
        return Err(Error::Training("there are no pairs to calibrate on".into()));
    }
    let mut ranges: BTreeMap<String, f32> = BTreeMap::new();
    for (source, target) in pairs {
        model.observe(*source, target, &mut |name, values| {
            let largest = values.iter().fold(0.0_f32, |m, v| if v.is_nan() { *v } else { m.max(v.abs()) });
            match ranges.get_mut(name) {
                Some(range) => *range = if largest.is_nan() { largest } else { range.max(largest) },
                None => _ = ranges.insert(name.to_owned(), largest),
            }
        });
    }
    match ranges.iter().find(|(_, largest)| !largest.is_finite()) {
        Some((name, _)) => Err(Error::Training(format!("{name} is not finite: the weights are damaged"))),
        None => Ok(ranges),
    }
}

/// Which products that read a token get a table.
fn fold(model: &Seq2Seq, how: Fold, kinds: &BTreeMap<String, Kind>) -> BTreeMap<String, bool> {
    let m = &model.config;
    let rows = |name: &str| match name {
        OUTPUT => model.target_vocab(),
        PROJECTION => m.projection().unwrap_or(0),
        _ if name.starts_with("encoder") => m.encoder.cell.gates() * m.encoder.hidden,
        _ => m.decoder.cell.gates() * m.decoder.hidden,
    };
    let source = match model.reads() {
        Reads::Tokens(vocabulary, _) => Some((*vocabulary, m.encoder.embedding)),
        Reads::Frames(_) => None,
    };
    let sides = [source, Some((model.target_vocab(), m.decoder.embedding))];
    let mut all = BTreeMap::new();
    for (names, side) in consumers(m).into_iter().zip(sides) {
        let Some((vocabulary, embed)) = side else { continue };
        let consumers: Vec<(usize, Kind)> = names.iter().map(|name| (rows(name), kinds[name])).collect();
        all.extend(names.into_iter().zip(choose_tables(how, vocabulary, embed, &consumers)));
    }
    all
}

/// Which consumers of an embedding, by rows and kind of weights, get a table: whatever takes the fewest bytes; of equals,
/// tables. With tables alone the embedding itself is saved too.
pub fn choose_tables(how: Fold, vocabulary: usize, embed: usize, consumers: &[(usize, Kind)]) -> Vec<bool> {
    let table = |rows: usize| 2 * vocabulary * rows;
    let columns = |rows: usize, kind: Kind| rows * kind.bytes(embed);
    match how {
        Fold::Always => vec![true; consumers.len()],
        Fold::Never => vec![false; consumers.len()],
        Fold::Auto => {
            let all: usize = consumers.iter().map(|&(rows, _)| table(rows)).sum();
            let least = |&(rows, kind): &(usize, Kind)| table(rows).min(columns(rows, kind));
            let some = vocabulary * embed + consumers.iter().map(least).sum::<usize>();
            let folded = |&(rows, kind): &(usize, Kind)| all <= some || table(rows) <= columns(rows, kind);
            consumers.iter().map(folded).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelConfig;
    use crate::model::EOS;

    fn choose(config: &QatConfig) -> Result<Scheme> {
        let model = Seq2Seq::new(&ModelConfig::default(), 9, 8, 1);
        Scheme::choose(&model, config, &[(&[4, 8, EOS], &[7, EOS])])
    }

    #[test]
    fn kinds_come_from_the_configuration() {
        let int4: Kind = "int4:32".parse().unwrap();
        let mut config = QatConfig { weights: int4, ..QatConfig::default() };
        config.products.insert("encoder.fc".into(), Kind::INT8);
        let scheme = choose(&config).unwrap();
        let kind = |name: &str| scheme.products[name];
        assert_eq!(
            (kind("decoder.rnn.l0"), kind("encoder.fc"), kind(OUTPUT)),
            (int4, Kind::INT8, Kind::INT8)
        );
        config.products.insert("encoder.fc2".into(), int4);
        let message = choose(&config).unwrap_err().to_string();
        assert!(message.contains("no \"encoder.fc2\", but encoder.rnn.l0, "), "{message}");
    }

    #[test]
    fn grids_reach_what_was_seen() {
        let model = Seq2Seq::new(&ModelConfig::default(), 9, 8, 1);
        let scheme = choose(&QatConfig::default()).unwrap();
        let pair: (&[u32], &[u32]) = (&[4, 8, EOS], &[7, EOS]);
        let ranges = ranges(&model, &[pair]).unwrap();
        for (name, most) in quantities(&model.config) {
            let bits = scheme.bits[&name];
            let units = f64::from(ranges[&name]) * power_of_two(bits.into());
            assert!(
                units * 1.8 < 32_768.0 && (bits == most || units * 4.0 > 32_767.0),
                "{name} {bits} {units}"
            );
        }
        let key = f64::from(ranges["decoder.attention.key"]) / 127.0;
        assert!((f64::from(scheme.key_scale) * power_of_two(-18) / key - 1.0).abs() < 0.01);
        assert!(Scheme::choose(&model, &QatConfig::default(), &[]).is_err());
    }

    #[test]
    fn tables_take_no_more_bytes_than_what_they_replace() {
        let int4 = "int4:32".parse().unwrap();
        let choose = |how, vocabulary, rows: &[(usize, Kind)]| choose_tables(how, vocabulary, 64, rows);
        // Two consumers of 300 rows, 64 wide: tables of 2 V R bytes against (V + R) 64.
        let both = [(300, Kind::INT8), (300, Kind::INT8)];
        assert_eq!(choose(Fold::Auto, 30, &both), [true, true]);
        assert_eq!(choose(Fold::Auto, 100, &both), [false, false]);
        assert_eq!(choose(Fold::Always, 100, &both), [true, true]);
        assert_eq!(choose(Fold::Never, 30, &both), [false, false]);
        // Columns of four bits are half as long.
        assert_eq!(choose(Fold::Auto, 30, &[(300, int4), (300, int4)]), [false, false]);
        assert_eq!(choose(Fold::Auto, 18, &[(300, int4), (4000, Kind::INT8)]), [true, true]);
        // The table has 2 * 33 * 40 = 2640 bytes, the columns 64 * 40 = 2560 and the embedding 2112 more.
        assert_eq!(choose(Fold::Auto, 33, &[(40, Kind::INT8)]), [true]);
    }
}
