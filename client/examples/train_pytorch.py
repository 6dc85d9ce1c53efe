"""train_pytorch.py - a small CNN on Fashion-MNIST, fed by ohemd; only the hard half is back-propagated.

    cd /usr/share/datasets/fashion-mnist        # Debian's dataset-fashion-mnist
    ohem-import idx train-images-idx3-ubyte.gz train-labels-idx1-ubyte.gz ~/fashion && cd
    ohemd --dataset fashion &
    python3 train_pytorch.py --steps 2000

What ohemd takes are the five lines that are marked. Without them this is any training loop.
"""
import argparse

import ohem  # <-
import torch
from torch import nn


def make_model():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 7 * 7, 10))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoint", help="of ohemd; the usual socket if it is not given")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--lr", type=float, default=0.05)
    options = parser.parse_args()

    torch.manual_seed(0)
    model = make_model()
    criterion = nn.CrossEntropyLoss(reduction="none")  # one loss an instance
    optimizer = torch.optim.SGD(model.parameters(), lr=options.lr, momentum=0.9)
    seen, right = 0, 0

    with ohem.Loader(options.endpoint, fields="label = u8@0, image = u8[28,28]@1") as loader:  # <-
        for batch in loader:  # <-
            image = batch.tensor("image").unsqueeze(1).float() / 255
            label = batch.tensor("label").long()
            output = model(image)
            losses = criterion(output, label)
            selection = batch.report(losses)  # <-
            optimizer.zero_grad()
            selection.loss(losses, batch.weights).backward()  # <-
            optimizer.step()
            seen, right = seen + len(batch), right + int((output.argmax(1) == label).sum())
            if batch.step % 100 == 99:
                print(f"step {batch.step + 1} epoch {batch.epoch} loss {selection.stats_all.mean:.3f} "
                      f"of the kept {selection.stats_kept.mean:.3f} accuracy {right / seen:.3f}", flush=True)
                seen, right = 0, 0
            if batch.step + 1 >= options.steps:
                break


if __name__ == "__main__":
    main()
