"""Named arrays as bytes that depend on the arrays alone: `numpy.load` reads them, no clock is in them."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray


def encode_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the arrays as an npz; the same arrays give the same bytes.

    Raises:
        ValueError: An array holds Python objects.
    """
    content = BytesIO()
    with ZipFile(content, "w", ZIP_DEFLATED, compresslevel=6) as archive:
        for name, array in arrays.items():
            part = BytesIO()
            np.lib.format.write_array(part, np.ascontiguousarray(array), allow_pickle=False)
            # ZipInfo without a time is 1980-01-01; numpy.savez would write the current one.
            entry = ZipInfo(f"{name}.npy")
            entry.compress_type = ZIP_DEFLATED
            archive.writestr(entry, part.getvalue())
    return content.getvalue()


def decode_arrays(content: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of an npz; nothing in it is executed."""
    with np.load(BytesIO(content), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
