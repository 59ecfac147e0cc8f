"""From a file to one grey radiograph and what is known of it. No torch, no MONAI: importing this room stays cheap."""

from bundle.reading.options import ReadingOptions as ReadingOptions
from bundle.reading.radiograph import check_radiograph as check_radiograph
from bundle.reading.radiograph import look_at_header as look_at_header
from bundle.reading.radiograph import radiograph_format as radiograph_format
from bundle.reading.radiograph import read_radiograph as read_radiograph
from bundle.reading.radiograph import stored_size as stored_size
from bundle.reading.radiograph_error import RadiographError as RadiographError
from bundle.reading.radiograph_error import RadiographNotFoundError as RadiographNotFoundError
from bundle.reading.radiograph_error import UnknownFormatError as UnknownFormatError
