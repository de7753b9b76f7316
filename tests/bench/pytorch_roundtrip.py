#!/usr/bin/env python3
"""Exports of Kinglet's networks in PyTorch: loaded with strict=True, their logits beside Kinglet's.

    cargo build --release
    pip install torch safetensors
    python tests/bench/pytorch_roundtrip.py

Trains small networks for an epoch, exports them, loads each into modules made of nn.Embedding, nn.GRU or nn.LSTM and
nn.Linear (the attention tutorial's where the network is the tutorial's), and compares the logits of every step of teacher-forced
pairs. Then imports the export and compares the files of weights byte by byte. A line a network; exit code 1 when a logit
differs by more than 1e-5 + 1e-5 |logit|.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
RELEASE = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
SOS = 2

CONFIG = """
[data]
source = "chars"
target = "words"
source_start = {start}
[model]
bridge = "{bridge}"
dropout = 0.0
[model.encoder]
cell = "{cell}"
embedding = 10
hidden = 12
layers = {layers}
bidirectional = {bidirectional}
[model.attention]
kind = "{attention}"
size = {size}
[model.decoder]
cell = "{cell}"
embedding = 9
hidden = {hidden}
layers = {layers}
[train]
epochs = 1
batch_size = 16
learning_rate = 0.02
"""

CASES = {
    "tutorial": dict(cell="gru", layers=1, bidirectional="true", attention="additive", size=14, hidden=14,
                     bridge="linear", start="true"),
    "lstm, copied state": dict(cell="lstm", layers=2, bidirectional="false", attention="none", size=1, hidden=12,
                               bridge="copy", start="true"),
    "gru, wide attention": dict(cell="gru", layers=2, bidirectional="true", attention="additive", size=17, hidden=14,
                                bridge="linear", start="false"),
    "lstm, attention": dict(cell="lstm", layers=3, bidirectional="true", attention="additive", size=8, hidden=14,
                            bridge="linear", start="false"),
}


class Encoder(nn.Module):
    def __init__(self, vocab, case):
        super().__init__()
        cell = {"gru": nn.GRU, "lstm": nn.LSTM}[case["cell"]]
        bidirectional = case["bidirectional"] == "true"
        self.embedding = nn.Embedding(vocab, 10)
        self.rnn = cell(10, 12, case["layers"], bidirectional=bidirectional)
        if case["bridge"] == "linear":
            states = case["layers"] * (2 if case["cell"] == "lstm" else 1)
            self.fc = nn.Linear(24 if bidirectional else 12, states * case["hidden"])

    def forward(self, source):
        outputs, state = self.rnn(self.embedding(source))
        return outputs, state


class TutorialAttention(nn.Module):
    def __init__(self, hidden, memory, size):
        super().__init__()
        self.attn_fc = nn.Linear(hidden + memory, size)
        self.v_fc = nn.Linear(size, 1, bias=False)

    def forward(self, state, memory):
        states = state.unsqueeze(0).expand(memory.shape[0], -1, -1)
        scores = self.v_fc(torch.tanh(self.attn_fc(torch.cat((states, memory), 2))))
        return torch.softmax(scores, 0)


class SplitAttention(nn.Module):
    def __init__(self, hidden, memory, size):
        super().__init__()
        self.w_q = nn.Linear(hidden, size, bias=False)
        self.w_k = nn.Linear(memory, size)
        self.v = nn.Linear(size, 1, bias=False)

    def forward(self, state, memory):
        return torch.softmax(self.v(torch.tanh(self.w_q(state) + self.w_k(memory))), 0)


class Decoder(nn.Module):
    def __init__(self, vocab, case, attention):
        super().__init__()
        cell = {"gru": nn.GRU, "lstm": nn.LSTM}[case["cell"]]
        memory = (24 if case["bidirectional"] == "true" else 12) if attention else 0
        self.embedding = nn.Embedding(vocab, 9)
        if attention:
            self.attention = attention(case["hidden"], memory, case["size"])
        self.rnn = cell(9 + memory, case["hidden"], case["layers"])
        self.fc_out = nn.Linear(case["hidden"] + (memory + 9 if attention else 0), vocab)

    def forward(self, token, state, memory):
        embedded = self.embedding(token).unsqueeze(0)
        if not hasattr(self, "attention"):
            output, state = self.rnn(embedded, state)
            return self.fc_out(output[0]), state
        query = (state[0] if isinstance(state, tuple) else state)[-1]
        context = (self.attention(query, memory) * memory).sum(0, keepdim=True)
        output, state = self.rnn(torch.cat((embedded, context), 2), state)
        return self.fc_out(torch.cat((output, context, embedded), 2)[0]), state


class Seq2Seq(nn.Module):
    def __init__(self, source_vocab, target_vocab, case, attention):
        super().__init__()
        self.encoder = Encoder(source_vocab, case)
        self.decoder = Decoder(target_vocab, case, attention)
        self.case = case

    def forward(self, source, target):
        memory, final = self.encoder(source)
        state = final
        if self.case["bridge"] == "linear":
            hidden = final[0] if isinstance(final, tuple) else final
            top = torch.cat(tuple(hidden[-2:]) if self.case["bidirectional"] == "true" else (hidden[-1],), 1)
            # The hidden states of all layers, then, for an LSTM, their cell states.
            states = torch.tanh(self.encoder.fc(top)).view(-1, 1, self.case["hidden"])
            layers = self.case["layers"]
            state = (states[:layers], states[layers:]) if isinstance(final, tuple) else states
        logits = []
        for token in [SOS, *target[:-1]]:
            row, state = self.decoder(torch.tensor([token]), state, memory)
            logits.append(row[0])
        return torch.stack(logits)


def run(program, *arguments):
    done = subprocess.run([RELEASE / program, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{program} {' '.join(map(str, arguments))}: {done.stderr}")
    return done.stdout


def corpus(path, pairs):
    draw = random.Random(7)
    lines = []
    for _ in range(pairs):
        word = "".join(draw.choice("abcdefgh") for _ in range(draw.randint(1, 9)))
        lines.append(f"{word}\t{' '.join(letter.upper() for letter in reversed(word))}\n")
    path.write_text("".join(lines))


def theirs(vocabulary, marks=("<pad>", "<sos>", "<eos>", "<unk>")):
    """For each of Kinglet's ids, its line in an exported vocabulary."""
    tokens = vocabulary.read_text().split("\n")[:-1]
    return [tokens.index(mark) for mark in marks] + [i for i, token in enumerate(tokens) if token not in marks]


def main():
    torch.manual_seed(1)
    torch.set_num_threads(1)
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        train, dev = folder / "train.tsv", folder / "dev.tsv"
        corpus(train, 400)
        corpus(dev, 20)
        for name, case in CASES.items():
            here = folder / name.replace(" ", "-").replace(",", "")
            here.mkdir()
            config, checkpoint, exported, back = (here / n for n in ("c.toml", "run", "exported", "back"))
            config.write_text(CONFIG.format(**case))
            run("kinglet-train", "train", "--config", config, "--train", train, "--dev", dev, "--out", checkpoint)
            run("kinglet-train", "export", "--checkpoint", checkpoint, "--out", exported)
            weights = load_file(exported / "state_dict.safetensors")
            attention = None
            if case["attention"] == "additive":
                attention = TutorialAttention if case["size"] == case["hidden"] else SplitAttention
            source_ids, target_ids = (theirs(exported / f"vocab.{side}.txt") for side in ("source", "target"))
            model = Seq2Seq(len(source_ids), len(target_ids), case, attention)
            model.load_state_dict(weights, strict=True)

            worst, rows, inside = 0.0, 0, True
            for line in run("logits", checkpoint, dev).splitlines():
                pair = json.loads(line)
                source = torch.tensor([[source_ids[i]] for i in pair["source"]])
                with torch.no_grad():
                    found = model(source, [target_ids[i] for i in pair["target"]])[:, target_ids]
                expected = torch.tensor(pair["logits"])
                error = (found - expected).abs()
                worst, rows = max(worst, float(error.max())), rows + len(expected)
                inside &= bool((error <= 1e-5 + 1e-5 * expected.abs()).all())

            arguments = ["--source-tokens", "chars"] + ([] if case["start"] == "true" else ["--no-source-start"])
            run("kinglet-train", "import", "--weights", exported / "state_dict.safetensors", "--source-vocab",
                exported / "vocab.source.txt", "--target-vocab", exported / "vocab.target.txt", "--out", back, *arguments)
            same = (back / "model.safetensors").read_bytes() == (checkpoint / "model.safetensors").read_bytes()
            failed |= not (inside and same)
            verdict = "ok" if inside and same else "FAILED"
            print(f"{name:20} {verdict}  {len(weights)} tensors, {rows} rows of logits, worst difference {worst:.1e}, "
                  f"weights come back {'with the same bytes' if same else 'CHANGED'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
