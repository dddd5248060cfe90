"""Due work job: enqueues the jobs that have something to do, so that they need not run every few seconds."""

from jobs import context, queues
from models.services.monitoring import due_work

JOBS = {
    "links": "jobs.email_links.send_links",
    "mails": "jobs.mail.send_pending",
    "deliveries": "jobs.webhooks.send_pending",
    "pauses": "jobs.token_time.end_pauses",
    "debts": "jobs.token_time.pause_for_debt",
    "outages": "jobs.token_time.credit_outages",
    "callbacks": "jobs.payments.sweep_events",
    "refunds": "jobs.payments.sweep_refunds",
    "checks": "jobs.payments.ask_providers",
    "audit": "jobs.audit.chain_new_rows",
}


def enqueue_due() -> list[str]:
    """Enqueue the jobs that have something to do now; return their names."""
    with context.sessions().begin() as session:
        found = due_work.find(session, context.settings())
    names = [JOBS[kind] for kind in found]
    queues.wake(queues.queue().connection, names)
    return names
