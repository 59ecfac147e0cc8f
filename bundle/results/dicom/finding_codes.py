"""The coded concept of a finding's name: SNOMED CT where one is known to fit, else a private code that says so."""

import re
from collections.abc import Mapping, Sequence

from highdicom.sr import CodedConcept

from bundle.results.dicom.characters import spell

# PS3.3 8.2: private coding schemes begin with 99.
PRIVATE_SCHEME = "99PATCHCLIP"
PRIVATE_SCHEME_NAME = "Patch-CLIP: names of findings without a standard code"

# By the finding's name in lower case: code value and meaning in SNOMED CT. NIH's names are short for these ("Mass" is
# one of the lung). Prefer adding a line, or `codes` in a config, to letting a name fall back on the private scheme.
SNOMED_CT = {
    "atelectasis": ("46621007", "Atelectasis"),
    "cardiomegaly": ("8186001", "Cardiomegaly"),
    "effusion": ("60046008", "Pleural effusion"),
    "infiltration": ("409609008", "Radiologic infiltrate of lung"),
    "mass": ("309529002", "Lung mass"),
    "nodule": ("786838002", "Nodule of lung"),
    "pneumonia": ("233604007", "Pneumonia"),
    "pneumothorax": ("36118008", "Pneumothorax"),
}
_MEANING = 64  # characters of an LO


def finding_code(name: str, codes: Mapping[str, Sequence[str]] | None = None) -> CodedConcept:
    """The concept that stands for a finding in a DICOM object.

    `codes` goes first, then `SNOMED_CT`, whatever the case of the letters; any other name becomes its own code in
    `PRIVATE_SCHEME`, spelt in ASCII, capitals and digits joined by "_", which is the same in every file but means
    nothing elsewhere.

    Args:
        name: the finding, as the network's configuration has it.
        codes: name -> (value, scheme designator, meaning), for instance ("RID28493", "RADLEX", "lung opacity").

    Returns:
        The code.

    Raises:
        ValueError: an entry of `codes` is not three texts, or the name has no letter or digit.
    """
    own = {key.casefold(): value for key, value in (codes or {}).items()}.get(name.casefold())
    if own is not None:
        if isinstance(own, str) or len(own) != 3 or not all(isinstance(part, str) and part for part in own):
            raise ValueError(
                f"the code of {name!r} is {own!r}; wanted [value, scheme designator, meaning], such as "
                '["36118008", "SCT", "Pneumothorax"]'
            )
        value, scheme, meaning = own
        return CodedConcept(value, scheme, meaning)
    if name.casefold() in SNOMED_CT:
        value, meaning = SNOMED_CT[name.casefold()]
        return CodedConcept(value, "SCT", meaning)
    value = re.sub(r"[^A-Z0-9]+", "_", spell(name).upper()).strip("_")
    if not value or not any(map(str.isalnum, name)):
        raise ValueError(f"the finding {name!r} cannot be a code; give it one in `codes`")
    return CodedConcept(value, PRIVATE_SCHEME, name[:_MEANING])
