"""Audit log jobs: chain new rows, verify the chain each night, and archive old rows into files."""

import logging

from jobs import context, subprocess_command
from models.services.audit import hash_chain

logger = logging.getLogger(__name__)

# Batches per run; the next run continues with the rest.
MAX_BATCHES = 20


def chain_new_rows() -> int:
    """Append new audit rows to the hash chain, one transaction per batch; return the number of rows."""
    key = hash_chain.key_of(context.settings().tokens)
    sealed = 0
    for _ in range(MAX_BATCHES):
        with context.sessions().begin() as session:
            found = hash_chain.chain_new_rows(session, key)
        sealed += found
        if found < hash_chain.BATCH_SIZE:
            break
    return sealed


def verify() -> str:
    """Verify the hash chain, store the result, and log an error when it fails; return the command's last line."""
    return _run("verify", "--note")


def archive() -> str:
    """Export rows older than the retention period, then delete them; return the command's last line."""
    if not context.settings().backup.folder:
        return "off: [backup] folder is empty"
    return _run("archive")


def _run(*options: str) -> str:
    try:
        output = subprocess_command.run("ops.commands.audit", *options)
    except subprocess_command.CommandFailed as failure:
        logger.critical("audit: %s", failure)
        raise
    # The end of the chain is logged too: an attacker with access to the database alone cannot change the log.
    logger.info("audit: %s", output)
    return output
