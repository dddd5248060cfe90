"""Check that PostgreSQL does not log values of statements: password hashes, addresses, secrets."""

from collections.abc import Iterator

from sqlalchemy import Connection, text

from ops.doctor.findings import Finding, Section

# Allowed values: no failed or slow statement is logged with its values (PostgreSQL manual, "Error Reporting and
# Logging"). An unknown setting belongs to a module that is not loaded.
_ALLOWED: dict[str, set[str | None]] = {
    "log_min_error_statement": {"panic", "fatal"},
    "log_error_verbosity": {"terse"},
    "log_statement": {"none", "ddl"},
    "log_min_duration_statement": {"-1"},
    "log_min_duration_sample": {"-1"},
    "log_transaction_sample_rate": {"0"},
    "auto_explain.log_min_duration": {"-1", None},
    "pgaudit.log": {"none", "", "ddl", "role", None},
}
_SETTINGS = text("SELECT name, current_setting(name, true) FROM unnest(CAST(:names AS text[])) AS name")


def examine(connection: Connection) -> Iterator[Finding]:
    """Compare the server's logging settings with the allowed ones."""
    rows = connection.execute(_SETTINGS, {"names": list(_ALLOWED)})
    found = {row.name: row.current_setting for row in rows}
    loud = [f"{name} = {found[name]}" for name, quiet in _ALLOWED.items() if found[name] not in quiet]
    seen = ", ".join(loud) if loud else "no statement is logged with its values"
    do = "Set them as docs/TROUBLESHOOTING.md says, in postgresql.conf or in your provider's parameters, and reload."
    yield Finding("PostgreSQL logs no statement values", not loud, seen, do, Section.SERVER_LOG, is_urgent=False)
