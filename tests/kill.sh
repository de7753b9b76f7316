#!/usr/bin/env bash
# Kills trainings a hundred times at random moments, resumes them, and compares weights, optimizer, state and history with those
# of an unbroken run. Prints one line.
set -euo pipefail
cd "$(dirname "$0")/.."
said=$(cargo test --quiet --release -p kinglet-train --test kill -- --ignored --nocapture 2>&1) || { echo "$said" >&2; exit 1; }
grep kills <<<"$said"
