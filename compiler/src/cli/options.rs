//! Decoding options, the same for every command that runs a blob.

use kinglet::{Options, Sampling};
use kinglet_train::cli::Usage;

use crate::desktop::How;

/// How to search for the best target.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(next_help_heading = "Decoding")]
pub struct DecodingArgs {
    /// Hypotheses kept at every step; 1 is greedy
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub beam_size: u8,
    /// Exponent of the length in the score log P / length^X, 0 to 10; 0 ranks by probability, 1 by its mean per token
    #[arg(long, value_name = "X", default_value_t = 1.0, allow_negative_numbers = true)]
    pub length_penalty: f32,
    /// Most tokens of a hypothesis [default: what the model was planned for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub max_decoding_length: Option<u16>,
    /// Fewest tokens of a hypothesis
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub min_decoding_length: u16,
    /// Weight in the score of what attention left out of the source (Wu et al. 2016), 0 to 10; needs a model with attention
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_negative_numbers = true)]
    pub coverage_penalty: f32,
}

impl DecodingArgs {
    /// The options of a search for `num_hypotheses` targets with a model whose planned target length is `max_target`.
    ///
    /// # Errors
    /// [`Usage`] when the lengths exclude each other or the penalty is out of range.
    pub fn search(&self, num_hypotheses: u8, max_target: u16) -> Result<Options, Usage> {
        let max_len = self.max_decoding_length.unwrap_or(max_target);
        let min_len = self.min_decoding_length;
        if min_len > max_len {
            return Err(Usage(format!(
                "--min-decoding-length {min_len} is more than --max-decoding-length {max_len}"
            )));
        }
        if !(0.0..=10.0).contains(&self.length_penalty) {
            return Err(Usage(format!("--length-penalty must be 0 to 10, found {}", self.length_penalty)));
        }
        let (beam_size, length_penalty) = (self.beam_size, self.length_penalty);
        Ok(Options { beam_size, num_hypotheses, length_penalty, min_len, max_len })
    }

    /// Likewise, with the coverage penalty.
    ///
    /// # Errors
    /// As [`DecodingArgs::search`].
    pub fn how(&self, num_hypotheses: u8, max_target: u16) -> Result<How, Usage> {
        let options = self.search(num_hypotheses, max_target)?;
        let penalty = self.coverage_penalty;
        if !(0.0..=10.0).contains(&penalty) {
            return Err(Usage(format!("--coverage-penalty must be 0 to 10, found {penalty}")));
        }
        Ok(if penalty > 0.0 { How::Covering(options, penalty) } else { How::Search(options) })
    }
}

/// How to draw targets by chance, in place of a search.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(next_help_heading = "Sampling")]
pub struct SamplingArgs {
    /// Draw targets by chance; one seed, one text. Lines count it up [default: 1 where another option of sampling is given]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// What logits are divided by, 1/16 to 16: below 1 the probable becomes more so [default: 1]
    #[arg(long, value_name = "T")]
    pub sampling_temperature: Option<f32>,
    /// Draw from so many of the most probable tokens only; 0 is all [default: 0]
    #[arg(long, value_name = "K")]
    pub sampling_topk: Option<u16>,
    /// Draw from the most probable tokens only that have this probability together [default: 1]
    #[arg(long, value_name = "P")]
    pub sampling_topp: Option<f32>,
}

impl SamplingArgs {
    /// How to draw the targets of line `line`, from 0, if any of the options was given.
    ///
    /// # Errors
    /// [`Usage`] when a number is out of range.
    pub fn draw(&self, decoding: &DecodingArgs, max_target: u16, line: u64) -> Result<Option<How>, Usage> {
        let Self { seed, sampling_temperature, sampling_topk, sampling_topp } = self;
        let given = [
            seed.is_some(),
            sampling_temperature.is_some(),
            sampling_topk.is_some(),
            sampling_topp.is_some(),
        ];
        if !given.contains(&true) {
            return Ok(None);
        }
        let Options { min_len, max_len, .. } = decoding.search(1, max_target)?;
        let default = Sampling::default();
        let (temperature, top_p) =
            (sampling_temperature.unwrap_or(default.temperature), sampling_topp.unwrap_or(default.top_p));
        if !(0.0625..=16.0).contains(&temperature) {
            return Err(Usage(format!("--sampling-temperature must be 1/16 to 16, found {temperature}")));
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(Usage(format!("--sampling-topp must be above 0 and at most 1, found {top_p}")));
        }
        let top_k = sampling_topk.unwrap_or(default.top_k);
        let sampling = Sampling { temperature, top_k, top_p, min_len, max_len, ..default };
        Ok(Some(How::Draw(sampling, seed.unwrap_or(1).wrapping_add(line))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        decoding: DecodingArgs,
        #[command(flatten)]
        sampling: SamplingArgs,
    }

    fn how(args: &[&str]) -> Result<Option<How>, String> {
        let command = Command::try_parse_from([&["x"], args].concat()).map_err(|e| e.to_string())?;
        command.sampling.draw(&command.decoding, 40, 2).map_err(|e| e.to_string())
    }

    #[test]
    fn any_option_of_sampling_draws() {
        assert_eq!(how(&[]).unwrap(), None);
        let sampling = Sampling { max_len: 40, ..Sampling::default() };
        assert_eq!(how(&["--seed", "7"]).unwrap(), Some(How::Draw(sampling, 9)));
        let some = Sampling { top_k: 3, temperature: 0.5, ..sampling };
        let found = how(&["--sampling-topk", "3", "--sampling-temperature", "0.5"]).unwrap();
        assert_eq!(found, Some(How::Draw(some, 3)));
        assert!(how(&["--sampling-topp", "0"]).unwrap_err().contains("above 0"));
        assert!(how(&["--sampling-temperature", "0.01"]).unwrap_err().contains("1/16 to 16"));
    }

    fn search(args: &[&str]) -> Result<Options, String> {
        let command = Command::try_parse_from([&["x"], args].concat()).map_err(|e| e.to_string())?;
        command.decoding.search(1, 40).map_err(|e| e.to_string())
    }

    #[test]
    fn contradictions_and_ranges_are_refused() {
        let default = Options { beam_size: 4, length_penalty: 1.0, max_len: 40, ..Options::default() };
        assert_eq!(search(&[]).unwrap(), default);
        assert!(search(&["--min-decoding-length", "41"]).unwrap_err().contains("40"));
        assert!(search(&["--beam-size", "0"]).is_err());
        assert!(search(&["--beam-size", "9"]).is_err());
        assert!(search(&["--length-penalty", "nan"]).unwrap_err().contains("0 to 10"));
        assert!(search(&["--length-penalty", "-0.5"]).is_err());
        let command = Command::try_parse_from(["x", "--coverage-penalty", "11"]).unwrap();
        assert!(command.decoding.how(1, 40).unwrap_err().to_string().contains("0 to 10"));
    }
}
