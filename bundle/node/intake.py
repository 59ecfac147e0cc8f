"""What an association may bring in: messages that are none end it, and no object goes beyond the room there is."""

import logging
from pathlib import Path
from typing import Any

from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.pdu_primitives import P_DATA

from bundle.fault import place_of
from bundle.node.queue import DiskQueue

logger = logging.getLogger(__name__)

_MANDATORY = ("MessageID", "AffectedSOPClassUID", "AffectedSOPInstanceUID", "Priority")  # PS3.7 table 9.3-1


class Intake(DIMSEServiceProvider):
    """Puts the parts of an association's messages together, as pynetdicom does, within limits.

    A message that can't be understood, such as a C-STORE without Affected SOP Instance UID, ends the association by
    A-ABORT: in pynetdicom it ends the thread that reads. DICOM has no answer to a C-STORE before its data set has come;
    so an object for which there is no room is read on, not written, and refused at its end.

    Args:
        association: of pynetdicom.
        queue: where objects go.
        max_bytes: largest object.

    Attributes:
        refused: by the name of an object's file, the limit that it went beyond.
    """

    def __init__(self, association: Any, queue: DiskQueue, max_bytes: int) -> None:
        super().__init__(association)
        self.message: Any
        self.queue, self.max_bytes = queue, max_bytes
        self.refused: dict[Path, str] = {}
        self._room: tuple[int, str] | None = None  # of the object that is coming

    def receive_primitive(self, primitive: Any) -> None:
        """Take one part of a message, or several; see pynetdicom."""
        try:
            for value in primitive.presentation_data_value_list:
                part = P_DATA()
                part.presentation_data_value_list.append(value)
                super().receive_primitive(part)
                if self.message is None:  # it was the last part
                    self._room = None
                elif self.message._data_set_file is not None:  # a C-STORE, its command set complete
                    self._check(self.message)
        except Exception as error:  # whatever a stranger sends, or the disk: this association ends, the node goes on
            logger.warning("Ended an association, its message can't be understood: %s", place_of(error))
            self.discard()
            self.dul.event_queue.put("Evt19")  # unrecognised or invalid, PS3.8 table 9-10

    def discard(self) -> None:
        """Remove what has come of an object: a patient's radiograph, in pynetdicom's temporary file."""
        if self.message is not None and (file := self.message._data_set_file) is not None:
            file.close()
            Path(file.name).unlink(missing_ok=True)
        self.message = None

    def _check(self, message: Any) -> None:
        file = message._data_set_file
        if self._room is None:
            if missing := [name for name in _MANDATORY if message.command_set.get(name) in (None, "")]:
                raise ValueError(f"a C-STORE without {missing}")  # pynetdicom would never answer it
            own = self.max_bytes, f"larger than {self.max_bytes} bytes, the node's limit"
            self._room = min(own, self.queue.room())
        most, limit = self._room
        if Path(file.name) in self.refused or file.tell() > most:
            self.refused[Path(file.name)] = limit
            file.seek(0)
            file.truncate()
