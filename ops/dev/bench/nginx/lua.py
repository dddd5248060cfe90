"""nginx configuration of a gateway in Lua: it asks Redis for the token of each request and counts in shared memory."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import redis

from ops.dev.bench.nginx import configuration
from ops.processes.ports import LOOPBACK

PREFIX = "bench:token:"
NAME = "nginx + Lua + Redis"
PACKAGES = "libnginx-mod-http-lua lua-nginx-redis"
# Where Debian's packages put them.
MODULES = tuple(Path("/usr/lib/nginx/modules", name) for name in ("ndk_http_module.so", "ngx_http_lua_module.so"))
LIBRARIES = Path("/usr/share/lua/5.1")
REDIS_LIBRARIES = ("resty.redis", "nginx.redis")
# A connection to Redis and one to the upstream for each request in progress.
KEPT_CONNECTIONS = 512


def redis_library(libraries: Path = LIBRARIES) -> str | None:
    """Return the name of the installed Redis library for Lua, if any."""
    return next(
        (name for name in REDIS_LIBRARIES if (libraries / name.replace(".", "/")).with_suffix(".lua").exists()), None
    )


def missing(program: str | None, modules: Sequence[Path] = MODULES, libraries: Path = LIBRARIES) -> str | None:
    """Return a sentence that names what is not installed; None when nothing is missing."""
    parts = []
    if program is None:
        parts.append("nginx")
    if not all(module.exists() for module in modules):
        parts.append("its Lua module")
    if redis_library(libraries) is None:
        parts.append("the Redis library for Lua")
    if not parts:
        return None
    return f"{NAME} was not measured; not installed: {', '.join(parts)} (apt install nginx {PACKAGES})."


def store_tokens(url: str, tokens: Iterable[str]) -> None:
    """Store the tokens that the gateway accepts."""
    with redis.Redis.from_url(url) as client:
        client.mset({f"{PREFIX}{token}": "1" for token in tokens})


def write(folder: Path, port: int, upstream: int, redis_url: str) -> Path:
    """Write the configuration of the gateway with the Redis at `redis_url`."""
    address = urlsplit(redis_url)
    connect = f'"{address.hostname}", {address.port}' if address.hostname else f'"unix:{address.path}"'
    password = unquote(address.password or "")
    http = f"""
  lua_package_path "{LIBRARIES}/?.lua;;";
  lua_shared_dict usage 10m;
  upstream origin {{ server {LOOPBACK}:{upstream}; keepalive {KEPT_CONNECTIONS}; }}
  server {{
    listen {LOOPBACK}:{port} backlog=1024;
    location / {{
      access_by_lua_block {{
        local token = ngx.var.http_x_access_token
        if not token then return ngx.exit(401) end
        local client = require("{redis_library() or REDIS_LIBRARIES[0]}"):new()
        client:set_timeout(1000)
        if not client:connect({connect}) then return ngx.exit(503) end
        if client:get_reused_times() == 0 and not client:auth("{password}") then return ngx.exit(503) end
        local found, problem = client:get("{PREFIX}" .. token)
        if problem then return ngx.exit(503) end
        client:set_keepalive(60000, {KEPT_CONNECTIONS})
        if found == ngx.null then return ngx.exit(401) end
        ngx.ctx.token = token
      }}
      log_by_lua_block {{
        local token = ngx.ctx.token
        if token then
          ngx.shared.usage:incr(token .. ":requests", 1, 0)
          ngx.shared.usage:incr(token .. ":bytes", ngx.var.request_length + ngx.var.bytes_sent, 0)
        end
      }}
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header X-Access-Token "";
    }}
  }}"""
    return configuration.write(folder, http, modules=MODULES)
