"""What is sold, used and paid."""

from ops.monitoring.grafana.panels import Board, Panel, Variable, stat

_SOLD = 'max by (duration_hours) (increase(token_purchases_total{duration_hours=~"$hours"}[1h]))'

BUSINESS = Board(
    "zenzefi-business",
    "Zenzefi: business",
    "What is sold, used and paid.",
    {
        "Now": (
            stat("People", "max(user_count)"),
            stat("Tokens whose clock runs", "max(active_tokens)"),
            stat("Open sessions", "max(active_sessions)"),
            stat("Sold less refunds, in all", 'max(ledger_account_znc{account="sales"})', unit="suffix: ZNC"),
            stat("Payments under way", "max(payments_pending)", alerts=("PaymentsNotExpired",)),
            stat("Payments for a person", "max(payments_to_review)", steps=(1,), alerts=("PaymentsToReview",)),
        ),
        "Sales": (
            Panel(
                "Sold less refunds, by the hour",
                {'max(delta(ledger_account_znc{account="sales"}[1h]))': "ZNC"},
                unit="suffix: ZNC",
                signed=True,
            ),
            Panel(
                "Tokens sold by the hour, by duration",
                {_SOLD: "{{duration_hours}} h"},
                stacked=True,
            ),
            Panel(
                "Deposits and revocations by the hour",
                {
                    "max(increase(balance_deposits_total[1h]))": "deposits",
                    "max(increase(token_revocations_total[1h]))": "revocations",
                },
            ),
            Panel(
                "The platform's accounts",
                {"max by (account) (ledger_account_znc)": "{{account}}"},
                unit="suffix: ZNC",
                signed=True,
            ),
        ),
        "People": (
            Panel("Accounts", {"max(user_count)": "accounts"}),
            Panel(
                "Logins",
                {"max by (result) (rate(auth_attempts_total[$__rate_interval]))": "{{result}}"},
                unit="cps",
                alerts=("PasswordsGuessed",),
            ),
            Panel("Use", {"max(active_tokens)": "running tokens", "max(active_sessions)": "open sessions"}),
            Panel("Bytes carried", {"gateway:bytes:rate5m": "{{direction}}"}, unit="Bps"),
        ),
    },
    (Variable("hours", "Duration", "label_values(token_purchases_total, duration_hours)"),),
)
