#!/usr/bin/env python3
"""What else could make a trained network smaller: other widths, pruning, low rank, at the bytes of int4.

    cargo build --release
    pip install numpy safetensors
    python tests/bench/compression.py --checkpoint runs/cmudict --train train.tsv --dev dev.tsv [--epochs 4]

Every matrix but the embeddings and the output layer is replaced:
  intN      each row rounded to N bits with the scale that loses least (mean square), activations in float
  pruned    the largest weights kept as int8 with a bit a weight that says where they are, as many as int4's bytes allow
  low rank  the closest product of two int8 factors (singular values) of int4's bytes
The output layer is int8 in all of them. `pruned` and `low rank` are trained on between projections, an epoch each
(Gordon et al. 2020 and Jaderberg et al. 2014 do likewise); `qat` rows are the project's own training on the grid for
as many epochs. Prints a line a variant: bytes of the weights that differ, word error rate on dev, greedy.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

parser = argparse.ArgumentParser()
parser.add_argument("--checkpoint", type=Path, required=True)
parser.add_argument("--train", type=Path, required=True)
parser.add_argument("--dev", type=Path, required=True)
parser.add_argument("--programs", type=Path, default=Path("target/release"))
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--learning-rate", default="4e-4")
parser.add_argument("--qat", default="int6,int5,int4,int3,int2", help="widths to train on the grid")
parser.add_argument("--only", default="", help="a part of a variant's name: runs what matches")
options = parser.parse_args()

SETUP = ["config.toml", "vocab.source.txt", "vocab.target.txt"]
original = load_file(options.checkpoint / "model.safetensors")


def changed(name, tensor):
    """Whether a variant replaces this tensor: matrices of products, without tables of tokens and attention's one row."""
    return tensor.ndim == 2 and tensor.shape[0] > 1 and "embedding" not in name and "fc_out" not in name


def rounded(matrix, bits):
    """Each row on a grid of 2^bits - 1 values; of 40 scales the one with the least square error."""
    limit = 2 ** (bits - 1) - 1
    largest = np.abs(matrix).max(axis=1, keepdims=True) + 1e-12
    best, error = None, np.full((len(matrix), 1), np.inf)
    for part in np.linspace(0.3, 1.0, 40):
        scale = largest * part / limit
        values = np.clip(np.round(matrix / scale), -limit, limit) * scale
        loss = ((values - matrix) ** 2).sum(axis=1, keepdims=True)
        best = values if best is None else np.where(loss < error, values, best)
        error = np.minimum(loss, error)
    return best.astype(np.float32)


def pruned(matrix):
    keep = int(matrix.size * 3 / 8)  # 8 bits a value kept and 1 a position: 4 bits a weight
    least = np.partition(np.abs(matrix).ravel(), -keep)[-keep]
    return rounded(np.where(np.abs(matrix) >= least, matrix, 0), 8)


def low_rank(matrix):
    rows, columns = matrix.shape
    rank = max(1, rows * columns // (2 * (rows + columns)))
    u, s, v = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    root = np.sqrt(s[:rank])
    return (rounded(u[:, :rank] * root, 8) @ rounded((v[:rank].T * root), 8).T).astype(np.float32)


def replace(tensors, how):
    return {
        name: np.ascontiguousarray(how(t) if changed(name, t) else rounded(t, 8) if "fc_out.weight" in name else t)
        for name, t in tensors.items()
    }


def write(directory, tensors):
    directory.mkdir(exist_ok=True)
    for name in SETUP:
        (directory / name).write_bytes((options.checkpoint / name).read_bytes())
    save_file(tensors, directory / "model.safetensors")


def run(*arguments):
    program = str(options.programs / "kinglet-train")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments))}: {done.stderr}")
    return done.stdout


def evaluate(directory):
    return json.loads(run("evaluate", "--checkpoint", directory, "--data", options.dev, "--metric", "wer", "--json"))["wer"]


def train(start, out, epochs, *more):
    run("train", "--init", start, "--train", options.train, "--dev", options.dev, "--out", out, "--force",
        "--epochs", epochs, "--learning-rate", options.learning_rate, *more)


weights = sum(t.size for n, t in original.items() if changed(n, t))
rows = sum(t.shape[0] for n, t in original.items() if changed(n, t))


def show(name, bits, wer):
    print(f"{name:32} {int(weights * bits / 8):9,} B   dev WER {wer:.2f}", flush=True)


with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    here = folder / "variant"
    if options.only in "float":
        show("float", 32, evaluate(options.checkpoint))
    for bits in (8, 6, 5, 4, 3, 2):
        name = f"int{bits} a row"
        if options.only in name:
            write(here, replace(original, lambda m, bits=bits: rounded(m, bits)))
            show(name, bits, evaluate(here))
    for name, how in (("pruned to 3/8, int8", pruned), ("low rank, int8", low_rank)):
        if options.only not in name:
            continue
        write(here, replace(original, how))
        show(name, 4, evaluate(here))
        for epoch in range(options.epochs):
            train(here, folder / "trained", 1, "--seed", epoch + 1)
            write(here, replace(load_file(folder / "trained" / "model.safetensors"), how))
        show(f"{name}, {options.epochs} epochs", 4, evaluate(here))
    for kind in filter(None, options.qat.split(",")):
        name = f"{kind} a row, on the grid"
        if options.only in name:
            train(options.checkpoint, folder / "qat", options.epochs, "--qat", kind, "--qat-group", 0)
            show(f"{name}, {options.epochs} epochs", int(kind[3:]), evaluate(folder / "qat"))
