"""Settings sections: mail, notifications, webhooks, audit log, traffic inspection, backups, admin area."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from models.config.server import Section
from models.config.types import Origin, Port, Positive, Seconds, Secret


class Mail(Section):
    smtp_host: str = ""
    smtp_port: Port = 587
    smtp_user: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    # The older name: false means "none". It does not override "tls", which it predates.
    smtp_starttls: bool = True
    sender: str = "Zenzefi <no-reply@localhost>"
    keep_days: Positive = 30

    @property
    def is_configured(self) -> bool:
        return bool(self.smtp_host)

    @property
    def security(self) -> Literal["starttls", "tls", "none"]:
        """The encryption of the connection to the mail server."""
        return "none" if self.smtp_security == "starttls" and not self.smtp_starttls else self.smtp_security


class Notices(Section):
    expiring_hours: Positive = 24


class Webhooks(Section):
    """Requests to user-supplied URLs. Each takes at most two time-outs: one to resolve, one for the rest."""

    allow_private: bool = False
    timeout_seconds: Seconds = 10
    attempts: Positive = 8
    disable_after: Positive = 20
    keep_days: Positive = 30


class Audit(Section):
    keep_days: Positive = 30


class Inspection(Section):
    """Limits of traffic inspection; `secret_names` are redacted in addition to the usual ones."""

    at_most_minutes: Annotated[int, Field(gt=0, le=1440)] = 240
    flows_per_second: Positive = 20
    body_bytes: Annotated[int, Field(ge=0, le=65536)] = 8192
    secret_names: tuple[str, ...] = ()
    stream_flows: Positive = 1000
    stream_mib: Positive = 32
    viewer_flows: Positive = 500
    viewer_port: Port = 8081
    viewer_password: Secret | None = None

    @property
    def flow_bytes(self) -> int:
        """Maximum size of one flow, so that the stream keeps its size."""
        return self.stream_mib * 1024 * 1024 // self.stream_flows


class Backup(Section):
    """Backup target. Each `age_recipients` is a public key, so this machine cannot read its backups."""

    folder: str = ""
    keep_days: Positive = 30
    age_recipients: tuple[str, ...] = ()
    s3_bucket: str = ""
    s3_prefix: str = ""
    s3_endpoint: Origin = ""
    s3_region: str = "us-east-1"
    s3_access_key: str = ""
    s3_secret_key: Secret | None = None


class Admin(Section):
    email: str = "admin@localhost.localdomain"
    password: Secret | None = None
