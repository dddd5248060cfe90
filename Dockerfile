# syntax=docker/dockerfile:1.7
# One image for portal, proxy, worker, scheduler, migrations, backups and inspection; the command selects the part.
# The base image is named once, so all stages are updated together.
ARG PYTHON=python:3.13.9-slim-trixie

FROM ${PYTHON} AS wheels
COPY requirements.txt /requirements.txt
# Packages without a wheel are built here, so the final image contains no build tools.
RUN pip wheel --no-cache-dir --disable-pip-version-check --wheel-dir /wheels --requirement /requirements.txt

FROM ${PYTHON} AS environment
COPY requirements.txt /app/
COPY ops/__init__.py ops/bootstrap.py ops/console.py ops/package_installer.py ops/pythons.py /app/ops/
WORKDIR /app
# The same environment as ./zenzefi creates on any machine, stamp included, so its commands work in the image too.
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    PIP_NO_CACHE_DIR=1 PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels ZENZEFI_VENV=/opt/zenzefi \
    python -c 'from ops import bootstrap; bootstrap.ensure("run")' \
    && rm /opt/zenzefi/zenzefi-install.log

FROM ${PYTHON}
# pg_dump and pg_restore must be as new as the server (17); tini reaps orphaned processes and forwards signals.
# Debian keeps only the latest security update of a package, so versions are not pinned.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends postgresql-client-17 tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 zenzefi \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin zenzefi \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data/backups
COPY --from=environment /opt/zenzefi /opt/zenzefi
COPY . /app
# The code belongs to root. Byte code is compiled now: the root file system is read-only at run time.
RUN python -m compileall -q -j 0 /app /opt/zenzefi
WORKDIR /app
ENV PATH=/opt/zenzefi/bin:$PATH \
    ZENZEFI_VENV=/opt/zenzefi \
    PYTHONPATH=/app \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PROMETHEUS_MULTIPROC_DIR=/tmp/portal-metrics \
    TZ=UTC
USER 10001:10001
EXPOSE 8000 8080
# The part is read from the container's command; orchestrators may probe over HTTP instead (ops/deploy/kubernetes).
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=3 CMD ["python", "-m", "ops.container", "health"]
# Every part drains on SIGTERM; give it `--stop-timeout 60`, longer than proxy.drain_seconds and the final flush.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/tini", "--", "python", "-m", "ops.container"]
CMD ["portal"]
