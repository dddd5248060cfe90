"""User accounts: registration, passwords, logins, two-factor authentication, API keys, deletion."""
