"""XMP packets: what stands in one is kept, the orientation is reset, and the mark of a colored file is added.

A packet is an RDF document in XML from a stranger: it is bounded in size, and one with a document type is refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from xml.dom import Node
from xml.dom.minidom import Document, Element

from defusedxml.minidom import parseString

MAX_BYTES = 1 << 20
"""Largest packet that is read."""
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's term for a photograph that a trained model changed in part: it made the colors."""

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XMLNS = "http://www.w3.org/2000/xmlns/"
_IPTC = ("Iptc4xmpExt", "http://iptc.org/std/Iptc4xmpExt/2008-02-29/")
_PHOTOSHOP = ("photoshop", "http://ns.adobe.com/photoshop/1.0/")
_XMP = ("xmp", "http://ns.adobe.com/xap/1.0/")
_TIFF = "http://ns.adobe.com/tiff/1.0/"
_EXIF = "http://ns.adobe.com/exif/1.0/"
_NOTE = "http://ns.adobe.com/xmp/note/"  # names the second part of a long packet, which is not read
_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    f'<rdf:RDF xmlns:rdf="{_RDF}"/></x:xmpmeta><?xpacket end="w"?>'
)


@dataclass(frozen=True)
class Mark:
    """Names what colored a photograph; the mark tells people and programs that its colors are a machine's."""

    program: str
    """Program and version: colorize 0.2.0."""
    model: str
    """Model and version: colorizer, version 3."""

    @property
    def credit(self) -> str:
        """Returns the credit line."""
        return f"Colors by {self.tool}"

    @property
    def tool(self) -> str:
        """Returns the creator tool."""
        return f"{self.program} ({self.model})"


def written(packet: bytes, width: int, height: int, mark: Mark | None) -> bytes:
    """Returns a packet for the upright picture: what `packet` says, without its thumbnails, and the mark.

    A value that stands in the place of the mark's stays: the mark is added to the credit and to the creator tool.

    Args:
        packet: packet of the photograph; an empty or unreadable one counts as none.
        width: width of the upright picture in pixels.
        height: its height.
        mark: what colored it; None adds nothing.

    Returns:
        The packet; empty if there is nothing to say.
    """
    document = _parsed(packet)
    if document is None and mark is None:
        return b""
    document = document or parseString(_EMPTY)
    for namespace, name, value in (
        (_TIFF, "Orientation", "1"),
        (_TIFF, "ImageWidth", str(width)),
        (_TIFF, "ImageLength", str(height)),
        (_EXIF, "PixelXDimension", str(width)),
        (_EXIF, "PixelYDimension", str(height)),
    ):
        _replace(document, namespace, name, value)
    for namespace, name in ((_XMP[1], "Thumbnails"), (_NOTE, "HasExtendedXMP")):
        _replace(document, namespace, name, None)
    if mark is not None:
        _add_mark(document, mark)
    return "".join(node.toxml() for node in document.childNodes).encode()


def _parsed(packet: bytes) -> Document | None:
    """Parses a packet; returns None if it is no RDF, too large or refused."""
    if not packet or len(packet) > MAX_BYTES:
        return None
    try:
        document: Document = parseString(packet.strip(b"\0 \t\r\n"), forbid_dtd=True)
        if not document.getElementsByTagNameNS(_RDF, "RDF"):
            return None
        document.toxml()  # deeply nested elements exceed Python's recursion
    except Exception:  # malformed, a document type, an unknown encoding
        return None
    return document


def _add_mark(document: Document, mark: Mark) -> None:
    """Adds the mark in a description of its own, about the same resource as the others."""
    about = next((one.getAttributeNS(_RDF, "about") for one in _descriptions(document)), "")
    values = []
    for (prefix, namespace), name, value in (
        (_IPTC, "DigitalSourceType", SOURCE_TYPE),
        (_PHOTOSHOP, "Credit", mark.credit),
        (_XMP, "CreatorTool", mark.tool),
    ):
        old = _take(document, namespace, name) if name != "DigitalSourceType" else ""
        _replace(document, namespace, name, None)
        joined = old if value in old else f"{old}; {value}" if old else value
        values.append((prefix, namespace, name, joined))
    rdf = document.getElementsByTagNameNS(_RDF, "RDF")[0]
    prefix = rdf.prefix or "rdf"
    description = document.createElementNS(_RDF, f"{prefix}:Description")
    description.setAttributeNS(_XMLNS, f"xmlns:{prefix}", _RDF)
    description.setAttributeNS(_RDF, f"{prefix}:about", about)
    for own, namespace, name, value in values:
        description.setAttributeNS(_XMLNS, f"xmlns:{own}", namespace)
        element = document.createElementNS(namespace, f"{own}:{name}")
        element.appendChild(document.createTextNode(value))
        description.appendChild(element)
    rdf.appendChild(description)


def _take(document: Document, namespace: str, name: str) -> str:
    """Returns the text of a simple property, empty if it is missing."""
    for description in _descriptions(document):
        if description.hasAttributeNS(namespace, name):
            return str(description.getAttributeNS(namespace, name)).strip()
        for element in _properties(description, namespace, name):
            return "".join(node.data for node in element.childNodes if node.nodeType == Node.TEXT_NODE).strip()
    return ""


def _replace(document: Document, namespace: str, name: str, value: str | None) -> None:
    """Sets the property where it stands; None removes it."""
    for description in _descriptions(document):
        if description.hasAttributeNS(namespace, name):
            if value is None:
                description.removeAttributeNS(namespace, name)
            else:
                description.setAttributeNS(namespace, _qualified(description, namespace, name), value)
        for element in list(_properties(description, namespace, name)):
            if value is None:
                description.removeChild(element)
            else:
                while element.firstChild is not None:
                    element.removeChild(element.firstChild)
                element.appendChild(document.createTextNode(value))


def _qualified(description: Element, namespace: str, name: str) -> str:
    """Returns an attribute's name with the prefix that it stands with."""
    node = description.getAttributeNodeNS(namespace, name)
    return name if node is None else node.name


def _descriptions(document: Document) -> list[Element]:
    """Returns the descriptions of the picture itself, which hold its properties."""
    found = document.getElementsByTagNameNS(_RDF, "RDF")[0].childNodes
    return [node for node in found if isinstance(node, Element) and node.localName == "Description"]


def _properties(description: Element, namespace: str, name: str) -> Iterator[Element]:
    for node in description.childNodes:
        if isinstance(node, Element) and node.namespaceURI == namespace and node.localName == name:
            yield node
