"""Tests of every kind of TIFF and PNG: pixels equal to a reference decoder's, and true reasons for what is refused."""

import numpy as np
import pytest

from model.data.images import ImageError, decode
from tests.support import kinds


@pytest.mark.parametrize("name", ["TIFF", "PNG"])
def test_pixels_equal_those_of_a_reference_decoder(name: str):
    found, wrong = kinds.kinds()[name], []
    for kind in found:
        said = f"{kind.bits} bits, {kind.photometric}, {kind.order}-endian, {kind.compression}, {kind.layout}"
        try:
            pixels = decode(kind.content).pixels
        except ImageError as error:
            wrong.append(f"{said}: {error}")
            continue
        apart = np.abs(pixels.astype(int) - kind.expected.astype(int)).max()
        if pixels.dtype != kind.expected.dtype or apart > kind.tolerance:
            wrong.append(f"{said}: {pixels.dtype}, {apart} levels apart")
    assert not wrong, "\n".join(wrong)
    assert len(found) > 50


def test_the_table_in_the_docs_is_of_these_kinds():
    assert kinds.PAGE.read_text(encoding="utf-8") == kinds.page(), "run: python -m tests.support.kinds"


@pytest.mark.parametrize("name", kinds.REFUSED)
def test_a_kind_that_is_not_read_gets_a_true_reason(name: str):
    with pytest.raises(ImageError) as refused:
        decode(kinds.REFUSED[name]())
    reason = refused.value.reason
    assert "not a JPEG" not in reason
    words = {"signed": "signed integers", "floats": "floats", "complex": "complex", "CIELAB": "16+16+16 bits"}
    words |= {"sensor": "develop it first", "DNG": "develop it first", "CR3": "develop it first", "RAF": "develop"}
    words |= {"checksum": "wrong checksum"}
    assert next(text for word, text in words.items() if word in name) in reason
