"""Background jobs: payment settlement, mail, webhooks, token time, clean-up and backups."""
