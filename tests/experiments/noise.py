#!/usr/bin/env python3
"""noise.py - what the quarantine finds, and what it is worth: Fashion-MNIST with wrong labels.

    make experiment-noise [SEEDS=3] [FLIPS="0 10 20 40"] [VALIDATE=1]

The training set is made long-tailed (class c has 0.6^c of the 5,500 that class 0 has), and a share of its
labels is flipped to another class, each alike. Three jobs of the daemon train the same network (784-256-10,
ReLU, momentum, a rate that falls to 0) on as many batches: uniform draws, draws by hardness, and these with a
quarantine that finds its cut by itself. All instances of a batch that may be are back-propagated. Told are the accuracy
on the balanced test set, and for the quarantine how many of its instances have a flipped label (precision), how many of
the flipped are in it (recall), beside the base rate.

500 images of each class are kept out of the training set: settings were tried on these (--validate), with the seeds
0 and 1, never on the test set.
"""
import argparse
import gzip
import os
import sys
import tempfile

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
# pylint: disable=wrong-import-position
from ohemd import Daemon, make_dataset  # noqa: E402
from second_client import Client  # noqa: E402

CLASSES, PIXELS, HIDDEN, K = 10, 784, 256, 256
VALIDATION, HEAD, TAIL = 500, 5500, 0.6  # of a class: kept out, at most trained on, from class to class
EPOCHS, RATE, MOMENTUM = 20, 0.05, 0.9
MEAN, DEVIATION = 0.286, 0.353  # of the greys
JOBS = {
    "uniform": "rho = 1\n",
    "bias": "rho = 0.5\n",
    "bias + quarantine": "rho = 0.5\nquarantine = yes\n",
}


def read_idx(name):
    folder = os.environ.get("FASHION_MNIST", "/usr/share/datasets/fashion-mnist")
    with gzip.open(os.path.join(folder, name)) as file:
        bytes_ = file.read()
    dimensions = bytes_[3]
    return np.frombuffer(bytes_, np.uint8, offset=4 + 4 * dimensions)


def normal(pixels):
    return (pixels.reshape(-1, PIXELS).astype(np.float32) / 255 - MEAN) / DEVIATION


class Data:
    """The images: long-tailed for training, balanced to look at the end."""

    def __init__(self, validate):
        images = read_idx("train-images-idx3-ubyte.gz").reshape(-1, PIXELS)
        labels = read_idx("train-labels-idx1-ubyte.gz")
        of_class = [np.flatnonzero(labels == c) for c in range(CLASSES)]
        kept_out = np.concatenate([ids[:VALIDATION] for ids in of_class])
        mine = np.concatenate([ids[VALIDATION:VALIDATION + int(HEAD * TAIL**c)]
                               for c, ids in enumerate(of_class)])
        mine = np.random.default_rng(0).permutation(mine)
        self.images, self.labels = images[mine], labels[mine]
        if validate:
            self.test = normal(images[kept_out]), labels[kept_out]
        else:
            self.test = (normal(read_idx("t10k-images-idx3-ubyte.gz")),
                         read_idx("t10k-labels-idx1-ubyte.gz"))


def flip(labels, percent, random):
    """@return the labels, some of them another's; and which"""
    flipped = random.permutation(len(labels))[:len(labels) * percent // 100]
    wrong = labels.copy()
    wrong[flipped] = (labels[flipped] + random.integers(1, CLASSES, len(flipped))) % CLASSES
    return wrong, flipped


class Network:
    """Softmax over one hidden layer."""

    def __init__(self, random):
        self.weights = [random.normal(0, np.sqrt(2 / PIXELS), (PIXELS, HIDDEN)).astype(np.float32),
                        np.zeros(HIDDEN, np.float32),
                        random.normal(0, np.sqrt(1 / HIDDEN), (HIDDEN, CLASSES)).astype(np.float32),
                        np.zeros(CLASSES, np.float32)]
        self.momenta = [np.zeros_like(w) for w in self.weights]

    def forward(self, x):
        w1, b1, w2, b2 = self.weights
        hidden = np.maximum(x @ w1 + b1, 0)
        logits = hidden @ w2 + b2
        logits -= logits.max(axis=1, keepdims=True)
        return hidden, logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

    def backward(self, x, hidden, log_p, labels, rate):
        """One step by the mean loss of these."""
        d = np.exp(log_p)
        d[np.arange(len(labels)), labels] -= 1
        d /= len(labels)
        dh = (d @ self.weights[2].T) * (hidden > 0)
        for w, m, g in zip(self.weights, self.momenta, (x.T @ dh, dh.sum(0), hidden.T @ d, d.sum(0))):
            m *= MOMENTUM
            m += g
            w -= rate * m

    def accuracy(self, x, labels):
        return float(np.mean(self.forward(x)[1].argmax(axis=1) == labels))


def train(client, network, images, labels):
    steps = EPOCHS * len(labels) // K
    for step in range(steps):
        batch = client.take()
        ids = np.array(batch.ids)
        x, y = normal(images[ids]), labels[ids]
        hidden, log_p = network.forward(x)
        losses = -log_p[np.arange(len(y)), y]
        kept = client.report(batch, losses)["indices"]
        client.release(batch)
        if len(kept):
            network.backward(x[kept], hidden[kept], log_p[kept], y[kept], RATE * (1 - step / steps))


def suspects_of(daemon):
    """All pages of the list."""
    at, found = 0, []
    while at is not None:
        page = daemon.get(f"/v1/jobs/default/quarantine?from={at}")
        found += [instance["id"] for instance in page["instances"]]
        at = page["next"]
    return np.array(found, int)


def run(data, percent, job, seed):
    """@return accuracy, and of the quarantine (precision, recall, cut), or None"""
    random = np.random.default_rng([seed, percent])
    labels, flipped = flip(data.labels, percent, random)
    with tempfile.TemporaryDirectory() as folder:
        # a record is not looked at: images and labels stay here, by the instance's id
        make_dataset(f"{folder}/data", [b"%d" % label for label in labels])
        config = (f"[dataset d]\npath = {folder}/data\n[job default]\nbatch_size = {K}\nselect = all\n"
                  f"seed = {seed}\n{JOBS[job]}")
        with Daemon(config=config, directory=f"{folder}/run") as daemon:
            network = Network(random)
            with Client(daemon.listen, credit=2) as client:
                train(client, network, data.images, labels)
            found, cut = None, None
            if "quarantine" in job:
                found = suspects_of(daemon)
                cut = daemon.get("/v1/jobs/default")["quarantine"]["cut_score"]
    accuracy = network.accuracy(*data.test)
    if found is None:
        return accuracy, None
    right = len(np.intersect1d(found, flipped))
    return accuracy, (right / len(found) if len(found) else float("nan"),
                      right / len(flipped) if len(flipped) else float("nan"),
                      len(found) / len(labels), cut)


def show(values, form="{:.3f}"):
    values = [v for v in values if v is not None and not np.isnan(v)]
    if not values:
        return "-"
    return form.format(np.mean(values)) + (f" ({form.format(min(values))} .. {form.format(max(values))})"
                                           if len(values) > 1 else "")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--flips", type=int, nargs="+", default=[0, 10, 20, 40])
    parser.add_argument("--validate", action="store_true", help="look at what was kept out, not at the test set")
    options = parser.parse_args()
    data = Data(options.validate)
    print(f"{len(data.labels)} images, of classes {np.bincount(data.labels).tolist()}; {EPOCHS} epochs, "
          f"{options.seeds} seeds; accuracy on {'the validation' if options.validate else 'the test'} set\n")
    for percent in options.flips:
        print(f"{percent} % flipped")
        for job in JOBS:
            results = [run(data, percent, job, seed) for seed in range(options.seeds)]
            line = f"  {job:18} accuracy {show([r[0] for r in results])}"
            if results[0][1] is not None:
                line += (f"; in quarantine {show([r[1][2] for r in results])} of all, precision "
                         f"{show([r[1][0] for r in results])}, recall {show([r[1][1] for r in results])}, "
                         f"cut {show([r[1][3] for r in results], '{:.2f}')}")
            print(line, flush=True)


main()
