"""A DICOM node: radiographs come in by C-STORE, results go out by C-STORE or STOW-RS, a queue on disk in between."""
