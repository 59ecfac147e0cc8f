"""Text in DICOM results: the patient's and study's is the image's, byte for byte; ours is in characters that fit it."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from pydicom.charset import convert_encodings, decode_bytes, default_encoding, encode_string, python_encoding
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR, MAX_VALUE_LEN, STR_VR, TEXT_VR_DELIMS, PersonName

UNICODE = "ISO_IR 192"
_ESCAPE = b"\x1b"  # ISO 2022: what follows is not what it would be without
_LATIN = re.compile(r"LATIN (SMALL|CAPITAL) LETTER ([A-Z]{1,2})( WITH .+)?")
_CYRILLIC = "a b v g d e e zh z i i k l m n o p r s t u f kh ts ch sh shch ' y ' e yu ya ye i yi g u"
_SPELT = dict(zip("абвгдеёжзийклмнопрстуфхцчшщъыьэюяєіїґў", _CYRILLIC.split(), strict=True))
_SPELT |= {"≥": ">=", "≤": "<=", "–": "-", "—": "-", "’": "'", "“": '"', "”": '"', "°": " degrees", "ß": "ss", "µ": "u"}


def verbatim(dataset: Dataset) -> Dataset:
    """The texts and sequences of a data set, the values as the bytes in the file, without padding.

    Args:
        dataset: by pydicom from a file, no value of it looked at yet.
    """
    copy = Dataset()
    for tag in sorted(dataset.keys()):
        vr = dictionary_VR(tag) if dictionary_has_tag(tag) and keyword_for_tag(tag) != "SpecificCharacterSet" else ""
        if vr == "SQ" and dataset[tag].VR == "SQ":
            copy[tag] = DataElement(tag, vr, [verbatim(item) for item in dataset[tag].value])
        elif vr in STR_VR:
            value: Any = dataset.get_item(tag).value
            copy[tag] = DataElement(tag, vr, (value or b"").rstrip(b"\0 ") or None, already_converted=True)
    return copy


def complete_texts(result: Dataset, identity: Dataset, terms: Sequence[str]) -> None:
    """Put the patient and study into a result, under a Specific Character Set in which all of its text is right.

    That is the image's, which may be none. Where there is no such set, or our own text (a finding's name, say) does
    not fit in, but the patient's and study's bytes are UTF-8, as ASCII is, it is Unicode. Otherwise our text is spelt
    in ASCII: theirs stays as it is, although the image may declare its characters wrongly.

    Args:
        result: with our text only; changed in place.
        identity: `verbatim`.
        terms: the image's Specific Character Set.
    """
    texts = [element for element in result.iterall() if element.VR in CUSTOMIZABLE_CHARSET_VR and element.value]
    terms = list(terms)
    fits = all(_fits(value, terms) for element in texts for value in _values(element))
    if not (fits and python_encoding.keys() >= set(terms)) and all(map(_is_utf8, _bytes(identity))):
        terms = [UNICODE]
    elif not fits:
        for element in texts:
            most = MAX_VALUE_LEN.get(element.VR)
            spelt = [spell(value, terms)[:most] for value in _values(element)]
            element.value = spelt if element.VM > 1 else spelt[0]
    result.pop("SpecificCharacterSet", None)
    if terms:
        result.SpecificCharacterSet = terms
    encodings = convert_encodings(terms)
    for element in identity:
        result[element.tag] = _restored(element, encodings)


def spell(text: str, terms: Sequence[str] = ()) -> str:
    """The text in the characters of a Specific Character Set, what it lacks in ASCII; none leaves ASCII alone.

    Latin letters lose their accents and Cyrillic ones are transliterated; any other character becomes U+ and its
    hexadecimal number.
    """
    letters = unicodedata.normalize("NFC", text)
    return "".join(letter if _fits(letter, terms) else _plain(letter) for letter in letters)


def _plain(letter: str) -> str:
    name = unicodedata.name(letter, "")
    if name.startswith("COMBINING"):
        return ""
    if latin := _LATIN.fullmatch(name):
        return latin[2] if latin[1] == "CAPITAL" else latin[2].lower()
    spelt = _SPELT.get(letter.lower())
    if spelt is None:
        return f"U+{ord(letter):04X}"
    return spelt if letter.lower() == letter else spelt.capitalize()


def _fits(text: str, terms: Sequence[str]) -> bool:
    """Whether a text is the same again after it was written under a Specific Character Set."""
    if text.isascii():
        return True
    # GB18030's forms of four bytes, which are rare letters, look like control characters to programs that know GBK.
    encodings = ["GBK" if encoding == "GB18030" else encoding for encoding in convert_encodings(list(terms))]
    if encodings[0] == default_encoding and (len(encodings) == 1 or any("\x80" <= each <= "\xff" for each in text)):
        return False  # pydicom would write them as ISO 8859-1, which was not declared
    try:
        written = text.encode(encodings[0]) if len(encodings) == 1 else encode_string(text, encodings)
    except UnicodeEncodeError:
        return False
    # A byte 5C within a letter is no delimiter (PS3.5 6.1.2.5), but most programs divide the value there.
    return b"\\" not in written and decode_bytes(written, encodings, TEXT_VR_DELIMS) == text


def _restored(element: DataElement, encodings: list[str]) -> DataElement:
    """An element of `verbatim` so that pydicom writes its bytes; to be read as text where that keeps them."""
    tag, vr, value = element.tag, element.VR, element.value
    if vr == "SQ":
        items = [Dataset({inner.tag: _restored(inner, encodings) for inner in item}) for item in value]
        return DataElement(tag, vr, items)
    if value is not None:
        if vr == "PN":
            value = PersonName(value, encodings)
        elif vr in CUSTOMIZABLE_CHARSET_VR:
            text = decode_bytes(value, encodings, TEXT_VR_DELIMS)
            value = text if encode_string(text, encodings) == value else value
        else:
            value = value.decode(default_encoding)
            value = UID(value) if vr == "UI" else value
    return DataElement(tag, vr, value, already_converted=True)


def _values(element: DataElement) -> list[str]:
    return [str(value) for value in (element.value if element.VM > 1 else [element.value])]


def _bytes(identity: Dataset) -> Iterator[bytes]:
    return (element.value for element in identity.iterall() if element.VR != "SQ" and element.value)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return _ESCAPE not in value
