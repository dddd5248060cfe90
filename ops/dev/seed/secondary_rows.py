"""What a shop leaves behind besides money and traffic: mails, webhooks, events, credit for outages, and small things.

In proportion to its users, and no older than the clean-up leaves them. The plan of rows.py is there, and its functions.
"""

TABLES = (
    "outbox_mails", "webhook_endpoints", "webhook_deliveries", "payment_events", "token_events", "outages",
    "outage_credits", "notice_choices", "api_keys", "known_devices", "user_notes", "gift_codes", "coupons", "bundles",
    "announcements", "setting_changes",
)  # fmt: skip

# Five mails for each user; one of a hundred failed permanently, one of a thousand is pending.
_MAILS = """
    INSERT INTO outbox_mails (id, user_id, kind, recipient, context, dedup_key, attempts, next_attempt_at, last_error,
        sent_at, failed_at, created_at)
    SELECT pg_temp.its_id('mail', n), pg_temp.its_id('user', 1 + n % :users),
        (ARRAY['payment', 'token_expiring', 'login', 'renewed'])[1 + n % 4],
        'seed' || (1 + n % :users) || '@example.test',
        jsonb_build_object('username', 'seed' || (1 + n % :users)), 'seed:' || n, 1, at,
        CASE WHEN n % 100 = 5 THEN '550 no such mailbox' END, CASE WHEN n % 100 <> 5 AND n % 1000 <> 7 THEN at END,
        CASE WHEN n % 100 = 5 THEN at END, at
    FROM (SELECT n, CAST(:moment AS timestamptz) - interval '30 days' * pg_temp.chance(n) AS at
        FROM generate_series(1, CAST(:users AS bigint) * 5) AS n) AS numbered
    """
# User 1 has five endpoints, every hundredth user has one.
_ENDPOINTS = """
    INSERT INTO webhook_endpoints (id, user_id, url, secret, topics, created_at)
    SELECT pg_temp.its_id('endpoint', n), pg_temp.its_id('user', CASE WHEN n <= 5 THEN 1 ELSE (n - 5) * 100 END),
        'https://hooks.example.test/' || n, '', '["payment", "token_ended"]',
        CAST(:moment AS timestamptz) - interval '60 days'
    FROM generate_series(1, 5 + :users / 100) AS n
    """
# A quarter of a delivery for each user to user 1's first endpoint, twenty to each other one.
_DELIVERIES = """
    INSERT INTO webhook_deliveries (id, endpoint_id, kind, data, dedup_key, attempts, next_attempt_at, attempted_at,
        status, error, answer, milliseconds, delivered_at, dead_at, created_at)
    SELECT gen_random_uuid(), endpoint, 'payment', jsonb_build_object('amount', '50.00'), 'seed:' || n, 1, at, at,
        CASE WHEN n % 100 = 5 THEN 500 ELSE 200 END, CASE WHEN n % 100 = 5 THEN 'The answer was 500.' END, 'ok', 40,
        CASE WHEN n % 100 <> 5 AND n % 1000 <> 7 THEN at END, CASE WHEN n % 100 = 5 THEN at END, at
    FROM (SELECT n, pg_temp.its_id('endpoint', CASE WHEN n <= :users / 4 THEN 1 ELSE 2 + n % (4 + :users / 100) END)
            AS endpoint, CAST(:moment AS timestamptz) - interval '30 days' * pg_temp.chance(n) AS at
        FROM generate_series(1, CAST(:users AS bigint) / 4 + :users / 5 + 20) AS n) AS numbered
    """
# An event for each settled payment; one of some thousands needs a manual review.
_PAYMENT_EVENTS = """
    INSERT INTO payment_events (id, provider, event_id, payment_id, outcome, amount_rub, body, received_at,
        processed_at, result, needs_review)
    SELECT gen_random_uuid(), provider, provider_payment_id, id, 'succeeded', amount_rub, '{}', settled_at, settled_at,
        'settled', row_number() OVER (ORDER BY id) % 4999 = 1
    FROM payments WHERE settled_at IS NOT NULL
    """
_EXTENSIONS = """
    INSERT INTO token_events (id, token_id, kind, happened_at, seconds, price)
    SELECT gen_random_uuid(), id, 'extended', created_at + part * interval '10 minutes', 3600, :hour_price
    FROM plan CROSS JOIN LATERAL generate_series(1, more) AS part
    """
# Ten minutes in every nine days, credited to the tokens that were running.
_OUTAGES = """
    INSERT INTO outages (id, opened_at, last_failed_at, closed_at, credited_at)
    SELECT pg_temp.its_id('outage', n), at, at + interval '9 minutes', at + interval '10 minutes',
        at + interval '11 minutes'
    FROM (SELECT n, CAST(:moment AS timestamptz) - n * interval '9 days' AS at
        FROM generate_series(1, 40) AS n) AS numbered
    """
_CREDITS = """
    INSERT INTO outage_credits (id, outage_id, token_id, seconds, created_at)
    SELECT gen_random_uuid(), o.id, plan.id, 600, o.credited_at
    FROM plan JOIN outages o ON o.opened_at > plan.activated_at
        AND o.closed_at < plan.activated_at + plan.seconds * interval '1 second'
    WHERE fate >= 3
    """
_CREDITED = """
    UPDATE access_tokens SET credited_seconds = given.seconds
    FROM (SELECT token_id, sum(seconds) AS seconds FROM outage_credits GROUP BY token_id) AS given
    WHERE access_tokens.id = given.token_id
    """
_SUMS = """
    UPDATE outages SET credited_tokens = given.tokens, credited_seconds = given.seconds
    FROM (SELECT outage_id, count(*) AS tokens, sum(seconds) AS seconds FROM outage_credits GROUP BY outage_id) AS given
    WHERE outages.id = given.outage_id
    """
_CHOICES = """
    INSERT INTO notice_choices (user_id, topic, mail, webhook)
    SELECT pg_temp.its_id('user', n), topic, false, true
    FROM generate_series(1, :users, 5) AS n CROSS JOIN unnest(ARRAY['renewal', 'announcement']) AS topic
    """
_KEYS = """
    INSERT INTO api_keys (id, user_id, name, scope, prefix, secret_hash, created_at)
    SELECT pg_temp.its_id('key', n), pg_temp.its_id('user', CASE WHEN n <= 10 THEN 1 ELSE 1 + n * 20 % :users END),
        'Script ' || n, 'read', left(md5('key ' || n), 8), sha256(convert_to('key ' || n, 'UTF8')), :moment
    FROM generate_series(1, 10 + :users / 20) AS n
    """
_DEVICES = """
    INSERT INTO known_devices (user_id, mark, seen_at)
    SELECT pg_temp.its_id('user', n), sha256(convert_to('device ' || n, 'UTF8')), :moment
    FROM generate_series(1, :users) AS n
    """
_NOTES = """
    INSERT INTO user_notes (user_id, author_id, text)
    SELECT pg_temp.its_id('user', CASE WHEN n <= 50 THEN 1 ELSE n % :users + 1 END), pg_temp.its_id('user', 2),
        'Asked for a longer pause.' FROM generate_series(1, 50 + :users / 100) AS n
    """
_GIFTS = """
    INSERT INTO gift_codes (id, code_hash, prefix, amount_znc, uses_in_all, note, created_by, created_at)
    SELECT pg_temp.its_id('gift', n), sha256(convert_to('gift ' || n, 'UTF8')), upper(left(md5('gift ' || n), 8)), 20,
        1, 'A fair', pg_temp.its_id('user', 2), CAST(:moment AS timestamptz) - n / 500 * interval '10 days'
    FROM generate_series(1, :users / 10) AS n
    """
_COUPONS = """
    INSERT INTO coupons (id, code, percent, created_at)
    SELECT pg_temp.its_id('coupon', n), 'SEED' || n, 1 + n % 50, CAST(:moment AS timestamptz) - n * interval '1 day'
    FROM generate_series(1, 1 + :users / 1000) AS n
    """
_BUNDLES = """
    INSERT INTO bundles (id, name, description, token_count, duration_hours, scope, discount_percent, is_active,
        created_at)
    SELECT pg_temp.its_id('bundle', n), 'Bundle ' || n, '', 5 * n, (CAST(:hours AS int[]))[1], 'full', 5 * n, n <= 6,
        CAST(:moment AS timestamptz) - n * interval '1 day'
    FROM generate_series(1, 10) AS n
    """
_ANNOUNCEMENTS = """
    INSERT INTO announcements (id, level, words_en, words_ru, starts_at, ends_at, author_id, created_at)
    SELECT pg_temp.its_id('announcement', n), 'info', 'Work on the service', 'Работы на сервисе', at,
        at + interval '1 day',
        pg_temp.its_id('user', 2), at
    FROM (SELECT n, CAST(:moment AS timestamptz) - n * interval '7 days' AS at
        FROM generate_series(0, 100) AS n) AS numbered
    """
_CHANGES = """
    INSERT INTO setting_changes (key, value, actor_id, reason, created_at)
    SELECT 'limits.auth_per_hour', CASE WHEN n < 200 THEN to_jsonb(10 + n % 5) END, pg_temp.its_id('user', 2),
        'Tried out',
        CAST(:moment AS timestamptz) - (200 - n) * interval '1 day'
    FROM generate_series(1, 200) AS n
    """

ROWS = {
    "mails": (_MAILS,),
    "webhooks": (_ENDPOINTS, _DELIVERIES),
    "payment and token events": (_PAYMENT_EVENTS, _EXTENSIONS),
    "outages": (_OUTAGES, _CREDITS, _CREDITED, _SUMS),
    "choices, keys, notes": (_CHOICES, _KEYS, _DEVICES, _NOTES),
    "offers and announcements": (_GIFTS, _COUPONS, _BUNDLES, _ANNOUNCEMENTS, _CHANGES),
}
