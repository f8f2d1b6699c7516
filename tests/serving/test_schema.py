"""Tests of the API with schemathesis: no 5xx and no answer that the OpenAPI schema lacks."""

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import positive_data_acceptance  # not every string of bytes is a photograph

from tests.serving.conftest import picture

_FILES = {kind: picture(20, 30, kind) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")}


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Draws photographs, damaged photographs, and any bytes."""
    content = draw(st.sampled_from(sorted(_FILES.values())))
    kind = draw(st.sampled_from(("whole", "cut", "changed", "anything")))
    if kind == "cut":
        return content[: draw(st.integers(0, len(content)))]
    if kind == "changed":
        place = draw(st.integers(0, len(content) - 1))
        return content[:place] + draw(st.binary(min_size=1, max_size=8)) + content[place + 1 :]
    return draw(st.binary(max_size=200)) if kind == "anything" else content


def test_every_operation_answers_as_the_schema_says(address: str):
    for kind in ("image/*", "application/octet-stream"):
        schemathesis.openapi.media_type(kind, bodies())
    schema = schemathesis.openapi.from_url(address + "openapi.json")
    counted = 0
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(
            max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(case=operation.as_strategy())
        def explore(case: schemathesis.Case) -> None:
            nonlocal counted
            counted += 1
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        explore()
    assert counted > 60
