#!/usr/bin/env python3
"""Kinglet's training beside PyTorch's, in one sitting.

    cargo build --release -p kinglet-train --example bench
    pip install torch numpy safetensors
    python tests/bench/train_side_by_side.py --torch bench_torch.py [--case a ..] [--rounds 5] [--threads 1]

`bench_torch.py` defines the cases, their data and PyTorch's variants, and prints one line of JSON; the example `bench`
prints the same keys. Stretches of all variants alternate; a case's figure is the median of the stretches, and PyTorch's
the one of its fastest variant. On a machine that does other things too, the ratio of target tokens a second of
processor time, the last column, says more than that of the clock's.

`--agree` compares losses instead: both train from PyTorch's initial weights, without dropout and with packed sources.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

VARIANTS = {"a": ["loop", "tutorial"], "b": ["fused", "loop"], "c": ["fused", "loop"], "d": ["loop", "tutorial"]}
COMPILED = {"a": ["compile_step", "compile_full"], "d": ["compile_step", "compile_full"]}
STEPS = {"a": 40, "b": 40, "c": 2, "d": 2}
NAMES = {"es": "encoder.embedding", "enc": "encoder.rnn", "fc": "encoder.fc", "et": "decoder.embedding", "dec": "decoder.rnn"}
NAMES |= {"wq": "decoder.attention.w_q", "wk": "decoder.attention.w_k", "v": "decoder.attention.v", "out": "decoder.fc_out"}


def measure(command, steps):
    command = [str(part) for part in command]
    done = subprocess.run([*command, "--steps", str(steps), "--warmup", "2"], capture_output=True, text=True)
    if done.returncode != 0:
        print(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def initial_weights(script, case, path):
    """Writes the weights that `script` starts from under the names of a checkpoint."""
    from safetensors.torch import save_file

    source = Path(script).read_text().split("opt = torch.optim")[0]
    argv, sys.argv = sys.argv, [str(script), "--case", case, "--dropout", "0"]
    scope = {"__name__": "bench"}
    exec(compile(source, str(script), "exec"), scope)
    sys.argv = argv
    tensors = {}
    for name, value in scope["model"].state_dict().items():
        module, rest = name.split(".", 1)
        cell = rest if rest[-1].isdigit() or module not in ("enc", "dec") or "_l" in rest else rest + "_l0"
        tensors[f"{NAMES[module]}.{cell}"] = value.contiguous().clone()
    save_file(tensors, path)


def agree(arguments, case, steps):
    with tempfile.TemporaryDirectory() as folder:
        init = Path(folder) / "init.safetensors"
        initial_weights(arguments.torch, case, init)
        common = ["--case", case, "--dropout", "0", "--threads", "1"]
        ours = measure([arguments.bench, *common, "--init", init], steps)
        theirs = measure([sys.executable, arguments.torch, *common, "--pack", "1"], steps)
    for key in ("loss_first", "loss_last"):
        print(f"case {case} {key:10}  PyTorch {theirs[key]:.4f}  Kinglet {ours[key]:.4f}  ({steps + 2} steps)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=sorted(VARIANTS))
    parser.add_argument("--torch", type=Path, required=True, help="the script that defines the cases")
    parser.add_argument("--bench", type=Path, default=Path("target/release/examples/bench"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compiled", action="store_true", help="torch.compile too: minutes of warming up")
    parser.add_argument("--agree", action="store_true")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    columns = ["tok_s", "tok_s_best", "tok_per_cpu_s"]
    for case in arguments.case or sorted(VARIANTS):
        if arguments.agree:
            agree(arguments, case, 20 if case in "ab" else 2)
            continue
        torch = [sys.executable, arguments.torch, "--case", case, "--threads", arguments.threads]
        variants = {"kinglet": [arguments.bench, "--case", case, "--threads", arguments.threads]}
        for name in VARIANTS[case] + (COMPILED.get(case, []) if arguments.compiled else []):
            variants[f"pytorch {name}"] = [*torch, "--variant", name]
        found = {name: [] for name in variants}
        for _ in range(arguments.rounds):
            for name, command in variants.items():
                result = measure(command, STEPS[case])
                if result is not None:
                    found[name].append([result[column] for column in columns])
        figures = {name: [statistics.median(c) for c in zip(*rows)] for name, rows in found.items() if rows}
        best = [max(f[i] for name, f in figures.items() if name != "kinglet") for i in range(len(columns))]
        print(f"case {case}, {arguments.threads} thread(s), target tokens a second    median   fastest   per processor second")
        for name, values in figures.items():
            ratios = "  ".join(f"{value:9.0f} ({value / top:4.2f})" for value, top in zip(values, best))
            print(f"{name:24} {ratios}", flush=True)


if __name__ == "__main__":
    main()
