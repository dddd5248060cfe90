"""Message catalogue: the English text of every error code and stored result code; Russian is in messages.po.

No rule may depend on these texts: `tests/abuse/test_messages.py` replaces them all. `%(name)s` are parameters, which
models/services/messages.py formats for the reader's language.
"""


def _(text: str) -> str:
    """Mark a text for the translators."""
    return text


ERRORS = {
    # Accounts
    "account_closed": _("This account is disabled."),
    "account_disabled": _("This account is disabled."),
    "already_created": _("This has already been created. Its secret was shown once."),
    "already_rotated": _("The secret has already been replaced. The new one was shown once."),
    "api_key_lifetime_out_of_range": _("A key can be valid for 1 to 366 days."),
    "api_key_limit_reached": _("You have 20 keys. Revoke one you do not need."),
    "api_key_scope_not_allowed": _("Only admins can have such a key."),
    "current_password_incorrect": _("The current password is incorrect."),
    "email_malformed": _("Enter a valid e-mail address."),
    "email_taken": _("This e-mail address already has an account."),
    "impersonation_not_allowed": _("This user cannot be impersonated."),
    "last_superuser": _("The last admin cannot be removed."),
    "link_expired": _("This link has expired."),
    "login_failed": _("Incorrect e-mail address or password."),
    "login_failed_or_unconfirmed": _("Incorrect e-mail address or password, or the address is not confirmed yet."),
    "otp_invalid": _("This code is incorrect or already used."),
    "otp_required": _("Enter the code from your authenticator app."),
    "password_guessable": _(
        "This password is easy to guess. Do not use a common password, your name or your e-mail address."
    ),
    "password_length": _("Use 8 to 128 characters."),
    "password_unchanged": _("This is already your password. Choose another one."),
    "payment_pending": _("A payment is still pending. Try again once it is completed or canceled."),
    "proof_needed": _("After many failed attempts to sign in, we have e-mailed you a link to finish signing in."),
    "time_zone_unknown": _("This time zone does not exist."),
    "too_many_attempts": _("Too many attempts. Please try again later."),
    "two_factor_already_on": _("Two-factor authentication is already on."),
    "username_malformed": _("Use 3 to 50 letters, digits, dots, hyphens or underscores."),
    "username_taken": _("This username is already taken."),
    # Values of any form
    "changed_meanwhile": _("Someone else has changed this in the meantime. Please review it."),
    "setting_changed": _("Someone else has changed this in the meantime. Please review it."),
    "number_malformed": _("Enter a number."),
    "range_too_long": _("Choose a range of up to one year."),
    "month_malformed": _("Enter a month such as 2026-11."),
    "text_not_printable": _("Use only printable characters on a single line."),
    "text_too_long": _("Use at most %(count)d characters."),
    "text_too_short": _("Use at least %(count)d characters."),
    # Settings
    "setting_amount_malformed": _("Enter an amount such as 50 or 12.34, with at most two decimal places."),
    "setting_duration_lines_malformed": _("Enter one line per duration, such as 24 = 18."),
    "setting_durations_empty": _("At least one duration must be available."),
    "setting_invalid": _("This value is not valid."),
    "setting_not_positive": _("The value must be greater than zero."),
    "setting_not_whole": _("Enter a whole number."),
    "setting_text_too_long": _("The text is too long."),
    "setting_too_large": _("The value is too large."),
    # Amounts, wallets and payments
    "amount_exceeds_payment": _("This exceeds what is left of the payment."),
    "amount_malformed": _("Enter an amount such as 50 or 12.34, with at most two decimal places."),
    "amount_not_bookable": _("The amount must be above zero, at most %(limit)s, with at most two decimal places."),
    "amount_not_positive": _("The amount must be greater than zero."),
    "amount_out_of_bounds": _("This payment method accepts %(least)s to %(most)s ZNC."),
    "amount_too_large": _("The amount cannot exceed %(limit)s."),
    "amount_zero": _("The amount cannot be zero."),
    "callback_malformed": _("The body is not a callback of this payment provider."),
    "callback_signature_invalid": _("The signature of the callback is not valid."),
    "callback_stale": _("The callback is too old."),
    "callback_unsigned": _("The callback is not signed."),
    "callback_untrusted_address": _("This address is not one of the payment provider's."),
    "callback_name_invalid": _("The callback contains an identifier that cannot be stored."),
    "callback_amount_invalid": _("The callback contains an amount that is not valid."),
    "callback_not_storable": _("The callback cannot be stored."),
    "debt_open": _("A payment was reversed, and %(debt)s ZNC are still owed. A top-up repays them first."),
    "dispute_already_booked": _("This dispute has already been recorded."),
    "duplicate_transfer": _("This operation has already been recorded."),
    "idempotency_key_reused": _("This Idempotency-Key was used for another request."),
    "idempotent_request_in_progress": _("A request with this Idempotency-Key is in progress."),
    "insufficient_funds": _("Insufficient balance: %(amount)s ZNC required."),
    "not_refundable": _("This payment cannot be refunded."),
    "nothing_to_book": _("Nothing is left to record. Describe what you did and mark it as resolved."),
    "payment_spent": _("Only %(amount)s ZNC of this payment are unspent; no more can be refunded."),
    "provider_down": _("The payment provider is not responding. Please try again later."),
    "provider_refused_amount": _("The payment provider does not accept this amount."),
    "provider_refused_other": _("The payment provider has refused this. %(reason)s"),
    "provider_refused_setup": _(
        "This payment method is currently unavailable. Choose another one or contact the shop."
    ),
    "user_in_debt": _("This user owes %(debt)s ZNC, which every credit repays first."),
    # Tokens, bundles and sessions
    "bundle_discount_out_of_range": _("The discount must be 0 to 90 percent."),
    "bundle_size_out_of_range": _("A bundle contains 2 to 100 tokens."),
    "device_conflict": _("Another device is using this token."),
    "duration_unavailable": _("This duration is not available."),
    "pause_refused_debt": _(
        "This token was bought with money that was charged back. It resumes once the debt is repaid."
    ),
    "pause_refused_outage": _("The service is down, and the lost time will be credited. You can pause afterwards."),
    "pause_refused_too_many": _("This token has used all its pauses."),
    "pause_refused_used_up": _("This token has used all its pause time."),
    "pause_too_short": _("This pause cannot end before %(time)s."),
    "price_changed": _("The price has changed: it is now %(amount)s ZNC."),
    "scope_unknown": _("This scope does not exist."),
    "ticket_refused": _("This link has expired."),
    "token_ended": _("This token is already %(state)s."),
    "token_unusable": _("This token is %(state)s."),
    # Coupons, gift codes and referrals
    "code_taken": _("This code already exists."),
    "coupon_refused_over": _("This coupon is no longer valid."),
    "coupon_refused_unknown": _("Coupon not found."),
    "coupon_refused_used_up": _("This coupon has reached its usage limit."),
    "discount_ambiguous": _("Enter either a percentage or an amount."),
    "gift_count_out_of_range": _("Create 1 to %(count)d codes at once."),
    "gift_refused_over": _("This gift code is used up or no longer valid."),
    "gift_refused_taken": _("You have already redeemed this gift code."),
    "gift_refused_unknown": _("Gift code not found."),
    "percent_out_of_range": _("The percentage must be above 0 and below 100."),
    "referral_code_unknown": _("Referral code not found."),
    "usage_limit_too_small": _("The limit must be at least 1."),
    # Admin area
    "announcement_end_invalid": _("The end must be after the start and in the future."),
    "audit_action_unknown": _("Use one of these actions: %(actions)s."),
    "inspection_duration_unavailable": _("Choose a duration from the list."),
    "inspection_limit_reached": _("Too many active inspections. End one first."),
    "path_prefix_malformed": _("Enter the beginning of a path, such as /certificates/."),
    "token_prefix_ambiguous": _("Several tokens start with this. Enter the full ID."),
    "user_reference_malformed": _("Enter the ID or e-mail address of a user."),
    # Webhook endpoints
    "webhook_limit_reached": _("You have reached the limit of webhooks. Delete one first."),
    "webhook_port_not_allowed": _("This port is not used by web servers."),
    "webhook_topics_empty": _("Choose at least one topic."),
    "webhook_url_has_credentials": _("The address must not contain a password or a #."),
    "webhook_url_malformed": _("Enter an address such as https://example.org/hook."),
    "webhook_url_not_https": _("The address must begin with https://."),
    "webhook_url_private": _("This address points to a private network."),
    # Things that do not exist, or belong to another user
    "announcement_not_found": _("Announcement not found."),
    "api_key_not_found": _("API key not found."),
    "bundle_not_found": _("Bundle not found."),
    "checkout_not_found": _("Checkout not found."),
    "coupon_not_found": _("Coupon not found."),
    "delivery_not_found": _("Delivery not found."),
    "email_not_found": _("E-mail not found."),
    "gift_code_not_found": _("Gift code not found."),
    "inspection_not_found": _("Inspection not found."),
    "link_not_found": _("Link not found."),
    "login_not_found": _("Login not found."),
    "month_not_found": _("Month not found."),
    "payment_event_not_found": _("Payment event not found."),
    "payment_not_found": _("Payment not found."),
    "payment_provider_not_found": _("Payment method not found."),
    "receipt_not_found": _("Receipt not found."),
    "refund_not_found": _("Refund not found."),
    "session_not_found": _("Session not found."),
    "setting_change_not_found": _("Setting change not found."),
    "setting_not_found": _("Setting not found."),
    "state_not_found": _("State not found."),
    "token_not_found": _("Token not found."),
    "unclaimed_money_not_found": _("Unclaimed money not found."),
    "user_not_found": _("User not found."),
    "webhook_not_found": _("Webhook not found."),
    # Raised by the JSON API itself, which responds in English
    "admin_role_required": _("Not enough permissions"),
    "admin_two_factor_required": _("Admins need two-factor login here; set it up in the portal"),
    "already_decided": _("This payment has already been canceled or declined."),
    "api_key_scope_too_narrow": _("This API key is for %(scope)s only"),
    "credentials_invalid": _("Could not validate credentials"),
    "credentials_missing": _("Not authenticated"),
    "login_required": _("API keys cannot be used here; log in"),
    "reply_unreadable": _("This request was carried out, but its response can no longer be read."),
    "user_inactive": _("Inactive user"),
}

TOKEN_STATES = {
    "ready": _("ready"),
    "active": _("active"),
    "paused": _("paused"),
    "expired": _("expired"),
    "revoked": _("revoked"),
}

PATH_FAULTS = {
    "no_slash": _("The path must start with a slash."),
    "control": _("The path contains a space, a control byte or a fragment."),
    "dot_segment": _("The path contains a dot segment."),
    "backslash": _("The path contains a backslash."),
    "empty_segment": _("The path contains an empty segment."),
    "invalid_escape": _("The path contains an invalid escape."),
    "overlong": _("The path contains an overlong character."),
    "encoded_slash": _("The path contains an encoded slash or backslash."),
    "double_escape": _("The path is double-escaped."),
}

# What a transfer was for (models.ledger.TransferPurpose).
TRANSFERS = {
    "topup": _("Deposit"),
    "token_purchase": _("Token for %(duration)s"),
    "token_extension": _("Extension of %(prefix)s by %(duration)s"),
    "token_refund": _("Unused time of token %(prefix)s"),
    "bundle_purchase": _("Bundle %(name)s"),
    "gift_code": _("Gift code %(prefix)s"),
    "referral_bonus_pending": _("Pending bonus"),
    "referral_bonus": _("Referral bonus"),
    "referral_bonus_reversed": _("Bonus reversed after a refund"),
    "payment_refunded": _("Refunded to you"),
    "payment_disputed": _("Payment disputed"),
    "dispute_won": _("Dispute won"),
    "refund_rejected": _("Refund rejected by the provider"),
    "debt_repaid": _("Debt repayment"),
    "former_account_debt": _("Debt of the former account"),
    "former_account_money": _("Money of the former account"),
    # Texts that an admin typed, and old ones that no rule could read.
    "adjustment": "%(text)s",
    "other": "%(text)s",
}

# What was done about a payment provider's report, or why it needs review (models.payments.PaymentResult).
PAYMENT_RESULTS = {
    "credited": _("ZNC credited"),
    "canceled": _("payment canceled"),
    "refunded": _("refund recorded"),
    "refund_failed": _("ZNC returned"),
    "disputed": _("dispute recorded"),
    "dispute_won": _("ZNC returned"),
    "account_deleted": _("the account is deleted"),
    "amount_differs": _("%(refunded)s ₽ were refunded, but %(booked)s ₽ are booked"),
    "amount_exceeds_payment": _("%(refunded)s ₽ were refunded, but only %(left)s ₽ were left"),
    "amount_mismatch": _("the amount or the currency is not that of the payment"),
    "dispute_unknown": _("the won dispute is not recorded here"),
    "dispute_state": _("dispute: %(reversal_state)s"),
    "refund_state": _("refund: %(reversal_state)s"),
    "payment_state": _("payment: %(payment_status)s"),
    "payment_unknown": _("the payment is unknown"),
    "unreadable": _("the report cannot be read"),
    "other": "%(text)s",
}
PAYMENT_STATUSES = {
    "pending": _("pending"),
    "succeeded": _("paid"),
    "canceled": _("canceled"),
    "expired": _("expired"),
    "refunded": _("refunded"),
}
REVERSAL_STATES = {
    "requested": _("requested"),
    "done": _("done"),
    "refused": _("rejected"),
    "won": _("won"),
}

# Why the platform booked or undid a refund or dispute (models.payments.ReversalCause); an admin's reason is a text.
REVERSAL_CAUSES = {
    "account_deleted": _("The account is deleted"),
    "disputed_by_bank": _("Disputed by the payer's bank"),
    "failed_at_provider": _("It failed at the provider."),
    "refunded_at_provider": _("Refunded at the provider"),
}

# Rules of the ledger verification (models.services.ledger.verification).
LEDGER_RULES = {
    "account_balance": _("A balance differs from its transfers"),
    "sum_zero": _("The sum over all accounts is not zero"),
    "payment_deposit": _("A settled payment does not have exactly its deposit"),
    "daily_totals": _("Stored daily statistics differ from payments and deposits"),
    "payment_reversals": _("Refunds of a payment differ from what was debited for it"),
    "debtor_balance": _("A user with a debt has a balance"),
    "deleted_account_balance": _("A deleted account has a balance"),
    "token_price": _("A token's purchase differs from its price"),
    "bundle_price": _("A bundle's purchase or its shares differ from its price"),
    "bundle_refunds": _("Refunds of a bundle's tokens exceed what was paid for them"),
    "gift_code_uses": _("A gift code's credits differ from its uses"),
    "referral_bonus": _("A referral bonus differs from its transfers"),
    "token_refund": _("A revoked token's refund differs from its transfer"),
    "transfer_accounts": _("A transfer connects the wrong accounts for its kind and reference"),
}

# Why a webhook delivery failed (models.webhooks.DeliveryError).
DELIVERY_ERRORS = {
    "certificate_invalid": _("The certificate is not valid: %(text)s."),
    "connection_failed": _("The connection failed, or the response is not HTTP."),
    "connection_refused": _("The connection was refused."),
    "endpoint_disabled": _("The webhook is disabled."),
    "error_status": _("The receiver answered with an error."),
    "host_private": _("The host is in a private network."),
    "host_unresolved": _("The host name cannot be resolved."),
    "redirected": _("Redirects are not followed."),
    "secret_unreadable": _("The secret can no longer be read. Create a new one."),
    "timeout": _("No response in time."),
    "tls_failed": _("TLS handshake failed."),
    "other": "%(text)s",
}
