#!/usr/bin/env python3
"""Kinglet's desktop runtime beside ONNX Runtime, in one sitting: one word at a time, one thread, greedy.

    cargo build --release
    pip install torch onnx onnxruntime
    python tests/bench/side_by_side.py [--case a] [--case b] [--rounds 5]

Both decode nine source tokens (eight letters and the end mark) to exactly nine target tokens; weights are random, since
speed does not depend on them. a: bidirectional GRU 128, additive attention, GRU 128. b: LSTM 256 to LSTM 256.
Embeddings of 64, vocabularies of 30 and 45. ONNX Runtime runs the network as PyTorch exports it, in float and with
dynamically quantized weights, with the decoder's step called in a loop and with the whole word unrolled in one graph.
Kinglet runs blobs with int8 weights, int4 ones and int4 ones in groups of 32, the output layer int8; ONNX Runtime has no
LSTM of int4.
The rounds of all variants alternate. The first figure of each is the median, the second the fastest stretch, which is
the fair one on a machine that does other things too. Below: the fastest of ONNX Runtime by each of Kinglet's, fastest
stretches.
"""

import argparse
import json
import os
import random
import statistics
import string
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import torch  # noqa: E402
from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: E402
from torch import nn  # noqa: E402

WEIGHTS = ("int8", "int4", "int4:32")
SOURCE_VOCABULARY, TARGET_VOCABULARY, EMBEDDING, STEPS = 30, 45, 64, 9
SOURCE = np.array([7, 19, 4, 25, 11, 29, 8, 14, 2], dtype=np.int64)
START = np.array([1], dtype=np.int64)

CONFIG = """
[data]
source = "chars"
target = "words"
[model]
bridge = "{bridge}"
[model.encoder]
cell = "{cell}"
embedding = 64
hidden = {hidden}
bidirectional = {bidirectional}
[model.attention]
kind = "{attention}"
size = {hidden}
[model.decoder]
cell = "{cell}"
embedding = 64
hidden = {hidden}
[train]
epochs = 1
"""
CASES = {
    "a": dict(cell="gru", hidden=128, bidirectional="true", attention="additive", bridge="linear"),
    "b": dict(cell="lstm", hidden=256, bidirectional="false", attention="none", bridge="copy"),
}


class AttendingEncoder(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.embedding = nn.Embedding(SOURCE_VOCABULARY, EMBEDDING)
        self.rnn = nn.GRU(EMBEDDING, hidden, bidirectional=True)
        self.bridge = nn.Linear(2 * hidden, hidden)
        self.keys = nn.Linear(2 * hidden, hidden)

    def forward(self, source):
        values, last = self.rnn(self.embedding(source).unsqueeze(1))
        values = values.squeeze(1)
        state = torch.tanh(self.bridge(torch.cat((last[0], last[1]), 1)))
        return state, values, self.keys(values)


class AttendingStep(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.embedding = nn.Embedding(TARGET_VOCABULARY, EMBEDDING)
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.v = nn.Linear(hidden, 1, bias=False)
        self.cell = nn.GRUCell(EMBEDDING + 2 * hidden, hidden)
        self.output = nn.Linear(3 * hidden + EMBEDDING, TARGET_VOCABULARY)

    def forward(self, token, state, values, keys):
        embedded = self.embedding(token)
        weights = torch.softmax(self.v(torch.tanh(keys + self.query(state))), 0)
        context = torch.mm(weights.transpose(0, 1), values)
        state = self.cell(torch.cat((embedded, context), 1), state)
        return self.output(torch.cat((state, context, embedded), 1)), state, values, keys


class PlainEncoder(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.embedding = nn.Embedding(SOURCE_VOCABULARY, EMBEDDING)
        self.rnn = nn.LSTM(EMBEDDING, hidden)

    def forward(self, source):
        _, (h, c) = self.rnn(self.embedding(source).unsqueeze(1))
        return h.squeeze(0), c.squeeze(0)


class PlainStep(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.embedding = nn.Embedding(TARGET_VOCABULARY, EMBEDDING)
        self.cell = nn.LSTMCell(EMBEDDING, hidden)
        self.output = nn.Linear(hidden, TARGET_VOCABULARY)

    def forward(self, token, h, c):
        h, c = self.cell(self.embedding(token), (h, c))
        return self.output(h), h, c


class Word(nn.Module):
    """Encoder and all steps in one graph."""

    def __init__(self, encoder, step):
        super().__init__()
        self.encoder, self.step = encoder, step

    def forward(self, source):
        memory, token, tokens = self.encoder(source), torch.ones(1, dtype=torch.long), []
        for _ in range(STEPS):
            logits, *memory = self.step(token, *memory)
            token = logits.argmax(1)
            tokens.append(token)
        return torch.cat(tokens)


def onnx_variants(case, folder):
    """Functions that decode the word, by name."""
    torch.manual_seed(0)
    hidden = CASES[case]["hidden"]
    encoder, step = (
        (AttendingEncoder(hidden), AttendingStep(hidden)) if case == "a" else (PlainEncoder(hidden), PlainStep(hidden))
    )
    word = Word(encoder, step).eval()
    source, token = torch.from_numpy(SOURCE), torch.from_numpy(START)
    memory = encoder(source)
    names = [f"m{i}" for i in range(len(memory))]

    def export(model, inputs, name, input_names, output_names):
        path = str(folder / f"{case}-{name}.onnx")
        torch.onnx.export(
            model, inputs, path, input_names=input_names, output_names=output_names, dynamo=False, opset_version=17
        )
        quantize_dynamic(path, path + ".int8", weight_type=QuantType.QInt8)
        return path

    paths = (
        export(encoder, (source,), "encoder", ["source"], names),
        export(step, (token, *memory), "step", ["token", *names], ["logits", *(f"{n}_next" for n in names)]),
        export(word, (source,), "word", ["source"], ["tokens"]),
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    variants = {}
    for kind, suffix in (("float", ""), ("int8", ".int8")):
        encode, advance, whole = (
            onnxruntime.InferenceSession(path + suffix, options, providers=["CPUExecutionProvider"]) for path in paths
        )
        # A tensor that a step does not read is not among its graph's inputs; what comes back unchanged is not asked for.
        wanted = {i.name for i in advance.get_inputs()}
        changing = [n for n in names if n not in ("m1", "m2")] if case == "a" else names
        outputs = ["logits", *(f"{n}_next" for n in changing)]

        def loop(encode=encode, advance=advance, wanted=wanted, outputs=outputs, changing=changing):
            memory = dict(zip(names, encode.run(None, {"source": SOURCE})))
            token, tokens = START, []
            for _ in range(STEPS):
                feed = {"token": token, **{n: memory[n] for n in names if n in wanted}}
                logits, *new = advance.run(outputs, feed)
                memory.update(zip(changing, new))
                token = np.array([int(logits.argmax())])
                tokens.append(int(token[0]))
            return tokens

        variants[f"onnxruntime {kind}, loop"] = loop
        variants[f"onnxruntime {kind}, unrolled"] = lambda whole=whole: whole.run(None, {"source": SOURCE})[0].tolist()
    with torch.inference_mode():
        expected = word(source).tolist()
    for name, run in variants.items():
        assert "int8" in name or run() == expected, name
    return variants


def blobs(case, folder, programs):
    """Blobs of the same architecture, trained for a moment, by size of weights."""
    draw = random.Random(0)
    letters, phones = string.ascii_lowercase, [f"P{i}" for i in range(TARGET_VOCABULARY - 4)]
    word = lambda: "".join(draw.choices(letters, k=8)) + "\t" + " ".join(draw.choices(phones, k=9)) + "\n"
    (folder / "pairs.tsv").write_text("".join(word() for _ in range(400)))
    # A pass of the measurement is short enough to fall between two interruptions.
    (folder / "words.tsv").write_text("".join(word() for _ in range(8)))
    (folder / f"{case}.toml").write_text(CONFIG.format(**CASES[case]))
    pairs, checkpoint = folder / "pairs.tsv", folder / f"run-{case}"
    quiet = dict(check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    train = [programs / "kinglet-train", "train", "--config", folder / f"{case}.toml", "--train", pairs]
    subprocess.run([*train, "--dev", pairs, "--out", checkpoint, "--seed", "1"], **quiet)
    compile_command = [programs / "kinglet", "compile", "--checkpoint", checkpoint, "--dev", pairs, "--fold", "always"]
    paths = {weights: folder / f"{case}-{number}.kgl" for number, weights in enumerate(WEIGHTS)}
    for weights, path in paths.items():
        narrow = ["--weights", weights, "--weights-of", "decoder.fc_out=int8"]
        subprocess.run([*compile_command, *narrow, "-o", path], **quiet)
    return paths


def kinglet(path, words, programs, seconds):
    command = [programs / "kinglet", "bench", path, "--data", words, "--tokens", str(STEPS), "--json"]
    report = json.loads(subprocess.run([*command, "--seconds", str(seconds)], check=True, capture_output=True).stdout)
    greedy = report["results"][0]
    return report["kernels"], greedy["microseconds"], greedy["microseconds_fastest"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=sorted(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--programs", type=Path, default=Path("target/release"), help="folder of the built programs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for case in arguments.case or sorted(CASES):
            variants = onnx_variants(case, folder)
            paths = blobs(case, folder, arguments.programs)
            times = {name: [] for name in [*(f"kinglet {weights}" for weights in paths), *variants]}
            fastest = dict.fromkeys(times, float("inf"))
            for _ in range(arguments.rounds):
                for weights, path in paths.items():
                    name = f"kinglet {weights}"
                    kernels, median, best = kinglet(path, folder / "words.tsv", arguments.programs, 0.5)
                    times[name].append(median)
                    fastest[name] = min(fastest[name], best)
                for name, run in variants.items():
                    run()
                    # Stretches short enough to fall between two interruptions.
                    for _ in range(150):
                        started = time.perf_counter()
                        for _ in range(4):
                            run()
                        times[name].append((time.perf_counter() - started) / 4 * 1e6)
                    fastest[name] = min(fastest[name], *times[name])
            print(f"case {case}, {kernels}      us a word   fastest")
            for name, values in times.items():
                print(f"{name:30} {statistics.median(values):9.1f} {fastest[name]:9.1f}")
            best = min(fastest[name] for name in variants)
            ratios = (f"{weights} {best / fastest[f'kinglet {weights}']:.2f}" for weights in paths)
            print("onnxruntime / kinglet: " + ", ".join(ratios))


if __name__ == "__main__":
    main()
