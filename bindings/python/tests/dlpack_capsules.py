"""Exports of DLPack tensors, made by hand with every field at choice: also what no library would send."""

import ctypes

import numpy as np

CPU, CUDA, CUDA_HOST = 1, 2, 3
INT, UINT, FLOAT, BFLOAT, BOOL = 0, 1, 2, 4, 6
READ_ONLY = 1


class Tensor(ctypes.Structure):
    """DLTensor"""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class Managed(ctypes.Structure):
    """DLManagedTensor"""

    _fields_ = [("tensor", Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p)]


class ManagedVersioned(ctypes.Structure):
    """DLManagedTensorVersioned"""

    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", Tensor),
    ]


new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype = ctypes.py_object
new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


class Exporter:
    """A tensor over an array's memory, exported with the given fields instead of its own."""

    def __init__(
        self, values: np.ndarray, *, versioned=True, name=None, version=(1, 0), flags=0, device=CPU, **fields
    ):
        self.values, self.versioned, self.device = values, versioned, device
        self.name = name or (b"dltensor_versioned" if versioned else b"dltensor")
        item = values.itemsize
        fields = {
            "data": values.ctypes.data,
            "device_type": device,
            "ndim": values.ndim,
            "code": {"f": FLOAT, "i": INT, "u": UINT, "b": BOOL}[values.dtype.kind],
            "bits": 8 * item,
            "lanes": 1,
            "shape": values.shape,
            "strides": [stride // item for stride in values.strides],
        } | fields
        for axes in ("shape", "strides"):
            if fields[axes] is not None:
                fields[axes] = (ctypes.c_int64 * len(fields[axes]))(*fields[axes])
        tensor = Tensor(**fields)
        major, minor = version
        self.managed = (
            ManagedVersioned(major, minor, None, None, flags, tensor) if versioned else Managed(tensor)
        )
        self.exports = 0

    def __dlpack_device__(self):
        return (self.device, 0)

    def __dlpack__(self, **options):
        if not self.versioned and options:
            raise TypeError("an exporter older than DLPack 1.0 knows no options")
        self.exports += 1
        return new_capsule(ctypes.addressof(self.managed), self.name, None)
