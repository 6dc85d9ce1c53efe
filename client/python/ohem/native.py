"""libohem by ctypes: its structs and functions as ohem.h declares them, and nothing else.

ctypes lets go of the GIL during each call. $OHEM_LIBRARY names another file than the installed
libohem.so.0.
"""
import ctypes
import os
from ctypes import (POINTER, Structure, c_char, c_char_p, c_double, c_float, c_int, c_size_t,
                    c_uint32, c_uint64, c_void_p)

TIMEDOUT, UNREACHABLE, DRAINING = -4, -5, -26
ROUND_NEXT = 2**64 - 1
FIELD_DIMS_MAX = 8


class Options(Structure):
    _fields_ = [("struct_bytes", c_size_t), ("endpoint", c_char_p), ("job", c_char_p),
                ("batch_size", c_uint32), ("credit", c_uint32), ("rank", c_uint32),
                ("connect_timeout_ms", c_int), ("agent", c_char_p), ("layout", c_int),
                ("transport", c_int), ("fields", c_char_p), ("unacked_bytes_max", c_size_t),
                ("reconnect_timeout_ms", c_int)]


class Field(Structure):
    _fields_ = [("name", c_char * 33), ("type", c_char * 4), ("item_bytes", c_uint32),
                ("dims", c_uint32), ("shape", c_uint64 * FIELD_DIMS_MAX), ("offset", c_uint64),
                ("bytes", c_uint64)]


class Stats(Structure):
    _fields_ = [("count", c_uint32), ("mean", c_float), ("min", c_float), ("max", c_float)]


class ReportOptions(Structure):
    _fields_ = [("struct_bytes", c_size_t), ("flags", c_void_p), ("select", c_int),
                ("count", c_uint32), ("value", c_double), ("round", c_uint64)]


class Items(Structure):
    _fields_ = [("struct_bytes", c_size_t), ("losses", c_void_p), ("count", c_size_t),
                ("counts", c_void_p), ("flags", c_void_p), ("iou", c_double), ("boxes", c_void_p),
                ("classes", c_void_p), ("score", c_int), ("top", c_uint32), ("select", c_int),
                ("select_count", c_uint32), ("value", c_double)]


_CLIENT, _BATCH, _SELECTION, _OUT = c_void_p, c_void_p, c_void_p, POINTER(c_void_p)

# name: (what it returns, its arguments)
_FUNCTIONS = {
    "version": (c_char_p, []),
    "strerror": (c_char_p, [c_int]),
    "error_name": (c_char_p, [c_int]),
    "connect": (c_int, [POINTER(Options), _OUT]),
    "connect_error": (c_char_p, []),
    "client_error": (c_char_p, [_CLIENT]),
    "close": (None, [_CLIENT]),
    "instance_count": (c_uint64, [_CLIENT]),
    "record_bytes": (c_uint64, [_CLIENT]),
    "batch_size": (c_uint32, [_CLIENT]),
    "credit": (c_uint32, [_CLIENT]),
    "session": (c_uint64, [_CLIENT]),
    "round": (c_uint32, [_CLIENT]),
    "transport": (c_int, [_CLIENT]),
    "transport_name": (c_char_p, [c_int]),
    "transport_reason": (c_char_p, [_CLIENT]),
    "field_count": (c_size_t, [_CLIENT]),
    "field_at": (POINTER(Field), [_CLIENT, c_size_t]),
    "durable": (c_int, [_CLIENT]),
    "flush": (c_int, [_CLIENT, c_int]),
    "keepalive": (c_int, [_CLIENT, c_int]),
    "next": (c_int, [_CLIENT, c_int, _OUT]),
    "release": (None, [_BATCH]),
    "batch_count": (c_uint32, [_BATCH]),
    "batch_ids": (c_void_p, [_BATCH]),
    "batch_probabilities": (c_void_p, [_BATCH]),
    "batch_weights": (c_void_p, [_BATCH]),
    "batch_is_hard": (c_int, [_BATCH, c_uint32]),
    "batch_step": (c_uint64, [_BATCH]),
    "batch_epoch": (c_uint64, [_BATCH]),
    "batch_age": (c_uint64, [_BATCH]),
    "batch_transport": (c_int, [_BATCH]),
    "batch_data": (c_void_p, [_BATCH, c_uint32, POINTER(c_size_t)]),
    "batch_block": (c_void_p, [_BATCH, POINTER(c_size_t)]),
    "batch_check": (c_int, [_BATCH]),
    "report_with": (c_int, [_BATCH, c_void_p, c_size_t, POINTER(ReportOptions), c_int, _OUT]),
    "submit_with": (c_int, [_BATCH, c_void_p, c_size_t, POINTER(ReportOptions)]),
    "report_items": (c_int, [_BATCH, POINTER(Items), c_int, _OUT]),
    "submit_items": (c_int, [_BATCH, POINTER(Items)]),
    "selection": (c_int, [_BATCH, c_int, _OUT]),
    "selection_count": (c_uint32, [_SELECTION]),
    "selection_indices": (c_void_p, [_SELECTION]),
    "selection_weights": (c_void_p, [_SELECTION]),
    "selection_scores": (c_void_p, [_SELECTION]),
    "selection_round_count": (c_uint32, [_SELECTION]),
    "selection_round_present": (c_uint32, [_SELECTION]),
    "selection_scale": (c_float, [_SELECTION]),
    "selection_stats_all": (POINTER(Stats), [_SELECTION]),
    "selection_stats_kept": (POINTER(Stats), [_SELECTION]),
    "selection_nonfinite_count": (c_uint32, [_SELECTION]),
    "selection_ignored_count": (c_uint32, [_SELECTION]),
    "selection_lsn": (c_uint64, [_SELECTION]),
    "selection_is_late": (c_int, [_SELECTION]),
    "selection_is_repeated": (c_int, [_SELECTION]),
    "selection_is_superseded": (c_int, [_SELECTION]),
}


class _Library:
    """libohem's functions without their prefix."""

    def __init__(self):
        library = ctypes.CDLL(os.environ.get("OHEM_LIBRARY", "libohem.so.0"))
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, f"ohem_{name}")
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)


lib = _Library()


def version():
    """The library's version, as "0.1.0"."""
    return lib.version().decode()
