"""What the columns of a hospital's table mean: as the user says, else guessed by their names, and told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bundle.data.datalist_entry import nearest
from bundle.data.sources.faults import Faults
from bundle.data.sources.table_file import TableFile, plain_name

__all__ = ["ROLES", "choose_columns"]

# Names that tables have, without case, blanks and signs; the first that a table has is taken.
_GUESSES: dict[str, tuple[str, ...]] = {
    "image": (
        *("image", "image_path", "image_file", "image_name", "image_id", "image_index", "img", "file_name", "file"),
        *("file_path", "path", "dicom_path", "dicom", "dicom_id", "sop_instance_uid"),
    ),
    "patient": ("patient", "patient_id", "patient_key", "patient_number", "subject", "subject_id", "pid", "pseudonym"),
    "finding": (
        "finding",
        "finding_label",
        "finding_name",
        "class_name",
        "class",
        "category",
        "lesion",
        "pathology",
        "label",
    ),
    "label": ("label", "present", "target", "value"),
    "x": ("x", "x_min", "xmin", "x0", "x1", "left", "bbox_x", "box_x"),
    "y": ("y", "y_min", "ymin", "y0", "y1", "top", "bbox_y", "box_y"),
    "x2": ("x2", "x_max", "xmax", "right", "x1"),
    "y2": ("y2", "y_max", "ymax", "bottom", "y1"),
    "width": ("width", "w", "bbox_width", "bbox_w", "box_width"),
    "height": ("height", "h", "bbox_height", "bbox_h", "box_height"),
    "report": ("report", "report_text", "text", "radiology_report"),
    "reader": ("reader", "reader_id", "rad_id", "radiologist", "annotator", "rater"),
    "split": ("split", "section", "set", "subset"),
    "view": ("view", "view_position", "projection"),
    "sex": ("sex", "patient_sex", "gender", "patient_gender"),
    "age": ("age", "patient_age"),
    "site": ("site", "hospital", "institution"),
    "vendor": ("vendor", "manufacturer"),
    "caption": ("caption", "phrase", "description"),
}
ROLES = tuple(_GUESSES)
"""What a column may be; the corners of a box are x, y and either x2, y2 or width, height."""


def choose_columns(tables: Sequence[TableFile], said: Mapping[str, str | None]) -> list[dict[str, str]]:
    """Which column of each table is what.

    Args:
        tables: of which each has some of the columns.
        said: role -> column's name, None where it is to be guessed. An empty name: there is no such column.

    Returns:
        For each table, role -> name as its header has it. Of the corners both or none; x2 and y2 before width and
        height, which may be those of the image.

    Raises:
        SourceError: a column that was named is in no table, or none is the image's.
    """
    faults = Faults()
    for role, name in said.items():
        if name and not any(table.column(name) for table in tables):
            headers = " and ".join(table.shown_header() for table in tables)
            every = [column for table in tables for column in table.header]
            wanted = f"one of these columns{nearest(name, every)}"
            faults.add(" and ".join(str(table.path) for table in tables), f"--{_option(role)} {name}", headers, wanted)
    chosen = [_of_table(table, said) for table in tables]
    for table, columns in zip(tables, chosen, strict=True):
        if "image" not in columns and not said.get("image"):
            wanted = "a column with the images' names: --image_column NAME"
            faults.add(str(table.path), "header", table.shown_header(), wanted)
        elif "image" not in columns:
            wanted = f"the column {said['image']} with the images' names in each table"
            faults.add(str(table.path), "header", table.shown_header(), wanted)
        if (given := {"x", "y"} & columns.keys()) and not {"x2", "width"} & columns.keys():
            found = ", ".join(f"{role} ({columns[role]})" for role in sorted(given))
            faults.add(str(table.path), "corners", found, "also --x2 and --y2, or --width and --height")
    faults.refuse()
    return chosen


def _of_table(table: TableFile, said: Mapping[str, str | None]) -> dict[str, str]:
    columns: dict[str, str] = {}
    for role, names in _GUESSES.items():
        asked = said.get(role)
        name = table.column(*names) if asked is None else table.column(asked) if asked else None
        taken = {plain_name(column) for column in columns.values()}
        if name is not None and plain_name(name) not in taken:
            columns[role] = name
    for pair in (("x", "y"), ("x2", "y2"), ("width", "height")):
        if not columns.keys() >= set(pair):  # a lone "width" is something else
            for role in pair:
                columns.pop(role, None)
    corners = {"x2", "y2"} if columns.keys() >= {"x2", "y2"} else {"width", "height"}
    wanted = corners if "x" in columns else set()
    return {role: name for role, name in columns.items() if role not in {"x2", "y2", "width", "height"} - wanted}


def _option(role: str) -> str:
    return role if role in ("x", "y", "x2", "y2", "width", "height") else f"{role}_column"
