"""Labels of background jobs for the admin area."""

from flask_babel import lazy_gettext as _

JOBS = {
    "jobs.email_links.carry_debts": _("Carry debts over to new accounts"),
    "jobs.email_links.delete_expired_links": _("Remove old links"),
    "jobs.email_links.send_links": _("Send requested links"),
    "jobs.audit.archive": _("Archive the audit log"),
    "jobs.audit.chain_new_rows": _("Chain audit log rows"),
    "jobs.audit.verify": _("Verify the audit log"),
    "jobs.due_work.enqueue_due": _("Look for due work"),
    "jobs.backups.create": _("Create a backup"),
    "jobs.certificates.check": _("Check certificates"),
    "jobs.token_time.credit_outages": _("Credit outages"),
    "jobs.token_time.pause_for_debt": _("Pause tokens of debtors"),
    "jobs.token_time.end_pauses": _("End pauses"),
    "jobs.token_time.renew": _("Renew tokens"),
    "jobs.token_time.notify_expiries": _("Notify of tokens about to expire"),
    "jobs.token_time.notify_renewals": _("Notify of upcoming renewals"),
    "jobs.token_time.vest_bonuses": _("Credit bonuses"),
    "jobs.health.check": _("Check components"),
    "jobs.mail.send_pending": _("Send e-mails"),
    "jobs.payments.ask": _("Query a provider about a payment"),
    "jobs.payments.ask_providers": _("Query providers about pending payments"),
    "jobs.payments.deliver_mock_callback": _("Send a test payment callback"),
    "jobs.payments.expire_pending": _("Expire unpaid payments"),
    "jobs.payments.send_refund": _("Send a refund"),
    "jobs.payments.settle": _("Settle a payment"),
    "jobs.payments.sweep_events": _("Settle missed payments"),
    "jobs.payments.sweep_refunds": _("Send missed refunds"),
    "jobs.cleanup.close_sessions": _("Close idle sessions"),
    "jobs.cleanup.count_days": _("Update daily statistics"),
    "jobs.cleanup.delete_browser_access": _("Remove old browser links"),
    "jobs.cleanup.delete_ended_logins": _("Remove old login sessions"),
    "jobs.cleanup.delete_old_notifications": _("Remove old e-mails and deliveries"),
    "jobs.cleanup.delete_idempotent_replies": _("Remove old API replies"),
    "jobs.cleanup.verify_ledger": _("Ledger verification"),
    "jobs.webhooks.check_address": _("Check the address of a webhook"),
    "jobs.webhooks.send_pending": _("Deliver webhooks"),
}


def job_name(path: str) -> str:
    """Return the label of a job; one without a label is shown by its name."""
    return str(JOBS.get(path, path))
