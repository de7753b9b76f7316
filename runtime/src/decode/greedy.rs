//! The most probable token at every step.

use core::ops::ControlFlow;

use super::{Decoder, Finished, Options};
use crate::error::RunError;
use crate::kernels;
use crate::ops::softmax::LogSoftmax;

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
    on_token: &mut dyn FnMut(u16) -> ControlFlow<()>,
) -> Result<Finished, RunError> {
    let (mut token, eos) = decoder.marks();
    let (mut len, mut complete, mut log2_prob) = (0, false, 0i32);
    for slot in history.iter_mut().take(options.max_len as usize) {
        decoder.step(&[(0, token)])?;
        let allow_end = len >= options.min_len as usize;
        let (logits, bits) = decoder.logits(0);
        // The best token, and the largest logit of all: the end mark's when it may not come yet.
        let (mut id, largest) = kernels::largest(logits);
        let mut logit = largest;
        if id == eos as usize && !allow_end {
            // The largest of the others: the end mark's is out of the way for a moment.
            let Some(end) = logits.get(id) else { break };
            let hidden = end.replace(i16::MIN);
            (id, logit) = kernels::largest(logits);
            end.set(hidden);
        }
        let id = id as u16;
        log2_prob = log2_prob.saturating_add(LogSoftmax::new(logits, largest, bits).log_prob(logit));
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
