"""The sections of config.toml for what is sent, kept and shown to those who run the platform."""

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
    # The older name: false means "none". It takes nothing away from "tls", which it did not know.
    smtp_starttls: bool = True
    sender: str = "Zenzefi <no-reply@localhost>"
    keep_days: Positive = 30

    @property
    def is_configured(self) -> bool:
        return bool(self.smtp_host)

    @property
    def security(self) -> Literal["starttls", "tls", "none"]:
        """How the connection to the mail server is encrypted."""
        return "none" if self.smtp_security == "starttls" and not self.smtp_starttls else self.smtp_security


class Notices(Section):
    expiring_hours: Positive = 24


class Webhooks(Section):
    """Requests to addresses that buyers give. Each takes two time-outs at most: one to resolve, one for the rest."""

    allow_private: bool = False
    timeout_seconds: Seconds = 10
    attempts: Positive = 8
    disable_after: Positive = 20
    keep_days: Positive = 30


class Audit(Section):
    keep_days: Positive = 30


class Inspection(Section):
    """How much of the traffic may be shown while somebody watches; `secret_names` are hidden beside the usual ones."""

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
        """How large one flow may be, so that the stream keeps to its size whatever is in it."""
        return self.stream_mib * 1024 * 1024 // self.stream_flows


class Backup(Section):
    """Where backups go. Each `age_recipients` is a public key, so that this machine cannot read what it wrote."""

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
