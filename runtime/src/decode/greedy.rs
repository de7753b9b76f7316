//! The most probable token at every step.

use core::ops::ControlFlow;

use super::{Decoder, Finished, Options, log_softmax};
use crate::error::RunError;

/// Decodes into `history`, one token at a time; `on_token` sees each and may stop the search.
///
/// Of equal logits the lowest id wins. Runs at most `min(history.len(), options.max_len)` steps.
///
/// # Errors
/// What the decoder's step returns.
pub fn greedy<D: Decoder>(
    decoder: &mut D,
    history: &mut [u16],
    options: &Options,
    mut on_token: impl FnMut(u16) -> ControlFlow<()>,
) -> Result<Finished, RunError> {
    let (mut token, eos) = decoder.marks();
    let (mut len, mut complete, mut log2_prob) = (0, false, 0i32);
    for slot in history.iter_mut().take(options.max_len as usize) {
        decoder.step(&[(0, token)])?;
        let allow_end = len >= options.min_len as usize;
        let (logits, _) = decoder.logits(0);
        let mut best: Option<(u16, i16)> = None;
        for (id, logit) in (0u16..).zip(logits) {
            let logit = logit.get();
            if (id != eos || allow_end) && best.is_none_or(|(_, b)| logit > b) {
                best = Some((id, logit));
            }
        }
        let Some((id, logit)) = best else { break };
        log2_prob = log2_prob.saturating_add(log_softmax(decoder, 0).log_prob(logit));
        if id == eos {
            complete = true;
            break;
        }
        *slot = id;
        token = id;
        len += 1;
        if on_token(id).is_break() {
            break;
        }
    }
    Ok(Finished::new(0, len, complete, log2_prob, options.length_penalty))
}
