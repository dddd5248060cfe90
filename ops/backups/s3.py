"""Copies of backups in a bucket of any S3-compatible storage."""

from pathlib import Path
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from models.config.settings import Settings
from ops.backups.manifest import MANIFEST, Manifest, manifest_of, outdated
from ops.console import Failure

REFUSED = (BotoCoreError, ClientError, Boto3Error)


class Bucket:
    """The bucket of `[backup] s3_bucket`. Every method raises Failure when the storage returns an error."""

    def __init__(self, settings: Settings, *, seconds: float = 60.0, attempts: int = 5) -> None:
        chosen = settings.backup
        self._name = chosen.s3_bucket
        self._prefix = f"{chosen.s3_prefix.strip('/')}/" if chosen.s3_prefix.strip("/") else ""
        secret = chosen.s3_secret_key.get_secret_value() if chosen.s3_secret_key else None
        timeouts = Config(
            retries={"total_max_attempts": attempts, "mode": "standard"},
            connect_timeout=min(10.0, seconds),
            read_timeout=seconds,
        )
        try:
            self._client: Any = boto3.client(
                "s3",
                endpoint_url=chosen.s3_endpoint or None,
                region_name=chosen.s3_region,
                aws_access_key_id=chosen.s3_access_key or None,
                aws_secret_access_key=secret,
                config=timeouts,
            )
        except REFUSED as error:
            raise Failure(f"[backup] s3_… cannot be used: {error}") from None

    def send(self, folder: Path, manifest: Manifest) -> None:
        """Upload a backup: the manifest last, as on disk."""
        dump = folder / manifest.file
        self.put(dump, manifest_of(dump))

    def put(self, *paths: Path) -> None:
        """Upload files one after the other."""
        for path in paths:
            try:
                self._client.upload_file(str(path), self._name, self._prefix + path.name)
            except REFUSED as error:
                raise Failure(f"{path.name} could not be sent to {self._name}: {error}") from None

    def has(self, name: str) -> bool:
        """Return whether the bucket has a file."""
        try:
            found = self._client.list_objects_v2(Bucket=self._name, Prefix=self._prefix + name, MaxKeys=1)
        except REFUSED as error:
            raise Failure(f"{self._name} cannot be read: {error}") from None
        return any(item["Key"] == self._prefix + name for item in found.get("Contents", ()))

    def fetch(self, name: str, folder: Path) -> Path:
        """Download a backup into a folder and return the path of its dump."""
        dump = folder / name
        try:
            for path in (dump, manifest_of(dump)):
                self._client.download_file(self._name, self._prefix + path.name, str(path))
        except REFUSED as error:
            raise Failure(f"The backup {name} could not be fetched from {self._name}: {error}") from None
        return dump

    def delete_outdated(self, folder: Path, keep_days: int) -> list[str]:
        """Delete copies older than `keep_days`; returns their names. Manifests are downloaded into `folder`."""
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=self._prefix)
            names = [item["Key"].removeprefix(self._prefix) for page in pages for item in page.get("Contents", ())]
            manifests = []
            for name in names:
                if name.startswith("zenzefi-") and name.endswith(MANIFEST):
                    self._client.download_file(self._name, self._prefix + name, str(folder / name))
                    manifests.append(Manifest.read(folder / name))
            deleted = outdated(manifests, keep_days)
            for manifest in deleted:
                for path in (manifest_of(Path(manifest.file)), Path(manifest.file)):
                    self._client.delete_object(Bucket=self._name, Key=self._prefix + path.name)
        except REFUSED as error:
            raise Failure(f"Old copies in {self._name} could not be removed: {error}") from None
        return [manifest.file for manifest in deleted]
