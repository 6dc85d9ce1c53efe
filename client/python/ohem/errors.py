"""Every error of libohem as an exception: named as in error.h, with the library's own words."""


class Error(Exception):
    """What libohem refused. `code` is error.h's number, `name` its name, as "EXPIRED"."""

    code = 0
    name = ""


class OutOfMemory(Error, MemoryError):
    code, name = 1, "NOMEM"


class Invalid(Error, ValueError):
    """An argument or an option is not allowed."""

    code, name = 2, "INVALID"


class System(Error, OSError):
    """The operating system refused."""

    code, name = 3, "SYSTEM"


class TimedOut(Error, TimeoutError):
    """Nothing came in time: ask again."""

    code, name = 4, "TIMEDOUT"


class Unreachable(Error, ConnectionError):
    """Nothing came in time, and the daemon is silent. Asking again is right if it may come back."""

    code, name = 5, "UNREACHABLE"


class Forked(Error, RuntimeError):
    """The loader was made before this process was forked: make one in it."""

    code, name = 6, "FORKED"


class Dataset(Error):
    """The daemon was restarted on another data set: close."""

    code, name = 8, "DATASET"


class Transport(Error):
    """The transport that was asked for cannot be had."""

    code, name = 11, "TRANSPORT"


class Version(Error):
    """Library and daemon speak different major versions of the protocol."""

    code, name = 20, "VERSION"


class Malformed(Error):
    """A message cannot be read: close."""

    code, name = 21, "MALFORMED"


class TooLarge(Error, ValueError):
    """A batch, a report or a count is over its limit."""

    code, name = 22, "TOO_LARGE"


class NoJob(Error, LookupError):
    """The daemon has no job of that name."""

    code, name = 23, "NO_JOB"


class Limit(Error):
    """A limit is reached: of the daemon's sessions, or as many batches are held as may be."""

    code, name = 25, "LIMIT"


class Draining(Error, ConnectionError):
    """The daemon is going down: report what you hold and close."""

    code, name = 26, "DRAINING"


class Token(Error):
    """The daemon does not know the batch (it was restarted without its memory): release it."""

    code, name = 40, "TOKEN"


class Count(Error, ValueError):
    """A report must have one loss for each instance of its batch."""

    code, name = 42, "COUNT"


class Conflict(Error):
    """The batch was reported before with other losses; the first stay."""

    code, name = 43, "CONFLICT"


class Expired(Error):
    """The report came too long after the lease's end."""

    code, name = 44, "EXPIRED"


class Stale(Error):
    """The batch's records may have been overwritten while they were read: its losses mean nothing."""

    code, name = 45, "STALE"


_BY_CODE = {c.code: c for c in Error.__subclasses__()}


def error_of(code, name, text):
    """The exception for a code of either sign; of a code that we do not know it is Error."""
    kind = _BY_CODE.get(abs(code), Error)
    error = kind(text)
    error.code, error.name = abs(code), name
    return error
