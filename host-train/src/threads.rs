//! Work shared out to threads that stay alive between steps.

/// Runs both, at the same time if there is more than one of `threads`.
pub fn join<A: Send, B: Send>(
    threads: usize,
    a: impl FnOnce() -> A + Send,
    b: impl FnOnce() -> B + Send,
) -> (A, B) {
    if threads > 1 { rayon::join(a, b) } else { (a(), b()) }
}

/// Runs `work` on every job, on at most `threads` threads, each with neighbouring jobs.
pub fn for_each<J: Send>(threads: usize, jobs: &mut [J], work: &(impl Fn(&mut J) + Sync)) {
    let threads = threads.min(jobs.len());
    if threads <= 1 {
        return jobs.iter_mut().for_each(work);
    }
    let half = threads / 2;
    let (left, right) = jobs.split_at_mut(jobs.len() * half / threads);
    rayon::join(|| for_each(half, left, work), || for_each(threads - half, right, work));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_is_done_once() {
        for threads in [0, 1, 2, 3, 8, 100] {
            for jobs in [0, 1, 2, 7, 64] {
                let mut counts = vec![0; jobs];
                for_each(threads, &mut counts, &|count| *count += 1);
                assert!(counts.iter().all(|&count| count == 1), "{threads} {jobs}");
            }
        }
    }
}
