"""nginx in front of local portals and proxies, with the configuration of ops/deploy/nginx, for tests and `fleet`."""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.bootstrap import REPOSITORY
from ops.console import Failure
from ops.container.placeholder_certificate import placeholder
from ops.servers.binaries import SBIN_FOLDERS

FILES = REPOSITORY / "ops/deploy/nginx"
CONTAINER_PATHS = re.compile(r"/etc/nginx/(?:conf\.d|snippets)|/certs|/tmp(?=/)|/var/www/acme")
VARIABLE = re.compile(r"\$\{(PORTAL_HOST|PROXY_HOST)\}")


@dataclass(frozen=True)
class Edge:
    """nginx with the addresses, names and time-outs of one run."""

    folder: Path
    portals: Sequence[str]  # "address:port"
    proxies: Sequence[str]
    plain: str = "8080"  # where it listens: a port, or an address and a port
    tls: str = "8443"
    portal_host: str = "portal.example.com"
    proxy_host: str = "proxy.example.com"
    kept_seconds: int = 10  # how long an idle connection to a proxy is kept
    failed_seconds: int = 2  # how long an instance that refused is not retried

    def write(self) -> Path:
        """Write the configuration into the folder; returns its main file."""
        pages = self.folder / "conf.d"
        pages.mkdir(parents=True, exist_ok=True)
        (self.folder / "certs").mkdir(exist_ok=True)
        placeholder(self.folder / "certs", [self.portal_host, self.proxy_host], owner=os.geteuid())
        shutil.copytree(FILES / "snippets", self.folder / "snippets", dirs_exist_ok=True)
        names = {"PORTAL_HOST": self.portal_host, "PROXY_HOST": self.proxy_host}
        for template in sorted((FILES / "templates").glob("*.template")):
            text = self._moved(fill_template(template.read_text(encoding="utf-8"), names))
            (pages / template.stem).write_text(text, encoding="utf-8")
        for snippet in (self.folder / "snippets").iterdir():
            snippet.write_text(self._moved(snippet.read_text(encoding="utf-8")), encoding="utf-8")
        main = self.folder / "nginx.conf"
        main.write_text(self._moved((FILES / "nginx.conf").read_text(encoding="utf-8")), encoding="utf-8")
        return main

    def command(self) -> list[str]:
        """Write the configuration and return the command that runs nginx in the foreground."""
        program = shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", os.defpath), *SBIN_FOLDERS]))
        if program is None:
            raise Failure("nginx was not found: install it.")
        return [program, "-p", str(self.folder), "-e", "stderr", "-c", str(self.write()), "-g", "daemon off;"]

    def _moved(self, text: str) -> str:
        """Replace addresses and folders of the container by those of this run."""
        # In one pass: the folder itself may be below one of these paths.
        text = CONTAINER_PATHS.sub(self._moved_path, text)
        text = re.sub(r"\blisten 8080\b", f"listen {self.plain}", text)
        text = re.sub(r"\blisten 8443\b", f"listen {self.tls}", text)
        text = text.replace("fail_timeout=2s", f"fail_timeout={self.failed_seconds}s")
        text = text.replace("keepalive_timeout 10s;", f"keepalive_timeout {self.kept_seconds}s;")
        text = _servers(text, "portal", self.portals)
        text = _servers(text, "proxy", self.proxies)
        return f"user root;\n{text}" if os.geteuid() == 0 and "worker_processes" in text else text

    def _moved_path(self, path: re.Match[str]) -> str:
        return str(self.folder / path[0].removeprefix("/tmp").rpartition("/")[2])  # noqa: S108 - a container's path


def fill_template(template: str, names: Mapping[str, str]) -> str:
    """Fill a template as the image's envsubst does: only the two host names, not nginx's own variables."""
    return VARIABLE.sub(lambda match: names[match[1]], template)


def _servers(text: str, name: str, addresses: Sequence[str]) -> str:
    """Replace the servers of an upstream block, keeping their options."""
    block = re.search(rf"upstream {name} \{{.*?\n\}}", text, re.DOTALL)
    if block is None:
        return text
    options = re.search(r"server [^ ]+ ([^;]*);", block[0])
    assert options is not None  # noqa: S101 - for the type checker
    first, *others = re.split(r"(?:    server [^;]*;\n)+", block[0])
    servers = "".join(f"    server {address} {options[1]};\n" for address in addresses)
    return text.replace(block[0], first + servers + "".join(others))
