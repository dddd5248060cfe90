"""Codes with parameters instead of sentences: transfers, payment events, reversals, webhook errors, ledger checks."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = '0100_message_codes'
down_revision = '0065_pauses_for_debt'
branch_labels = None
depends_on = None

PURPOSES = ('topup', 'token_purchase', 'token_extension', 'token_refund', 'bundle_purchase', 'gift_code', 'referral_bonus_pending',
            'referral_bonus', 'referral_bonus_reversed', 'payment_refunded', 'payment_disputed', 'dispute_won', 'refund_rejected',
            'debt_repaid', 'former_account_debt', 'former_account_money')
CAUSES = ('account_deleted', 'disputed_by_bank', 'failed_at_provider', 'refunded_at_provider')
# Every text that a version has written.
TRANSFER_TEXTS = {
    'Bonus, held': 'referral_bonus_pending',
    'Pending bonus': 'referral_bonus_pending',
    'Bonus for an invitation': 'referral_bonus',
    'Referral bonus': 'referral_bonus',
    'Bonus on refunded money': 'referral_bonus_reversed',
    'Bonus reversed after a refund': 'referral_bonus_reversed',
    'Paid back to you': 'payment_refunded',
    'Refunded to you': 'payment_refunded',
    'Payment disputed': 'payment_disputed',
    'Dispute won': 'dispute_won',
    'Refund refused by the provider': 'refund_rejected',
    'Refund rejected by the provider': 'refund_rejected',
    'Debt repaid': 'debt_repaid',
    'Debt repayment': 'debt_repaid',
    'Debt of the former account': 'former_account_debt',
    'Money of the former account': 'former_account_money',
}
REVERSAL_TEXTS = {
    "Disputed by the payer's bank": 'disputed_by_bank',
    'Refunded at the provider': 'refunded_at_provider',
    'The account is deleted': 'account_deleted',
}
DELIVERY_TEXTS = {
    'TLS failed.': 'tls_failed',
    'TLS handshake failed.': 'tls_failed',
    'No answer in time.': 'timeout',
    'No response in time.': 'timeout',
    'The connection was refused.': 'connection_refused',
    'The connection failed or the answer is no HTTP.': 'connection_failed',
    'The connection failed, or the response is not HTTP.': 'connection_failed',
    'The name of the host cannot be resolved.': 'host_unresolved',
    'The host name cannot be resolved.': 'host_unresolved',
    'The host is in a private network.': 'host_private',
    'A redirect is not followed.': 'redirected',
    'Redirects are not followed.': 'redirected',
    'The secret cannot be read any more. Make a new one.': 'secret_unreadable',
    'The secret can no longer be read. Create a new one.': 'secret_unreadable',
    'The webhook is switched off.': 'endpoint_disabled',
    'The webhook is disabled.': 'endpoint_disabled',
    'The receiver answered with an error.': 'error_status',
}
RULE_TEXTS = {
    'A balance differs from its transfers': 'account_balance',
    'The sum over all accounts is not zero': 'sum_zero',
    'A settled payment does not have exactly its deposit': 'payment_deposit',
    'What is kept of a day is not what its payments and deposits come to': 'daily_totals',
    'Stored daily statistics differ from payments and deposits': 'daily_totals',
    'What went back of a payment is not what was taken for it': 'payment_reversals',
    'Refunds of a payment differ from what was debited for it': 'payment_reversals',
    'Somebody who owes has money in the wallet': 'debtor_balance',
    'A user with a debt has a balance': 'debtor_balance',
    'Somebody who deleted the account has money': 'deleted_account_balance',
    'A deleted account has a balance': 'deleted_account_balance',
    'A token was not paid for with exactly its price': 'token_price',
    "A token's purchase differs from its price": 'token_price',
    'A bundle was not paid for with exactly its price, or its shares are not that price': 'bundle_price',
    "A bundle's purchase or its shares differ from its price": 'bundle_price',
    'The tokens of a bundle gave back more than was paid for them': 'bundle_refunds',
    'A gift code was not credited once for each use': 'gift_code_uses',
    "A gift code's credits differ from its uses": 'gift_code_uses',
    'A referral bonus is not what was booked for it': 'referral_bonus',
    'A referral bonus differs from its transfers': 'referral_bonus',
    'A revoked token was not refunded with exactly its refund': 'token_refund',
    "A revoked token's refund differs from its transfer": 'token_refund',
    'A transfer does not join the accounts that its kind and its reference name': 'transfer_accounts',
    'A transfer connects the wrong accounts for its kind and reference': 'transfer_accounts',
}


def upgrade() -> None:
    op.execute('SET LOCAL statement_timeout = 0')
    _add_columns()
    # Transfers are append-only: the trigger is off for this one change, which no balance depends on.
    op.execute('ALTER TABLE transfers DISABLE TRIGGER transfers_append_only')
    _run(_TRANSFERS)
    _translate("""UPDATE transfers SET purpose = t.code, description = '' FROM texts t
        WHERE kind IN ('reversal', 'referral_bonus') AND description = t.text""", TRANSFER_TEXTS)
    op.execute('ALTER TABLE transfers ENABLE TRIGGER transfers_append_only')
    _run(_EVENTS)
    _translate("UPDATE payment_reversals SET cause = t.code, reason = '' FROM texts t WHERE actor_id IS NULL AND reason = t.text", REVERSAL_TEXTS)
    op.execute("UPDATE payment_reversals SET end_cause = 'failed_at_provider', note = '' WHERE note = 'It failed at the provider.'")
    _translate("UPDATE webhook_deliveries SET error = t.code FROM texts t WHERE error = t.text", DELIVERY_TEXTS)
    _translate("UPDATE webhook_endpoints SET last_error = t.code FROM texts t WHERE last_error = t.text", DELIVERY_TEXTS)
    for table, column in (('webhook_deliveries', 'error'), ('webhook_endpoints', 'last_error')):
        _run(_CERTIFICATES.format(table=table, column=column))
    _translate("""UPDATE ledger_checks SET faults = (SELECT jsonb_object_agg(coalesce(t.code, f.key), f.value)
        FROM jsonb_each(faults) f LEFT JOIN texts t ON t.text = f.key) WHERE faults <> '{}'""", RULE_TEXTS)


def downgrade() -> None:
    op.execute('SET LOCAL statement_timeout = 0')
    # A former version reads texts: plain ones that say the same.
    op.execute('ALTER TABLE transfers DISABLE TRIGGER transfers_append_only')
    _run(_TRANSFERS_BACK)
    _translate("UPDATE transfers SET description = t.text FROM texts t WHERE purpose = t.code", TRANSFER_TEXTS)
    op.execute('ALTER TABLE transfers ENABLE TRIGGER transfers_append_only')
    _translate("UPDATE payment_reversals SET reason = t.text FROM texts t WHERE cause = t.code", REVERSAL_TEXTS)
    op.execute("UPDATE payment_reversals SET note = 'It failed at the provider.' WHERE end_cause = 'failed_at_provider'")
    _translate("UPDATE webhook_deliveries SET error = t.text FROM texts t WHERE error = t.code", DELIVERY_TEXTS)
    _translate("UPDATE webhook_endpoints SET last_error = t.text FROM texts t WHERE last_error = t.code", DELIVERY_TEXTS)
    _run(_EVENTS_BACK)
    _translate("""UPDATE ledger_checks SET faults = (SELECT jsonb_object_agg(coalesce(t.text, f.key), f.value)
        FROM jsonb_each(faults) f LEFT JOIN texts t ON t.code = f.key) WHERE faults <> '{}'""", RULE_TEXTS)
    for table, columns in _COLUMNS.items():
        for column in columns:
            op.drop_column(table, column)
    op.alter_column('transfers', 'description', server_default=None)
    op.alter_column('payment_reversals', 'reason', server_default=None)


_COLUMNS = {
    'transfers': ('purpose', 'details'),
    'payment_events': ('result_details',),
    'payment_reversals': ('cause', 'end_cause'),
    'webhook_deliveries': ('error_details',),
    'webhook_endpoints': ('last_error_details',),
}


def _add_columns() -> None:
    purpose = sa.Enum(*PURPOSES, native_enum=False, length=32)
    op.add_column('transfers', sa.Column('purpose', purpose, nullable=True))
    op.alter_column('transfers', 'description', server_default='')
    op.alter_column('payment_reversals', 'reason', server_default='')
    for name in ('cause', 'end_cause'):
        op.add_column('payment_reversals', sa.Column(name, sa.Enum(*CAUSES, native_enum=False, length=32), nullable=True))
    for table, columns in _COLUMNS.items():
        for column in columns:
            if column.endswith('details'):
                op.add_column(table, sa.Column(column, JSONB(), nullable=False, server_default=sa.text("'{}'::jsonb")))


def _translate(statement: str, texts: dict[str, str]) -> None:
    """Run a statement with a table of the texts and their codes; of several texts for a code a downgrade takes one."""
    rows = ', '.join(f"('{text.replace(chr(39), chr(39) * 2)}', '{code}')" for text, code in texts.items())
    _run(f"WITH texts(text, code) AS (VALUES {rows}) {statement}")


def _run(statement: str) -> None:
    """Run SQL that has no parameters, whatever colons are in it."""
    op.execute(sa.text(statement.replace(':', '\\:')))


_TRANSFERS = r"""
    UPDATE transfers SET (purpose, details, description) = (SELECT m.purpose, m.details, '' FROM (SELECT
        CASE kind
            WHEN 'deposit' THEN 'topup'
            WHEN 'refund' THEN 'token_refund'
            WHEN 'gift' THEN 'gift_code'
            ELSE CASE WHEN reference_type = 'bundle_purchase' THEN 'bundle_purchase'
                WHEN description ~ '^[0-9]+ h more for token ' THEN 'token_extension' ELSE 'token_purchase' END END AS purpose,
        CASE kind
            WHEN 'deposit' THEN '{}'::jsonb
            WHEN 'refund' THEN jsonb_build_object('prefix', substring(description FROM '[^ ]*$'))
            WHEN 'gift' THEN jsonb_build_object('prefix', substring(description FROM '[^ ]*$'))
            ELSE CASE WHEN reference_type = 'bundle_purchase'
                THEN jsonb_build_object('name', regexp_replace(description, '^Bundle ', ''))
                WHEN description ~ '^[0-9]+ h more for token ' THEN jsonb_build_object(
                    'duration', substring(description FROM '^[0-9]+')::int, 'prefix', substring(description FROM '[^ ]*$'))
                ELSE jsonb_build_object('duration', substring(description FROM '[0-9]+')::int) END END AS details) m)
    WHERE kind IN ('deposit', 'refund', 'gift')
        OR (kind = 'purchase' AND (reference_type = 'bundle_purchase' OR description ~ '[0-9]{1,6}'))
"""
_TRANSFERS_BACK = r"""
    UPDATE transfers SET description = CASE purpose
        WHEN 'topup' THEN 'Top-up'
        WHEN 'token_refund' THEN 'Unused time of token ' || (details->>'prefix')
        WHEN 'gift_code' THEN 'Gift code ' || (details->>'prefix')
        WHEN 'bundle_purchase' THEN 'Bundle ' || (details->>'name')
        WHEN 'token_extension' THEN (details->>'duration') || ' h more for token ' || (details->>'prefix')
        WHEN 'token_purchase' THEN 'Token for ' || (details->>'duration') || ' h'
        ELSE description END
    WHERE purpose IS NOT NULL
"""
# "review: " and "ignored: " said what needs_review says as well.
_EVENTS = r"""
    WITH read AS (SELECT id, regexp_replace(result, '^(review|ignored): ', '') AS said FROM payment_events
        WHERE result LIKE 'review: %' OR result LIKE 'ignored: %'),
    coded AS (SELECT id, said, CASE
        WHEN said = 'the account is deleted' THEN 'account_deleted'
        WHEN said = 'the payment is unknown' THEN 'payment_unknown'
        WHEN said = 'the report cannot be read' THEN 'unreadable'
        WHEN said = 'the amount does not fit the payment' THEN 'amount_mismatch'
        WHEN said LIKE '%dispute % not known here' THEN 'dispute_unknown'
        WHEN said ~ '^the (payment|refund|dispute) is [a-z]+$' THEN split_part(said, ' ', 2) || '_state'
        WHEN said ~ '^[0-9.]+ RUB went back, and [0-9.]+ RUB were left$' THEN 'amount_exceeds_payment'
        WHEN said ~ '^[0-9.]+ RUB went back, and [0-9.]+ RUB are booked$' THEN 'amount_differs' END AS code FROM read)
    UPDATE payment_events e SET result = c.code, result_details = CASE
        WHEN c.code = 'payment_state' THEN jsonb_build_object('payment_status', split_part(said, ' ', 4))
        WHEN c.code IN ('refund_state', 'dispute_state') THEN jsonb_build_object('reversal_state', split_part(said, ' ', 4))
        WHEN c.code = 'amount_exceeds_payment'
            THEN jsonb_build_object('refunded', split_part(said, ' ', 1), 'left', split_part(said, ' ', 6))
        WHEN c.code = 'amount_differs'
            THEN jsonb_build_object('refunded', split_part(said, ' ', 1), 'booked', split_part(said, ' ', 6))
        ELSE '{}'::jsonb END
    FROM coded c WHERE c.id = e.id AND c.code IS NOT NULL
"""
_EVENTS_BACK = r"""
    UPDATE payment_events SET result = (CASE WHEN needs_review THEN 'review: ' ELSE 'ignored: ' END) || CASE result
        WHEN 'account_deleted' THEN 'the account is deleted'
        WHEN 'payment_unknown' THEN 'the payment is unknown'
        WHEN 'unreadable' THEN 'the report cannot be read'
        WHEN 'amount_mismatch' THEN 'the amount does not fit the payment'
        WHEN 'dispute_unknown' THEN 'a dispute was won that is not known here'
        WHEN 'payment_state' THEN 'the payment is ' || (result_details->>'payment_status')
        WHEN 'refund_state' THEN 'the refund is ' || (result_details->>'reversal_state')
        WHEN 'dispute_state' THEN 'the dispute is ' || (result_details->>'reversal_state')
        WHEN 'amount_exceeds_payment'
            THEN (result_details->>'refunded') || ' RUB went back, and ' || (result_details->>'left') || ' RUB were left'
        ELSE (result_details->>'refunded') || ' RUB went back, and ' || (result_details->>'booked') || ' RUB are booked' END
    WHERE result IN ('account_deleted', 'payment_unknown', 'unreadable', 'amount_mismatch', 'dispute_unknown',
        'payment_state', 'refund_state', 'dispute_state', 'amount_exceeds_payment', 'amount_differs')
"""
_CERTIFICATES = r"""
    UPDATE {table} SET {column} = 'certificate_invalid', {column}_details = jsonb_build_object('text',
        regexp_replace({column}, '^The certificate is not valid: (.*)[.]$', '\1'))
    WHERE {column} LIKE 'The certificate is not valid: %'
"""
