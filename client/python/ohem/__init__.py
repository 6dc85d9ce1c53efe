"""ohem - train on the hard examples: batches from ohemd, losses back, the hardest M of K as the answer.

    import ohem

    with ohem.Loader(job="default", fields="label = u8@0, image = u8[28,28]@1") as loader:
        for batch in loader:
            losses = criterion(model(batch.tensor("image")), batch.tensor("label"))  # float[K]
            selection = batch.report(losses)
            selection.loss(losses).backward()

A thin binding over libohem (client/ohem.h), which has the whole contract; nothing is decided here.
A Loader and all that came from it belong to one thread at a time, and to the process that made it.
"""
from .errors import (Conflict, Count, Dataset, Draining, Error, Expired, Forked, Invalid, Limit,
                     Malformed, NoJob, OutOfMemory, Stale, System, TimedOut, Token, TooLarge,
                     Transport, Unreachable, Version)
from .loader import (IGNORED, POSITIVE, Batch, Loader, Select, Selection, Stats, all_, by_chance,
                     negpos, threshold, top)
from .native import version

__all__ = [
    "Batch", "Conflict", "Count", "Dataset", "Draining", "Error", "Expired", "Forked", "IGNORED",
    "Invalid", "Limit", "Loader", "Malformed", "NoJob", "OutOfMemory", "POSITIVE", "Select",
    "Selection", "Stale", "Stats", "System", "TimedOut", "Token", "TooLarge", "Transport",
    "Unreachable", "Version", "all_", "by_chance", "negpos", "threshold", "top", "version",
]
