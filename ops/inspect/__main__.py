"""Start the read-only mitmweb for a running installation and print its address."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from models.config.settings import Settings
from ops.console import Failure, print_error, print_line
from ops.inspect.read_only_master import Viewer
from ops.launcher.installation import DATA, settings_of
from ops.processes.ports import LOOPBACK, bind_error
from ops.processes.secret_files import readable_password


def main(arguments: Sequence[str]) -> int:
    """Run until Ctrl-C; returns the exit code."""
    options = _parse(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        settings = settings_of(options.data)
        port = options.port or settings.inspection.viewer_port
        if reason := bind_error(LOOPBACK, port):
            raise Failure(f"Port {port} {reason}; choose another one with --port.")
        asyncio.run(_serve(settings, port))
    except Failure as failure:
        print_error(str(failure))
        return 1
    return 0


async def _serve(settings: Settings, port: int) -> None:
    kept = settings.inspection.viewer_password
    password = kept.get_secret_value() if kept else readable_password()
    viewer = Viewer(settings, port=port, password=password)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, viewer.shutdown)
    print_line(f"mitmweb             http://{LOOPBACK}:{port}/")
    print_line(f"Password            {'as in inspection.viewer_password' if kept else password}")
    print_line(f"Start inspections   {settings.portal.address}/admin/inspections")
    print_line("Ctrl-C stops it; traffic is not affected.")
    await viewer.run()


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./zenzefi inspect", description="Show flows in mitmweb while an admin has an inspection on."
    )
    parser.add_argument("--port", type=int, help="port on loopback")
    parser.add_argument("--data", type=Path, default=DATA, help="the data folder of the installation")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
