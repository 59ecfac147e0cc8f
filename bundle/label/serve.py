"""Starts the MONAI Label server: makes its application folder, guards it, and runs it.

bash scripts/serve.sh --studies FOLDER
"""

import argparse
import hashlib
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from bundle.atomic import write_file
from bundle.label import MODEL
from bundle.label.work import FolderInUseError, work_folder
from bundle.loopback import is_loopback
from bundle.service_settings import CONFIG, ServiceSettingsError, settings_of
from bundle.versions import OtherVersionError, refuse_other_version

logger = logging.getLogger("bundle.label.serve")  # its __name__ is __main__

ROOT = Path(__file__).resolve().parents[2]
MAIN = "from bundle.label.app import RadiographApp\n\n\nclass App(RadiographApp):\n    pass\n"


def main(arguments: list[str] | None = None) -> None:
    """Start the server; returns when it is stopped.

    Args:
        arguments: of the command line.
    """
    options = _parsed(sys.argv[1:] if arguments is None else arguments)
    archive = options.studies.startswith(("http://", "https://"))
    if not archive and not Path(options.studies).is_dir():
        sys.exit(
            f"--studies {options.studies}: there is no such folder. Give a folder with radiographs, or a DICOMweb URL."
        )
    model = Path(options.model).resolve()
    missing = [
        f for f in ("configs/inference.json", "configs/metadata.json", "models/model.pt") if not (model / f).is_file()
    ]
    if missing:
        sys.exit(
            f"--model {options.model}: {', '.join(missing)} missing. Give a self-contained bundle as "
            "scripts.package_bundle makes; `bash scripts/demo.sh` makes models/demo."
        )
    try:
        refuse_other_version(model)
    except OtherVersionError as error:
        sys.exit(f"--model: {error}")
    studies = options.studies if archive else str(Path(options.studies).resolve())
    mark = hashlib.sha256(studies.encode()).hexdigest()[:8]
    name = "archive" if archive else Path(studies).name
    work = Path(options.work or ROOT / "eval" / "label" / f"{name}-{mark}").resolve()
    try:
        with work_folder(work, f"{options.host}:{options.port}"):
            run(studies, model, work, options)
    except FolderInUseError as error:
        sys.exit(str(error))


def run(studies: str, model: Path, work: Path, options: argparse.Namespace) -> None:
    """Make the application folder and serve it.

    Args:
        studies: the folder, absolute, or the URL.
        model: the self-contained bundle.
        work: everything that the server writes lies here.
        options: of the command line.
    """
    application = make_application(model, work)
    archive = studies.startswith(("http://", "https://"))
    uploads = work / "uploads"
    uploads.mkdir(parents=True, exist_ok=True)
    for left in uploads.iterdir():  # of a server that was killed
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    os.environ["TMPDIR"] = tempfile.tempdir = str(uploads)  # uploads and results pass through here
    os.chdir(application)  # MONAI Label reads .env where it starts

    import uvicorn
    from monailabel.config import settings
    from monailabel.main import Main

    settings.MONAI_LABEL_SESSION_PATH = str(work / "sessions")
    settings.MONAI_LABEL_DICOMWEB_CACHE_PATH = str(work / "archive")
    settings.MONAI_LABEL_AUTO_UPDATE_SCORING = False  # there are no scoring methods
    most = int(options.max_upload_mb * 1e6)
    conf = {"preload": "true", "weights": str(model / "models" / "model.pt")}
    conf |= {"modalities": options.modalities, "max_bytes": str(most)} if archive else {"originals": studies}
    started = argparse.Namespace(
        app=str(application),
        studies=studies if archive else str(work / "studies"),
        conf=list(conf.items()),
        port=options.port,
        dryrun=False,
    )
    Main().start_server_init_settings(started)
    os.environ["PYTHONPATH"] = str(ROOT)  # of the process that trains; PYTHONSAFEPATH leaves out where it is started
    os.environ["MONAI_LABEL_DATASTORE_READ_ONLY"] = "true"  # that process reads what is drawn, this one writes it

    import monailabel.endpoints
    from monailabel.interfaces.utils.app import app_instance
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from bundle.label.answers import Answers
    from bundle.label.ending import end_training_with_server
    from bundle.label.guard import Guard
    from bundle.label.logs import log_config
    from bundle.label.offered import Offered
    from bundle.label.paths import path_cutter

    log = application / "logs" / "app.log"
    config = log_config(log, options.verbose)
    logging.config.dictConfig(config)
    app = app_instance()
    app.server_mode(True)
    cut = path_cutter({ROOT, work, model, Path(studies), Path(sys.prefix), Path.home()})
    pages = Path(monailabel.endpoints.__file__).parent / "static" / "ohif"
    served: Any = Guard(Offered(Answers(app, log, pages, cut), cut), most, _origins(options))
    if is_loopback(options.host):  # a page that calls itself by another name and leads here is refused
        served = TrustedHostMiddleware(served, allowed_hosts=["127.0.0.1", "localhost", "[", options.host])
    else:
        logger.warning(
            "Listening on %s: everyone who reaches this machine can look at the studies and draw on them. There is no "
            "password and no encryption; put a reverse proxy with both before it.",
            options.host,
        )
    own = application / "model" / MODEL / "models" / "model.pt"
    if not own.is_symlink():
        logger.warning("Serving weights that were trained on this server; delete %s to serve those of %s", own, model)
    logger.info("Studies are never written. Labels, uploads, logs and trained weights: %s", work)
    app.keep_sessions_short(end_training_with_server())
    uvicorn.run(
        served,
        host=options.host,
        port=options.port,
        log_config=config,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=3,  # seconds; who waits for a silent archive is not waited for
    )


def make_application(model: Path, work: Path) -> Path:
    """The folder that MONAI Label starts from: main.py, and the bundle by links.

    The weights are a link too, until a training on this server replaces it; the model's own file is never written.

    Args:
        model: the self-contained bundle.
        work: the server's folder.

    Returns:
        The folder.
    """
    application = work / "app"
    write_file(application / "main.py", MAIN)
    bundle = application / "model" / MODEL
    (bundle / "models").mkdir(parents=True, exist_ok=True)
    for name in ("configs", "bundle"):
        link = bundle / name
        if link.is_symlink():
            link.unlink()
        link.symlink_to(model / name)
    weights = bundle / "models" / "model.pt"
    for left in weights.parent.glob(f".*.{weights.name}"):  # of a training that was stopped
        left.unlink()
    if weights.is_symlink():
        weights.unlink()
    if not weights.is_file():
        weights.symlink_to(model / "models" / "model.pt")
    return application


def _origins(options: argparse.Namespace) -> tuple[str, ...] | None:
    """Web pages that may call the server: its own, where its name is known."""
    if not is_loopback(options.host):
        return None
    return tuple(f"http://{name}:{options.port}" for name in ("127.0.0.1", "localhost", "[::1]", options.host))


def _parsed(arguments: list[str]) -> argparse.Namespace:
    """The options; what a file of settings gives are the defaults."""
    parser = _options()
    try:
        settings, arguments = settings_of("label", arguments)
    except ServiceSettingsError as error:
        sys.exit(str(error))
    parser.set_defaults(**settings)
    options = parser.parse_args(arguments)
    if options.studies is None:
        parser.error(f"--studies is needed, here or in the file of {CONFIG}")
    return options


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("bash scripts/serve.sh", description="MONAI Label for 3D Slicer and OHIF.")
    parser.add_argument("--studies", help="folder with radiographs (subfolders too), or a DICOMweb URL")
    parser.add_argument(CONFIG, metavar="FILE", help="TOML file whose [label] gives what is not given here")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--model", default=str(ROOT / "models" / "demo"), help="self-contained bundle (models/demo)")
    parser.add_argument("--work", help="folder for all that the server writes (eval/label/NAME-HASH)")
    parser.add_argument("--max_upload_mb", type=float, default=100.0)
    parser.add_argument("--modalities", default="CR,DX", help="which series of a DICOMweb archive (%(default)s)")
    parser.add_argument(
        "--verbose", action=argparse.BooleanOptionalAction, default=False, help="log everything; it may name patients"
    )
    return parser


if __name__ == "__main__":
    main()
