//! Decoding options, the same for every command that decodes.

use crate::cli::Usage;
use crate::search::{Flavour, SearchOptions};

/// How to search for the best target.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(next_help_heading = "Decoding")]
pub struct DecodingArgs {
    /// Hypotheses kept at every step; 1 is greedy
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub beam_size: u16,
    /// What a finished hypothesis does to the beam
    #[arg(long, value_name = "FLAVOUR", value_enum, default_value_t)]
    pub beam_flavour: Flavour,
    /// Exponent of the length in the score log P / length^X; 0 ranks by probability, 1 by its mean per token
    #[arg(long, value_name = "X", default_value_t = 1.0, allow_negative_numbers = true)]
    pub length_penalty: f32,
    /// Most tokens of a hypothesis [default: the checkpoint's data.max_target_len]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub max_decoding_length: Option<u16>,
    /// Fewest tokens of a hypothesis
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub min_decoding_length: u16,
}

impl DecodingArgs {
    /// The options of a search for `num_hypotheses` targets of at most `max_len` tokens, unless the arguments
    /// say otherwise.
    ///
    /// # Errors
    /// [`Usage`] when there are more hypotheses than beams, the lengths exclude each other or the penalty is not
    /// finite.
    pub fn search(&self, num_hypotheses: usize, max_len: usize) -> Result<SearchOptions, Usage> {
        let (beam_size, min_len) = (usize::from(self.beam_size), usize::from(self.min_decoding_length));
        let max_len = self.max_decoding_length.map_or(max_len, usize::from);
        if num_hypotheses > beam_size {
            return Err(Usage(format!(
                "--num-hypotheses {num_hypotheses} needs --beam-size {num_hypotheses} or more"
            )));
        }
        if min_len > max_len {
            return Err(Usage(format!(
                "--min-decoding-length {min_len} is more than --max-decoding-length {max_len}"
            )));
        }
        if !self.length_penalty.is_finite() {
            return Err(Usage(format!("--length-penalty must be finite, found {}", self.length_penalty)));
        }
        Ok(SearchOptions {
            beam_size,
            flavour: self.beam_flavour,
            length_penalty: self.length_penalty,
            max_len,
            min_len,
            num_hypotheses,
            ..SearchOptions::default()
        })
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
    }

    fn search(args: &[&str], n: usize) -> Result<SearchOptions, String> {
        let command = Command::try_parse_from([&["x"], args].concat()).map_err(|e| e.to_string())?;
        command.decoding.search(n, 40).map_err(|e| e.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_search() {
        assert_eq!(search(&[], 1).unwrap(), SearchOptions { max_len: 40, ..SearchOptions::default() });
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(search(&["--beam-size", "2"], 3).unwrap_err().contains("--beam-size 3"));
        assert!(search(&["--min-decoding-length", "41"], 1).unwrap_err().contains("40"));
        assert!(search(&["--beam-size", "0"], 1).is_err());
        assert!(search(&["--length-penalty", "nan"], 1).unwrap_err().contains("finite"));
        assert_eq!(search(&["--length-penalty", "-0.5"], 1).unwrap().length_penalty, -0.5);
    }
}
