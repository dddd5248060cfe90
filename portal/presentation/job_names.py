"""The words for background jobs: an admin should know what stands still when one has failed."""

from flask_babel import lazy_gettext as _

JOBS = {
    "jobs.accounts.carry_debts": _("Carry debts over to new accounts"),
    "jobs.accounts.forget_links": _("Remove old links"),
    "jobs.accounts.send_links": _("Send links that somebody waits for"),
    "jobs.audit.archive": _("Archive the audit log"),
    "jobs.audit.seal": _("Seal the audit log"),
    "jobs.audit.verify": _("Verify the audit log"),
    "jobs.backups.make": _("Make a backup"),
    "jobs.certificates.look": _("Look at the certificates"),
    "jobs.clocks.credit_outages": _("Credit outages"),
    "jobs.clocks.pause_for_debt": _("Pause tokens of debtors"),
    "jobs.clocks.end_pauses": _("End pauses"),
    "jobs.clocks.renew": _("Renew tokens"),
    "jobs.clocks.tell_of_ends": _("Tell of tokens that are about to end"),
    "jobs.clocks.tell_renewals": _("Tell of renewals ahead"),
    "jobs.clocks.vest_bonuses": _("Pay out bonuses"),
    "jobs.health.check": _("Ask how the parts are"),
    "jobs.mail.send_waiting": _("Send mails"),
    "jobs.payments.ask": _("Ask a provider about a payment"),
    "jobs.payments.ask_providers": _("Ask providers about pending payments"),
    "jobs.payments.deliver_mock_callback": _("Report a test payment"),
    "jobs.payments.expire_pending": _("Expire unpaid payments"),
    "jobs.payments.send_refund": _("Send a refund"),
    "jobs.payments.settle": _("Settle a payment"),
    "jobs.payments.sweep_events": _("Settle payments that were left"),
    "jobs.payments.sweep_refunds": _("Send refunds that were left"),
    "jobs.upkeep.close_sessions": _("Close idle sessions"),
    "jobs.upkeep.count_days": _("Count the figures of the day"),
    "jobs.upkeep.forget_entries": _("Remove old browser links"),
    "jobs.upkeep.forget_logins": _("Remove old logins"),
    "jobs.upkeep.forget_notices": _("Remove old mails and deliveries"),
    "jobs.upkeep.forget_replies": _("Remove old replies of the API"),
    "jobs.upkeep.verify_ledger": _("Verify the books"),
    "jobs.webhooks.check_address": _("Check the address of a webhook"),
    "jobs.webhooks.send_waiting": _("Send to webhooks"),
}


def job_name(path: str) -> str:
    """Say what a job does; one without words goes by its own name."""
    return str(JOBS.get(path, path))
