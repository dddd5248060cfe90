"""Jobs about the audit log: seal what was written, prove it each night, and move what is old into files."""

import logging

from jobs import context, subprocess_command
from models.services.audit import hash_chain

logger = logging.getLogger(__name__)

# So many batches in one run: the next one goes on where this one stopped.
MAX_BATCHES = 20


def chain_new_rows() -> int:
    """Seal the rows that are there, a batch a transaction; returns how many."""
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
    """Prove the log, keep the result for the office, and shout when it does not hold; returns what was found."""
    return _run("verify", "--note")


def archive() -> str:
    """Export rows that are older than the settings keep, then remove them; returns what was done."""
    if not context.settings().backup.folder:
        return "off: [backup] folder is empty"
    return _run("archive")


def _run(*options: str) -> str:
    try:
        said = subprocess_command.run("ops.commands.audit", *options)
    except subprocess_command.CommandFailed as failure:
        logger.critical("audit: %s", failure)
        raise
    # The end of the chain stands in the log too, where who can write to the database alone does not reach.
    logger.info("audit: %s", said)
    return said
