"""Tests of XMP packets: what stands in one is kept, the mark is added, and hostile ones do no harm."""

import time

import pytest
from defusedxml.ElementTree import fromstring

from model.data.xmp import MAX_BYTES, SOURCE_TYPE, Mark, written

MARK = Mark("colorize 0.2.0", "colorizer, version 3")
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
NAMES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
}


def packet(attributes: str = "", elements: str = "", about: str = "") -> bytes:
    spaces = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMES.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
        f'<rdf:RDF xmlns:rdf="{RDF[1:-1]}"><rdf:Description rdf:about="{about}" {spaces} {attributes}>{elements}'
        f'</rdf:Description></rdf:RDF>\n</x:xmpmeta>\n{" " * 2000}<?xpacket end="w"?>'
    ).encode()


def values(content: bytes) -> dict[str, list[str]]:
    """Returns the values of the simple properties, attributes and elements alike."""
    found: dict[str, list[str]] = {}
    for description in fromstring(content).iter(f"{RDF}Description"):
        for name, value in [*description.attrib.items(), *((one.tag, one.text or "") for one in description)]:
            for prefix, uri in NAMES.items():
                if name.startswith(f"{{{uri}}}"):
                    found.setdefault(f"{prefix}:{name.partition('}')[2]}", []).append(value)
    return found


def test_a_file_without_a_packet_gets_one_with_the_mark():
    assert values(written(b"", 40, 30, MARK)) == {
        "Iptc4xmpExt:DigitalSourceType": [SOURCE_TYPE],
        "photoshop:Credit": ["Colors by colorize 0.2.0 (colorizer, version 3)"],
        "xmp:CreatorTool": ["colorize 0.2.0 (colorizer, version 3)"],
    }
    assert written(b"", 40, 30, None) == b""


@pytest.mark.parametrize("form", ["attributes", "elements"])
@pytest.mark.parametrize("mark", [MARK, None])
def test_what_a_packet_says_is_kept(form: str, mark: Mark | None):
    title = '<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Grandmother &amp; I</rdf:li></rdf:Alt></dc:title>'
    simple = {"photoshop:City": "Łódź", "photoshop:Credit": "The archive", "xmp:CreatorTool": "EPSON Scan"}
    if form == "attributes":
        given = packet(" ".join(f'{name}="{value}"' for name, value in simple.items()), title)
    else:
        given = packet("", title + "".join(f"<{name}>{value}</{name}>" for name, value in simple.items()))
    made = written(given, 40, 30, mark)
    assert "Grandmother &amp; I" in made.decode()
    found = values(made)
    assert found["photoshop:City"] == ["Łódź"]
    suffix = "; Colors by colorize 0.2.0 (colorizer, version 3)" if mark else ""
    assert found["photoshop:Credit"] == [f"The archive{suffix}"], "once, for a property may not repeat"
    assert found["xmp:CreatorTool"] == ["EPSON Scan" + ("; colorize 0.2.0 (colorizer, version 3)" if mark else "")]
    assert ("Iptc4xmpExt:DigitalSourceType" in found) == (mark is not None)


@pytest.mark.parametrize("form", ["attributes", "elements"])
def test_orientation_and_size_are_those_of_the_upright_picture(form: str):
    simple = {
        "tiff:Orientation": "6",
        "tiff:ImageWidth": "30",
        "exif:PixelXDimension": "30",
        "exif:PixelYDimension": "40",
    }
    if form == "attributes":
        given = packet(" ".join(f'{name}="{value}"' for name, value in simple.items()))
    else:
        given = packet("", "".join(f"<{name}>{value}</{name}>" for name, value in simple.items()))
    found = values(written(given, 40, 30, None))
    assert found["tiff:Orientation"] == ["1"]
    assert found["tiff:ImageWidth"] == found["exif:PixelXDimension"] == ["40"]
    assert found["exif:PixelYDimension"] == ["30"]
    assert "tiff:ImageLength" not in found, "nothing is added that was not there"


def test_thumbnails_which_show_no_colors_are_left_out():
    given = packet(
        "", "<xmp:Thumbnails><rdf:Alt><rdf:li>AAAA</rdf:li></rdf:Alt></xmp:Thumbnails><dc:rights>me</dc:rights>"
    )
    made = written(given, 40, 30, None)
    assert b"Thumbnails" not in made
    assert b"<dc:rights>me</dc:rights>" in made


def test_a_second_coloring_replaces_the_source_type_and_repeats_no_credit():
    once = written(packet('Iptc4xmpExt:DigitalSourceType="http://example.com/other"'), 40, 30, MARK)
    assert written(once, 40, 30, MARK).count(b"DigitalSourceType>") == 2
    assert values(written(once, 40, 30, MARK)) == values(once)


def test_the_mark_is_about_the_same_resource():
    made = written(packet(about="uuid:1"), 40, 30, MARK)
    assert {one.get(f"{RDF}about") for one in fromstring(made).iter(f"{RDF}Description")} == {"uuid:1"}


BOMB = (
    b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(9))
    + b"]>"
)


@pytest.mark.parametrize(
    "hostile",
    [
        BOMB + packet("", "<dc:rights>&j;</dc:rights>"),
        b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>' + packet("", "<dc:rights>&f;</dc:rights>"),
        b'<!DOCTYPE x SYSTEM "http://192.0.2.1/x.dtd">' + packet(),
        packet("", "<dc:a>" * 50_000 + "</dc:a>" * 50_000),
        packet("", "<dc:a>" * 500),
        b"<x>no RDF</x>",
        b"\0\xff" * 100,
        packet("", "x" * MAX_BYTES),
    ],
    ids=["entities", "file", "other host", "deep", "unclosed", "no RDF", "no XML", "large"],
)
def test_a_hostile_packet_is_dropped_and_the_mark_is_written(hostile: bytes):
    began = time.process_time()
    assert written(hostile, 40, 30, MARK) == written(b"", 40, 30, MARK)
    assert written(hostile, 40, 30, None) == b""
    assert time.process_time() - began < 20, "CPU time, not the clock"
